/** @file GFLOP/s of square products, packing included. */
import { compile, matmul as product, open, tensor } from "lockstep";
import { median } from "./models.js";

export async function matmul() {
  const rows = [];
  for (const threads of [1, "auto"]) rows.push(...(await rates(await open("wasm", { threads }))));
  return rows;
}

async function rates(backend) {
  const rows = [];
  for (const n of [64, 256, 512, 1024]) {
    const a = tensor(new Float32Array(n * n).fill(0.5), [n, n]);
    const b = tensor(new Float32Array(n * n).fill(0.25), [n, n]);
    // Repeated inside one program, each on the last one's result, so that calls and copies do not count.
    const repeats = Math.max(1, Math.min(64, Math.round(2e8 / (2 * n ** 3))));
    const run = compile(
      () => {
        let y = a;
        for (let i = 0; i < repeats; i++) y = product(y, b);
        return y;
      },
      { backend },
    );
    await run();
    await backend.warm();
    const times = [];
    for (let i = 0; i < 12; i++) {
      const from = performance.now();
      await run();
      times.push((performance.now() - from) / repeats);
    }
    rows.push([
      `matmul ${n}, ${backend.threads} thread${backend.threads > 1 ? "s" : ""} (${backend.simd})`,
      `${((2 * n ** 3) / median(times.slice(3)) / 1e6).toFixed(1)} GFLOP/s`,
    ]);
  }
  return rows;
}
