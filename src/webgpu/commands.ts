/**
 * @file The encoder of each kernel that plans call: this table and that of the part in parts/, which is loaded on demand, say what the
 * backend can do.
 */
import shaders from "#shaders";
import { BackendError } from "../errors.ts";
import type { Plan } from "../plan/plan.ts";
import type { GpuEncoder, GpuKernels } from "./dispatch.ts";
import { conv2d, conv2dFilterGrad, conv2dInputGrad } from "./encode/conv.ts";
import { gather, scatterAdd } from "./encode/gather.ts";
import { softmaxCrossEntropy } from "./encode/softmax/cross-entropy.ts";
import { map } from "./encode/map.ts";
import { matmul } from "./encode/matmul.ts";
import { copy, fill, iota } from "./encode/move.ts";
import { layerNorm, layerNormGrad } from "./encode/norm.ts";
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

/** Kernels of a plan, and of the bodies of loops in it, that the core does not have. */
const missing = ({ calls }: Plan): string[] =>
  calls.flatMap(({ kernel, body }) => [...(Object.hasOwn(GPU_ENCODERS, kernel) ? [] : [kernel]), ...(body ? missing(body) : [])]);

/** Whether a kernel is of the part of packed weights: the names of all that are say so. */
const isPacked = (kernel: string): boolean => /pack/i.test(kernel);

/**
 * The core, with the parts of transformers and of packed weights for a plan that needs them: most applications need neither. Runtimes keep
 * what they loaded.
 * @throws BackendError for a part that cannot be loaded.
 */
export async function kernelsFor(plan: Plan): Promise<GpuKernels> {
  const wanted = [...new Set(missing(plan).map(isPacked))];
  if (wanted.length === 0) return CORE;
  const loading = wanted.map((packed): Promise<GpuKernels> => (packed ? import("./parts/packed.ts") : import("./parts/attention.ts")));
  const parts = await Promise.all(loading).catch((cause: Error) => {
    throw new BackendError(`webgpu: cannot load a part of the kernels: ${cause.message}; it is a file beside webgpu.js`, { cause });
  });
  return parts.reduce(
    (all, part) => ({ encoders: { ...all.encoders, ...part.encoders }, shaders: { ...all.shaders, ...part.shaders } }),
    CORE,
  );
}
