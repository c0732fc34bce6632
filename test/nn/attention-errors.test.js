/** @file What layers that attend refuse, and how they say it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, ShapeError } from "../../build/esm/errors.js";
import * as nn from "../../build/esm/nn/index.js";
import { errorOf } from "../model/helpers.js";
import { BACKENDS, llama3, run, values } from "./attending.js";

test.after(() => Object.values(BACKENDS).forEach((b) => b.close()));

test("what does not fit is refused with the layer's name", async () => {
  const build = (layer, ...given) => {
    const options = given.filter((g) => g.constructor === Object);
    return run((...xs) => layer.call(...xs, ...options), given.slice(0, given.length - options.length));
  };
  const x = values(1, 2, 3, 4);
  for (const [call, type, pattern] of [
    [
      () => build(nn.multiHeadAttention(2, 4), values(1, 2, 4)),
      ShapeError,
      /layer "multiHeadAttention": expected \[batch, time, features\], got \[2, 4\]/,
    ],
    [() => build(nn.multiHeadAttention(2, 4), x, values(1, 3, 3, 4)), ShapeError, /expected query, value and key of one batch/],
    [
      () => build(nn.multiHeadAttention(2, 4), x, x, values(1, 2, 5, 4)),
      ShapeError,
      /of as many steps, got \[2, 3, 4\], \[2, 3, 4\] and \[2, 5, 4\]/,
    ],
    [() => build(nn.multiHeadAttention(2, 4), x, x, x, x), ArgumentError, /expected at most 3 tensors, got 4/],
    [() => build(nn.multiHeadAttention(2, 4), x, { mask: [[1, 1]] }), ShapeError, /attention: the mask must broadcast to/],
    [
      () => build(nn.multiHeadAttention(2, 4), x, { masks: 1 }),
      ArgumentError,
      /\{ training: true or false, mask, useCausalMask \}, got the option "masks"/,
    ],
    [() => build(nn.multiHeadAttention(2, 4), x, { useCausalMask: 1 }), ArgumentError, /useCausalMask must be true or false/],
    [() => build(nn.dense(2), x, { useCausalMask: true }), ArgumentError, /got the option "useCausalMask"/],
    [() => nn.multiHeadAttention(0, 4), ArgumentError, /multiHeadAttention: numHeads must be an integer >= 1/],
    [() => nn.multiHeadAttention(2), ArgumentError, /multiHeadAttention: keyDim must be an integer/],
    [() => nn.multiHeadAttention({ numHeads: 2, keyDim: 2 }), ArgumentError, /write multiHeadAttention\(numHeads, keyDim, \{ ... \}\)/],
    [() => nn.multiHeadAttention(2, 4, { dropout: 1 }), ArgumentError, /dropout must be a number in \[0, 1\)/],
    [() => nn.multiHeadAttention(2, 4, { valueDim: 0 }), ArgumentError, /valueDim/],
    [() => nn.multiHeadAttention(2, 4, { outputShape: [3, -1] }), ArgumentError, /outputShape/],
    [() => nn.multiHeadAttention(2, 4, { slidingWindow: 0 }), ArgumentError, /slidingWindow/],
    [() => nn.multiHeadAttention(2, 4, { rotary: true }), ArgumentError, /multiHeadAttention: rotary: expected an object of options/],
    [() => nn.multiHeadAttention(2, 4, { rotary: { base: 3 } }), ArgumentError, /multiHeadAttention: rotary: unknown option "base"/],
    [() => nn.groupedQueryAttention(4, 3, 2), ArgumentError, /numQueryHeads must be a multiple of numKeyValueHeads, got 3 and 2/],
    [() => nn.groupedQueryAttention(4, 3, 2, { valueDim: 3 }), ArgumentError, /unknown option "valueDim"/],
    [
      () => build(nn.attention(), x, values(1, 2, 3, 5)),
      ShapeError,
      /layer "attention": expected query and key of as many features, got \[2, 3, 4\] and/,
    ],
    [() => nn.attention({ scoreMode: "add" }), ArgumentError, /scoreMode must be one of "dot", "concat"/],
    [() => nn.rotaryEmbedding({ rotaryDim: 3 }), ArgumentError, /rotaryDim must be even/],
    [
      () => nn.rotaryEmbedding({ frequencyScaling: { factor: 2 } }),
      ArgumentError,
      /rotaryEmbedding: frequencyScaling: lowFrequencyFactor must be a positive number/,
    ],
    [() => nn.rotaryEmbedding({ frequencyScaling: { ...llama3, highFrequencyFactor: 1 } }), ArgumentError, /must be larger/],
    [() => nn.rotaryEmbedding({ frequencyFactors: [1, 0] }), ArgumentError, /frequencyFactors must be a list of positive numbers/],
    [() => build(nn.rotaryEmbedding(), values(1, 2, 3, 5)), ShapeError, /layer "rotaryEmbedding": it turns pairs of features/],
    [() => build(nn.rotaryEmbedding({ rotaryDim: 6 }), x), ShapeError, /it turns 6 features, got/],
    [() => build(nn.positionEmbedding(2), x), ShapeError, /it has vectors for 2 positions, got 3/],
    [() => build(nn.tokenAndPositionEmbedding(2, 2, 2), x), ShapeError, /expected \[batch, time\]/],
    [() => nn.transformerEncoder(16), ArgumentError, /numHeads/],
    [() => nn.transformerDecoder(16, 2, { activation: "rleu" }), ArgumentError, /transformerDecoder: unknown activation "rleu"/],
    [() => build(nn.transformerEncoder(16, 8), x), ShapeError, /4 features cannot be split into 8 heads/],
    [() => nn.swiglu(0), ArgumentError, /swiglu: intermediateDim/],
  ]) {
    const error = await errorOf(call).catch((e) => e);
    assert.instance(error, type, `${error?.message} ${pattern}`);
    assert.match(error.message, pattern);
  }
});

test.run();
