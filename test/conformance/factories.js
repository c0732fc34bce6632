/** @file Keras layers, as the conformance cases describe them, as ours. */
import * as nn from "../../build/esm/nn/index.js";

/** snake_case as camelCase. */
export const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

/** Our layer for each class name of Keras, from its config in camelCase. */
export const FACTORIES = {
  Activation: ({ activation, ...o }) => nn.activation(activation, o),
  Add: nn.merge.add,
  Average: nn.merge.average,
  AveragePooling2D: ({ poolSize, ...o }) => nn.avgPool2d(poolSize, o),
  BatchNormalization: nn.batchNorm,
  Bidirectional: ({ layer, ...o }) => nn.bidirectional(make(layer), o),
  Concatenate: nn.merge.concatenate,
  Conv1D: ({ filters, kernelSize, ...o }) => nn.conv1d(filters, kernelSize, o),
  Conv1DTranspose: ({ filters, kernelSize, ...o }) => nn.conv1dTranspose(filters, kernelSize, o),
  Conv2D: ({ filters, kernelSize, ...o }) => nn.conv2d(filters, kernelSize, o),
  Conv2DTranspose: ({ filters, kernelSize, ...o }) => nn.conv2dTranspose(filters, kernelSize, o),
  Cropping2D: ({ cropping, ...o }) => nn.cropping2d(cropping, o),
  Dense: ({ units, ...o }) => nn.dense(units, o),
  DepthwiseConv2D: ({ kernelSize, ...o }) => nn.depthwiseConv2d(kernelSize, o),
  Dot: nn.merge.dot,
  Dropout: ({ rate, ...o }) => nn.dropout(rate, o),
  ELU: nn.elu,
  Embedding: ({ inputDim, outputDim, ...o }) => nn.embedding(inputDim, outputDim, o),
  Flatten: nn.flatten,
  GRU: ({ units, ...o }) => nn.gru(units, o),
  GlobalAveragePooling1D: nn.globalAvgPool1d,
  GlobalAveragePooling2D: nn.globalAvgPool2d,
  GlobalMaxPooling2D: nn.globalMaxPool2d,
  GroupNormalization: ({ groups, ...o }) => nn.groupNorm(groups, o),
  LSTM: ({ units, returnState: _, ...o }) => nn.lstm(units, o),
  LayerNormalization: nn.layerNorm,
  LeakyReLU: nn.leakyRelu,
  MaxPooling1D: ({ poolSize, ...o }) => nn.maxPool1d(poolSize, o),
  MaxPooling2D: ({ poolSize, ...o }) => nn.maxPool2d(poolSize, o),
  MultiHeadAttention: ({ numHeads, keyDim, ...o }) => nn.multiHeadAttention(numHeads, keyDim, o),
  Multiply: nn.merge.multiply,
  PReLU: nn.prelu,
  Permute: ({ dims, ...o }) => nn.permute(dims, o),
  RMSNormalization: nn.rmsNorm,
  ReLU: nn.relu,
  RepeatVector: ({ n, ...o }) => nn.repeatVector(n, o),
  Reshape: ({ targetShape, ...o }) => nn.reshape(targetShape, o),
  SeparableConv2D: ({ filters, kernelSize, ...o }) => nn.separableConv2d(filters, kernelSize, o),
  SimpleRNN: ({ units, ...o }) => nn.simpleRnn(units, o),
  Softmax: nn.softmax,
  TimeDistributed: ({ layer, ...o }) => nn.timeDistributed(make(layer), o),
  UpSampling2D: ({ size, ...o }) => nn.upSampling2d(size, o),
  ZeroPadding2D: ({ padding, ...o }) => nn.zeroPadding2d(padding, o),
};

function valueOf(key, value) {
  if (key.endsWith("activation")) return camel(value);
  return key.endsWith("regularizer") ? value.config : value;
}

/** The layer of a Keras class name and config. */
export function make({ class_name, config }, more = {}) {
  const options = Object.fromEntries(Object.entries(config).map(([key, value]) => [camel(key), valueOf(key, value)]));
  return FACTORIES[class_name]({ ...options, ...more });
}
