/** @file The types, in projects that use the package: strict, with every declaration file checked. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { command, project, root } from "./packed.js";

const folder = project("consumer");

const APP = `
import { adam, compile, dense, loadModel, open, ops, sequential, tensor, valueAndGrad, BackendError } from "lockstep";
import type { Backend, Callback, GpuBackend, History, KernelSource, Layer, Loss, Metric, Model } from "lockstep";
import type { Optimizer, Tensor, WasmBackend } from "lockstep";
import { parseCsv, trainTestSplit } from "lockstep/data";
import { openSafetensors, readSafetensors, writeSafetensors } from "lockstep/safetensors";
import type { SafetensorsFile, SafeTensor } from "lockstep/safetensors";
import { loadPretrained } from "lockstep/transformers";
import type { Encoder, GeneratedToken, LanguageModel } from "lockstep/transformers";
import * as reading from "lockstep/inference/transformers";
import { openGguf } from "lockstep/gguf";
import { backupAndRestore, csvLogger, tensorBoard } from "lockstep/inspect";
import { classificationReport, compareModels, plotHistory, plotModel, profile } from "lockstep/inspect";
import type { CanvasLike, Drawing, Profile } from "lockstep/inspect";
import * as inference from "lockstep/inference";

const model: Model = sequential([dense(8, { activation: "relu" }), dense(1)], { inputShape: [2] });
const layers: readonly Layer[] = model.layers;
const callback: Callback = { onEpochEnd: (_epoch, logs) => { const loss: unknown = logs["loss"]; void loss; } };
export async function train(): Promise<History> {
  const backend: Backend = await open("wasm", { threads: 1, module: new URL("https://example.org/plain.wasm") });
  await model.compile({ loss: "meanSquaredError", optimizer: adam({ learningRate: 1e-3 }), metrics: ["mae"], backend });
  return model.fit([[1, 2]], [[3]], { epochs: 1, callbacks: [callback] });
}
export const step = compile((x: Tensor) => valueAndGrad((t: Tensor) => ops.sum(ops.mul(t, t)), [x])(x).value);
export async function gpu(): Promise<GpuBackend> {
  return open("webgpu");
}
export const source: KernelSource = new Uint8Array(4);
export async function load(): Promise<[Model, inference.Model]> {
  return [await loadModel("a.safetensors"), await inference.loadModel(new Uint8Array(8))];
}
export async function tensors(): Promise<Uint8Array> {
  const file: SafetensorsFile = await openSafetensors("a.safetensors");
  const { tensors } = await readSafetensors(new Uint8Array(8), { names: ["a"] });
  const read: SafeTensor = await file.read([...tensors.keys()].join());
  const { bytes } = await file.readRaw("a");
  const c = { dtype: "I64", shape: [bytes.length / 8], bytes } as const;
  const d = { shape: [1], data: Float64Array.of(1) };
  return writeSafetensors({ a: read, b: tensor(read.data, read.shape), c, d }, { format: "pt" });
}
export async function text(): Promise<GeneratedToken[]> {
  const lm: LanguageModel = await loadPretrained("folder", { task: "text-generation", contextLength: 8 });
  const out: GeneratedToken[] = [];
  for await (const token of lm.generate("a", { temperature: 1 })) out.push(token);
  const either = await loadPretrained({ "config.json": "a", "model.safetensors": new Uint8Array(1) });
  if (either.task === "feature-extraction") await either.embed("a");
  else if (either.task === "image-classification") await either.logits([[[[1]]]]);
  else await either.logits([1]);
  const bert: Encoder = await loadPretrained("folder", { task: "feature-extraction" });
  // @ts-expect-error An encoder writes no text.
  void bert.generate;
  for await (const tokens of lm.generate(["a", [1, 2]])) out.push(...tokens.filter((token) => token !== null));
  lm.model.summary();
  return (await openGguf("a.gguf")).metadata.has("a") ? out : [];
}
export async function read(): Promise<inference.Tensor> {
  const lm: reading.LanguageModel = await reading.loadPretrained("folder", { task: "text-generation", weights: "q4" });
  const model: inference.Model = lm.model;
  const bert = await reading.loadPretrained("folder", { task: "feature-extraction" });
  const outputs: reading.EncoderOutputs = await bert.encode({ inputIds: [[1]] });
  // @ts-expect-error A model that predicts cannot be trained.
  void lm.model.fit;
  // @ts-expect-error Nor can that of an encoder.
  void bert.model.compile;
  // @ts-expect-error Models of one entry are not those of the other.
  const trained: Model = lm.model;
  // @ts-expect-error Checkpoints neither.
  const other: LanguageModel = lm;
  void [trained, other, model.summary()];
  return outputs.lastHiddenState;
}
export async function look(canvas: CanvasLike): Promise<[Profile, Drawing]> {
  const callbacks: Callback[] = [csvLogger("a.csv"), tensorBoard({ updateFreq: 5 }), backupAndRestore("backup", { saveFreq: "epoch" })];
  const history = await model.fit([[1, 2]], [[3]], { callbacks });
  plotHistory(history, { logScale: true }).draw(canvas, 2);
  const { macro } = await classificationReport([0, 1], await model.predict([[1, 2], [3, 4]]));
  const { models } = await compareModels({ model }, [[1, 2]], undefined, { runs: macro.support });
  return [await profile(predictor, [[models[0]?.latency ?? 0, 2]]), await plotModel(model)];
}
const predictor: inference.Model = inference.sequential([inference.dense(1)]);
// @ts-expect-error A model that predicts cannot be trained.
void predictor.fit;
// @ts-expect-error The option is a number.
dense("8");
export type All = [Loss, Metric, Optimizer, WasmBackend];
const table = parseCsv("a,b\\n1,2\\n3,4");
const rows = { data: table.values, shape: [table.rows, 2] };
export const split = trainTestSplit(rows, rows, { seed: 1 });
export const e: Error = new BackendError(String(layers.length) + tensor([1]).toString());
`;
writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
writeFileSync(join(folder, "app.ts"), APP);

/** What tsc says of files (default app.ts) under these options, an error a line. `compiler`: a development package. */
function check(name, options, files = ["app.ts"], compiler = "typescript-7") {
  const config = {
    compilerOptions: { target: "ES2022", strict: true, noEmit: true, skipLibCheck: false, types: [], lib: ["ES2022", "DOM"], ...options },
    files,
  };
  return checkConfig(name, config, compiler);
}

