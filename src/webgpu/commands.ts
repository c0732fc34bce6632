/**
 * @file The encoder of each kernel that plans call: this table and that of the part in parts/, which is loaded on demand, say what the
 * backend can do.
 */
import shaders from "#shaders";
import { BackendError } from "../errors.ts";
import type { ConvAttrs } from "../plan/kernels.ts";
import type { Plan } from "../plan/plan.ts";
import type { GpuEncoder, GpuFeatures, GpuKernels } from "./dispatch.ts";
import { conv2d, conv2dFilterGrad, conv2dInputGrad } from "./encode/conv.ts";
import { gather, scatterAdd } from "./encode/gather.ts";
import { softmaxCrossEntropy } from "./encode/softmax/cross-entropy.ts";
import { map } from "./encode/map.ts";
import { matmul } from "./encode/matmul.ts";
import { copy, fill, iota } from "./encode/move.ts";
import { layerNorm, layerNormGrad } from "./encode/norm.ts";
import { JOINED } from "./join.ts";
import { avgPool, avgPoolGrad, maxPool, maxPoolGrad } from "./encode/pool.ts";
import { permutation, random } from "./encode/random.ts";
import { gru, gruGrad, lstm, lstmGrad, simpleRnn, simpleRnnGrad } from "./encode/recurrent.ts";
import { reduce } from "./encode/reduce.ts";
import { scan } from "./encode/scan.ts";
import { logSoftmax, logSoftmaxGrad, softmax, softmaxGrad } from "./encode/softmax.ts";

/** Those of the core, which is loaded with the backend. */
export const GPU_ENCODERS: { readonly [kernel: string]: GpuEncoder } = {
  map,
  reduce,
  copy,
  fill,
  iota,
  matmul,
  conv2d,
  conv2dInputGrad,
  conv2dFilterGrad,
  maxPool,
  maxPoolGrad,
  avgPool,
  avgPoolGrad,
  softmax,
  softmaxGrad,
  logSoftmax,
  logSoftmaxGrad,
  softmaxCrossEntropy,
  layerNorm,
  layerNormGrad,
  gather,
  scatterAdd,
  random,
  permutation,
  scan,
  lstm,
  lstmGrad,
  gru,
  gruGrad,
  simpleRnn,
  simpleRnnGrad,
};

/** The kernels of the core. */
export const CORE: GpuKernels = { encoders: GPU_ENCODERS, shaders };

/**
 * Whether a plan, or the body of a loop in it, names a kernel that the core does not have: one of packed weights, which all say so, or not.
 */
const needs = ({ calls }: Plan, packed: boolean): boolean =>
  calls.some(
    ({ kernel, body }) =>
      (!Object.hasOwn(GPU_ENCODERS, kernel) && /pack/i.test(kernel) === packed) || (body !== undefined && needs(body, packed)),
  );

/** Kernels that are products, and those of attention. */
const PRODUCTS = /^(matmul|conv2d(Input|Filter)?(Grad)?)$/;
const ATTENTION = /^attention/;
/** Whether a plan, or the body of a loop in it, has one of these kernels. */
const has = ({ calls }: Plan, kernels: RegExp): boolean =>
  calls.some(({ kernel, body }) => kernels.test(kernel) || (body !== undefined && has(body, kernels)));

/** Fewest channels and filters of convolutions that parts/winograd.ts may gain by. */
const LEAST_CHANNELS = 16;
const convolves = ({ calls }: Plan, least: number): boolean =>
  calls.some(({ kernel, attrs, body }) => {
    const { r, s, c, f } = attrs as unknown as ConvAttrs;
    return (/^conv2d/.test(kernel) && r === 3 && s === 3 && Math.min(c, f) >= least) || (body !== undefined && convolves(body, least));
  });

/**
 * The core, with the parts of transformers, of packed weights, of joined products, of convolutions by tiles and of subgroup matrices for a
 * plan that needs them on an adapter with these features: most applications need none. Runtimes keep what they loaded.
 * @throws BackendError for a part that cannot be loaded.
 */
export async function kernelsFor(plan: Plan, { matrices = null, half = false, winograd }: Partial<GpuFeatures> = {}): Promise<GpuKernels> {
  let all = CORE;
  const add = ({ encoders, shaders, joins = [] }: GpuKernels): void => {
    all = {
      encoders: { ...all.encoders, ...encoders },
      shaders: { ...all.shaders, ...shaders },
      joins: [...(all.joins ?? []), ...joins],
    };
  };
  try {
    if (needs(plan, false)) add(await import("./parts/attention.ts"));
    if (needs(plan, true)) add(await import("./parts/packed.ts"));
    if (has(plan, JOINED)) {
      const part = await import("./parts/several.ts");
      add({ ...part, shaders: part.shadersWith(all.shaders) });
    }
    if (!half && convolves(plan, winograd?.used ? 1 : LEAST_CHANNELS)) {
      const { shaders, encodersWith } = await import("./parts/winograd.ts");
      add({ shaders, encoders: encodersWith(all.encoders) });
    }
    if (matrices !== null && has(plan, PRODUCTS)) all = (await import("./parts/matrices.ts")).withMatrices(all);
    if (matrices !== null && has(plan, ATTENTION)) all = (await import("./parts/attention-matrices.ts")).withMatrices(all);
  } catch (cause) {
    throw new BackendError(`webgpu: cannot load a part of the kernels: ${(cause as Error).message}; it is a file beside webgpu.js`, {
      cause,
    });
  }
  return all;
}
