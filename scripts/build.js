/**
 * @file Builds everything into build/: CPU kernels (WebAssembly modules, also packed, deflated and as base64), GPU kernels (kernels/*.wgsl, minified into shaders.js),
 * the modules of the library (build/esm, from src by tsc; tests import these), and what the package ships: bundles of them and their types.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateAsync } from "@gfx/zopfli";
import { bundle } from "./bundle.js";
import { minifyWgsl, minifyWithConstants } from "./minify-wgsl.js";
import { unlessUnchanged } from "./unchanged.js";
import { PARTS, linked, withName, withoutSharedMemory } from "./wasm.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(import.meta.url);
process.chdir(root);
mkdirSync("build", { recursive: true });

/** The script behind a package's command, so that no shell and no .bin links are needed. */
function command(name, bin) {
  const file = require.resolve(`${name}/package.json`);
  const { bin: bins } = JSON.parse(readFileSync(file, "utf8"));
  return join(dirname(file), typeof bins === "string" ? bins : bins[bin]);
}

function node(script, args) {
  execFileSync(process.execPath, [script, ...args], { stdio: "inherit" });
}

/** Does one stage and says what it was and how long it took. */
async function stage(what, work) {
  const start = performance.now();
  const result = await work();
  console.log(`build: ${what}, ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

const read = (folder, ending) => readdirSync(folder, { recursive: true }).filter((f) => f.endsWith(ending)).sort().map((f) => [f, readFileSync(join(folder, f), "utf8")]);

/** Modules of src/ that assembly/ imports, which name opcodes and steps. */
const shared = new Set(read("assembly", ".ts").flatMap(([, text]) => [...text.matchAll(/from "(?:\.\.\/)+(src\/[^"]+)"/g)].map(([, path]) => `${path}.ts`)));
await unlessUnchanged("kernels", ["assembly", ...shared, "scripts/build.js", "scripts/wasm.js"], /^(inference-)?(plain|relaxed)\b|^kernels\.|^whole\./, async () => {
  const asc = command("assemblyscript", "asc");
  // Shrink level 1 keeps the compiler from copying functions with loops into every caller: 0.6 KB less after compression.
  const base = ["assembly/index.ts", "-O3", "--shrinkLevel", "1", "--debug", "--noAssert", "--runtime", "stub", "--importMemory", "--initialMemory", "1", "--sharedMemory", "--maximumMemory", "65536", "--enable", "simd", "--enable", "threads", "--memoryBase", "64", "--disableWarning", "112"];
  /** The builds: those of `inference` have no kernels of the backward pass. */
  const builds = ["", "inference-"].flatMap((prefix) => ["plain", "relaxed"].map((simd) => ({ prefix, simd })));
  const modules = await stage("kernels of the CPU (assembly/, AssemblyScript) into build/*.wasm", () => builds.map(({ prefix, simd }) => {
    const file = `build/${prefix}${simd}.wasm`;
    node(asc, [...base, ...(simd === "relaxed" ? ["--enable", "relaxed-simd"] : []), "--use", `TRAINING=${prefix === "" ? 1 : 0}`, "--outFile", file]);
    return { prefix, simd, file, ...linked(readFileSync(file)) };
  }));
  const hash = createHash("sha256");
  for (const { whole } of modules) hash.update(whole);
  // What a module must say of itself: the code that encodes commands and the kernels that read them belong together.
  const id = hash.digest("hex").slice(0, 8);
  /** A module as text. */
  async function writePacked(file, binary) {
    // Zopfli searches for the shortest DEFLATE stream: 4 % less than zlib's best.
    writeFileSync(file, `export default "${Buffer.from(await deflateAsync(binary, {})).toString("base64")}";\n`);
  }
  await stage("the same kernels as text (Zopfli) for bundlers", async () => {
    for (const { prefix, simd, file, whole, core, parts } of modules) {
      writeFileSync(file, withName(withoutSharedMemory(whole), `${id} ${simd}`));
      await writePacked(`build/${prefix}${simd}.js`, withoutSharedMemory(core));
      for (const [part, binary] of Object.entries(parts)) await writePacked(`build/${prefix}${simd}-${part}.js`, withoutSharedMemory(binary));
    }
  });
  for (const simd of ["plain", "relaxed"]) {
    writeFileSync(`build/${simd}.d.ts`, "declare const kernels: string | WebAssembly.Module;\nexport default kernels;\n");
    for (const part of Object.keys(PARTS)) writeFileSync(`build/${simd}-${part}.d.ts`, "declare const part: string;\nexport default part;\n");
    // workerd compiles no bytes; it takes modules that are imported.
    writeFileSync(`build/${simd}.workerd.js`, `import kernels from "./${simd}.wasm";\nexport default kernels;\n`);
  }
  // What stands for the parts there: nobody asks for it, since those modules are whole.
  writeFileSync("build/whole.workerd.js", 'export default "";\n');
  writeFileSync("build/kernels.js", `export const id = "${id}";\nexport const prefix = "";\n`);
  writeFileSync("build/kernels.d.ts", "/** Names the builds of the kernels that belong to this code. */\nexport declare const id: string;\n/** What the names of their files begin with. */\nexport declare const prefix: string;\n");
});

const users = read("src/webgpu", ".ts").map(([, text]) => text).join("\n");
const kernels = Object.fromEntries(read("kernels", ".wgsl"));
/** In this order, found by trying, gzip makes the least of what is shipped: 0.2 KB less than in that of the alphabet. Files that are not named come last. */
const ORDER = "steps math activation gather move index half map random rows reduce epilogue pool conv softmax norm matmul gemm recurrent lstm gru simple-rnn".split(" ");
const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
const exported = (files) => {
  const named = Object.entries(files).map(([f, text]) => [f.slice(0, -5), text]).sort(([a], [b]) => place(a) - place(b));
  return `export default ${JSON.stringify(Object.fromEntries(named))};\n`;
};
await stage("kernels of the GPU (kernels/, WGSL) into build/shaders.js", () => writeFileSync("build/shaders.js", `/** @file Generated by scripts/build.js: kernels/*.wgsl by name. */\n${exported(minifyWgsl(kernels, users))}`));
writeFileSync("build/shaders.d.ts", "declare const shaders: { readonly [file: string]: string };\nexport default shaders;\n");

await stage("modules (src/, TypeScript) into build/esm", () => node(command("typescript", "tsc"), ["-p", "tsconfig.json"]));

/** `--modules`: not what is shipped, but all that tests of the modules import. */
const whole = !process.argv.includes("--modules");
if (whole) await unlessUnchanged("bundles", ["build/esm", "kernels", "build/kernels.hash", "package.json", "scripts"], /^[a-z]+\.js(\.map)?$|^types$/, () => stage("bundles and types of the package into build/", () => {
  // In what is shipped constants of kernels have short names, in the kernels and where encoders give them.
  const shipped = minifyWithConstants(kernels, users);
  return bundle({ shaders: exported(shipped.files), constants: shipped.constants });
}));
