/** @file Products of layers with their kernels, to which adapters (lora/) may add. */
import { once } from "../cache.ts";
import { linear } from "../ops/matmul.ts";
import { withShape } from "../ops/broadcast.ts";
import type { Activation } from "../plan/kernels.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { lastOf } from "./options.ts";

/** What `linear` computes, or something in its place. */
export type Product = (x: Tensor, kernel: Tensor, bias: Tensor | null, options: { readonly activation?: Activation }) => Tensor;

/** How each kernel is multiplied by that was: `linear`, until an adapter puts something in its place. */
export const products = new WeakMap<Tensor, Product>();

/**
 * activation(x kernel + bias): x [..., features], kernel and bias of any shape, of which the first dimensions of the kernel have as many
 * elements as x has features: [..., elements of the others].
 */
export function project(x: Tensor, kernel: Tensor, bias?: Tensor | null, activation?: Activation): Tensor {
  const features = lastOf(x.shape);
  const units = kernel.size / features;
  const product = TRAINING ? once(products, kernel, () => linear) : linear;
  return product(x, withShape(kernel, [features, units]), bias ? withShape(bias, [units]) : null, { activation });
}
