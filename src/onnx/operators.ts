/** @file All operators, by domain and name. A file of ops/ has those of one kind. */
import type { Operator, Operators } from "./call.ts";
import { ARITHMETIC } from "./ops/arithmetic.ts";
import { ACTIVATIONS, MICROSOFT_ACTIVATIONS } from "./ops/activations.ts";
import { BITS } from "./ops/bits.ts";
import { FILLING } from "./ops/filling.ts";
import { INDEXING } from "./ops/indexing.ts";
import { MOVING } from "./ops/moving.ts";
import { REDUCTIONS } from "./ops/reductions.ts";
import { SHAPES } from "./ops/shapes.ts";
import { SORTING } from "./ops/sorting.ts";
import { TRIGONOMETRY } from "./ops/trigonometry.ts";

const STANDARD: Operators = Object.assign(Object.create(null), ARITHMETIC, SHAPES, ACTIVATIONS, BITS, TRIGONOMETRY, REDUCTIONS, SORTING, FILLING, INDEXING, MOVING);
const MICROSOFT: Operators = Object.assign(Object.create(null), MICROSOFT_ACTIVATIONS);

/** Domains of operators. */
const DOMAINS: { readonly [domain: string]: Operators } = { "": STANDARD, "com.microsoft": MICROSOFT };

/** Null where there is none of the name. */
export const operatorOf = (domain: string, name: string): Operator | null =>
  Object.hasOwn(DOMAINS, domain) ? (DOMAINS[domain][name] ?? null) : null;
