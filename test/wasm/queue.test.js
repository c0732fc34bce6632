/**
 * @file The queue of a backend whose owner may not wait: order, bounds, failures; with workers, and on the calling thread where they cannot
 * start.
 */
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { calls } from "../platforms/calls.js";
import { failing, noise, product, ready, train, until } from "../platforms/body.js";
import { add, assign, compile, matmul, open, tensor, zeros } from "../../build/esm/index.js";
import { Graph, symbolOf, trace } from "../../build/esm/graph.js";
import { Executable } from "../../build/esm/run.js";

const script = new URL("../../build/esm/wasm/worker.js", import.meta.url);
const start = () => new Worker(script);

/** Ways to do the entries, with what they are to be like. */
const WAYS = {
  "two workers": { threads: 2, background: true },
  "one worker": { threads: 1, background: true },
  "this thread": {
    threads: 2,
    background: true,
    worker: () => {
      throw new Error("no worker today");
    },
  },
};

/** Workers that count the orders that the one that leads has not answered. */
function counting() {
  const ahead = {
    waiting: [],
    most: 0,
    start: () => {
      const worker = start();
      const post = worker.postMessage.bind(worker);
      worker.postMessage = (message) => {
        if (message.kind !== undefined) ahead.waiting.push(message.kind);
        ahead.most = Math.max(ahead.most, ahead.waiting.filter((kind) => kind === "run").length);
        post(message);
      };
      worker.on("message", (reply) => reply.failed === null && ahead.waiting.shift());
      return worker;
    },
  };
  return ahead;
}

const N = 256;
const square = (seed) => tensor(noise(N * N, seed), [N, N]);

/** x -> x w w, with `w` captured: some 10 ms of work. */
async function program(backend, w) {
  const graph = new Graph();
  const results = trace(graph, () => {
    const x = graph.input(square(0));
    return [symbolOf(graph, matmul(matmul(x, w), w))];
  });
  return Executable.create(graph, results, backend);
}

const elements = async (results) => (await (await results)[0].data()).slice();

/** What comes out without a queue. */
async function expected(x, w) {
  const backend = await open("wasm", { threads: 1 });
  const p = await program(backend, w);
  p.enqueue([x]);
  const out = await elements(p.results());
  backend.close();
  return out;
}

