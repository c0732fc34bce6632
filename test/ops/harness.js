/**
 * @file What op tests share. A case is data: `{ op, name, inputs, fn, ... }` with
 * - `op`: the name of the op record that it is a case of (src/ops), `name`: what is special about it
 * - `inputs`: specs made by `f`, `i`, `u`, `b`, `bytes` or `values`; `fn(...tensors)` gives a tensor or a list of tensors
 * - `grad`: false where the case is not differentiated although its op has a rule (ties, kinks, integers, empty tensors)
 * - `tolerance`: largest relative error of f32 results (default 8 ulp); `accumulates`: relative to what the case gives for
 *   the inputs' magnitudes, which is the condition of a sum of products, instead of relative to the element itself
 * - `gradTolerance`: largest error of f32 gradients relative to the largest element of a gradient
 */
import * as assert from "uvu/assert";
import { allocate } from "../../build/esm/dtype.js";
import { gradients } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { open } from "../../build/esm/init.js";
import { OPS } from "../../build/esm/ops/index.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { Packer } from "../../build/esm/packed/pack.js";
import { packedStorage } from "../../build/esm/packed/storage.js";
import { buildPlan } from "../../build/esm/plan/build.js";
import { sizeOf } from "../../build/esm/shape.js";
import { referenceBackend } from "../reference/index.js";

export const ULP = 2 ** -23;

/** A repeatable source of numbers in [0, 1). */
export function randomSource(seed) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state ^ (state >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** f32 in [low, high), all different and, for ranges around 0, none near 0: away from kinks and ties. */
export const f = (shape, low = -2, high = 2) => ({ shape, dtype: "f32", low, high });
export const i = (shape, low = -9, high = 9) => ({ shape, dtype: "i32", low, high });
export const u = (shape, low = 0, high = 18) => ({ shape, dtype: "u32", low, high });
/** i32 that is stored as bytes. */
export const bytes = (shape, low = 0, high = 255) => ({ shape, dtype: "i32", storage: "u8", low, high });
/** A packed matrix, whose products sum over `axis`: of numbers in [-1, 1), never differentiated. */
export const packed = (shape, format, axis = 0) => {
  const [rows, k] = axis === 0 ? [shape[1], shape[0]] : shape;
  return { shape, dtype: "f32", storage: packedStorage(format, rows, k, axis === 0, () => null), fixed: true };
};
export const b = (shape) => ({ shape, dtype: "bool", low: 0, high: 1 });
export const values = (list, dtype = "f32", shape = [list.length]) => ({ shape, dtype, list });
/** The same input, not differentiated. */
export const fixed = (spec) => ({ ...spec, fixed: true });

/** The elements of input `k` of a case: a Float64Array of f32 numbers, or integers in their own type. */
function elementsOf(spec, k) {
  const n = sizeOf(spec.shape);
  if (spec.list)
    return spec.dtype === "f32" ? Float64Array.from(spec.list, Math.fround) : allocate(spec.dtype, n).map((_, j) => spec.list[j]);
  const random = randomSource(n * 31 + k * 7 + 1);
  if (typeof spec.storage === "object") return packedBytes(spec, random);
  if (spec.dtype !== "f32")
    return (spec.storage ? new Uint8Array(n) : allocate(spec.dtype, n)).map(
      () => spec.low + Math.floor(random() * (spec.high - spec.low + 1)),
    );
  const order = Array.from({ length: n }, (_, j) => j);
  for (let j = n - 1; j > 0; j--) {
    const at = Math.floor(random() * (j + 1));
    [order[j], order[at]] = [order[at], order[j]];
  }
  const offset = 0.29 + 0.11 * (k % 5);
  return Float64Array.from(order, (place) => Math.fround(spec.low + ((place + offset) / n) * (spec.high - spec.low)));
}

function packedBytes({ storage }, random) {
  const packer = new Packer(storage.format, storage.rows, storage.k);
  for (let r = 0; r < storage.rows; r++)
    packer.row(
      r,
      Float32Array.from({ length: storage.k }, () => 2 * random() - 1),
    );
  return packer.bytes;
}

const listOf = (x) => (Array.isArray(x) ? x : [x]);

/** A traced case: its graph, results and inputs' elements. */
export function traceForward(c) {
  const graph = new Graph();
  const results = trace(graph, () => listOf(c.fn(...c.inputs.map((spec) => graph.input(spec)))));
  return { graph, results, data: c.inputs.map(elementsOf) };
}

/** Inputs that gradients are taken for. */
export const targetsOf = (c) => c.inputs.flatMap((spec, k) => (spec.dtype === "f32" && !spec.fixed ? [k] : []));

const rules = new Map(
  Object.values(OPS)
    .flat()
    .map((op) => [op.name, op.vjp]),
);

/** True for cases that are differentiated: the op has a rule, and the case is not exempt for a reason that it states. */
export const hasGradient = (c) => c.grad !== false && Boolean(rules.get(c.op)) && targetsOf(c).length > 0;

/** The traced gradients of sum(results * cotangents); cotangents are further inputs. Results: the loss, then the gradients. */
export function traceGradient(c) {
  const graph = new Graph();
  const cotangents = [];
  const results = trace(graph, () => {
    const inputs = c.inputs.map((spec) => graph.input(spec));
    const parts = listOf(c.fn(...inputs))
      .filter((y) => y.dtype === "f32")
      .map((y) => {
        const spec = { shape: y.shape, dtype: "f32", low: -1, high: 1 };
        cotangents.push(spec);
        return sum(mul(y, graph.input(spec)));
      });
    const loss = parts.reduce((a, part) => add(a, part));
    return [
      loss,
      ...gradients(
        loss,
        targetsOf(c).map((k) => inputs[k]),
      ),
    ];
  });
  return { graph, results, data: [...c.inputs.map(elementsOf), ...cotangents.map((spec, k) => elementsOf(spec, k + 3))] };
}

const HOST = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };

