/**
 * @file The public names of `lockstep/inference`: models that predict, without optimizers, losses, metrics and gradients. A file that
 * `lockstep` saved loads here; what it holds for training is passed over. Initializers and regularizers are too: the weights of a model
 * that is built in code have no elements until `loadWeights` or `setWeights` brings them, which is an error where they are needed before.
 *
 * This entry stands alone: its ops carry no gradient rules, and its tensors, layers, models and backends are not those of `lockstep`.
 * Import everything from one of the two; error classes alone are shared.
 * @module lockstep/inference
 */

// Models
// What reads files comes first: bundles hold modules in this order, in which they pack to 0.3 KB less.
export { loadModel, loadWeights } from "./model/load.ts";
export type { LoadOptions, LoadWeightsOptions, ModelSource } from "./model/load.ts";
export { model, sequential } from "./model/inference.ts";
export type { BuildOptions, InferenceModel as Model, ModelOptions, PredictOptions } from "./model/inference.ts";
export type { Data, Inputs, PadTo } from "./model/data.ts";
export type { Strings } from "./samples.ts";
export type { LayerLike } from "./model/layers.ts";
export { generate, generator } from "./model/generate.ts";
export type { GenerateOptions, GeneratorOptions, Session, Tokens } from "./model/generate.ts";
export type { SamplingOptions } from "./model/sampling.ts";
export type { Outputs } from "./model/outputs.ts";

// Layers. Those that are also ops by name (conv2d, reshape, relu ...) come from dual.ts.
export {
  activation,
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
  alphaDropout,
  avgPool1d,
  avgPool3d,
  batchNorm,
  bidirectional,
  categoryEncoding,
  centerCrop,
  conv1d,
  conv1dTranspose,
  conv3d,
  conv3dTranspose,
  convLstm1d,
  convLstm2d,
  convLstm3d,
  cropping1d,
  cropping2d,
  cropping3d,
  dense,
  depthwiseConv1d,
  depthwiseConv2d,
  discretization,
  dropout,
  embedding,
  extraLayers,
  flatten,
  gaussianDropout,
  gaussianNoise,
  geglu,
  globalAvgPool1d,
  globalAvgPool2d,
  globalAvgPool3d,
  globalMaxPool1d,
  globalMaxPool2d,
  globalMaxPool3d,
  groupedQueryAttention,
  groupNorm,
  gru,
  gruCell,
  identity,
  integerLookup,
  l1,
  l1l2,
  l2,
  layer,
  layerNorm,
  layerStack,
  lstm,
  lstmCell,
  masking,
  maxPool1d,
  maxPool3d,
  multiHeadAttention,
  normalization,
  permute,
  positionEmbedding,
  prelu,
  randomBrightness,
  randomContrast,
  randomCrop,
  randomFlip,
  randomRotation,
  randomTranslation,
  randomZoom,
  repeatVector,
  rescaling,
  resizing,
  rmsNorm,
  rnn,
  rnnCell,
  rotaryEmbedding,
  separableConv1d,
  separableConv2d,
  simpleRnn,
  simpleRnnCell,
  sinePositionEncoding,
  spatialDropout1d,
  spatialDropout2d,
  spatialDropout3d,
  stackedRnnCells,
  stringLookup,
  swiglu,
  textVectorization,
  tiedHead,
  timeDistributed,
  tokenAndPositionEmbedding,
  transformerDecoder,
  transformerEncoder,
  unitNormalization,
  upSampling1d,
  upSampling2d,
  upSampling3d,
  zeroPadding1d,
  zeroPadding2d,
  zeroPadding3d,
} from "./nn/index.ts";
export type {
  AttentionCallOptions,
  AttentionLayer,
  CellStep,
  Config,
  EmbeddingLayer,
  FrequencyScaling,
  Layer,
  LayerDescription,
  LayerKind,
  LookupOptions,
  OutputMode,
  Regularizer,
  RnnCell,
  RnnCellDescription,
  RotaryEmbeddingOptions,
  StringLookupLayer,
  TextLayer,
  TextVectorizationOptions,
  Token,
  TransformerDecoderCallOptions,
  TransformerEncoderCallOptions,
  TransformerLayer,
  VocabularyLayer,
  VocabularyLayerOptions,
  Weight,
  WeightOptions,
  WeightsOf,
} from "./nn/index.ts";
export { average, concatenate, multiply, subtract } from "./nn/merge.ts";
export { add, attention, avgPool2d, conv2d, conv2dTranspose, dot, elu, leakyRelu, maxPool2d, relu, reshape, softmax } from "./dual.ts";
export * as initializers from "./nn/initializers.ts";

// Functions of tensors
export { compile } from "./compile.ts";
export type { Compiled, CompileOptions } from "./compile.ts";
export { randomKey } from "./mode.ts";
export type { CallOptions } from "./mode.ts";
export { emptyOn } from "./empty.ts";
export { full, ones, Tensor, tensor, zeros } from "./tensor.ts";
export type { NestedArray, TensorLike } from "./tensor.ts";
export type { DType, TypedArray } from "./dtype.ts";
export type { OpenShape, Shape } from "./shape.ts";
export type { Tree } from "./tree.ts";
export { pack, Packer } from "./packed/pack.ts";
export type { PackedTensorOptions, PackOptions } from "./packed/pack.ts";
export type { PackedFormat } from "./packed/layout.ts";
export * as ops from "./ops/forward.ts";
export * from "./ops/common.ts";

// Backends
export { open, resolveBackend, useBackend } from "./init.ts";
export type { BackendName } from "./init.ts";
export type { Backend } from "./backend.ts";
export type { WasmBackend, WasmOptions } from "./wasm/index.ts";
export type { KernelSource } from "./wasm/load.ts";
export type { GpuBackend, WebGpuOptions } from "./webgpu/index.ts";

// Errors
export {
  ArgumentError,
  BackendError,
  DataError,
  DeviceLostError,
  DTypeError,
  FileError,
  LockstepError,
  NonFiniteError,
  ShapeError,
} from "./errors.ts";