for (const [name, options] of Object.entries(WAYS)) {
  test(`${name}: runs, writes and reads in the order of the calls`, async () => {
    const [x, v, w] = [square(1), square(2), square(3)];
    const before = await expected(x, v);
    const after = await expected(x, w);
    const backend = await open("wasm", options);
    assert.is(backend.limits.asynchronous, true);
    const captured = tensor((await v.data()).slice(), [N, N]);
    const p = await program(backend, captured);
    await backend.warm();
    assert.is(backend.activeThreads, name === "two workers" ? 2 : 1);
    assert.is(backend.threadsProblem, name === "this thread" ? "no worker today" : null);
    p.enqueue([x]);
    const first = elements(p.results());
    captured.set(await w.data());
    p.enqueue([x]);
    const second = elements(p.results());
    const third = backend.read(captured.on(backend), 0, 4 * N * N);
    captured.set(new Float32Array(N * N));
    assert.equal(await first, before);
    assert.equal(await second, after);
    assert.equal(new Float32Array(await third), await w.data());
    assert.equal(new Float32Array(await backend.read(captured.on(backend), 0, 4 * N * N)), new Float32Array(N * N));
    backend.close();
  });

  test(`${name}: what is freed while a run uses it can be taken and written by the next`, async () => {
    const [x, w] = [square(4), square(5)];
    const right = await expected(x, w);
    const backend = await open("wasm", options);
    const p = await program(backend, w);
    await backend.warm();
    const mine = tensor((await x.data()).slice(), [N, N]);
    const { address } = mine.upload(backend);
    p.enqueue([mine]);
    const out = elements(p.results());
    mine.dispose();
    assert.is(tensor(new Float32Array(N * N).fill(NaN), [N, N]).upload(backend).address, address);
    assert.equal(await out, right);
    backend.close();
  });

  test(`${name}: training is not ahead by more than four steps, and ends with the same weights`, async () => {
    const single = await open("wasm", { threads: 1, reproducible: true });
    const right = await train("cnn", single);
    single.close();
    const ahead = counting();
    const backend = await open("wasm", { reproducible: true, worker: ahead.start, ...options });
    await ready(backend);
    const from = { ...calls };
    assert.equal(await train("cnn", backend), right);
    if (name === "this thread") assert.ok(calls.piece - from.piece > 1000, `${calls.piece - from.piece} pieces`);
    else {
      assert.ok(ahead.most >= 2 && ahead.most <= 4, `${ahead.most} runs ahead`);
      assert.is(calls.piece, from.piece);
    }
    assert.is(ahead.waiting.length, 0);
    backend.close();
  });

  test(`${name}: a function that returns nothing does not run ahead either, and leaves turns to others`, async () => {
    const ahead = counting();
    const backend = await open("wasm", { worker: ahead.start, ...options });
    const [w, count] = [square(6), zeros([])];
    const f = compile(
      (x) => {
        assign(w, matmul(matmul(x, w), x));
        assign(count, add(count, 1));
      },
      { backend },
    );
    const x = square(7);
    await f(x);
    await backend.warm();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    let runs = 1;
    while (turns < 3 && runs < 10000) {
      await f(x);
      runs++;
    }
    clearInterval(timer);
    assert.ok(runs < 10000, "10000 runs without a turn for others");
    assert.ok(ahead.most <= 4, `${ahead.most} runs ahead`);
    assert.is(await count.item(), runs);
    backend.close();
  });

  test(`${name}: close() rejects what waits`, async () => {
    const backend = await open("wasm", options);
    const p = await program(backend, square(8));
    await backend.warm();
    p.enqueue([square(9)]);
    const waiting = [p.results(), backend.sync()];
    backend.close();
    for (const w of waiting) {
      await w.then(
        () => assert.unreachable("it resolved"),
        (error) => assert.is(`${error.name}: ${error.message}`, "BackendError: wasm: the backend was closed meanwhile"),
      );
    }
  });
}

test("a short program is run at once, by the calling thread", async () => {
  const backend = await open("wasm", { threads: 2, background: true });
  const f = compile((x) => matmul(x, x), { backend });
  const from = calls.run;
  assert.equal(await (await f(tensor([[1, 2], [3, 4]]))).array(), [[7, 10], [15, 22]]);
  assert.is(calls.run, from + 1);
  await product(backend);
  await backend.warm();
  const later = calls.run;
  await product(backend);
  assert.is(calls.run, later, "a long one is not");
  backend.close();
});

test("a run that fails: those behind it too, but not their writes; then all is as before", async () => {
  const [x, v, w] = [square(10), square(11), square(12)];
  const right = await expected(x, w);
  let make = () => failing(start);
  const backend = await open("wasm", { threads: 2, background: true, worker: () => make() });
  const captured = tensor((await v.data()).slice(), [N, N]);
  const p = await program(backend, captured);
  await backend.warm();
  make = start;
  p.enqueue([x]);
  const first = p.results();
  captured.set((await w.data()).slice());
  p.enqueue([x]);
  const second = backend.sync();
  for (const waiting of [first, second]) {
    await waiting.then(
      () => assert.unreachable("it resolved"),
      (error) => {
        assert.is(error.name, "BackendError");
        assert.match(error.message, "the next large program starts new workers");
      },
    );
  }
  assert.equal(new Float32Array(await backend.read(captured.on(backend), 0, 4 * N * N)), await w.data());
  p.enqueue([x]);
  assert.equal(await elements(p.results()), right);
  await backend.warm();
  assert.is(backend.activeThreads, 2);
  p.enqueue([x]);
  assert.equal(await elements(p.results()), right);
  backend.close();
});

