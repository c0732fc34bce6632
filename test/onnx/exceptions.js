/** @file Cases of ONNX's backend tests that do not pass, and why. */
const FLOAT64 = "values of float64 beyond 3.4e38: floats are computed in 32 bits";

export const EXCEPTIONS = {
  test_operator_add_broadcast: FLOAT64,
  test_operator_add_size1_right_broadcast: FLOAT64,
  test_bitcast_int64_to_float64: "integers beyond 32 bits: they are computed in 32 bits",
  test_resize_downsample_scales_linear_align_corners: "the expected value is doubtful: ONNX Runtime gives what is given here",
};