function checkConfig(name, config, compiler = "typescript-7") {
  writeFileSync(join(folder, `tsconfig.${name}.json`), JSON.stringify(config));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [command(compiler, "tsc"), "-p", `tsconfig.${name}.json`, "--pretty", "false"],
    { cwd: folder, encoding: "utf8" },
  );
  const errors = stdout.split("\n").filter((line) => /\berror TS/.test(line));
  assert.is(status === 0, errors.length === 0, stdout + stderr);
  return errors;
}

const bundler = { module: "ESNext", moduleResolution: "bundler" };
const projects = {
  "a bundler, with lib.dom alone": bundler,
  "Node, with lib.dom and @types/node": { module: "nodenext", moduleResolution: "nodenext", types: ["node"] },
  "the strictest options": {
    module: "nodenext",
    moduleResolution: "nodenext",
    lib: ["ESNext", "DOM", "DOM.Iterable"],
    types: ["node"],
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noPropertyAccessFromIndexSignature: true,
    verbatimModuleSyntax: true,
    isolatedModules: true,
  },
};
Object.entries(projects).forEach(([name, options], i) => {
  test(`types: ${name}`, () => assert.equal(check(i, options), []));
});

test("types: libraries that know no WebGPU, as lib.dom before TypeScript 6", () => {
  // What the declarations need of lib.dom, and nothing else of it.
  writeFileSync(
    join(folder, "older.ts"),
    `${APP}
declare global {
  class URL { constructor(address: string); }
  class Response {}
  type BufferSource = ArrayBufferView | ArrayBuffer;
  namespace WebAssembly { class Module {} }
}
`,
  );
  assert.equal(check("older", { ...bundler, lib: ["ES2022"] }, ["older.ts"]), []);
});

