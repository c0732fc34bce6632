/**
 * @file Which operands kernels can have as f16: any that they read as f32, and those that they write in vectors of four, since two halves
 * share a word.
 */
import type { ConvAttrs, MatmulAttrs } from "../../plan/kernels.ts";
import type { Limits } from "../../backend.ts";
import { halfTensors } from "../../plan/half.ts";
import type { HalfOperands } from "../../plan/half.ts";
import type { UnplacedCall } from "../../plan/limits.ts";
import type { MapBody, Operand } from "../../plan/plan.ts";
import { base } from "../../plan/simplify.ts";
import type { Tensor } from "../../tensor.ts";
import { writesVectors } from "./map.ts";
import { isNarrow } from "./conv.ts";

/** Inputs that a kernel reads as f32 wherever they are. The others it reads as words. */
const READ: { readonly [kernel: string]: readonly number[] } = {
  matmul: [0, 1, 2],
  conv2d: [0, 1, 2],
  conv2dInputGrad: [0, 1],
  conv2dFilterGrad: [0, 1],
  maxPool: [0],
  avgPool: [0],
  softmax: [0],
  logSoftmax: [0],
  softmaxGrad: [0, 1],
  logSoftmaxGrad: [0, 1],
  softmaxCrossEntropy: [0],
  lstm: [0],
  gru: [0],
  simpleRnn: [0],
};

function outputsOf({ kernel, attrs, inputs, outputs }: UnplacedCall): boolean {
  switch (kernel.name) {
    case "map": {
      const places = new Map<Tensor, number>();
      const operand = (t: Tensor): Operand => {
        const b = base(t);
        if (!places.has(b)) places.set(b, places.size);
        return { place: { space: "slot", index: places.get(b) as number, offset: 0 }, shape: t.shape, dtype: t.dtype };
      };
      return writesVectors(
        attrs.body as unknown as MapBody,
        (inputs as readonly Tensor[]).map(operand),
        (outputs as readonly Tensor[]).map(operand),
      );
    }
    case "matmul":
      return (attrs as unknown as MatmulAttrs).n % 4 === 0;
    case "conv2d": {
      const { f, groups } = attrs as unknown as ConvAttrs;
      return (f / groups) % 4 === 0 && !isNarrow(groups, f / groups);
    }
    default:
      return false;
  }
}

function operandsOf(call: UnplacedCall): HalfOperands {
  const { name } = call.kernel;
  const all = name === "map" || name === "reduce";
  const read = Object.hasOwn(READ, name) ? READ[name] : [];
  const written = outputsOf(call);
  return { inputs: call.inputs.map((_, k) => all || read.includes(k)), outputs: call.outputs.map(() => written) };
}

/** What `Limits.halves` is for this backend. */
export const halves: NonNullable<Limits["halves"]> = (calls, fixed, firstGradient) => halfTensors(calls, fixed, firstGradient, operandsOf);
