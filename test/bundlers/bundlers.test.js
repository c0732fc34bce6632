/**
 * @file Applications that bundlers build from the installed package, run in Chromium: no configuration, no warnings, the same bits as in
 * Node, one build of the kernels downloaded at a time, and nothing in them that they do not use.
 */
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { withPage } from "../../scripts/chromium.js";
import { project, root } from "../package/packed.js";
import { BUILDERS } from "./builders.js";

const folder = project("bundlers");
writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
const APPS = ["train", "infer", "functions", "layers", "write"];
for (const app of APPS) {
  cpSync(join(root, `test/bundlers/apps/${app}.js`), join(folder, `${app}.js`));
  writeFileSync(join(folder, `main-${app}.js`), `import { run } from "./${app}.js";\nglobalThis.app = run;\n`);
}
const outOf = (bundler, app) => join(folder, "out", bundler.replace(/\W+/g, "-"), app);
/** All JavaScript that a bundler wrote for an application, without the part for WebGPU, which is loaded on demand and serves everything. */
const textOf = (bundler, app) =>
  readdirSync(outOf(bundler, app), { recursive: true })
    .map(String)
    .filter((f) => f.endsWith(".js"))
    .map((f) => readFileSync(join(outOf(bundler, app), f), "utf8"))
    .filter((text) => bundler.includes("one file") || !text.includes("@workgroup_size"))
    .join("\n")
    .replaceAll("`", '"');

// In Node, from the installed package.
const here = {};
for (const app of APPS) here[app] = (await import(pathToFileURL(join(folder, `${app}.js`)).href)).run;
const trained = await here.train();
const expected = {
  train: trained,
  infer: await here.infer(trained.file),
  functions: await here.functions(),
  layers: await here.layers(),
  write: await here.write(null, join(root, "test/models/llama/stories260K")),
};

test("bundlers: the applications do in Node what they are to do", () => {
  assert.ok(trained.history.loss.at(-1) < trained.history.loss[0]);
  assert.equal(expected.infer.prediction, trained.prediction);
  assert.equal(expected.functions, { value: 134 });
  assert.ok(new Set(expected.write.ids).size > 4);
});

for (const [bundler, build] of Object.entries(BUILDERS)) {
  for (const app of APPS) {
    test(`bundlers: ${bundler} builds ${app} without a warning`, async () => {
      assert.equal(await build(folder, `main-${app}.js`, outOf(bundler, app)), []);
    });
  }
}

/** Kernels in base64: nothing else is that long without a break. */
const KERNELS = /[A-Za-z0-9+/=]{1500,}/;

test("bundlers: what is built runs in Chromium, with the same bits as in Node", () =>
  withPage(async (page) => {
    const origin = new URL(page.url()).origin;
    let problems;
    let kernels;
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on(
      "console",
      (message) => void (message.type() === "error" && !message.location().url.endsWith("favicon.ico") && problems.push(message.text())),
    );
    page.on(
      "response",
      (response) => void (response.url().endsWith(".js") && kernels.push(response.text().then((text) => Number(KERNELS.test(text))))),
    );
    for (const bundler of Object.keys(BUILDERS)) {
      for (const app of APPS) {
        problems = [];
        kernels = [];
        await page.goto(`${origin}/build/bundlers/${outOf(bundler, app).slice(folder.length + 1)}/index.html`);
        await page.waitForFunction(() => typeof globalThis.app === "function");
        const result = await page.evaluate((file) => globalThis.app(file), trained.file);
        const who = `${bundler}, ${app}`;
        assert.equal({ ...result, simd: null }, { ...expected[app], simd: null }, who);
        assert.equal(problems, [], who);
        if (app === "train" || app === "infer") assert.is(result.simd, "relaxed", who);
        // Where there are chunks: the plain build, and before it, where that was opened, the relaxed one; of layers two parts, and of a
        // Llama three. Never one that was not asked for.
        const builds = (await Promise.all(kernels)).filter((count) => count > 0);
        if (!bundler.includes("one file")) assert.is(builds.length, { train: 2, infer: 2, functions: 1, layers: 3, write: 4 }[app], who);
      }
    }
  }));

/**
 * Strings of optimizers, losses, metrics, gradient rules and backward kernels, none of which base64 text can hold by chance;
 * test/package/inference.test.js has more.
 */
const TRAINING = ["rmsprop", "klDivergence", "topKCategoricalAccuracy", "softmaxGrad", "gradients: expected a scalar"];
/** Of models, their training and what it takes. */
const MODELS = [
  "rmsprop",
  "klDivergence",
  "topKCategoricalAccuracy",
  "gradients: expected a scalar",
  "glorotUniform",
  "or call build(), fit() or predict()",
];
/** Of layers, kernels and callbacks that no application here uses. */
const OTHERS = ["groupNorm", "timeDistributed", "reduceLrOnPlateau", "lstmGrad", "maxPool"];
/** Of all kernels, which the part for WebGPU names. */
const KERNEL_NAMES = ["softmaxGrad", "lstmGrad", "maxPool"];

/** `parts` are in `whole` and not in `text`. */
function without(parts, text, whole, who) {
  for (const part of parts) {
    assert.ok(whole.includes(part), `there is no "${part}" to leave out`);
    assert.not(text.includes(part), `${who}: "${part}"`);
  }
}

for (const bundler of Object.keys(BUILDERS)) {
  test(`bundlers: ${bundler} leaves out what an application does not use`, () => {
    const [train, infer, functions, layers, write] = APPS.map((app) => textOf(bundler, app));
    // In one file there is the part for WebGPU too.
    const told = (parts) => (bundler.includes("one file") ? parts.filter((part) => !KERNEL_NAMES.includes(part)) : parts);
    without(told(TRAINING), infer, train, "the application that predicts");
    const rules = /\bvjp:\s*(?!null)/;
    assert.ok(rules.test(train) && !rules.test(infer), "gradient rules in what trains, none in what predicts");
    without(told(TRAINING), write, train, "the application that opens a checkpoint");
    without(MODELS, functions, train, "the application of functions");
    // esbuild and webpack write files of parts also where only what they have dropped imports them. Nobody loads these.
    without(['name:"conv"', 'name:"recurrent"'], train, layers, "the application of dense layers");
    without(['name:"norm"'], layers, infer, "the application without layer normalization");
    without(told(OTHERS), train, readFileSync(join(root, "build/index.js"), "utf8"), "the application that trains");
  });
}

test.run();
