/**
 * @file Threads in every runtime: the same trainings in Node, Deno, Bun, and in Chromium on pages and in their workers, with and without
 * threads, must end with the same bits; workers that end or cannot start must be noticed.
 */
import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeBrowser, withContext } from "../browser.js";
import { BATCH, EPOCHS, PER_RUN, SAMPLES, TOKENS } from "./body.js";
import { expected, root, runIn } from "./runtimes.js";
import { withSites } from "./site.js";

const require = createRequire(import.meta.url);

const RUNTIMES = ["node", "deno", "bun"];

/** What is true of a place where workers can be ended and can fail. */
function checkAccidents(log) {
  assert.match(log.expected, /^[0-9a-f]{64}$/);
  for (const key of ["shared", "afterEnd", "afterFailed", "recovered"]) assert.is(log[key], log.expected, key);
  for (const key of ["activeThreads", "crewAfterEnd", "crewRecovered"]) assert.is(log[key], 2, key);
  assert.is(log.endNoticed, true);
  assert.match(log.failed, /^BackendError: wasm: .*the next large program starts new workers$/);
  if (log.endedAtWork === undefined) return;
  // It may just have been through.
  if (log.endedAtWork !== log.expected) assert.match(log.endedAtWork, /^BackendError: wasm: a worker stopped: it ended/);
  assert.is(log.afterEndedAtWork, log.expected);
}

for (const runtime of RUNTIMES) {
  // One and two threads: runtimes.test.js.
  const ways = [{ threads: 3 }, { threads: 2, background: true }, { threads: 1, background: true }];
  if (runtime !== "node") ways.push({ threads: 2, webWorker: true });
  for (const options of ways) {
    test(`${runtime}: the same weights with ${JSON.stringify(options)}`, async () => {
      const { results, how } = await runIn(runtime, "train", options);
      assert.equal(results, await expected());
      assert.equal(how, {
        threads: options.threads,
        activeThreads: options.threads,
        threadsProblem: null,
        queued: options.background === true,
      });
    });
  }

  test(`${runtime}: a worker's script that is missing`, async () => {
    const { results, how } = await runIn(runtime, "train", { threads: 2, worker: join(root, "build/nowhere.js") });
    assert.equal(results, await expected());
    assert.is(how.activeThreads, 1);
    assert.match(how.threadsProblem, "nowhere.js");
  });

  for (const options of [{}, { background: true }]) {
    test(`${runtime}: workers that end and that fail, ${JSON.stringify(options)}`, async () =>
      checkAccidents(await runIn(runtime, "accidents", options)));

    test(`${runtime}: the process ends by itself with workers that wait, ${JSON.stringify(options)}`, async () => {
      assert.is((await runIn(runtime, "wait", { threads: 2, ...options })).activeThreads, 2);
    });
  }
}

/** Calls a function of test/platforms/page.js on a page of a site. */
function onPage(site, name, ...args) {
  return withSites((at) =>
    withContext(async (context) => {
      const page = await context.newPage();
      const failed = new Promise((_, fail) => {
        page.on("pageerror", fail);
        page.on("crash", () => fail(new Error("the page crashed")));
      });
      await page.goto(`${at(site)}/page`);
      return Promise.race([
        failed,
        page.evaluate(
          async ([module, f, operands]) => (await import(module))[f](...operands),
          [`${at(site)}/test/platforms/page.js`, name, args],
        ),
      ]);
    }),
  );
}

/** Steps of two of the large networks, cnn and lstm, with those of validation and of prediction before and after they are saved. */
const TRAINED = (SAMPLES * 3) / 4 / BATCH;
const LARGE_STEPS = 2 * (EPOCHS * (TRAINED + 1) + (2 * SAMPLES) / BATCH);
/** Steps of the small network, and a prediction of one sample by each of the three before. */
const SMALL_STEPS = LARGE_STEPS / 2 + 3;
/**
 * A run for each token of text, or for several, and three that read its beginnings; before and after its model is saved, and for two tokens
 * before all.
 */
const TEXT_RUNS = 2 * (3 + TOKENS + 3 + TOKENS / PER_RUN) + 3 + 2 + 3 + 1;

