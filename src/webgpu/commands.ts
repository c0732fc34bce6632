/** @file The encoder of each kernel that plans call: this table says what the backend can do. */
import type { GpuEncoder } from "./dispatch.ts";
import { attention, attentionGrad } from "./encode/attention.ts";
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
import { rotary } from "./encode/rotary.ts";
import { scatterUpdate } from "./encode/scatter.ts";
import { logSoftmax, logSoftmaxGrad, softmax, softmaxGrad } from "./encode/softmax.ts";
import { massThreshold } from "./encode/threshold.ts";

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
  rotary,
  attention,
  attentionGrad,
  scatterUpdate,
  massThreshold,
  lstm,
  lstmGrad,
  gru,
  gruGrad,
  simpleRnn,
  simpleRnnGrad,
};
