/** @file What scales the loss of models that are trained in half precision: loaded on demand, and whole in itself, as padding.ts is. */
export { DEFAULTS, LossScaling } from "../train/loss-scaling.ts";
