/**
 * @file A device that is lost at any of the calls that are made to it: while it is opened, while programs are compiled, in the middle of
 * runs, reads, training and generation. What was asked for either comes as it does without, or ends soon with a DeviceLostError that says
 * so; and the same work on another device then gives what it should.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  adam,
  add,
  compile,
  dense,
  DeviceLostError,
  embedding,
  exp,
  generate,
  groupedQueryAttention,
  matmul,
  open,
  sequential,
  sum,
  tensor,
} from "../../build/esm/index.js";
import { entryPoint, masked, openGpu } from "./gpu.js";

/** Every call by which a device is given work or asked for something. */
const CALLS = [
  "createBuffer",
  "createShaderModule",
  "createComputePipelineAsync",
  "createBindGroup",
  "createCommandEncoder",
  "popErrorScope",
];
const OF_QUEUE = ["submit", "writeBuffer", "onSubmittedWorkDone"];

/** How long something that can only fail may take. */
const SOON_MS = 20000;

const entry = await entryPoint();

// All runs are short then, and those that meet a busy device wait to be submitted together.
performance.now = () => 0;

/** An entry point whose first device is destroyed in its call number `at`, counted from `arm()`; later ones live. */
function saboteur(at) {
  const state = { calls: 0, hit: false, armed: false, devices: 0 };
  const gpu = masked(entry, {
    onDevice(device) {
      if (state.devices++ > 0) return;
      const watch = (object, name) => {
        const own = object[name].bind(object);
        object[name] = (...args) => {
          if (state.armed && !state.hit && state.calls++ === at) {
            state.hit = true;
            device.destroy();
          }
          return own(...args);
        };
      };
      for (const name of CALLS) watch(device, name);
      for (const name of OF_QUEUE) watch(device.queue, name);
    },
  });
  return { state, open: () => openGpu({ gpu }), arm: () => void (state.armed = true) };
}

const soon = (work, what) =>
  Promise.race([work, new Promise((_, fail) => setTimeout(fail, SOON_MS, new Error(`${what}: nothing came in ${SOON_MS} ms`)).unref())]);

/** What `work` gives, or null where the device was lost; any other error is a fault. */
async function unlessLost(work, what) {
  try {
    return await soon(work(), what);
  } catch (error) {
    if (!(error instanceof DeviceLostError)) throw error;
    assert.match(error.message, /the device was lost \(destroyed\).*is gone/, what);
    return null;
  }
}

/** Call numbers: each of the first few, then fewer. */
function* places() {
  for (let at = 0; ; at = at < 4 ? at + 1 : Math.ceil(at * 1.7)) yield at;
}

/**
 * Does `work(backend)` with a device that is lost at call 0, 1, ... until it comes through all of its calls, and checks that each time it
 * gave `want` or was lost, and that `after(backend, fresh)` then gives `want` on a device that lives.
 */
async function everywhere(name, want, prepare, work, again = work) {
  let lost = 0;
  for (const at of places()) {
    const what = `${name}, lost at call ${at}`;
    const { state, open: begin, arm } = saboteur(at);
    const backend = await begin();
    const prepared = await prepare(backend);
    arm();
    const got = await unlessLost(() => work(backend, prepared), what);
    if (got !== null) assert.equal(got, want, what);
    if (!state.hit) {
      await backend.close();
      break;
    }
    lost += got === null;
    const fresh = await soon(backend.reopen(), what);
    assert.is(state.devices >= 2, true, what);
    assert.equal(await soon(again(fresh, prepared), what), want, `${what}, again`);
    await soon(Promise.all([backend.close(), fresh.close()]), what);
  }
  assert.ok(lost > 1, `${name}: lost ${lost} times`);
}

const x = tensor(
  Float32Array.from({ length: 96 }, (_, i) => ((i * 37) % 101) / 101),
  [24, 4],
);
const y = tensor(
  Float32Array.from({ length: 24 }, (_, i) => ((i * 13) % 7) / 7),
  [24, 1],
);
const cpu = await open("wasm", { threads: 1, reproducible: true });
test.after(() => cpu.close());

const rounded = (list) => Array.from(list, (v) => Number(v.toFixed(4)));
const numbers = async (model) => Promise.all((await model.getWeights()).map(async (t) => rounded(await t.data())));

