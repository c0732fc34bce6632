/** @file GPU encoders of random numbers and permutations (kernels/random.wgsl). */
import type { PermutationAttrs, RandomAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 256;

const KINDS = { bits: 0, uniform: 1, normal: 2 } as const;

/** `random(key) -> y`: an invocation makes four elements. */
export const random: GpuEncoder = (call, out) => {
  const { kind, stream, count } = call.attrs as unknown as RandomAttrs;
  if (count === 0) return;
  const constants = { KIND: KINDS[kind], STREAM: stream, COUNT: count };
  out.dispatch(
    { file: "random", entry: "random", constants },
    [write(call.outputs[0]), read(call.inputs[0])],
    Math.ceil(count / (4 * THREADS)),
  );
};

/** `permutation(key, start) -> y` */
export const permutation: GpuEncoder = (call, out) => {
  const { size, stream, count } = call.attrs as unknown as PermutationAttrs;
  if (count === 0) return;
  const buffers = [write(call.outputs[0]), ...call.inputs.map(read)];
  out.dispatch(
    { file: "random", entry: "permutation", constants: { SIZE: size, STREAM: stream, COUNT: count } },
    buffers,
    Math.ceil(count / THREADS),
  );
};
