/** @file Activations by the names that configurations give them. */
import { gelu } from "../index.ts";
import type { Tensor } from "../index.ts";

/** gelu by tanh (Hendrycks & Gimpel 2016, arXiv 1606.08415). */
const geluTanh = (x: Tensor): Tensor => gelu(x, true);

/** What dense layers take as `activation`. */
export const ACTIVATIONS = {
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu: "relu",
  silu: "silu",
  swish: "silu",
  tanh: "tanh",
} as const;
