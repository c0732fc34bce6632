/**
 * @file GPU encoders of what reads matrices in few bits (kernels/packed/): which way a product goes, by its rows and what the device has,
 * and where the kernels read vectors.
 */
import type { PackedMatmulAttrs, PackedRowsAttrs, UnpackAttrs } from "../../plan/kernels.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, GpuFeatures, Hooks } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";
import { activationFunction, addUp, encodeProduct } from "./matmul.ts";
import { splitOf } from "./tiles.ts";

/** Most rows of a product whose time is that of reading the weights. */
export const MOST_FEW = 8;
/** Invocations of a workgroup that has four rows of weights, and how many keep a GPU waiting for memory alone. */
const MOST_LANES = 256;
const LEAST_LANES = 64;
const SOFTWARE_LANES = 32;
const BUSY = 2 ** 17;
/** What WGSL calls having dot4I8Packed, and who makes devices that have an instruction for it: elsewhere it is many. */
const INTEGER_PRODUCTS = "packed_4x8_integer_dot_product";
const MAKERS = /nvidia|amd|intel|qualcomm|arm/;
/** Elements that share a scale. */
const BLOCK = 32;
/** Invocations of kernels that make four elements each. */
const THREADS = 256;
/** Side of a workgroup of `blocks`, whose invocations make 4 x 4 elements. */
const SIDE = 16;

/** How a format is read. */
interface Read {
  /** f16 or bf16, without scales. */
  readonly halves: boolean;
  readonly constants: Constants;
  readonly hooks: Hooks;
}

function readOf(format: string, rows: number, k: number): Read {
  const halves = format === "f16" || format === "bf16";
  const constants = { N: rows, K: k, UNIT: format === "q8" ? 8 : 4, SHIFTED: format === "q4m" };
  const hooks: Hooks = halves
    ? { weights: k % 4 === 0 ? "weights_words" : "weights_lanes", widened: `half_${format}` }
    : { weights: `weights_${format}` };
  return { halves, constants, hooks };
}

const writes = (columns: number): string => (columns % 4 === 0 ? "vector_y" : "lanes_y");

interface Operands {
  readonly a: Bound | null;
  readonly b: Bound | null;
  readonly bias: Bound | null;
  readonly y: Bound | null;
}

const multipliesIntegers = ({ software, vendor, language }: GpuFeatures): boolean =>
  !software && MAKERS.test(vendor) && Boolean(language?.has(INTEGER_PRODUCTS));

/** `packedMatmul(a, b, bias?) -> y`. */
export const packedMatmul: GpuEncoder = (call, out) => {
  const attrs = call.attrs as unknown as PackedMatmulAttrs;
  const { m, k, n, format, activation } = attrs;
  // Packed matrices are never empty.
  if (m === 0) return;
  const [a, b, bias = null] = call.inputs;
  const operands = { a: read(a), b: read(b), bias: read(bias), y: write(call.outputs[0]) };
  const { halves, constants, hooks } = readOf(format, n, k);
  if (m <= MOST_FEW) return few(out, attrs, operands);
  if (!halves && multipliesIntegers(out.features)) return blocks(out, attrs, operands);
  encodeProduct(out, {
    ...operands,
    file: "packed",
    batch: 1,
    m,
    n,
    k,
    sizeY: m * n,
    columnsY: n,
    biasStride: 0,
    activation,
    constants,
    hooks: { ...hooks, load_a: k % 4 === 0 ? "vector_a" : "lanes_a", write_y: writes(n) },
  });
};

/** A power of two of invocations for four rows of `items`: as many as keep a GPU busy, of no more than find work for some steps. */
function lanesOf(groups: number, items: number, { software }: GpuFeatures): number {
  let lanes = software ? SOFTWARE_LANES : LEAST_LANES;
  while (!software && lanes < MOST_LANES && 4 * lanes <= items && 2 * lanes * groups <= BUSY) lanes *= 2;
  return lanes;
}

