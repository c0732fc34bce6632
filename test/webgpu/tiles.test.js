/**
 * @file Products by every tile of workgroups that a GPU gets, which a software adapter has no need of: it passes for a GPU here, without
 * subgroups.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { matmul } from "../../build/esm/ops/matmul.js";
import { encode } from "../../build/esm/webgpu/program.js";
import { assertClose, f, magnitudes, prepare, reference, runOnce, traceForward, ULP } from "../ops/harness.js";
import { openMasked } from "./gpu.js";

const gpu = await openMasked({ software: false, without: ["subgroups"] });

const constant = (text, name) => Number(new RegExp(`\\b${name}\\s*(?::\\s*u32)?\\s*=\\s*(\\d+)`).exec(text)[1]);

/** Rows, columns and depth of a product for which a tile is taken, and that tile. One past a multiple of the tile, and whole vectors. */
const PRODUCTS = [
  { m: 33, n: 17, k: 17, tile: "4x4 by 8x8, 16" },
  { m: 28, n: 20, k: 20, tile: "4x4 by 8x8, 16" },
  { m: 897, n: 25, k: 17, tile: "4x4 by 8x32, 8" },
  { m: 1000, n: 24, k: 12, tile: "4x4 by 8x32, 8" },
  { m: 129, n: 193, k: 33, tile: "4x4 by 16x16, 16" },
  { m: 128, n: 196, k: 32, tile: "4x4 by 16x16, 16" },
  { m: 32769, n: 61, k: 9, tile: "8x8 by 8x16, 8" },
  { m: 32772, n: 60, k: 12, tile: "8x8 by 8x16, 8" },
  { m: 1409, n: 1401, k: 9, tile: "8x8 by 16x16, 8" },
  { m: 1412, n: 1404, k: 8, tile: "8x8 by 16x16, 8" },
];

for (const { m, n, k, tile } of PRODUCTS) {
  for (const [transposeA, transposeB] of m < 50
    ? [[false, false], [true, false], [false, true], [true, true]]
    : [[n % 2 === 0, n % 2 === 0]]) {
    test(`${m}x${k} by ${k}x${n}${transposeA ? ", A transposed" : ""}${transposeB ? ", B transposed" : ""}: ${tile}`, async () => {
      const c = {
        inputs: [f(transposeA ? [k, m] : [m, k]), f(transposeB ? [n, k] : [k, n])],
        fn: (a, b) => matmul(a, b, { transposeA, transposeB }),
      };
      const traced = traceForward(c);
      const program = await prepare(gpu, traced.graph, traced.results);
      const [product] = encode(program.plan, gpu.features).dispatches;
      const [rows, columns, x, y, step] = ["ROWS", "COLUMNS", "THREADS_X", "THREADS_Y", "TILE_K"].map((name) =>
        constant(product.text, name),
      );
      assert.is(`${rows}x${columns} by ${x}x${y}, ${step}`, tile);
      const [got] = await program.run(traced.data);
      program.close();
      const [[want], [scale]] = [await runOnce(reference, traced), await runOnce(reference, magnitudes(traced))];
      assertClose(got, want, "f32", { tolerance: 40 * ULP, scale });
    });
  }
}

test.after(() => gpu.close());
test.run();
