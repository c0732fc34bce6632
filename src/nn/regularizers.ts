/** @file Weight penalties with the semantics of Keras 3 (https://keras.io/api/layers/regularizers/) that add to the loss. */
import { ArgumentError } from "../errors.ts";
import { abs, add, mul, square } from "../ops/map.ts";
import { sum } from "../ops/reduce.ts";
import type { Tensor } from "../tensor.ts";
import type { Regularizer } from "./layer.ts";
import { TRAINING } from "../training.ts";

/** What regularizer options take: a function, a name (factor 0.01), the factors, or null for none. */
export type RegularizerOption = Regularizer | "l1" | "l2" | "l1l2" | { readonly l1?: number; readonly l2?: number } | null;

/** l1 * sum(|w|) + l2 * sum(w^2). Defaults 0. @throws ArgumentError unless both are finite and not negative. */
export function l1l2(l1 = 0, l2 = 0): Regularizer {
  for (const factor of [l1, l2]) {
    if (!Number.isFinite(factor) || factor < 0)
      throw new ArgumentError(`regularizer: a factor must be a number >= 0, got ${String(factor)}`);
  }
  const penalty = (w: Tensor): Tensor => {
    if (!TRAINING) return w;
    const first = l1 === 0 ? null : mul(sum(abs(w)), l1);
    const second = l2 === 0 ? null : mul(sum(square(w)), l2);
    return first === null ? (second ?? mul(sum(w), 0)) : second === null ? first : add(first, second);
  };
  return Object.assign(penalty, { config: { l1, l2 } });
}

/** factor * sum(|w|). Default 0.01. */
export const l1 = (factor = 0.01): Regularizer => l1l2(factor, 0);
/** factor * sum(w^2). Default 0.01. */
export const l2 = (factor = 0.01): Regularizer => l1l2(0, factor);

const BY_NAME = { l1: l1(), l2: l2(), l1l2: l1l2(0.01, 0.01) } as const;

/** The regularizer of an option. @throws ArgumentError for another name or kind of value. */
export function regularizer(option: RegularizerOption): Regularizer | null {
  if (option === null || typeof option === "function") return option;
  if (typeof option === "string" && Object.hasOwn(BY_NAME, option)) return BY_NAME[option];
  if (typeof option === "object" && Object.keys(option).every((key) => key === "l1" || key === "l2")) return l1l2(option.l1, option.l2);
  throw new ArgumentError(`regularizer: expected a function, "l1", "l2", "l1l2", { l1, l2 } or null; got ${JSON.stringify(option)}`);
}
