/**
 * @file A checkpoint in every runtime: Node, Deno, Bun, workerd and a page in Chromium encode the same ids and write the same text, from
 * files, bytes and addresses, with a cache and without.
 */
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { modules, program } from "../../examples/edge/serve.js";
import { closeBrowser, withContext } from "../browser.js";
import { json, modelPath } from "../models/index.js";
import { written } from "./checkpoint.js";
import { root, runIn } from "./runtimes.js";
import { withSites } from "./site.js";

test.after(closeBrowser);

const GGUF = "test/models/gguf/stories260K-q4_0.gguf";
const PROMPTS = ["Once upon a time", 'Tom saw a café. "Hello!"'];
const TOKENS = 30;
const expected = await written(join(root, GGUF), PROMPTS, TOKENS);
const stories = modelPath("llama/stories260K");

test("node writes a story", () => assert.match(expected[0].text, /^, there was a little girl/));

for (const runtime of ["deno", "bun"])
  test(`${runtime}: the same ids and text`, async () => {
    const options = { source: join(root, GGUF), prompts: PROMPTS, maxTokens: TOKENS };
    assert.equal(await runIn(runtime, "text", options), expected);
  });

if (stories !== null)
  for (const runtime of ["node", "deno", "bun"])
    test(`${runtime}: greedy text of the trained Llama`, async () => {
      const [{ prompt, prompt_ids: encoded, greedy_ids: ids, text }] = json(`${stories}/golden.json`).cases;
      const options = { source: stories, prompts: [prompt], maxTokens: ids.length };
      assert.equal(await runIn(runtime, "text", options), [{ encoded, ids, text }]);
    });

test("workerd: the same ids and text, of bytes in the deployment", async () => {
  const out = join(root, "build/workerd-checkpoint");
  mkdirSync(out, { recursive: true });
  const contents = `import * as tokenizers from "@huggingface/tokenizers";
    import { written } from "./checkpoint.js";
    import model from "./model.gguf";
    export default { test: async () =>
      console.log("WRITTEN " + JSON.stringify(await written(new Uint8Array(model), ${JSON.stringify(PROMPTS)}, ${TOKENS}, { tokenizers }))) };`;
  const ggufs = { name: "gguf", setup: (b) => b.onResolve({ filter: /\.gguf$/ }, ({ path }) => ({ path, external: true })) };
  await build({
    stdin: { contents, resolveDir: join(root, "test/platforms") },
    bundle: true,
    format: "esm",
    outfile: join(out, "worker.js"),
    conditions: ["workerd"],
    plugins: [modules(out), ggufs],
    logLevel: "error",
  });
  copyFileSync(join(root, GGUF), join(out, "model.gguf"));
  writeFileSync(
    join(out, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (compatibilityDate = "2025-09-01", modules = [
  (name = "worker.js", esModule = embed "worker.js"), (name = "plain.wasm", wasm = embed "plain.wasm"),
  (name = "relaxed.wasm", wasm = embed "relaxed.wasm"), (name = "model.gguf", data = embed "model.gguf"),
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
  const [, line] = /WRITTEN (.*)/.exec(output) ?? assert.unreachable(output);
  assert.equal(JSON.parse(line), expected);
});

test("Chromium: the same ids and text, of an address, and of the cache where there is no server", async () => {
  await withSites((site) =>
    withContext(async (context) => {
      const page = await context.newPage();
      await page.goto(`${site("isolated")}/page`);
      const run = (cache) =>
        page.evaluate(
          async ({ base, gguf, prompts, maxTokens, cache: keep }) => {
            const { written: write } = await import(`${base}/test/platforms/checkpoint.js`);
            const tokenizers = await import(`${base}/node_modules/@huggingface/tokenizers/dist/tokenizers.mjs`);
            return write(`${base}/${gguf}`, prompts, maxTokens, { tokenizers, cache: keep });
          },
          { base: site("isolated"), gguf: GGUF, prompts: PROMPTS, maxTokens: TOKENS, cache },
        );
      assert.equal(await run(false), expected);
      assert.equal(await run(true), expected);
      await context.route("**/*.gguf", (route) => route.abort());
      assert.equal(await run(true), expected);
    }),
  );
});

test.run();
