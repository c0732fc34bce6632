/** @file What the package ships: its entries, their types of content, and what must not be in them. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { parseAst } from "rollup/parseAst";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { packedFiles, root } from "./packed.js";

const json = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const packed = new Map(packedFiles().map((f) => [f.path, f.size]));
const scripts = [...packed.keys()].filter((f) => f.endsWith(".js"));
const read = (file) => readFileSync(join(root, file), "utf8");

function* walk(node) {
  yield node;
  for (const value of Object.values(node))
    for (const child of Array.isArray(value) ? value : [value]) if (typeof child?.type === "string") yield* walk(child);
}

const targets = (value) => (typeof value === "string" ? [value] : Object.values(value).flatMap(targets));

test("package: what exports and imports name is packed", () => {
  // Modules that are bundled, and their types, are for the build alone.
  const inside = new Set(["#kernels", "#shaders", "#shaders-*"]);
  const named = [
    ...Object.values(json.exports),
    ...Object.entries(json.imports)
      .filter(([name]) => !inside.has(name))
      .map(([, value]) => value),
  ].flatMap(targets);
  assert.ok(named.length > 10);
  for (const file of named) {
    const [start, end = ""] = file.replace(/^\.\//, "").split("*");
    assert.ok(
      file.includes("*") ? [...packed.keys()].some((f) => f.startsWith(start) && f.endsWith(end)) : packed.has(start),
      `${file} is not packed`,
    );
  }
});

test("package: lock files name no registry, so that any gives the same packages", () => {
  for (const file of ["package-lock.json", "docs/package-lock.json"]) assert.not.match(read(file), /"resolved"|:\/\/[\w.-]*registry/, file);
});

test("package: nothing else is packed", () => {
  for (const file of packed.keys())
    assert.match(
      file,
      /^(package\.json|README\.md|CHANGELOG\.md|LICENSE|build\/[a-z0-9.-]+\.(js|js\.map|wasm)|build\/types\/[\w/-]+\.d\.ts)$/,
    );
});

/** Most bytes of the package as it is installed, without source maps. */
const MOST_BYTES = 2_600_000;
test("package: at most 2.6 MB", () => {
  const total = [...packed].filter(([file]) => !file.endsWith(".map")).reduce((n, [, size]) => n + size, 0);
  assert.ok(total <= MOST_BYTES, `${total} bytes`);
});

test("package: no dependency, no script at installation, no side effects", () => {
  assert.is(json.dependencies, undefined);
  assert.is(json.sideEffects, false);
  assert.equal(
    Object.keys(json.peerDependencies).filter((name) => !json.peerDependenciesMeta[name]?.optional),
    [],
  );
  assert.equal(
    Object.keys(json.scripts).filter((name) => /^(pre|post)?install$|^prepare$/.test(name)),
    [],
  );
});

test("package: no code from text, no source of chance but the seeded ones", () => {
  for (const file of scripts) {
    for (const node of walk(parseAst(read(file)))) {
      if (node.type === "CallExpression" || node.type === "NewExpression")
        assert.not(["eval", "Function"].includes(node.callee.name), `${file}: ${node.callee.name}`);
      if (node.type === "MemberExpression")
        assert.not(node.object.name === "Math" && node.property.name === "random", `${file}: Math.random`);
      // Strings as code for timers, and the constructor of functions by way of another function.
      if (node.type === "MemberExpression")
        assert.not(node.property.name === "constructor" && node.object.type.includes("Function"), `${file}: constructor of a function`);
    }
  }
});

