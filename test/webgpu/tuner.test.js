/**
 * @file The tuner: with pretended times and stores; then on a software adapter that passes for a GPU, where a program changes its tile and
 * not a bit of what it computes.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { matmul } from "../../build/esm/ops/matmul.js";
import { TileTuner } from "../../build/esm/webgpu/parts/tuner.js";
import { findStore, storeAt } from "../../build/esm/webgpu/store.js";
import { f, prepare, traceForward } from "../ops/harness.js";
import { entryPoint, masked, openGpu } from "./gpu.js";

/** Ways of a choice by the times that they pretend to take; one may be an error instead. */
function pretended(times) {
  const ways = Object.keys(times);
  const runs = ways.map(() => 0);
  const state = { runs, open: 0, repeats: [] };
  const choice = {
    key: "a product",
    ways,
    operands: [{ place: { space: "slot", index: 3, offset: 64 }, bytes: 16, access: "read" }, null],
    encode: (out, way) => (out.way = way),
  };
  const prepareWay = async (plan, encoder) => {
    const out = {};
    encoder(plan.calls[0], out);
    assert.equal(
      plan.bindings.map(({ bytes, written }) => ({ bytes, written })),
      [{ bytes: 16, written: false }],
    );
    state.repeats.push(plan.calls.length);
    state.open++;
    return {
      async time() {
        runs[out.way]++;
        const ms = times[ways[out.way]];
        if (ms instanceof Error) throw ms;
        return ms * plan.calls.length;
      },
      close: () => state.open--,
    };
  };
  return { choice, prepareWay, state };
}

/** A store in memory that says what was added. */
function fakeStore(fails = false) {
  const added = [];
  return {
    added,
    read: async () => new Map(),
    async add(found) {
      if (fails) throw new Error("no room");
      added.push(Object.fromEntries(found));
    },
  };
}

/** The way that is taken once all is timed, with all that happened. */
async function tune(times, { store = fakeStore(), known = new Map() } = {}) {
  const { choice, prepareWay, state } = pretended(times);
  const tuner = new TileTuner(prepareWay, store, known, 0);
  const before = tuner.choose(choice);
  let again = 0;
  if (tuner.guesses > 0) tuner.later(async () => void again++);
  await tuner.settled();
  return { before, after: tuner.choose(choice), again, guesses: tuner.guesses, tuner, choice, store, ...state };
}

test("the fastest way is taken once it was timed, and kept", async () => {
  const { before, after, again, guesses, store, open } = await tune({ usual: 3, other: 2, third: 2.5 });
  assert.equal([before, after, again, guesses, open], [0, 1, 1, 1, 0]);
  assert.equal(store.added, [{ "a product: usual | other | third": "other" }]);
});

test("what gains too little does not replace the usual way", async () => {
  assert.is((await tune({ usual: 3, other: 2.95 })).after, 0);
  assert.is((await tune({ usual: 3, other: 2.8 })).after, 1);
});

test("hopeless ways are timed no further, short ones are repeated", async () => {
  const { runs, repeats, after } = await tune({ usual: 0.25, hopeless: 9, better: 0.2 });
  assert.is(after, 2);
  assert.is(runs[1], 2);
  assert.ok(runs[2] > runs[1]);
  assert.equal(repeats, [1, 8, 8, 8]);
});

test("what is known is neither timed nor asked for again", async () => {
  const { before, guesses, runs } = await tune({ usual: 3, other: 2 }, { known: new Map([["a product: usual | other", "other"]]) });
  assert.equal([before, guesses, runs], [1, 0, [0, 0]]);
});

test("the usual way stays for a name that no way has any more", async () => {
  const { before, guesses } = await tune({ usual: 3, other: 2 }, { known: new Map([["a product: usual | other", "gone"]]) });
  assert.equal([before, guesses], [0, 0]);
});

test("a way that fails leaves the usual one, which is not kept", async () => {
  for (const times of [{ usual: 3, other: new Error("refused") }, { usual: new Error("refused"), other: 3 }]) {
    const { after, store, open, again } = await tune(times);
    assert.equal([after, open, again, store.added], [0, 0, 1, []]);
  }
});

test("a store that takes nothing breaks nothing", async () =>
  assert.is((await tune({ usual: 3, other: 2 }, { store: fakeStore(true) })).after, 1));

test("without a store all is found, too", async () => assert.is((await tune({ usual: 3, other: 2 }, { store: null })).after, 1));

test("a program that cannot be compiled anew stops the tuner", async () => {
  const { choice, prepareWay } = pretended({ usual: 3, other: 2 });
  const tuner = new TileTuner(prepareWay, null, new Map(), 0);
  tuner.choose(choice);
  tuner.later(async () => {
    throw new Error("lost");
  });
  await tuner.settled();
  assert.is(tuner.choose({ ...choice, key: "another" }), 0);
  assert.is(tuner.guesses, 1);
});

test("operands that would take much memory are not timed", async () => {
  const { choice, prepareWay } = pretended({ usual: 3, other: 2 });
  const tuner = new TileTuner(prepareWay, null, new Map(), 0);
  assert.is(tuner.choose({ ...choice, operands: [{ ...choice.operands[0], bytes: 2 ** 29 }] }), 0);
  assert.is(tuner.guesses, 0);
});

