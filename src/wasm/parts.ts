/**
 * @file The parts of the kernels that are loaded by the first program that needs them, beside the core (scripts/wasm.js). Ops name the part of their kernels, so that
 * applications whose ops need none do not have it in their bundles.
 */

/** The builds of the kernels: 128-bit SIMD, and that with relaxed instructions (fused multiply-add). */
export type Simd = "plain" | "relaxed";

/** A part of the kernels as bundles hold it. */
export interface KernelPart {
  /** As its file is called. */
  readonly name: string;
  /** What PART_SHIFT leaves of its opcodes. */
  readonly number: number;
  /** Its binary, deflated, in base64. */
  load(simd: Simd): Promise<{ readonly default: string }>;
}

/** Convolutions and pooling. */
export const CONV: KernelPart = { name: "conv", number: 1, load: (simd) => (simd === "plain" ? import("#plain-conv") : import("#relaxed-conv")) };

/** LSTM, GRU, simple recurrent layers. */
export const RECURRENT: KernelPart = { name: "recurrent", number: 2, load: (simd) => (simd === "plain" ? import("#plain-recurrent") : import("#relaxed-recurrent")) };

/** Layer normalization. */
export const NORM: KernelPart = { name: "norm", number: 3, load: (simd) => (simd === "plain" ? import("#plain-norm") : import("#relaxed-norm")) };