test("a failure that nobody waited for is thrown by the next call, once", async () => {
  const backend = await open("wasm", { threads: 2, background: true, worker: () => failing(start) });
  const p = await program(backend, square(13));
  await backend.warm();
  p.enqueue([square(14)]);
  // Who only waits for the end does not count.
  await backend.caughtUp();
  assert.ok(await until(() => backend.activeThreads === 1));
  await backend.sync().then(
    () => assert.unreachable("it resolved"),
    (error) => assert.is(error.name, "BackendError"),
  );
  await backend.sync();
  backend.close();
});

test("fit is rejected when a worker dies under it; the next fit has new ones and ends as ever", async () => {
  const single = await open("wasm", { threads: 1, reproducible: true });
  const right = await train("cnn", single);
  single.close();
  const made = [];
  const backend = await open("wasm", {
    threads: 2,
    background: true,
    reproducible: true,
    worker: () => {
      made.push(start());
      return made.at(-1);
    },
  });
  await ready(backend);
  made.splice(0, made.length - 2);
  let steps = 0;
  const { postMessage } = made[0];
  made[0].postMessage = function (message) {
    if (message.kind === "run" && ++steps === 4) made[1].terminate();
    postMessage.call(this, message);
  };
  await train("cnn", backend, 1000).then(
    () => assert.unreachable("it resolved"),
    (error) => assert.match(`${error.name}: ${error.message}`, /^BackendError: wasm: a worker stopped/),
  );
  assert.equal(await train("cnn", backend), right);
  await backend.warm();
  assert.is(made.length, 4);
  assert.is(backend.activeThreads, 2);
  assert.equal(await train("cnn", backend), right);
  backend.close();
});

test("workers that never answer: one thread, and close() does not wait for them", async () => {
  const silent = () => new Worker("setInterval(() => {}, 1000)", { eval: true });
  const { setTimeout: real } = globalThis;
  const limits = [];
  globalThis.setTimeout = (f, ms, ...args) => {
    if (ms >= 10000) limits.push(ms);
    return real(f, ms >= 10000 && limits.length <= 1 ? 30 : ms, ...args);
  };
  try {
    const backend = await open("wasm", { threads: 2, worker: silent });
    await backend.warm();
    assert.is(limits.length, 1);
    assert.is(backend.activeThreads, 1);
    assert.is(backend.threadsProblem, "no answer within 30 s");
    await product(backend);
    backend.close();
    const other = await open("wasm", { threads: 2, background: true, worker: silent });
    const warm = other.warm();
    other.close();
    await warm;
  } finally {
    globalThis.setTimeout = real;
  }
});

test("shared memory that cannot be reserved whole: half of it, or an error", async () => {
  const { Memory } = WebAssembly;
  let room = 16384;
  WebAssembly.Memory = function (limits) {
    if (limits.shared && limits.maximum > room) throw new RangeError("could not allocate memory");
    return new Memory(limits);
  };
  try {
    const backend = await open("wasm", { threads: 2 });
    assert.is(backend.limits.maxBytes, 2 ** 30);
    const alone = await open("wasm", { threads: 1 });
    assert.is(alone.limits.maxBytes, 2 ** 32);
    assert.is(await product(backend), await product(alone));
    backend.close();
    alone.close();
    room = 1024;
    await open("wasm", { threads: 2 }).then(
      () => assert.unreachable("it resolved"),
      (error) => assert.match(`${error.name}: ${error.message}`, /^BackendError: wasm: no address space for 256 MiB of shared memory/),
    );
  } finally {
    WebAssembly.Memory = Memory;
  }
});

test("open: background and worker of other kinds", async () => {
  for (const options of [{ background: 1 }, { background: "yes" }, { worker: 5 }, { worker: null }]) {
    await open("wasm", options).then(
      () => assert.unreachable(JSON.stringify(options)),
      (error) => assert.is(error.name, "ArgumentError"),
    );
  }
});

test.run();
