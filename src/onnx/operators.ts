/** @file All operators, by domain and name. A file of ops/ has those of one kind. */
import type { Operator, Operators } from "./call.ts";
import { ACTIVATIONS, MICROSOFT_ACTIVATIONS } from "./ops/activations.ts";
import { ARITHMETIC } from "./ops/arithmetic.ts";
import { ATTENTION, ATTENTION_PREVIEW } from "./ops/attention.ts";
import { BITS } from "./ops/bits.ts";
import { ATTENTION_MICROSOFT } from "./ops/contrib.ts";
import { CONVOLUTION, CONVOLUTION_MICROSOFT } from "./ops/convolution.ts";
import { FILLING } from "./ops/filling.ts";
import { FUSED_MICROSOFT } from "./ops/fused.ts";
import { INDEXING } from "./ops/indexing.ts";
import { CONTROL } from "./ops/control.ts";
import { LOSSES } from "./ops/losses.ts";
import { MOVING } from "./ops/moving.ts";
import { NORMALIZATION, NORMALIZATION_MICROSOFT } from "./ops/normalization.ts";
import { PACKED_MICROSOFT } from "./ops/packed.ts";
import { POOLING } from "./ops/pooling.ts";
import { PRODUCTS, PRODUCTS_MICROSOFT } from "./ops/products.ts";
import { MICROSOFT_QUANTIZATION, QUANTIZATION } from "./ops/quantization.ts";
import { QUANTIZED, QUANTIZED_MICROSOFT } from "./ops/quantized.ts";
import { RANDOM } from "./ops/random.ts";
import { RECURRENT } from "./ops/recurrent.ts";
import { REDUCTIONS } from "./ops/reductions.ts";
import { REGIONS } from "./ops/regions.ts";
import { RESIZE } from "./ops/resize.ts";
import { SAMPLING } from "./ops/sampling.ts";
import { SELECTING } from "./ops/selecting.ts";
import { SEQUENCES } from "./ops/sequences.ts";
import { SHAPES } from "./ops/shapes.ts";
import { SORTING } from "./ops/sorting.ts";
import { SPECTRAL } from "./ops/spectral.ts";
import { TEXT } from "./ops/text.ts";
import { TRIGONOMETRY } from "./ops/trigonometry.ts";

const tableOf = (...tables: readonly Operators[]): Operators => Object.assign(Object.create(null), ...tables);

const STANDARD = tableOf(
  ARITHMETIC,
  SHAPES,
  CONVOLUTION,
  POOLING,
  NORMALIZATION,
  PRODUCTS,
  QUANTIZED,
  RECURRENT,
  ATTENTION,
  RESIZE,
  SAMPLING,
  REGIONS,
  ACTIVATIONS,
  BITS,
  TRIGONOMETRY,
  REDUCTIONS,
  SORTING,
  FILLING,
  INDEXING,
  MOVING,
  SELECTING,
  QUANTIZATION,
  RANDOM,
  LOSSES,
  SPECTRAL,
  CONTROL,
  SEQUENCES,
  TEXT,
);
const MICROSOFT = tableOf(
  CONVOLUTION_MICROSOFT,
  NORMALIZATION_MICROSOFT,
  PRODUCTS_MICROSOFT,
  QUANTIZED_MICROSOFT,
  ATTENTION_MICROSOFT,
  PACKED_MICROSOFT,
  MICROSOFT_ACTIVATIONS,
  MICROSOFT_QUANTIZATION,
  FUSED_MICROSOFT,
);

/** Domains of operators. */
const DOMAINS: { readonly [domain: string]: Operators } = {
  "": STANDARD,
  "com.microsoft": MICROSOFT,
  "ai.onnx.preview": tableOf(ATTENTION_PREVIEW),
};

/** Null where there is none of the name. */
export const operatorOf = (domain: string, name: string): Operator | null =>
  Object.hasOwn(DOMAINS, domain) ? (DOMAINS[domain][name] ?? null) : null;
