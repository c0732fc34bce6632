/**
 * @file Every kernel as a value: its name (plan/kernels.ts says what it does) and what the WebAssembly backend, which is part of every
 * application, needs to run it. Ops name these values, so that bundlers drop those of ops that nobody uses. The WebGPU backend is loaded on
 * demand and has tables of its own by name (webgpu/commands.ts).
 */
import type { Kernel } from "./op.ts";
import * as attending from "./wasm/encode/attention.ts";
import * as convolution from "./wasm/encode/conv.ts";
import * as indexing from "./wasm/encode/gather.ts";
import * as losses from "./wasm/encode/softmax/cross-entropy.ts";
import * as product from "./wasm/encode/matmul.ts";
import * as moving from "./wasm/encode/move.ts";
import * as norms from "./wasm/encode/norm.ts";
import * as packing from "./wasm/encode/packed.ts";
import * as pooling from "./wasm/encode/pool.ts";
import * as drawing from "./wasm/encode/random.ts";
import * as sequences from "./wasm/encode/recurrent.ts";
import * as reductions from "./wasm/encode/reduce.ts";
import * as loops from "./wasm/encode/scan.ts";
import * as turning from "./wasm/encode/rotary.ts";
import * as scattering from "./wasm/encode/scatter.ts";
import * as rows from "./wasm/encode/softmax.ts";
import * as sampling from "./wasm/encode/threshold.ts";
import type { WasmKernel } from "./wasm/kernel.ts";
import { ATTENTION, CONV, NORM, PACKED, RECURRENT } from "./wasm/parts.ts";

/** A kernel with all that backends know of it. */
interface Known extends Kernel {
  readonly wasm: WasmKernel;
}

export const reduce: Known = { name: "reduce", wasm: { encode: reductions.reduce } };
export const copy: Known = { name: "copy", wasm: { encode: moving.copy } };
export const iota: Known = { name: "iota", wasm: { encode: moving.iota } };
export const gather: Known = { name: "gather", wasm: { encode: indexing.gather } };
export const scatterAdd: Known = { name: "scatterAdd", wasm: { encode: indexing.scatterAdd } };
export const matmul: Known = { name: "matmul", wasm: { encode: product.matmul } };

export const softmax: Known = { name: "softmax", wasm: { encode: rows.softmax } };
export const softmaxGrad: Known = { name: "softmaxGrad", wasm: { encode: rows.softmaxGrad } };
export const logSoftmax: Known = { name: "logSoftmax", wasm: { encode: rows.logSoftmax } };
export const logSoftmaxGrad: Known = { name: "logSoftmaxGrad", wasm: { encode: rows.logSoftmaxGrad } };
export const softmaxCrossEntropy: Known = { name: "softmaxCrossEntropy", wasm: { encode: losses.softmaxCrossEntropy } };

export const random: Known = { name: "random", wasm: { encode: drawing.random } };
export const permutation: Known = { name: "permutation", wasm: { encode: drawing.permutation } };

export const conv2d: Known = { name: "conv2d", wasm: { encode: convolution.conv2d, part: CONV } };
export const conv2dInputGrad: Known = { name: "conv2dInputGrad", wasm: { encode: convolution.conv2dInputGrad, part: CONV } };
export const conv2dFilterGrad: Known = { name: "conv2dFilterGrad", wasm: { encode: convolution.conv2dFilterGrad, part: CONV } };
export const maxPool: Known = { name: "maxPool", wasm: { encode: pooling.maxPool, part: CONV } };
export const maxPoolGrad: Known = { name: "maxPoolGrad", wasm: { encode: pooling.maxPoolGrad, part: CONV } };
export const avgPool: Known = { name: "avgPool", wasm: { encode: pooling.avgPool, part: CONV } };
export const avgPoolGrad: Known = { name: "avgPoolGrad", wasm: { encode: pooling.avgPoolGrad, part: CONV } };

export const lstm: Known = { name: "lstm", wasm: { encode: sequences.lstm, part: RECURRENT } };
export const lstmGrad: Known = { name: "lstmGrad", wasm: { encode: sequences.lstmGrad, part: RECURRENT } };
export const gru: Known = { name: "gru", wasm: { encode: sequences.gru, part: RECURRENT } };
export const gruGrad: Known = { name: "gruGrad", wasm: { encode: sequences.gruGrad, part: RECURRENT } };
export const simpleRnn: Known = { name: "simpleRnn", wasm: { encode: sequences.simpleRnn, part: RECURRENT } };
export const simpleRnnGrad: Known = { name: "simpleRnnGrad", wasm: { encode: sequences.simpleRnnGrad, part: RECURRENT } };

export const scan: Known = { name: "scan", wasm: { encode: loops.scan } };

export const rotary: Known = { name: "rotary", wasm: { encode: turning.rotary, part: ATTENTION } };
export const attention: Known = { name: "attention", wasm: { encode: attending.attention, part: ATTENTION } };
export const attentionGrad: Known = { name: "attentionGrad", wasm: { encode: attending.attentionGrad, part: ATTENTION } };
export const scatterUpdate: Known = { name: "scatterUpdate", wasm: { encode: scattering.scatterUpdate, part: ATTENTION } };
export const massThreshold: Known = { name: "massThreshold", wasm: { encode: sampling.massThreshold, part: ATTENTION } };

export const layerNorm: Known = { name: "layerNorm", wasm: { encode: norms.layerNorm, part: NORM } };
export const layerNormGrad: Known = { name: "layerNormGrad", wasm: { encode: norms.layerNormGrad, part: NORM } };

export const packedMatmul: Known = { name: "packedMatmul", wasm: { encode: packing.packedMatmul, part: PACKED } };
export const packedRows: Known = { name: "packedRows", wasm: { encode: packing.packedRows, part: PACKED } };
export const unpack: Known = { name: "unpack", wasm: { encode: packing.unpack, part: PACKED } };
