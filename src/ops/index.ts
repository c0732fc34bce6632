/** @file The table of all ops, for the completeness test and tools. Nothing in the library reads it, so bundlers drop what is not used. */
import type { Op } from "../graph.ts";
import * as attention from "./attention.ts";
import * as conv from "./conv.ts";
import * as gather from "./gather.ts";
import * as map from "./map.ts";
import * as matmul from "./matmul.ts";
import * as move from "./move.ts";
import * as norm from "./norm.ts";
import * as pool from "./pool.ts";
import * as random from "./random.ts";
import * as recurrent from "./recurrent.ts";
import * as reduce from "./reduce.ts";
import * as rotary from "./rotary.ts";
import * as scatter from "./scatter.ts";
import * as softmax from "./softmax.ts";
import * as threshold from "./threshold.ts";

function isOp(value: unknown): value is Op {
  return typeof value === "object" && value !== null && "infer" in value && "vjp" in value && "lower" in value;
}

/** Ops by family: the family is the file in src/ops and, with the same name, in assembly and test/ops. */
export const OPS: { readonly [family: string]: readonly Op[] } = Object.fromEntries(
  Object.entries({
    map,
    reduce,
    matmul,
    conv,
    pool,
    softmax,
    norm,
    gather,
    move,
    random,
    recurrent,
    rotary,
    scatter,
    threshold,
    attention,
  }).map(([family, module]) => [family, Object.values(module).filter(isOp)]),
);