/** What kernels of few rows, `few` and `several` (several/packed.wgsl), are made of. `groups`: of four rows of weights. */
export function fewOf(
  { m, k, format }: { readonly m: number; readonly k: number; readonly format: string },
  groups: number,
  features: GpuFeatures,
): { readonly constants: Constants; readonly hooks: Hooks } {
  // The number of rows stands in the constants of those that need it.
  const { halves, constants, hooks } = readOf(format, 0, k);
  const inLanes = halves && k % 8 !== 0;
  // Elements of a row that are read at once.
  const each = format === "q8" || inLanes ? 4 : 8;
  const items = Math.ceil(k / each);
  const { subgroupSize } = features;
  return {
    constants: {
      ...constants,
      M: m,
      SCALED: !halves,
      LANES: lanesOf(groups, items, features),
      ITEMS: items,
      VECTORS: each / 4,
      SUBGROUP_SIZE: subgroupSize,
    },
    hooks: {
      ...hooks,
      load_a: k % 4 === 0 ? "vector_a" : "lanes_a",
      fetch: halves ? (inLanes ? "fetch_lanes" : "fetch_halves") : "fetch_units",
      widen: halves ? (inLanes ? "widen_lanes" : "widen_halves") : `widen_${format}`,
      join_few: subgroupSize > 0 ? "subgroup_few" : "tree_few",
    },
  };
}

function few(out: DispatchWriter, attrs: PackedMatmulAttrs, { a, b, bias, y }: Operands): void {
  const { n, activation } = attrs;
  const groups = Math.ceil(n / 4);
  const { constants, hooks } = fewOf(attrs, groups, out.features);
  const shader = {
    file: "packed",
    entry: "few",
    constants: { ...constants, N: n, HAS_BIAS: bias !== null },
    hooks: { ...hooks, write_y: writes(n), activate: activationFunction(activation) },
  };
  out.dispatch(shader, [a, b, bias, y, constants.SCALED === true ? b : null], groups);
}

function blocks(out: DispatchWriter, { m, k, n, format, activation }: PackedMatmulAttrs, { a, b, bias, y }: Operands): void {
  const { constants } = readOf(format, n, k);
  const units = Math.ceil(m / 4) * (k / BLOCK);
  const integers = out.temporary(units * 8 * BLOCK);
  const factors = out.temporary(units * 32);
  const file = "packed-blocks";
  out.dispatch(
    { file, entry: "quantize", constants: { ...constants, M: m } },
    [a, integers.write, factors.write],
    Math.ceil((m * k) / 4 / THREADS),
  );
  // Few rows need no high tiles.
  const high = m <= 2 * SIDE ? SIDE / 2 : SIDE;
  const groups = Math.ceil(m / (4 * high)) * Math.ceil(n / (4 * SIDE));
  const { splits, chunk } = splitOf(k, BLOCK, groups * SIDE * high, m * n);
  const parts = splits > 1 ? out.temporary(4 * splits * m * n) : null;
  out.dispatch(
    {
      file,
      entry: "blocks",
      constants: {
        ...constants,
        M: m,
        SPLITS: splits,
        CHUNK: chunk / BLOCK,
        THREADS_X: SIDE,
        THREADS_Y: high,
        ELEMENTS: m * n,
        HAS_BIAS: bias !== null,
      },
      hooks: { store_unit: `store_${format}`, write_y: writes(n), activate: activationFunction(parts ? "linear" : activation) },
    },
    [integers.read, b, bias, parts ? parts.write : y, b, factors.read],
    groups * splits,
  );
  if (parts) addUp(out, parts.read, bias, y, { splits, sizeY: m * n, columnsY: n, activation });
}

/** `packedRows(x, index) -> y`. */
export const packedRows: GpuEncoder = (call, out) => {
  const { rows, k, count, format } = call.attrs as unknown as PackedRowsAttrs;
  if (count === 0) return;
  const { constants, hooks } = readOf(format, rows, k);
  out.dispatch(
    { file: "packed-rows", entry: "gather", constants: { ...constants, COUNT: count }, hooks: { ...hooks, write_y: writes(k) } },
    [write(call.outputs[0]), read(call.inputs[0]), read(call.inputs[1])],
    Math.ceil((count * Math.ceil(k / 4)) / THREADS),
  );
};

/** `unpack(x) -> y`. */
export const unpack: GpuEncoder = (call, out) => {
  const { rows, k, format, transposed } = call.attrs as unknown as UnpackAttrs;
  const { constants, hooks } = readOf(format, rows, k);
  out.dispatch(
    { file: "packed-rows", entry: transposed ? "turned" : "unpack", constants, hooks: { ...hooks, write_y: writes(k) } },
    [write(call.outputs[0]), read(call.inputs[0])],
    Math.ceil((rows * Math.ceil(k / 4)) / THREADS),
  );
};