/** A compiled graph on a backend, called with the inputs' elements; on the reference nothing is rounded to f32. */
export async function prepare(backend, graph, results) {
  const plan = buildPlan(graph, results, backend.limits);
  const program = await backend.compile(plan);
  const buffers = plan.bindings.map((binding) => backend.alloc(binding.bytes));
  const first = buffers.length - results.length;
  return {
    plan,
    async run(data) {
      data.forEach((x, k) =>
        backend.write(buffers[k], 0, x instanceof Float64Array && backend.name !== "reference" ? Float32Array.from(x) : x),
      );
      backend.run(program, buffers);
      return Promise.all(
        results.map(async (t, k) => {
          if (backend.name === "reference") return Float64Array.from(backend.values(buffers[first + k]));
          return new HOST[t.dtype](await backend.read(buffers[first + k], 0, t.size * 4));
        }),
      );
    },
    close() {
      program.close();
      for (const buffer of buffers) backend.free(buffer);
    },
  };
}

/** One run of a traced graph. */
export async function runOnce(backend, { graph, results, data }) {
  const prepared = await prepare(backend, graph, results);
  const values = await prepared.run(data);
  prepared.close();
  return values;
}

export const reference = referenceBackend();
/** The build for reproducible results and the one that is opened by default. */
export const wasms = [await open("wasm", { reproducible: true }), await open("wasm")];

/**
 * Every f32 element within `tolerance` of the wanted one, relative to `scale` (the wanted one itself where null); NaN only for NaN,
 * infinity where the wanted number rounds to it. `smallest` is the least error allowed anywhere. Other dtypes are equal.
 */
export function assertClose(got, want, dtype, { tolerance = 8 * ULP, scale = null, what = "", smallest = 2 ** -149 } = {}) {
  assert.is(got.length, want.length, what);
  for (let k = 0; k < got.length; k++) {
    const rounded = dtype === "f32" ? Math.fround(want[k]) : want[k];
    if (dtype !== "f32" || !Number.isFinite(rounded)) {
      if (!Object.is(got[k], rounded)) assert.unreachable(`${what}[${k}]: got ${got[k]}, expected ${rounded}`);
      continue;
    }
    const bound =
      tolerance * Math.max(Math.abs(want[k]), scale === null ? 0 : typeof scale === "number" ? scale : Math.abs(scale[k])) + smallest;
    // Written so that NaN fails.
    if (!(Math.abs(got[k] - want[k]) <= bound)) assert.unreachable(`${what}[${k}]: got ${got[k]}, expected ${want[k]} within ${bound}`);
  }
}

/** The case with the magnitudes of its f32 inputs. */
export function magnitudes({ graph, results, data }) {
  return { graph, results, data: data.map((x) => (x instanceof Float64Array ? x.map(Math.abs) : x)) };
}

export const maxAbs = (list) => list.reduce((m, x) => Math.max(m, Math.abs(x)), 0);

/** All cases, by family. */
export const FAMILIES = Object.keys(OPS);
export async function allCases() {
  const loaded = await Promise.all(FAMILIES.map(async (family) => [family, (await import(`./${family}.js`)).cases]));
  return Object.fromEntries(loaded);
}