test("package: modules of Node are never imported by name, and names with # only on demand", () => {
  let found = 0;
  for (const file of scripts) {
    for (const node of walk(parseAst(read(file)))) {
      if (node.type === "ImportExpression" && node.source.type === "Literal") {
        assert.match(node.source.value, /^(\.\/[a-z0-9-]+\.js|#(kernels|parts)\/(inference-)?(plain|relaxed)(-[a-z]+)?)$/, file);
        if (node.source.value.startsWith("#"))
          assert.is(node.source.value.includes("/inference-"), file === "build/inference.js", `${file}: ${node.source.value}`);
        found++;
      }
      if ((node.type === "ImportDeclaration" || node.type === "ExportNamedDeclaration") && node.source)
        assert.match(node.source.value, /^\.\/[a-z0-9-]+\.(js|wasm)$/, file);
    }
  }
  assert.ok(found >= 6, `${found} imports on demand`);
});

test("package: require() takes every entry: nothing awaits at the top level", async () => {
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    const program = parseAst(read(file));
    const awaits = (node) =>
      node.type === "AwaitExpression" ||
      (node.type === "ForOfStatement" && node.await) ||
      (!/Function/.test(node.type) &&
        Object.values(node).some((v) => (Array.isArray(v) ? v : [v]).some((c) => typeof c?.type === "string" && awaits(c))));
    assert.not(awaits(program), `${file} awaits`);
    for (const { source } of program.body) if (source) visit(join(dirname(file), source.value));
  };
  const bundles = Object.values(json.exports).flatMap((e) => (e.types === undefined ? [] : [e.default]));
  assert.ok(bundles.length > 9);
  for (const bundle of bundles) visit(bundle.slice(2));
  assert.ok(seen.size >= 6);
  if (process.features.require_module) {
    const require = createRequire(import.meta.url);
    for (const [name, use] of [
      ["lockstep", "sequential"],
      ["lockstep/inference", "sequential"],
      ["lockstep/data", "oneHot"],
      ["lockstep/safetensors", "readSafetensors"],
      ["lockstep/lora", "lora"],
      ["lockstep/gguf", "openGguf"],
      ["lockstep/transformers", "loadPretrained"],
      ["lockstep/inference/transformers", "loadPretrained"],
      ["lockstep/onnx", "loadOnnx"],
      ["lockstep/keras", "loadKeras"],
      ["lockstep/inspect", "profile"],
    ])
      assert.type(require(name)[use], "function");
  }
});

test("package: entries export what their sources do, and share the classes of errors", async () => {
  const whole = await import("lockstep");
  const inference = await import("lockstep/inference");
  const data = await import("lockstep/data");
  const safetensors = await import("lockstep/safetensors");
  const lora = await import("lockstep/lora");
  const gguf = await import("lockstep/gguf");
  const transformers = await import("lockstep/transformers");
  const onInference = await import("lockstep/inference/transformers");
  assert.equal(Object.keys(onInference).sort(), Object.keys(transformers).sort());
  const inspect = await import("lockstep/inspect");
  const entries = { index: whole, inference, "data/index": data, "safetensors/index": safetensors };
  for (const [source, bundle] of Object.entries({
    ...entries,
    "gguf/index": gguf,
    "lora/index": lora,
    "transformers/index": transformers,
    "inspect/index": inspect,
  })) {
    assert.equal(Object.keys(bundle).sort(), Object.keys(await import(`../../build/esm/${source}.js`)).sort());
  }
  for (const name of Object.keys(whole).filter((n) => /^[A-Z].*Error$/.test(n))) assert.is(inference[name], whole[name]);
  assert.throws(
    () => data.parseIdx(new Uint8Array(3)),
    (error) => error instanceof whole.FileError || error instanceof whole.DataError,
  );
  assert.instance(await safetensors.readSafetensors(new Uint8Array(3)).catch((error) => error), whole.FileError);
  for (const open of [gguf.openGguf, transformers.loadPretrained, onInference.loadPretrained])
    assert.instance(await open(new Uint8Array(3)).catch((error) => error), whole.FileError);
  // Tensors of either entry can be written.
  const file = await safetensors.writeSafetensors({ a: whole.tensor([1, 2]), b: inference.tensor([true, false]) });
  assert.equal(
    [...(await safetensors.readSafetensors(file)).tensors].map(([name, t]) => [name, t.dtype, [...t.data]]),
    [["a", "F32", [1, 2]], ["b", "BOOL", [1, 0]]],
  );
});

test("package: what stands on the inference entry reaches nothing of the whole one", () => {
  for (const file of ["inference", "inference-transformers"]) {
    const seen = new Set();
    const visit = (path) => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const { type, source } of walk(parseAst(read(path))))
        if (/^(Import|ExportNamed|ExportAll)/.test(type) && /^\.\/[\w-]+\.js$/.test(source?.value)) visit(join("build", source.value));
    };
    visit(`build/${file}.js`);
    assert.ok(seen.has("build/inference.js") && seen.size > 6, [...seen].join());
    for (const other of ["index", "transformers", "transformers-decoders"]) assert.not(seen.has(`build/${other}.js`), `${file}: ${other}`);
  }
});

