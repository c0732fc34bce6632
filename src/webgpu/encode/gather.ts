/** @file GPU encoders of gather and scatterAdd (kernels/gather.wgsl). */
import type { GatherAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 256;
/** Comparisons up to which every element walks the whole index: beyond it, sorting the index first costs less. */
const WALK_LIMIT = 2 ** 22;

const groupsOf = (invocations: number): number => Math.ceil(invocations / THREADS);

export const gather: GpuEncoder = (call, out) => {
  const { outer, size, inner, count } = call.attrs as unknown as GatherAttrs;
  const total = outer * count * inner;
  if (total === 0) return;
  const buffers = [write(call.outputs[0]), ...call.inputs.map(read)];
  if (call.inputs[0]?.storage === "u8") {
    return out.dispatch(
      { file: "gather", entry: "gatherBytes", constants: { SIZE: size, INNER: inner, COUNT: count, TOTAL: total } },
      buffers,
      groupsOf(total),
    );
  }
  const unit = inner % 4 === 0 ? 4 : 1;
  const constants = { Element: unit === 4 ? "vec4<u32>" : "u32", SIZE: size, INNER: inner / unit, COUNT: count, TOTAL: total / unit };
  out.dispatch({ file: "gather", entry: "gather", constants }, buffers, groupsOf(total / unit));
};

export const scatterAdd: GpuEncoder = (call, out) => {
  const { outer, size, inner, count } = call.attrs as unknown as GatherAttrs;
  const total = outer * size * inner;
  if (total === 0) return;
  const [y, updates, index] = [write(call.outputs[0]), ...call.inputs.map(read)];
  const constants = { SIZE: size, INNER: inner, COUNT: count, TOTAL: total };
  if (total * count <= WALK_LIMIT) {
    // Buffers of no bytes cannot be bound, and nothing reads them.
    out.dispatch({ file: "gather", entry: "scatterAdd", constants }, count === 0 ? [y, null, null] : [y, updates, index], groupsOf(total));
    return;
  }
  const order = out.temporary(8 * count);
  out.dispatch(
    { file: "gather", entry: "orderIndex", constants: { SIZE: size, COUNT: count } },
    [order.write, null, index],
    groupsOf(count),
  );
  out.dispatch({ file: "gather", entry: "scatterAddOrdered", constants }, [y, updates, order.read], groupsOf(total));
};
