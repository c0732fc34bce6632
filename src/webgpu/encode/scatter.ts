/** @file GPU encoder of scatterUpdate (kernels/attention/scatter.wgsl). */
import type { ScatterUpdateAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, update } from "../dispatch.ts";

/** `scatterUpdate(index, updates) -> y`: a workgroup writes a row. */
export const scatterUpdate: GpuEncoder = (call, out) => {
  const { size, inner, count, halves = false } = call.attrs as unknown as ScatterUpdateAttrs;
  if (size * inner * count === 0) return;
  const unit = halves ? 2 : inner % 4 === 0 ? 4 : 1;
  const constants = { Element: unit === 4 ? "vec4<u32>" : "u32", SIZE: size, INNER: inner / unit, COUNT: count };
  out.dispatch(
    { file: "scatter", constants, hooks: { replace: halves ? "replace_halves" : "replace_words" } },
    [update(call.outputs[0]), ...call.inputs.map(read)],
    count,
  );
};
