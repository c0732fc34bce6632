/**
 * @file The parts of the kernels that are loaded by the first program that needs them, beside the core (assembly/core.ts). Ops name the
 * part of their kernels, so that applications whose ops need none do not have it in their bundles.
 */
import { TRAINING } from "../training.ts";
import { PART_ATTENTION, PART_CONV, PART_NORM, PART_PACKED, PART_RECURRENT } from "./opcodes.ts";

/** The builds of the kernels: 128-bit SIMD, and that with relaxed instructions (fused multiply-add). */
export type Simd = "plain" | "relaxed";

/** A part of the kernels as bundles hold it. */
export interface KernelPart {
  /** As its file is called. */
  readonly name: string;
  /** What PART_SHIFT leaves of its opcodes: where it stands in the table that the core calls it by. */
  readonly number: number;
  /** Its binary, deflated, in base64. Bundlers need to read the names. */
  load(simd: Simd): Promise<{ readonly default: string }>;
}

/** Convolutions and pooling. */
export const CONV: KernelPart = {
  name: "conv",
  number: PART_CONV,
  load: TRAINING
    ? (simd) => (simd === "plain" ? import("#parts/plain-conv") : import("#parts/relaxed-conv"))
    : (simd) => (simd === "plain" ? import("#parts/inference-plain-conv") : import("#parts/inference-relaxed-conv")),
};

/** LSTM, GRU, simple recurrent layers. */
export const RECURRENT: KernelPart = {
  name: "recurrent",
  number: PART_RECURRENT,
  load: TRAINING
    ? (simd) => (simd === "plain" ? import("#parts/plain-recurrent") : import("#parts/relaxed-recurrent"))
    : (simd) => (simd === "plain" ? import("#parts/inference-plain-recurrent") : import("#parts/inference-relaxed-recurrent")),
};

/** Layer normalization. */
export const NORM: KernelPart = {
  name: "norm",
  number: PART_NORM,
  load: TRAINING
    ? (simd) => (simd === "plain" ? import("#parts/plain-norm") : import("#parts/relaxed-norm"))
    : (simd) => (simd === "plain" ? import("#parts/inference-plain-norm") : import("#parts/inference-relaxed-norm")),
};

/** What transformers have beside products. */
export const ATTENTION: KernelPart = {
  name: "attention",
  number: PART_ATTENTION,
  load: TRAINING
    ? (simd) => (simd === "plain" ? import("#parts/plain-attention") : import("#parts/relaxed-attention"))
    : (simd) => (simd === "plain" ? import("#parts/inference-plain-attention") : import("#parts/inference-relaxed-attention")),
};

/** Products with weights in few bits. */
export const PACKED: KernelPart = {
  name: "packed",
  number: PART_PACKED,
  load: TRAINING
    ? (simd) => (simd === "plain" ? import("#parts/plain-packed") : import("#parts/relaxed-packed"))
    : (simd) => (simd === "plain" ? import("#parts/inference-plain-packed") : import("#parts/inference-relaxed-packed")),
};
