/** @file Losses of classes: scores [batch, classes, ...] and class numbers [batch, ...]. */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { Value } from "../value.ts";
import { alongAxis } from "./activations.ts";

const { equal, expandDims, iota, mul, neg, sum, where } = lockstep;

/** The negative log-probability of each label, weighted; those of `ignore_index` count nothing. */
function loss(call: Call, scores: Value, logs: Tensor, labels: Value, weights: Value | null): Value {
  const reduction = call.word("reduction", ["mean", "sum", "none"]);
  const ignored = call.int("ignore_index");
  const classes = scores.shape[1];
  if (scores.rank < 2 || labels.shape.join() !== [scores.shape[0], ...scores.shape.slice(2)].join())
    throw call.mismatch(
      `scores are [batch, classes, ...] and labels [batch, ...], got [${scores.shape.join()}] and [${labels.shape.join()}]`,
    );
  if (weights !== null && weights.size !== classes)
    throw call.mismatch(`${classes} classes need as many weights, got [${weights.shape.join()}]`);
  const label = labels.tensor;
  const along = (x: Tensor): Tensor => lockstep.reshape(x, [classes, ...scores.shape.slice(2).map(() => 1)]);
  const isLabel = equal(expandDims(label, 1), along(iota([classes])));
  // Of a label that is no class there is no loss: NaN, so that it shows.
  const isClass = lockstep.and(lockstep.greaterEqual(label, 0), lockstep.less(label, classes));
  const isFit = ignored === null ? isClass : lockstep.or(isClass, equal(label, ignored));
  const own = where(isFit, sum(where(isLabel, logs, 0), { axis: 1 }), NaN);
  // What each label counts; null where all count 1.
  let count = weights === null ? null : sum(where(isLabel, along(weights.tensor), 0), { axis: 1 });
  if (ignored !== null) count = where(equal(label, ignored), 0, count ?? 1);
  const each = neg(count === null ? own : mul(own, count));
  if (reduction === "none") return Value.of(scores.type, each);
  if (reduction === "sum") return Value.of(scores.type, sum(each));
  return Value.of(scores.type, count === null ? lockstep.mean(each) : lockstep.div(sum(each), sum(count)));
}

const NegativeLogLikelihoodLoss: Operator = (call) => loss(call, call.input(0), call.tensor(0), call.input(1), call.optional(2));

const SoftmaxCrossEntropyLoss: Operator = (call) => {
  const scores = call.input(0);
  const logs = alongAxis(scores.tensor, 1, (x, axis) => lockstep.logSoftmax(x, axis));
  return [loss(call, scores, logs, call.input(1), call.optional(2)), Value.of(scores.type, logs)];
};

export const LOSSES: Operators = { NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss };
