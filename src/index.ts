/**
 * @file The public names, nothing else. Data readers are in `lockstep/data`.
 * @module lockstep
 */

// Models
// What writes files comes first: bundles hold modules in this order, in which they pack to 0.4 KB less.
export { loadModel } from "./model/resume.ts";
export type { LoadModelOptions } from "./model/resume.ts";
export type { SaveOptions } from "./model/save.ts";
export { model, sequential } from "./model/model.ts";
export type { CompileModelOptions } from "./model/learning.ts";
export type { BatchOptions, Model } from "./model/model.ts";
export type { ForOutputs, Outputs } from "./model/outputs.ts";
export type { BuildOptions, InferenceModel, ModelOptions, PredictOptions } from "./model/inference.ts";
export type { Batch, Batches } from "./model/batches.ts";
export type { Data, Inputs, PadTo, Targets } from "./model/data.ts";
export type { OverlappingData } from "./model/view.ts";
export type { Strings } from "./samples.ts";
export type { EvaluateOptions, FitOptions, History } from "./model/fit.ts";
export type { LayerLike } from "./model/layers.ts";
export { generate, generator } from "./model/generate.ts";
export type { GenerateOptions, GeneratorOptions, Session, Tokens } from "./model/generate.ts";
export type { SamplingOptions } from "./model/sampling.ts";
export { loadWeights } from "./model/load.ts";
export type { LoadOptions, LoadWeightsOptions, ModelSource } from "./model/load.ts";

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

/** @internal */
export { adapting } from "./nn/adapting.ts";
/** @internal */
export { tracedPrediction } from "./model/predict.ts";
/** @internal */
export { normalizeLast } from "./ops/norm.ts";
/** @internal */
export { convVolumes, mergeTaps } from "./ops/volumes.ts";
/** @internal */
export { maximum as maximumLayer, minimum as minimumLayer } from "./nn/merge.ts";

// Training
export {
  binaryCrossentropy,
  categoricalCrossentropy,
  categoricalHinge,
  cosineSimilarity,
  hinge,
  huber,
  klDivergence,
  logCosh,
  meanAbsoluteError,
  meanAbsolutePercentageError,
  meanSquaredError,
  meanSquaredLogarithmicError,
  poisson,
  sparseCategoricalCrossentropy,
  squaredHinge,
} from "./train/losses.ts";
export type { Loss, LossFunction, LossName } from "./train/losses.ts";
export {
  auc,
  binaryAccuracy,
  categoricalAccuracy,
  confusionMatrix,
  f1,
  precision,
  recall,
  rootMeanSquaredError,
  sparseCategoricalAccuracy,
  topKCategoricalAccuracy,
} from "./train/metrics.ts";
export type { AucOptions, Metric, MetricName } from "./train/metrics.ts";
export { perplexity } from "./train/perplexity.ts";
export type { PerplexityOptions } from "./train/perplexity.ts";
export { adadelta, adagrad, adam, adamax, adamw, lion, nadam, rmsprop, sgd } from "./train/optimizers.ts";
export { lossScaleOptimizer } from "./train/loss-scale.ts";
export type { LossScaleOptimizer, LossScaleOptions } from "./train/loss-scale.ts";
export { muon } from "./train/muon.ts";
export type { MuonOptions } from "./train/muon.ts";
export type { Optimizer, OptimizerName, OptimizerOptions } from "./train/optimizers.ts";
export {
  cosineDecay,
  exponentialDecay,
  inverseTimeDecay,
  linearWarmup,
  piecewiseConstantDecay,
  polynomialDecay,
} from "./train/schedules.ts";
export type { Schedule } from "./train/schedules.ts";
export {
  earlyStopping,
  learningRateScheduler,
  modelCheckpoint,
  reduceLrOnPlateau,
  swapEmaWeights,
  terminateOnNaN,
} from "./train/callbacks.ts";
export type { Callback, LogHistory, Logs, TrainingHandle } from "./train/callbacks.ts";

// Functions of tensors
export { compile } from "./compile.ts";
export type { Compiled, CompileOptions } from "./compile.ts";
export { grad, gradients, valueAndGrad } from "./grad.ts";
export { assign } from "./graph.ts";
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
export * as ops from "./ops/public.ts";
export * from "./ops/common.ts";
export { permutation, softmaxCrossEntropy, stopGradient } from "./ops/public.ts";

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
