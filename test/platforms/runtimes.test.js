/**
 * @file The same in every runtime: networks of each kind trained with one and two threads, saved, loaded and asked, with the same bits
 * everywhere. Node (the running one, 24 and 26), Deno, Bun and workerd are here; Chromium, on pages and in their workers, in
 * threads.test.js against the same hashes.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { modules, program } from "../../examples/edge/serve.js";
import { expected, golden, newerNodes, root, runIn } from "./runtimes.js";

const nodes = newerNodes();
if (nodes.length === 0) for (const version of [24, 26]) test.skip(`node-${version}: installed on Linux x64 only`);

const runtimes = ["node", ...nodes, "deno", "bun"];

test("what is loaded predicts what was saved", async () => {
  const { story, ...trained } = await expected();
  for (const { loaded, weights, predictions } of Object.values(trained)) assert.equal(loaded, { weights, predictions });
});

test("a trained Llama says what it is known to say, in few bits too", async () => {
  const { story } = await expected();
  for (const weights of ["f32", "f16"]) assert.equal(story[weights].ids, golden.greedy_ids, weights);
  // In fewer bits it goes another way after a while.
  for (const [weights, same] of [["q8", 30], ["q4", 3]])
    assert.equal(story[weights].ids.slice(0, same), golden.greedy_ids.slice(0, same), weights);
});

for (const runtime of runtimes) {
  for (const threads of [1, 2]) {
    test(`${runtime}: the same weights with threads: ${threads}, models in files`, async () => {
      const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
      try {
        const { results, how } = await runIn(runtime, "train", { threads, folder });
        assert.equal(results, await expected());
        assert.equal(how, { threads, activeThreads: threads, threadsProblem: null, queued: false });
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
}

for (const runtime of nodes) {
  test(`${runtime}: relaxed SIMD, unless reproducible`, async () => {
    assert.is(await runIn(runtime, "simd", {}), "relaxed");
    assert.is(await runIn(runtime, "simd", { reproducible: true }), "plain");
  });
}

test("workerd: the same weights, one thread", async () => {
  const out = join(root, "build/workerd-suite");
  mkdirSync(out, { recursive: true });
  const contents =
    `import { trainAll } from "./body.js"; export default { test: async () => console.log("TRAINED " + JSON.stringify([await ` +
    "trainAll({ threads: 1 }), await trainAll({ threads: 2 })])) };";
  await build({
    stdin: { contents, resolveDir: join(root, "test/platforms") },
    bundle: true,
    format: "esm",
    outfile: join(out, "worker.js"),
    conditions: ["workerd"],
    plugins: [modules(out)],
    logLevel: "error",
  });
  writeFileSync(
    join(out, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (compatibilityDate = "2025-09-01", modules = [
  (name = "worker.js", esModule = embed "worker.js"), (name = "plain.wasm", wasm = embed "plain.wasm"),
  (name = "relaxed.wasm", wasm = embed "relaxed.wasm"),
]))]);
`,
  );
  const output = await new Promise((done, fail) => {
    const child = spawn(program, ["test", "config.capnp"], { cwd: out, timeout: 120_000 });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (d) => (text += d));
    child.on("error", fail);
    child.on("close", () => done(text));
  });
  const [, json] = /TRAINED (.*)/.exec(output) ?? assert.unreachable(output);
  const [one, two] = JSON.parse(json);
  assert.equal(one, { results: await expected(), how: { threads: 1, activeThreads: 1, threadsProblem: null, queued: false } });
  assert.equal(two.results, await expected());
  assert.is(two.how.activeThreads, 1);
});

test.run();
