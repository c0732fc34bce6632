/** @file What TensorFlow.js has not of layers that Keras has, or computes otherwise: refused before it is written. */
import { ArgumentError } from "../index.ts";
import type { Layer } from "../index.ts";
import type { Made, Recording } from "./record.ts";
import { writtenRule } from "./rules.ts";

/** Layers that TensorFlow.js has not. */
const NOT_IN_TFJS = [
  "groupNorm",
  "rmsNorm",
  "unitNormalization",
  "multiHeadAttention",
  "groupedQueryAttention",
  "attention",
  "conv1dTranspose",
  "upSampling1d",
  "normalization",
  "subtract",
  "identity",
  "integerLookup",
  "stringLookup",
  "textVectorization",
  "randomFlip",
  "randomRotation",
  "randomTranslation",
  "randomZoom",
  "randomCrop",
  "randomContrast",
  "randomBrightness",
  "discretization",
  "zeroPadding1d",
  "cropping1d",
  "depthwiseConv1d",
  "separableConv1d",
  "spatialDropout2d",
  "spatialDropout3d",
  "globalAvgPool3d",
  "globalMaxPool3d",
  "adaptiveAvgPool1d",
  "adaptiveAvgPool2d",
  "adaptiveAvgPool3d",
  "adaptiveMaxPool1d",
  "adaptiveMaxPool2d",
  "adaptiveMaxPool3d",
  "convLstm1d",
  "convLstm3d",
  "zeroPadding3d",
  "cropping3d",
  "upSampling3d",
];

/** @throws ArgumentError for a layer that TensorFlow.js has not, or computes otherwise */
export function checkTfjs(who: string, { kind, config }: Layer): void {
  if (NOT_IN_TFJS.includes(kind))
    throw new ArgumentError(`${who}: TensorFlow.js has no such layer; saveKeras and the file of model.save do`);
  if (kind.startsWith("gru") && config.resetAfter === true)
    throw new ArgumentError(`${who}: TensorFlow.js has a GRU with resetAfter: false alone`);
  if (kind === "resizing" || (kind === "upSampling2d" && config.interpolation === "bilinear"))
    throw new ArgumentError(`${who}: TensorFlow.js interpolates from the corners of pixels, Lockstep and Keras from their centers`);
  if (config.keepDims === true) throw new ArgumentError(`${who}: TensorFlow.js has no keepDims; put a reshape layer behind it`);
  if (config.padding === "causal") throw new ArgumentError(`${who}: TensorFlow.js does not compute padding: "causal"`);
  if (kind === "elu" && config.alpha !== undefined && config.alpha !== 1)
    throw new ArgumentError(`${who}: TensorFlow.js has an ELU with alpha: 1 alone`);
  if (kind === "softmax" && (config.axis ?? -1) !== -1)
    throw new ArgumentError(`${who}: TensorFlow.js has a softmax along the last axis alone`);
  if (kind === "relu" && ((config.negativeSlope ?? 0) !== 0 || (config.threshold ?? 0) !== 0))
    throw new ArgumentError(`${who}: TensorFlow.js has a ReLU with maxValue alone`);
}

/** Layers that write the shape of their output into that of their input, in TensorFlow.js. */
const OVERWRITING = ["centerCrop", "categoryEncoding"];

/** Whether TensorFlow.js has one shape for `made` and an input: behind layers that keep it. */
function sharesShape(made: Made, recording: Recording): boolean {
  if (made.layer === null) return true;
  const from = recording.calls.get(made.layer)?.[made.node].tensors[0];
  return made.layer.kind !== "reshape" && !!from && String(from.shape) === String(made.shape) && sharesShape(from, recording);
}

/** @throws ArgumentError for a layer of which TensorFlow.js makes something else behind `given`, the first tensor of its first call */
export function checkCallInTfjs(who: string, layer: Layer, given: Made, recording: Recording): void {
  const other = writtenRule(layer.kind)?.inTfjs?.(given.shape, layer.config);
  if (typeof other === "string")
    throw new ArgumentError(`${who}: TensorFlow.js computes something else of layer "${layer.name}": ${other}`);
  if (OVERWRITING.includes(layer.kind) && sharesShape(given, recording))
    throw new ArgumentError(
      `${who}: TensorFlow.js takes the shape of what layer "${layer.name}" gives for that of the input; put a reshape layer between them`,
    );
}
