/** @file Products of layers with their kernels, to which adapters (model/lora.ts) may add. */
import { linear } from "../ops/matmul.ts";
import { withShape } from "../ops/broadcast.ts";
import type { Activation } from "../plan/kernels.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { lastOf } from "./options.ts";

/** What `linear` computes, or something in its place. */
export type Product = (x: Tensor, kernel: Tensor, bias: Tensor | null, options: { readonly activation?: Activation }) => Tensor;

/** What is computed with weights that have adapters. */
export const adapted = new WeakMap<Tensor, Product>();

/**
 * activation(x kernel + bias): x [..., features], kernel and bias of any shape, of which the first dimensions of the kernel have as many
 * elements as x has features: [..., elements of the others].
 */
export function project(x: Tensor, kernel: Tensor, bias?: Tensor | null, activation?: Activation): Tensor {
  const features = lastOf(x.shape);
  const units = kernel.size / features;
  const product = (TRAINING && adapted.get(kernel)) || linear;
  return product(x, withShape(kernel, [features, units]), bias ? withShape(bias, [units]) : null, { activation });
}