const folder = mkdtempSync(join(tmpdir(), "lockstep-tuner-"));

test("a store keeps what other programs added, and reads whatever is there", async () => {
  let text = null;
  const store = storeAt({ read: async () => text, write: async (t) => void (text = t) });
  assert.equal([...(await store.read())], []);
  await store.add(new Map([["a", "x"]]));
  await storeAt({ read: async () => text, write: async (t) => void (text = t) }).add(new Map([["b", "y"]]));
  await store.add(new Map([["a", "z"]]));
  assert.equal(Object.fromEntries(await store.read()), { a: "z", b: "y" });
  for (text of ["", "{", "[1]", "null", '"a"', '{"a":1}']) assert.equal([...(await store.read())], []);
});

test("files are by adapter, in the folder that is named or in the user's", async () => {
  const own = join(folder, "own", "deep");
  await (await findStore(own, "NVIDIA H200, nvidia")).add(new Map([["a", "x"]]));
  assert.equal(readdirSync(own), ["webgpu-NVIDIA_H200_nvidia.json"]);
  assert.equal([...(await (await findStore(own, "another")).read())], []);
  assert.equal([...(await (await findStore(own, "NVIDIA H200, nvidia")).read())], [["a", "x"]]);
  const { XDG_CACHE_HOME } = process.env;
  process.env.XDG_CACHE_HOME = join(folder, "user");
  try {
    await (await findStore(true, "gpu")).add(new Map([["a", "x"]]));
    assert.equal(readdirSync(join(folder, "user", "lockstep")), ["webgpu-gpu.json"]);
  } finally {
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
  }
});

const rowsOf = (text) => Number(/\bROWS\s*(?::\s*u32)?\s*=\s*(\d+)/.exec(text)?.[1] ?? 0);

/** A backend on the software adapter as if it were a GPU, and the rows of tiles that were compiled on it. */
async function openAsGpu(tune) {
  const rows = [];
  const gpu = masked(await entryPoint(), {
    software: false,
    without: ["subgroups"],
    onDevice(device) {
      const create = device.createShaderModule.bind(device);
      device.createShaderModule = (o) => {
        if (/\bTILE_K\b/.test(o.code)) rows.push(rowsOf(o.code));
        return create(o);
      };
    },
  });
  return { gpu: await openGpu({ gpu, tune }), rows };
}

const c = { inputs: [f([256, 256], -1, 1), f([256, 256], -1, 1)], fn: (a, b) => matmul(a, b) };

test("a program goes on with the fastest tile, which computes the same bits, and the next one begins with it", async () => {
  const kept = join(folder, "kept");
  const { gpu, rows } = await openAsGpu(kept);
  const { graph, results, data } = traceForward(c);
  const program = await prepare(gpu, graph, results);
  const [before] = await program.run(data);
  assert.is(rows.length, 1);
  await gpu.tuned();
  assert.ok(rows.length > 1, "others were tried");
  const [after] = await program.run(data);
  assert.equal(after, before);
  program.close();
  await gpu.close();
  const [file] = readdirSync(kept);
  const found = JSON.parse(readFileSync(join(kept, file), "utf8"));
  assert.is(Object.keys(found).length, 1);
  const [[name, way]] = Object.entries(found);
  assert.ok(name.includes(way));

  // As if another tile had been found.
  const other = name
    .split(": ")[1]
    .split(" | ")
    .find((w) => !w.startsWith(`${rows[0]}x`));
  writeFileSync(join(kept, file), JSON.stringify({ [name]: other }));
  const next = await openAsGpu(kept);
  const again = await prepare(next.gpu, graph, results);
  const [bits] = await again.run(data);
  await next.gpu.tuned();
  assert.equal(next.rows, [Number(other.split("x")[0])]);
  assert.equal(bits, before);
  again.close();
  await next.gpu.close();
});

test("nothing is timed where that is not wanted, nor on software adapters", async () => {
  const { graph, results, data } = traceForward(c);
  const { gpu, rows } = await openAsGpu(false);
  for (const backend of [gpu, await openGpu({ tune: join(folder, "none") })]) {
    const program = await prepare(backend, graph, results);
    await program.run(data);
    await backend.tuned();
    program.close();
    await backend.close();
  }
  assert.is(rows.length, 1);
  assert.not(readdirSync(folder).includes("none"));
});

test("closing while kernels are timed breaks nothing", async () => {
  const { gpu } = await openAsGpu(join(folder, "closed"));
  const { graph, results } = traceForward(c);
  const program = await prepare(gpu, graph, results);
  const tuned = gpu.tuned();
  await new Promise((resolve) => setTimeout(resolve, 700));
  program.close();
  await gpu.close();
  await tuned;
});

test("tune is checked", async () => {
  for (const tune of ["", 1, null]) {
    try {
      await openGpu({ tune });
      assert.unreachable();
    } catch (error) {
      assert.match(error.message, /tune must be true, false or the path of a folder/);
    }
  }
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
