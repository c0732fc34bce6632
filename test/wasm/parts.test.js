/** @file The kernels in parts: what each has, that programs load those they need, once, and that workers have them too. */
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { inflateRawSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { noise } from "../platforms/body.js";
import { compile, matmul, open, ops, tensor } from "../../build/esm/index.js";
import { normalizeLast } from "../../build/esm/ops/norm.js";
import * as parts from "../../build/esm/wasm/parts.js";
import { environment, join } from "../../build/esm/wasm/table.js";

const script = new URL("../../build/esm/wasm/worker.js", import.meta.url);
const PARTS = Object.values(parts)
  .sort((a, b) => a.number - b.number)
  .map(({ name }) => name);

const bytes = async (name) => inflateRawSync(Buffer.from((await import(`../../build/${name}.js`)).default, "base64"));
const imports = (module) => WebAssembly.Module.imports(module).map(({ module, name, kind }) => `${module} ${name} ${kind}`);
const exports = (module) =>
  WebAssembly.Module.exports(module)
    .map(({ name }) => name)
    .sort();

for (const build of ["plain", "relaxed"]) {
  const file = readFileSync(new URL(`../../build/${build}.wasm`, import.meta.url));
  if (!WebAssembly.validate(file)) continue;
  test(`${build}: the whole module needs a memory alone`, () => {
    const whole = new WebAssembly.Module(file);
    assert.equal(imports(whole), ["env memory memory"]);
    assert.equal(exports(whole), ["piece", "run", "work"]);
  });
}

for (const build of ["plain", "relaxed", "inference-plain", "inference-relaxed"]) {
  const core = await bytes(build);
  if (!WebAssembly.validate(core)) continue;
  test(`${build}: the core has a table for its parts and exports what they import, each part what calls its kernels`, async () => {
    const module = new WebAssembly.Module(core);
    assert.equal(imports(module), ["env memory memory", "env table table"]);
    const env = environment(new WebAssembly.Memory({ initial: 1, maximum: 65536 }));
    const instance = new WebAssembly.Instance(module, { env });
    assert.is(env.table.length, PARTS.length + 1);
    const taken = new Set();
    for (const [i, part] of PARTS.entries()) {
      const module = new WebAssembly.Module(await bytes(`${build}-${part}`));
      assert.equal(exports(module), ["call"]);
      assert.is(env.table.get(i + 1), null);
      join(i + 1, new WebAssembly.Instance(module, { env, core: instance.exports }), env);
      assert.type(env.table.get(i + 1), "function");
      for (const { module: from, name } of WebAssembly.Module.imports(module)) if (from === "core") taken.add(name);
    }
    // Nothing is exported in vain.
    assert.equal(
      exports(module).filter((name) => !taken.has(name)),
      ["piece", "run", "work"],
    );
  });
}

/** What was instantiated on this thread. */
const instances = [];
const { instantiate, compile: compileModule } = WebAssembly;
WebAssembly.instantiate = (module, imports) => {
  instances.push(module);
  return instantiate(module, imports);
};

const square = (seed) => tensor(noise(256 * 256, seed), [256, 256]);
const [image, filters] = [tensor(noise(4 * 32 * 32 * 8, 1), [4, 32, 32, 8]), tensor(noise(3 * 3 * 8 * 32, 2), [3, 3, 8, 32])];
const convolution = (backend) => compile((x, w) => ops.conv2d(x, w), { backend });
const product = (backend) => compile((x) => matmul(x, x), { backend });
const elements = async (result) => (await (await result).data()).slice();

test("programs load the parts they need, each once; those that need none, none", async () => {
  const backend = await open("wasm", { threads: 1 });
  const before = instances.length;
  await elements(product(backend)(square(1)));
  assert.is(instances.length, before);
  const both = await Promise.all([elements(convolution(backend)(image, filters)), elements(convolution(backend)(image, filters))]);
  assert.equal(both[0], both[1]);
  assert.is(instances.length, before + 1);
  await elements(compile((x) => normalizeLast(x, 1), { backend })(square(2)));
  assert.is(instances.length, before + 2);
  assert.is(new Set(instances.slice(before)).size, 2);
  backend.close();
});

test("a part that cannot be compiled: a BackendError, and the next program tries again", async () => {
  const backend = await open("wasm", { threads: 2 });
  // This thread alone compiles with this: parts for another kind of memory are compiled anew.
  WebAssembly.compile = async () => {
    throw new Error("no room");
  };
  const run = () => elements(compile((x, w) => ops.maxPool2d(ops.conv2d(x, w), 2), { backend })(image, filters));
  try {
    await run();
    assert.unreachable("it ran");
  } catch (error) {
    assert.is(error.name, "BackendError", error.stack);
    assert.match(error.message, /cannot compile the kernels: no room/);
  } finally {
    WebAssembly.compile = compileModule;
  }
  assert.is((await run()).length, 4 * 15 * 15 * 32);
  backend.close();
});

test("a backend that is closed while a part comes: compiling fails", async () => {
  const backend = await open("wasm", { threads: 1 });
  const running = convolution(backend)(image, filters);
  backend.close();
  await Promise.resolve(running).then(
    () => assert.unreachable("it ran"),
    (error) => assert.is(error.name, "BackendError"),
  );
});

for (const background of [false, true]) {
  test(
    `${background ? "background" : "the calling thread takes part"}: workers that are ready give way to others that have the part, ` +
      "after what they do",
    async () => {
      const single = await open("wasm", { threads: 1 });
      const [x, expectedImage] = [square(3), await elements(convolution(single)(image, filters))];
      const expected = await elements(product(single)(x));
      single.close();
      const made = [];
      const backend = await open("wasm", {
        threads: 2,
        background,
        worker: () => {
          made.push(new Worker(script));
          return made.at(-1);
        },
      });
      const multiply = product(backend);
      assert.equal(await elements(multiply(x)), expected);
      await backend.warm();
      const crew = made.length;
      assert.is(crew, background ? 2 : 1);
      assert.is(backend.activeThreads, 2);
      // Under way in the workers when the part comes, and ordered while it does.
      const results = Array.from({ length: 6 }, () => elements(multiply(x)));
      const images = elements(convolution(backend)(image, filters));
      for (let i = 0; i < 6; i++) results.push(elements(multiply(x)));
      for (const result of await Promise.all(results)) assert.equal(result, expected);
      assert.equal(await images, expectedImage);
      await backend.warm();
      assert.is(made.length, 2 * crew);
      assert.is(backend.activeThreads, 2);
      assert.equal(await elements(convolution(backend)(image, filters)), expectedImage);
      assert.equal(await elements(multiply(x)), expected);
      assert.is(made.length, 2 * crew);
      backend.close();
    },
  );
}

test.run();