test("chromium, an isolated page: the workers do the work, the main thread none of it", async () => {
  const { results, how, isolated, turns, frames, calls } = await onPage("isolated", "trainHere", { threads: 2 });
  assert.equal(results, await expected());
  assert.equal(how, { threads: 2, activeThreads: 2, threadsProblem: null, queued: true });
  assert.is(isolated, true);
  // Steps of the small network and tokens are run at once; those of the others never here, neither whole nor in pieces.
  assert.equal(calls, { run: SMALL_STEPS + TEXT_RUNS, piece: 0 });
  assert.ok(turns > LARGE_STEPS, `${turns} turns of the event loop in ${LARGE_STEPS} large steps`);
  assert.ok(frames >= 2, `${frames} frames`);
});

for (const [site, options, problem] of [
  ["isolated", { threads: 1 }, null],
  ["isolated", { threads: 2, background: false }, "background: false"],
  ["plain", { threads: 2 }, "not cross-origin isolated"],
  ["plain", {}, "not cross-origin isolated"],
  ["no-workers", { threads: 2 }, "Content-Security-Policy"],
  ["missing-worker", { threads: 2 }, "not found"],
]) {
  test(`chromium, a page (${site}) with ${JSON.stringify(options)}: one thread, in slices`, async () => {
    const { results, how, turns, calls } = await onPage(site, "trainHere", options);
    assert.equal(results, await expected());
    assert.is(how.activeThreads, 1);
    if (problem === null) assert.is(how.threadsProblem, null);
    else assert.match(how.threadsProblem, problem);
    assert.is(calls.run, SMALL_STEPS + TEXT_RUNS);
    assert.ok(calls.piece > 10 * LARGE_STEPS, `${calls.piece} pieces`);
    assert.ok(turns > 10, `${turns} turns of the event loop`);
  });
}

test("chromium, a strict Content-Security-Policy: two threads", async () => {
  const { results, how } = await onPage("strict", "trainHere", { threads: 2 });
  assert.equal(results, await expected());
  assert.is(how.activeThreads, 2);
});

test("chromium: a worker's script by its address", async () => {
  const { results, how } = await onPage("missing-worker", "trainHere", { threads: 2, worker: "../isolated/build/esm/wasm/worker.js" });
  assert.equal(results, await expected());
  assert.is(how.activeThreads, 2);
});

for (const [site, options, active] of [
  ["isolated", { threads: 2 }, 2],
  ["isolated", { threads: 2, background: true }, 2],
  ["strict", { threads: 2 }, 2],
  ["plain", { threads: 2 }, 1],
]) {
  test(`chromium, a worker of a page (${site}) with ${JSON.stringify(options)}`, async () => {
    const { results, how, error } = await onPage(site, "trainInWorker", options);
    assert.is(error, undefined);
    assert.equal(results, await expected());
    assert.is(how.activeThreads, active);
    assert.is(how.queued, options.background === true);
  });
}

test("chromium: workers that end and that fail", async () => checkAccidents(await onPage("isolated", "accidentsHere")));

for (const flags of [[], ["nodejs_compat"]]) {
  test(`workerd ${flags}: one thread, without a try`, async () => {
    const config = join(tmpdir(), `lockstep-${process.pid}-${flags.length}.capnp`);
    const file = (name) => `(name = "${name}", esModule = ${JSON.stringify(readFileSync(join(root, "build/esm", name), "utf8"))})`;
    const main =
      `import { arrange } from "./wasm/threads.js"; export default { test: () => console.log("ARRANGED " + ` +
      `JSON.stringify([arrange("auto"), arrange(1), arrange(4)])) };`;
    writeFileSync(
      config,
      `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = (
  compatibilityDate = "2026-01-01", compatibilityFlags = ${JSON.stringify(flags)},
  modules = [(name = "main.js", esModule = ${JSON.stringify(main)}), ${file("wasm/threads.js")}, ${file("errors.js")}]))]);
`,
    );
    const output = await new Promise((done, fail) => {
      const child = spawn(require("workerd").default, ["test", config], { timeout: 60_000 });
      let text = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (d) => (text += d));
      child.on("error", fail);
      child.on("close", () => done(text));
    }).finally(() => rmSync(config));
    const [, json] = /ARRANGED (.*)/.exec(output) ?? assert.unreachable(output);
    for (const { workers, queued, problem } of JSON.parse(json).filter((_, i) => i !== 1))
      assert.equal({ workers, queued, problem }, { workers: 0, queued: false, problem: "workerd has no threads" });
    assert.equal(JSON.parse(json)[1], { threads: 1, workers: 0, queued: false, problem: null });
  });
}

test.after(closeBrowser);
test.run();
