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
export { randomBrightness, randomContrast, randomCrop, randomRotation, randomTranslation, randomZoom } from "./augment.ts";
export type { Factor, RandomColorOptions, RandomPlaceOptions, RandomZoomOptions } from "./augment.ts";
export type { ResamplingOptions } from "./resample.ts";
export { categoryEncoding, discretization } from "./categories.ts";
export type { CategoryEncodingOptions, CategoryMode, DiscretizationLayer, DiscretizationOptions } from "./categories.ts";
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
export { gru, lstm, simpleRnn } from "./recurrent.ts";
export type { GruOptions, LstmOptions, RecurrentLayer, SimpleRnnOptions } from "./recurrent.ts";
export { gruCell, lstmCell, rnn, rnnCell, simpleRnnCell, stackedRnnCells } from "./rnn.ts";
export type { CellStep, GruCellOptions, LstmCellOptions, RnnCell, RnnCellDescription, RnnOptions, SimpleRnnCellOptions } from "./rnn.ts";
export { bidirectional, timeDistributed } from "./wrappers.ts";
export type { BidirectionalOptions } from "./wrappers.ts";
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
export type { ActivationOption, InitializerOption, ModelAsLayer, NameOption } from "./options.ts";
export { cropping3d, upSampling3d, zeroPadding3d } from "./volumes.ts";
export type { Frame3d } from "./volumes.ts";
export type { Triple } from "./sizes.ts";
export { convLstm1d, convLstm2d, convLstm3d } from "./conv-lstm.ts";
export type { ConvLstmOptions } from "./conv-lstm.ts";
export { conv3d, conv3dTranspose } from "./conv3d.ts";
export type { Conv3dOptions, Conv3dTransposeOptions } from "./conv3d.ts";
export { avgPool3d, globalAvgPool3d, globalMaxPool3d, maxPool3d } from "./pool3d.ts";
export type { Pool3dOptions } from "./pool3d.ts";
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
} from "./adaptive.ts";
export { integerLookup, stringLookup } from "./lookup.ts";
export type { LookupOptions, StringLookupLayer, TextLayer, VocabularyLayer, VocabularyLayerOptions } from "./lookup.ts";
export { textVectorization } from "./text.ts";
export type { TextVectorizationOptions } from "./text.ts";
export type { OutputMode, Token } from "./vocabulary.ts";
export { layerFromConfig } from "./config.ts";
export type { LayerKind } from "./config.ts";
export { extraLayers } from "./extra.ts";
