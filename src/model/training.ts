/** @file What a model learns by and from: what `compile` made of its options, and batches as tensors. */
import type { Layer } from "../nn/layer.ts";
import type { Tensor } from "../tensor.ts";
import type { LossScale } from "../train/loss-scaling.ts";
import type { Loss } from "../train/losses.ts";
import type { Metric } from "../train/metrics.ts";
import type { Optimizer } from "../train/optimizers.ts";
import { elementsOf } from "./view.ts";
import type { Samples } from "./view.ts";

/** What one output is trained by. */
export interface OutputTraining {
  /** "" for a model of one. */
  readonly name: string;
  /** Null: it is not trained on. */
  readonly loss: Loss | null;
  /** In the sum of all losses. */
  readonly weight: number;
  readonly metrics: readonly Metric[];
}

/** How the model learns. */
export interface Training {
  readonly outputs: readonly OutputTraining[];
  readonly optimizer: Optimizer;
  /** Which layers are trained: a change counts from the next `compile` on. */
  readonly trainable: ReadonlyMap<Layer, boolean>;
  /** What is trained. */
  readonly parameters: readonly Tensor[];
  /** What losses are multiplied by in half precision, where the optimizer does not see to that; null before it is needed. */
  scale: LossScale | null;
}

/** What an output is to be, and the weights of its loss's values. */
export interface Target {
  readonly y: Tensor;
  readonly weights: Tensor | null;
}

/** What an output gave in a step. */
export interface Result {
  readonly y: Tensor;
  readonly prediction: Tensor;
  readonly loss: Tensor;
}

/** The same of data, whose samples may overlap. */
export interface TargetSamples {
  readonly y: Samples;
  readonly weights: Tensor | null;
}

/** Inputs, and a target for each output that is trained on. */
export interface BatchSamples {
  readonly inputs: readonly Samples[];
  readonly targets: readonly TargetSamples[];
}

/** All of them, in order. */
export const samplesOf = ({ inputs, targets }: BatchSamples): Samples[] => [
  ...inputs,
  ...targets.flatMap(({ y, weights }) => (weights === null ? [y] : [y, weights])),
];

/** What the programs of these take, in order. */
export const argumentsOf = (batch: BatchSamples): Tensor[] => samplesOf(batch).map(elementsOf);
