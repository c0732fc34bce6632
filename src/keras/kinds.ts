/** @file Kinds of layers whose calls are others than those of a layer of one tensor. */
import type { Layer } from "../index.ts";

/** Those with states, which a call may be given. */
export const RECURRENT = ["lstm", "gru", "simpleRnn", "convLstm1d", "convLstm2d", "convLstm3d", "bidirectional"];
/** Those that make one tensor of several. */
export const MERGING = ["add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot"];
/** Those that are given query, value and key. */
export const HEADS = ["multiHeadAttention", "groupedQueryAttention"];

/** Whether a layer is a model whose layers are in a row. */
export const isRow = ({ kind, config }: Layer): boolean =>
  kind === "model" && (config.model as { readonly custom?: boolean } | undefined)?.custom !== true;
