/**
 * @file The arithmetic limit, under the contract of `worker.js`: multiply-adds on registers alone, 12 independent accumulators (two
 * operations a cycle of 4 cycles latency need 8; with the two operands 14 of V8's 15 vector registers are in use). Rates count as those of
 * the task that is being measured.
 */
import { TASKS } from "./workloads.js";

const CHAINS = 12;
const LOOPS = 100000;
const FLOPS = LOOPS * CHAINS * 8;

const [V128, I32, F32] = [0x7b, 0x7f, 0x7d];
const [GET, SET, SIMD] = [0x20, 0x21, 0xfd];
const vector = (...parts) => [parts.length, ...parts.flat()];
function leb(n) {
  return n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)];
}
const section = (id, content) => [id, ...leb(content.length), ...content];
const constant = (value) => [0x43, ...new Uint8Array(Float32Array.of(value).buffer), SIMD, 0x13]; // f32.const, f32x4.splat

/** (loops: i32) -> f32. acc = acc * x + y, fused (`f32x4.relaxed_madd`) or as two instructions. */
export function fmaModule(relaxed) {
  const [X, Y, first] = [1, 2, 3];
  const accumulators = Array.from({ length: CHAINS }, (_, i) => first + i);
  const step = (a) =>
    relaxed ? [GET, a, GET, X, GET, Y, SIMD, 0x85, 0x02, SET, a] : [GET, a, GET, X, SIMD, 0xe6, 0x01, GET, Y, SIMD, 0xe4, 0x01, SET, a];
  const code = [
    1,
    2 + CHAINS,
    V128,
    ...constant(0.999),
    SET,
    X,
    ...constant(0.001),
    SET,
    Y,
    ...accumulators.flatMap((a) => [...constant(a / 8), SET, a]),
    0x03,
    0x40, // loop
    ...accumulators.flatMap(step),
    GET,
    0,
    0x41,
    1,
    0x6b,
    0x22,
    0,
    0x0d,
    0, // loops - 1, local.tee, br_if
    0x0b,
    ...accumulators.slice(1).reduce((sum, a) => [...sum, GET, a, SIMD, 0xe4, 0x01], [GET, first]),
    SIMD,
    0x1f,
    0, // f32x4.extract_lane 0
    0x0b,
  ];
  return Uint8Array.from([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, vector([0x60, 1, I32, 1, F32])),
    ...section(3, vector([0])),
    ...section(7, vector([3, 0x66, 0x6d, 0x61, 0, 0])),
    ...section(10, vector([...leb(code.length), ...code])),
  ]);
}

export async function start({ relaxed }) {
  const { instance } = await WebAssembly.instantiate(fmaModule(relaxed));
  return {
    version: `register-only multiply-adds, ${relaxed ? "relaxed (fused)" : "plain"} SIMD`,
    prepare: (kind, of) => {
      const task = TASKS[`${kind} ${of}`];
      // acc tends to y / (1 - x) = 1 in each of the chains.
      return {
        values: [instance.exports.fma(LOOPS) / CHAINS],
        close: () => {},
        unit: () => (instance.exports.fma(LOOPS), FLOPS / task.flops),
      };
    },
  };
}
