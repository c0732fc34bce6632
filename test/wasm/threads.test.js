/** @file Threads: the same bits for any number of them, and a pool that survives its workers. */
import { createHash } from "node:crypto";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MODELS } from "../../bench/models.js";
import { compile, exp, matmul, open, slice, tensor } from "lockstep";

const workers = createRequire(import.meta.url)("node:worker_threads");
const started = [];
/** What a worker is told at its start, changed by the test that wants it to fail. */
let tamper = (start) => start;
class Observed extends workers.Worker {
  constructor(...args) {
    super(...args);
    started.push(this);
  }

  postMessage(message, ...rest) {
    super.postMessage(tamper(message), ...rest);
  }
}
workers.Worker = Observed;
syncBuiltinESMExports();

async function fingerprint(model) {
  const hash = createHash("sha256");
  for (const w of await model.getWeights()) hash.update(Buffer.from((await w.data()).buffer));
  return hash.digest("hex");
}

const noise = (n, seed) => Float32Array.from({ length: n }, (_, i) => (((i + seed) * 7919) % 10007) / 10007 - 0.5);

async function trained(name, backend) {
  const m = MODELS[name];
  const samples = 96;
  const model = m.make();
  await model.compile({ loss: m.compile.loss, optimizer: m.compile.optimizer(), metrics: ["mae"], backend });
  const x = tensor(noise(samples * m.input.reduce((a, b) => a * b, 1), 1), [samples, ...m.input]);
  const y = m.target(samples);
  const { history } = await model.fit(x, tensor(y.data, y.shape), { epochs: 2, batchSize: 32, seed: 3, verbose: 0 });
  await backend.warm();
  await model.fit(x, tensor(y.data, y.shape), { initialEpoch: 2, epochs: 4, batchSize: 32, seed: 3, verbose: 0 });
  return { weights: await fingerprint(model), history };
}

for (const reproducible of [true, false]) {
  for (const name of Object.keys(MODELS)) {
    test(`${name}${reproducible ? ", reproducible" : ""}: the same weights with 1, 2 and 3 threads`, async () => {
      const results = [];
      for (const threads of [1, 2, 3]) {
        const backend = await open("wasm", { threads, reproducible });
        assert.is(backend.threads, threads);
        results.push(await trained(name, backend));
        backend.close();
      }
      assert.equal(results[1], results[0]);
      assert.equal(results[2], results[0]);
    });
  }
}

const a = tensor(noise(256 * 256, 5), [256, 256]);
// A product whose pieces any thread may take, and a small map that is always the last one's.
const product = async (backend) => {
  const [y] = await compile((x) => [matmul(x, matmul(x, x)), exp(slice(x, [0, 0], [1, 256]))], { backend })(a);
  return y.data();
};

test("workers start with the first large program, not before", async () => {
  const before = started.length;
  const backend = await open("wasm", { threads: 2 });
  await compile((x) => matmul(x, x), { backend })(tensor([[1, 2], [3, 4]]));
  assert.is(started.length, before);
  await product(backend);
  await backend.warm();
  assert.is(started.length, before + 1);
  backend.close();
});

test("no memory for workers: one thread does all, and says why", async () => {
  const { warn } = console;
  const said = [];
  console.warn = (text) => said.push(text);
  try {
    const backend = await open("wasm", { threads: 4, maxBytes: 4 * 2 ** 20 });
    const expected = await product(backend);
    await backend.warm();
    assert.equal(await product(backend), expected);
    assert.is(backend.activeThreads, 1);
    assert.match(backend.threadsProblem, /out of memory: 3145792 bytes wanted/);
    assert.match(said.join("\n"), /one thread does all: wasm: out of memory/);
    backend.close();
  } finally {
    console.warn = warn;
  }
});

test("a worker that dies while idle: work goes on, and the next large program has a new one", async () => {
  const backend = await open("wasm", { threads: 2 });
  const expected = await product(backend);
  await backend.warm();
  const count = started.length;
  await started.at(-1).terminate();
  assert.equal(await product(backend), expected);
  await backend.warm();
  assert.is(started.length, count + 1);
  assert.equal(await product(backend), expected);
  backend.close();
});

test("a worker that traps: the run fails with an error, nothing hangs, and the pool recovers", async () => {
  const backend = await open("wasm", { threads: 2 });
  const single = await open("wasm", { threads: 1 });
  const expected = await product(single);
  // Working memory behind the end of linear memory.
  tamper = (start) => ({ ...start, scratch: 0xfff00000 });
  await product(backend);
  await backend.warm();
  tamper = (start) => start;
  try {
    await product(backend);
    assert.unreachable("the run went through");
  } catch (error) {
    assert.is(error.name, "BackendError", error.stack);
    assert.match(error.message, "a worker stopped");
  }
  assert.equal(await product(backend), expected);
  await backend.warm();
  assert.equal(await product(backend), expected);
  backend.close();
  single.close();
});

test("open: threads out of range", async () => {
  for (const threads of [0, -1, 1.5, 65, "two"]) {
    try {
      await open("wasm", { threads });
      assert.unreachable();
    } catch (error) {
      assert.is(error.name, "ArgumentError");
    }
  }
});

test("the process ends by itself with workers waiting", async () => {
  const { spawnSync } = await import("node:child_process");
  const code =
    `import { compile, matmul, open, zeros } from "lockstep"; const b = await open("wasm", { threads: 2 }); const f = compile((x) => ` +
    `matmul(x, x)); await f(zeros([512, 512])); await b.warm(); await f(zeros([512, 512])); console.log("done");`;
  const { status, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
    timeout: 30000,
  });
  assert.is(stdout, "done\n");
  assert.is(status, 0);
});

test.run();
