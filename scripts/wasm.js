/**
 * @file Compiles the CPU kernels (assembly/, AssemblyScript) and packs them as text, on as many threads as there are cores, since asc takes
 * half of a build's time.
 */
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

// Shrink level 1 keeps the compiler from copying functions with loops into every caller: 0.6 KB less after compression.
// Memory is not shared in files, which streams and every runtime take; src/wasm/load.ts changes that for threads.
// assembly/constants.ts knows the base.
const OPTIONS = `-O3 --shrinkLevel 1 --noAssert --runtime stub --importMemory --noExportMemory --initialMemory 1 --maximumMemory 65536
  --memoryBase 64 --enable simd --enable threads --disableWarning 112`.split(/\s+/);

/** The modules of a build by their entries: all kernels in one, or the core, which calls parts by a table that it imports. */
const WHOLE = { entry: "whole", options: "--use WHOLE=1 --use PART=0" };
const CORE = { entry: "core", options: "--use WHOLE=0 --use PART=0 --importTable" };
const PARTS = readdirSync("assembly/parts")
  .map((file) => file.slice(0, -3))
  .map((part) => ({ part, entry: `parts/${part}`, options: "--use WHOLE=0 --use PART=1" }));

/** Every module; what takes longest comes first. Builds of `inference` have no kernels of the backward pass. */
function modules() {
  const builds = [true, false].flatMap((training) => ["relaxed", "plain"].map((simd) => ({ training, simd })));
  const of = (module, some = builds) =>
    some.map((build) => {
      const name = [...(build.training ? [] : ["inference"]), build.simd, ...(module.part ? [module.part] : [])].join("-");
      return { ...build, ...module, name };
    });
  return [
    ...of(
      WHOLE,
      builds.filter(({ training }) => training),
    ),
    ...of(CORE),
    ...PARTS.flatMap((part) => of(part)),
  ];
}

async function compiled({ entry, options, simd, training }) {
  const [{ default: asc }, { deflateAsync }] = await Promise.all([import("assemblyscript/asc"), import("@gfx/zopfli")]);
  const given = [...options.split(" "), "--use", `TRAINING=${Number(training)}`];
  if (simd === "relaxed") given.push("--enable", "relaxed-simd");
  let binary;
  const { error, stderr } = await asc.main([`assembly/${entry}.ts`, ...OPTIONS, ...given, "--outFile", "kernels.wasm"], {
    writeFile: (_, contents) => void (binary = contents),
  });
  if (error) throw new Error(`assembly/${entry}.ts: ${error.message}\n${stderr}`);
  // Zopfli searches for the shortest DEFLATE stream: 4 % less than zlib's best.
  return { binary, text: entry === "whole" ? null : Buffer.from(await deflateAsync(binary, {})).toString("base64") };
}

/** All modules: `name` and `simd`, the `binary`, and, but for whole ones, `text`: deflated, in base64. */
export async function compileKernels() {
  const all = modules();
  const rest = [...all];
  await Promise.all(
    Array.from(
      { length: Math.min(4, availableParallelism()) },
      () =>
        new Promise((done, failed) => {
          const worker = new Worker(new URL(import.meta.url));
          let current = null;
          worker.on("error", failed);
          worker.on("message", (result) => {
            if (current !== null) Object.assign(current, result);
            current = rest.shift() ?? null;
            if (current === null) worker.terminate().then(done, failed);
            else worker.postMessage(current);
          });
        }),
    ),
  );
  return all;
}

if (!isMainThread) {
  parentPort.on("message", async (module) => parentPort.postMessage(await compiled(module)));
  parentPort.postMessage(null);
}