test("a device that is lost while it is opened", async () => {
  const dead = masked(entry, { onDevice: (device) => device.destroy() });
  const got = await unlessLost(async () => {
    const backend = await openGpu({ gpu: dead });
    const f = compile((a) => sum(exp(a)), { backend });
    return (await f(tensor([1, 2]))).item();
  }, "opening");
  assert.is(got, null);
});

test("compiling, running and reading", async () => {
  const program = (backend) => compile((a, b) => [sum(exp(matmul(a, b))), add(a, 1)], { backend });
  const run = async (backend) => {
    const out = [];
    const f = program(backend);
    for (const k of [1, 2]) {
      const [a, b] = [tensor([k, 2, 3, 4], [2, 2]), tensor([0.5, 0, 0, 0.25], [2, 2])];
      const [total, more] = await f(a, b);
      out.push(rounded(await total.data()), rounded(await more.data()));
    }
    return out;
  };
  await everywhere("run", await run(cpu), () => null, run);
});

const made = async (backend) => {
  const model = sequential([dense(8, { activation: "tanh" }), dense(1)], { inputShape: [4], seed: 2 });
  await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
  return model;
};

test("predict and evaluate: weights that are set again give the same", async () => {
  const work = async (_, model) => [
    rounded(await (await model.predict(x, { batchSize: 10 })).data()),
    rounded([(await model.evaluate(x, y)).loss]),
  ];
  const want = await work(cpu, await made(cpu));
  const weights = await Promise.all(
    (await (await made(cpu)).getWeights()).map(async (t) => tensor(Float32Array.from(await t.data()), t.shape)),
  );
  await everywhere("predict", want, made, work, async (fresh, model) => {
    model.moveTo(fresh);
    await model.setWeights(weights);
    return work(fresh, model);
  });
});

const FIT = { epochs: 2, batchSize: 8, seed: 5, verbose: 0 };

test("fit with copies: training comes to the same end by itself", async () => {
  const { warn } = console;
  console.warn = () => {};
  try {
    const whole = await made(cpu);
    await whole.fit(x, y, FIT);
    const want = await numbers(whole);
    let recovered = 0;
    for (const at of [0, 20, 70, 90, 110, 140, 170, 200, 250, 1000]) {
      const what = `fit, lost at call ${at}`;
      const { state, open: begin, arm } = saboteur(at);
      const backend = await begin();
      const model = await made(backend);
      arm();
      const got = await unlessLost(async () => {
        await model.fit(x, y, { ...FIT, recoverEvery: 2 });
        return numbers(model);
      }, what);
      if (got !== null) assert.equal(got, want, what);
      // While the first step is compiled, too.
      if (at <= 20) assert.ok(got !== null, what);
      recovered += got !== null && state.hit;
      const last = model.backend;
      await soon(Promise.all([...new Set([backend, last])].map((b) => b.close())), what);
      if (!state.hit) break;
    }
    assert.ok(recovered > 0, `recovered ${recovered} times`);
  } finally {
    console.warn = warn;
  }
});

test("fit without copies: an error; weights that are set again train as ever, on another device", async () => {
  const saved = await (await made(cpu)).getWeights();
  const kept = await Promise.all(saved.map(async (t) => tensor(Float32Array.from(await t.data()), t.shape)));
  const work = async (backend, model) => {
    await model.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
    await model.setWeights(kept);
    await model.fit(x, y, { ...FIT, recoverEvery: 0 });
    return numbers(model);
  };
  await everywhere("fit", await work(cpu, await made(cpu)), made, work);
});

test("generation: what was written stands, and another device writes the same", async () => {
  const writer = (backend) => {
    const model = sequential([embedding(13, 8), groupedQueryAttention(8, 4, 2, { useCausalMask: true, rotary: {} }), dense(13)], {
      inputShape: [null],
      seed: 7,
    });
    model.moveTo(backend);
    return model;
  };
  const write = async (_, model) => {
    const out = [];
    for await (const token of generate(model, [1, 2, 3], { maxTokens: 9, temperature: 0 })) out.push(token);
    return out;
  };
  const want = await write(cpu, writer(cpu));
  await everywhere("generate", want, writer, write, async (fresh, model) => {
    model.moveTo(fresh);
    return write(fresh, model);
  });
});

test.run();