test("package: kernels of the GPU's parts are in files of their own", () => {
  const functions = (file) => [...read(file).matchAll(/\bfn (\w+)/g)].map(([, name]) => name);
  const core = new Set(functions("build/shaders.js"));
  const parts = readdirSync(join(root, "kernels"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.ok(parts.length > 0 && packed.has("build/webgpu.js"));
  for (const { name: part } of parts) {
    const own = functions(`build/shaders-${part}.js`).filter((name) => !core.has(name));
    assert.ok(own.length > 0 && packed.has(`build/webgpu-${part}.js`), part);
    const [inCore, inPart] = ["build/webgpu.js", `build/webgpu-${part}.js`].map((file) => new Set(functions(file)));
    assert.equal(
      own.filter((name) => inCore.has(name) || !inPart.has(name)),
      [],
      part,
    );
  }
});

test("package: source maps lead to the sources", () => {
  for (const file of scripts.filter((f) => existsSync(join(root, `${f}.map`)))) {
    const map = JSON.parse(read(`${file}.map`));
    // A file that passes on names of another has no code of its own.
    const passesOn = parseAst(read(file)).body.every(({ type, declaration }) => /^(Import|Export)/.test(type) && !declaration);
    assert.is(map.sources.length > 0, !passesOn, file);
    map.sources.forEach((source, i) => {
      const path = resolve(root, dirname(file), source);
      if (!path.includes(`${join(root, "src")}`)) return;
      assert.is(map.sourcesContent[i], readFileSync(path, "utf8"), `${file}: ${source}`);
    });
    assert.ok(
      map.sources.every(
        (s) => s.startsWith("../src/") || /^(\.\.\/build\/)?\w+\.js$/.test(s) || s.startsWith("kernels") || s.startsWith("shaders"),
      ),
      `${file}: ${map.sources.join()}`,
    );
    assert.match(read(file), /\n\/\/# sourceMappingURL=/);
  }
  assert.ok(readdirSync(join(root, "build")).filter((f) => f.endsWith(".js.map")).length >= 6);
});

test("package: a position in the bundle is that of the source", async () => {
  // An error thrown in the bundle, with the stack that Node maps.
  const code = 'import { sequential } from "lockstep"; try { sequential([]); } catch (e) { console.log(e.stack); }';
  const stack = execFileSync(process.execPath, ["--enable-source-maps", "--input-type=module", "-e", code], {
    cwd: root,
    encoding: "utf8",
  });
  const [, line] = /src\/model\/layers\.ts:(\d+)/.exec(stack) ?? [];
  assert.match(read("src/model/layers.ts").split("\n")[line - 1] ?? "", /expected at least one layer/, stack);
});

test("package: an error that nobody catches can be read, also where a pipe takes 64 KB, and consoles name what they show", () => {
  const code = `import { dense, sequential, tensor } from ${JSON.stringify(String(new URL("../../build/index.js", import.meta.url)))};
    const model = sequential([dense(1)], { inputShape: [2] });
    console.log(tensor([1]), model);
    await model.predict([[1, 2, 3]]);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  assert.match(stdout, /^Tensor f32\[1\] \[1\] Model \{/m);
  assert.match(stderr, /^ShapeError: predict: the model expects x of shape/m);
  assert.ok(stderr.length < 4096, `${stderr.length} characters`);
});

test.run();
