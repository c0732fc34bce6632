/** @file The layers. */
export { layer } from "./layer.ts";
export type { Config, Layer, LayerDescription, Regularizer, Weight, WeightOptions, WeightsOf } from "./layer.ts";
export { dense } from "./dense.ts";
export type { DenseOptions } from "./dense.ts";
export {
  conv1d,
  conv1dTranspose,
  conv2d,
  conv2dTranspose,
  depthwiseConv1d,
  depthwiseConv2d,
  separableConv1d,
  separableConv2d,
} from "./conv.ts";
export type {
  Conv1dOptions,
  Conv1dTransposeOptions,
  Conv2dLayerOptions,
  Conv2dTransposeOptions,
  DepthwiseConv1dOptions,
  DepthwiseConv2dOptions,
  SeparableConv1dOptions,
  SeparableConv2dOptions,
} from "./conv.ts";
export { avgPool1d, avgPool2d, globalAvgPool1d, globalAvgPool2d, globalMaxPool1d, globalMaxPool2d, maxPool1d, maxPool2d } from "./pool.ts";
export type { GlobalPoolOptions, Pool1dOptions, Pool2dOptions } from "./pool.ts";
export {
  activation,
  cropping1d,
  cropping2d,
  dropout,
  flatten,
  permute,
  repeatVector,
  reshape,
  upSampling1d,
  upSampling2d,
  zeroPadding1d,
  zeroPadding2d,
} from "./core.ts";
export {
  alphaDropout,
  gaussianDropout,
  gaussianNoise,
  identity,
  rescaling,
  spatialDropout1d,
  spatialDropout2d,
  spatialDropout3d,
} from "./noise.ts";
export type { RescalingOptions } from "./noise.ts";
export { centerCrop, randomFlip, resizing } from "./images.ts";
export type { RandomFlipOptions, ResizingOptions } from "./images.ts";
export type { Frame, UpSampling2dOptions } from "./core.ts";
export { elu, leakyRelu, prelu, relu, softmax } from "./activations.ts";
export type { EluOptions, LeakyReluOptions, PreluOptions, ReluOptions, SoftmaxOptions } from "./activations.ts";
export { masking } from "./masking.ts";
export type { MaskingOptions } from "./masking.ts";
export { embedding, tiedHead } from "./embedding.ts";
export type { EmbeddingLayer, EmbeddingOptions, TiedHeadOptions } from "./embedding.ts";
export { attention } from "./attention.ts";
export type { AttentionCallOptions, AttentionLayer, AttentionLayerOptions } from "./attention.ts";
export { groupedQueryAttention, multiHeadAttention } from "./heads.ts";
export type { GroupedQueryAttentionOptions, MultiHeadAttentionOptions } from "./heads.ts";
export { positionEmbedding, rotaryEmbedding, sinePositionEncoding, tokenAndPositionEmbedding } from "./positions.ts";
export type {
  FrequencyScaling,
  PositionEmbeddingOptions,
  RotaryEmbeddingOptions,
  SinePositionEncodingOptions,
  TokenAndPositionEmbeddingOptions,
} from "./positions.ts";
export { geglu, swiglu } from "./gated.ts";
export type { GegluOptions, SwigluOptions } from "./gated.ts";
export { transformerDecoder, transformerEncoder } from "./transformer.ts";
export type { TransformerDecoderCallOptions, TransformerEncoderCallOptions, TransformerLayer, TransformerOptions } from "./transformer.ts";
export { layerStack } from "./stack.ts";
export type { LayerStackOptions } from "./stack.ts";
export { bidirectional, gru, lstm, simpleRnn, timeDistributed } from "./recurrent.ts";
export type { BidirectionalOptions, GruOptions, LstmOptions, RecurrentLayer, SimpleRnnOptions } from "./recurrent.ts";
export { batchNorm, groupNorm, layerNorm, normalization, rmsNorm, unitNormalization } from "./normalization.ts";
export type {
  BatchNormOptions,
  GroupNormOptions,
  LayerNormOptions,
  NormalizationLayer,
  NormalizationOptions,
  RmsNormOptions,
  UnitNormalizationOptions,
} from "./normalization.ts";
export * as merge from "./merge.ts";
export { l1, l1l2, l2 } from "./regularizers.ts";
export type { RegularizerOption } from "./regularizers.ts";
export type { ActivationOption, InitializerOption, NameOption } from "./options.ts";
export { cropping3d, upSampling3d, zeroPadding3d } from "./volumes.ts";
export type { Frame3d, Triple } from "./volumes.ts";
export { integerLookup, stringLookup } from "./lookup.ts";
export type { LookupOptions, StringLookupLayer, TextLayer, VocabularyLayer, VocabularyLayerOptions } from "./lookup.ts";
export { textVectorization } from "./text.ts";
export type { TextVectorizationOptions } from "./text.ts";
export type { OutputMode, Token } from "./vocabulary.ts";
export { layerFromConfig } from "./config.ts";
export type { LayerKind } from "./config.ts";
export { extraLayers } from "./extra.ts";
