/** @file Matrices of which `several` (several.ts) multiplies some at once: those in few bits, and those in f32. */
import type { MatmulAttrs, PackedMatmulAttrs } from "../../plan/kernels.ts";
import { fewOf } from "./packed.ts";
import type { Family } from "./several.ts";

/** Packed [n, k]. */
export const PACKED: Family = {
  kernel: "packedMatmul",
  several: "packedProducts",
  element: "u32",
  fits: (attrs) => {
    const { k, format } = attrs as unknown as PackedMatmulAttrs;
    return k % (/16/.test(format) ? 8 : 1) === 0;
  },
  shaderOf: ({ m, k, format = "" }, vectors, features) => {
    const { constants, hooks } = fewOf({ m, k, format }, vectors, features);
    const itemOf = constants.SCALED === true ? "item_units" : "item_halves";
    return { file: "packed", across: 1, constants, hooks: { ...hooks, item_of: itemOf } };
  },
};

/** Vectors of columns that a workgroup makes, which neighbours read: lines of a cache, or halves of them. */
const ACROSS = 8;
const LEAST_ACROSS = 4;
/** Workgroups that are enough for a GPU, and invocations of one; how many there are in all that keep a GPU waiting for memory alone. */
const ENOUGH = 256;
const [LEAST_THREADS, MOST_THREADS] = [256, 512];
const BUSY = 2 ** 17;

/** f32 [k, n]. Adapters that are software keep the bits of products that stand alone. */
export const DENSE: Family = {
  kernel: "matmul",
  several: "denseProducts",
  element: "f32",
  fits: (attrs, { software }) => {
    const { batch, k, transposeA, transposeB } = attrs as unknown as MatmulAttrs;
    return !software && batch === 1 && k > 0 && k % 4 === 0 && !transposeA && !transposeB;
  },
  shaderOf: ({ m, k }, vectors, { subgroupSize, maxWorkgroupSize }) => {
    const across = vectors >= ACROSS * ENOUGH ? ACROSS : LEAST_ACROSS;
    const most = Math.min(MOST_THREADS, maxWorkgroupSize);
    let threads = LEAST_THREADS;
    while (2 * threads <= most && 4 * threads <= k * across && (threads * vectors) / across < BUSY) threads *= 2;
    return {
      file: "dense",
      across,
      constants: { M: m, K: k, ACROSS: across, LANES: threads / across, SUBGROUP_SIZE: subgroupSize },
      hooks: { join_few: subgroupSize > 0 ? "subgroup_lanes" : "tree_lanes" },
    };
  },
};