/** The JavaScript blocks of a page, as files. */
const blocksOf = (page) =>
  [...readFileSync(join(root, page), "utf8").matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code], i) => {
    const file = `${page.replace(/\W/g, "-")}-block-${i}.ts`;
    writeFileSync(join(folder, file), code);
    return file;
  });

test("types: the JavaScript of README and docs is TypeScript as it stands, under what tsc --init writes", () => {
  rmSync(join(folder, "tsconfig.json"), { force: true });
  const { stdout } = spawnSync(process.execPath, [command("typescript-7", "tsc"), "--init"], { cwd: folder, encoding: "utf8" });
  assert.ok(existsSync(join(folder, "tsconfig.json")), stdout);
  const guide = "docs/from-keras.md";
  const own = ["README.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)]
    .filter((page) => page.endsWith(".md") && page !== guide)
    .flatMap(blocksOf);
  assert.ok(own.length > 7, own.join());
  assert.equal(checkConfig("init", { extends: "./tsconfig.json", compilerOptions: { noEmit: true }, files: own }), []);
  // The guide has functions whose parameters only JavaScript leaves without types.
  assert.equal(
    checkConfig("guide", { extends: "./tsconfig.json", compilerOptions: { noEmit: true, noImplicitAny: false }, files: blocksOf(guide) }),
    [],
  );
});

test("types: a lib.dom that lacks WebGPU, that of TypeScript 5, alone and with @webgpu/types", () => {
  const config = (types) => ({ ...bundler, types });
  assert.equal(check("five", config([]), ["app.ts"], "typescript"), []);
  writeFileSync(
    join(folder, "gpu.ts"),
    'import { open } from "lockstep";\nexport const gpu = async () => open("webgpu", { gpu: navigator.gpu, powerPreference: ' +
      '"low-power" });\n',
  );
  assert.equal(check("five-gpu", config(["@webgpu/types"]), ["app.ts", "gpu.ts"], "typescript"), []);
  assert.equal(check("seven-entry", bundler, ["gpu.ts"]), []);
  // There is nothing to pass where nothing declares it.
  assert.match(check("five-none", config([]), ["gpu.ts"], "typescript").join("\n"), /Property 'gpu' does not exist/);
});

test("types: beside @webgpu/types and a lib.dom that has WebGPU", () => {
  const options = { ...bundler, types: ["@webgpu/types"] };
  // lib.dom of TypeScript 7 declares WebGPU itself, and @webgpu/types 0.1.74 a little differently: these two disagree in a project without
  // anything else.
  writeFileSync(join(folder, "empty.ts"), "export {};\n");
  assert.equal(check("gpu", options), check("gpu-empty", options, ["empty.ts"]));
  assert.equal(check("gpu-skip", { ...options, skipLibCheck: true }), []);
});

test("types: moduleResolution node10, which does not read exports", () => {
  assert.equal(check("node10", { module: "CommonJS", moduleResolution: "node10" }, ["app.ts"], "typescript"), []);
  const { exports, types, typesVersions } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const typed = Object.entries(exports)
    .filter(([, target]) => target.types !== undefined)
    .map(([name, target]) => [name.replace(/^\.\/?/, ""), target.types]);
  assert.equal(
    { "": types, ...Object.fromEntries(Object.entries(typesVersions["*"]).map(([name, [file]]) => [name, file])) },
    Object.fromEntries(typed),
  );
});

test("types: the check sees errors, in the package's declarations too", () => {
  writeFileSync(join(folder, "node_modules/lockstep/build/types/shape.d.ts"), "export type Shape = readonly Missing[];\n");
  assert.match(check("broken", bundler).join("\n"), /shape\.d\.ts.*Missing/);
});

test.run();
