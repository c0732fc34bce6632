/** @file GPU encoder of scatterUpdate (kernels/attention/scatter.wgsl). */
import type { ScatterUpdateAttrs } from "../../plan/kernels.ts";
import type { GpuEncoder } from "../dispatch.ts";
import { read, update } from "../dispatch.ts";

/** `scatterUpdate(index, updates) -> y`: a workgroup writes a row. */
export const scatterUpdate: GpuEncoder = (call, out) => {
  const { size, inner, count } = call.attrs as unknown as ScatterUpdateAttrs;
  if (size * inner * count === 0) return;
  const unit = inner % 4 === 0 ? 4 : 1;
  const constants = { Element: unit === 4 ? "vec4<u32>" : "u32", SIZE: size, INNER: inner / unit, COUNT: count };
  out.dispatch({ file: "scatter", constants }, [update(call.outputs[0]), ...call.inputs.map(read)], count);
};
