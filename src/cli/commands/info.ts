/** @file `lockstep info`: what this machine has for the library, and how fast it is. */
import { compile, full, LockstepError, matmul, open, sum } from "../../index.ts";
import type { Backend, Tensor } from "../../index.ts";
import { showRate } from "../../inspect/table.ts";
import { builtin } from "../../node/files.ts";
import type { Command, Given } from "../command.ts";
import { version } from "../version.ts";

/** Longest time that one measure takes. */
const MOST_MS = 300;

/** Runs of `fn` in a second, once it is warm. */
async function perSecond(backend: Backend, fn: () => Promise<unknown>): Promise<number> {
  for (let i = 0; i < 3; i++) await fn();
  await backend.sync();
  const from = performance.now();
  let runs = 0;
  for (; runs < 2 || performance.now() - from < MOST_MS; runs++) await fn();
  await backend.sync();
  return (1000 * runs) / (performance.now() - from);
}

/** Sizes of matrices. A product that takes so long is large enough: below, a run costs a GPU what one does that computes nothing. */
const SIZES = [512, 1024, 2048, 4096];
const LEAST_MS = 4;
/** More than caches hold. */
const ELEMENTS = 2 ** 26;
/** For a GPU in software. */
const FEW_ELEMENTS = 2 ** 22;

interface Speed {
  readonly gflops: number;
  /** Rows of the matrices. */
  readonly size: number;
  readonly gbytes: number;
}

/** How often a function computes in a second; what it reads is freed. What is read by closure stays on the backend. */
async function rateOf(backend: Backend, inputs: readonly Tensor[], fn: () => Tensor): Promise<number> {
  const run = compile(fn, { backend });
  try {
    // A result of one number costs nothing to read.
    const once = async (): Promise<void> => (await run()).dispose();
    await once();
    await (backend as Partial<{ warm(): Promise<void> }>).warm?.();
    return await perSecond(backend, once);
  } finally {
    run.close();
    for (const t of inputs) t.dispose();
  }
}

/** Products of matrices, and sums of long vectors. */
async function speedOf(backend: Backend, isSlow: boolean): Promise<Speed> {
  let [size, products] = [0, 0];
  for (size of SIZES) {
    const [a, b] = [full([size, size], 0.5), full([size, size], 0.25)];
    products = await rateOf(backend, [a, b], () => sum(matmul(a, b)));
    if (1000 / products >= LEAST_MS) break;
  }
  // An eighth of what there is, at most.
  const room = Math.min(backend.limits.maxBytes, builtin("node:os")?.totalmem() ?? Infinity);
  const elements = Math.min(isSlow ? FEW_ELEMENTS : ELEMENTS, 2 ** Math.floor(Math.log2(room / 32)));
  const c = full([elements], 1);
  const totals = await rateOf(backend, [c], () => sum(c));
  return { gflops: (2 * size ** 3 * products) / 1e9, size, gbytes: (4 * elements * totals) / 1e9 };
}

/** What is told of one backend. */
interface Facts {
  readonly [name: string]: unknown;
  readonly speed?: Speed;
}

async function wasmFacts(given: Given, test: boolean): Promise<Facts> {
  const backend = await open("wasm", { threads: given.text("threads") === undefined ? "auto" : given.count("threads", 1) });
  const speed = test ? await speedOf(backend, false) : undefined;
  const facts = {
    simd: backend.simd,
    threads: backend.threads,
    activeThreads: backend.activeThreads,
    threadsProblem: backend.threadsProblem,
    maxBytes: backend.limits.maxBytes,
    ...(speed && { speed }),
  };
  await backend.close();
  return facts;
}

async function gpuFacts(test: boolean): Promise<Facts | string> {
  try {
    const backend = await open("webgpu");
    const { vendor, subgroupSize, software, maxWorkgroupSize, maxBuffers } = backend.features;
    const speed = test ? await speedOf(backend, software) : undefined;
    const facts = {
      adapter: backend.adapter,
      vendor,
      software,
      subgroupSize,
      maxWorkgroupSize,
      maxBuffers,
      maxBytes: backend.limits.maxBytes,
      ...(speed && { speed }),
    };
    await backend.close();
    return facts;
  } catch (error) {
    if (error instanceof LockstepError) return error.message;
    throw error;
  }
}

const runtime = (): string => {
  const { Deno, Bun } = globalThis as { Deno?: { version: { deno: string } }; Bun?: { version: string } };
  return Deno ? `Deno ${Deno.version.deno}` : Bun ? `Bun ${Bun.version}` : `Node ${process.versions.node}`;
};

const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
const subgroups = (size: number): string => (size > 0 ? `subgroups of ${size}` : "no subgroups");
const shownSpeed = ({ gflops, size, gbytes }: Speed): string =>
  `${showRate(gflops)} GFLOP/s of matrices ${size} x ${size}, ${showRate(gbytes)} GB/s read from memory`;

export const info: Command = {
  name: "info",
  summary: "Show what this machine has for Lockstep, and how fast it is",
  usage: "[options]",
  least: 0,
  most: 0,
  options: {
    json: { help: "as JSON" },
    "no-speed": { help: "without the speed test, which takes a few seconds" },
  },
  async run(given, out) {
    const os = builtin("node:os");
    const test = !given.flag("no-speed");
    const cpus = os?.cpus() ?? [];
    const facts = {
      version: version(),
      runtime: runtime(),
      platform: `${process.platform} ${process.arch}`,
      cpu: cpus[0]?.model.trim() ?? "unknown",
      cores: os?.availableParallelism() ?? cpus.length,
      memory: os?.totalmem() ?? 0,
      wasm: await wasmFacts(given, test),
      webgpu: await gpuFacts(test),
    };
    if (given.flag("json")) return out.result(JSON.stringify(facts, null, 2));
    const { wasm, webgpu } = facts as unknown as {
      wasm: { simd: string; threads: number; threadsProblem: string | null; maxBytes: number; speed?: Speed };
      webgpu: string | { adapter: string; software: boolean; subgroupSize: number; maxBytes: number; speed?: Speed };
    };
    const lines: (readonly [string, string])[] = [
      ["Lockstep", facts.version],
      ["Runtime", `${facts.runtime}, ${facts.platform}`],
      ["Processor", `${facts.cpu}, ${facts.cores} cores, ${gigabytes(facts.memory)}`],
      ["WebAssembly", `${wasm.simd === "relaxed" ? "relaxed SIMD" : "SIMD"}, ${wasm.threads} thread${wasm.threads === 1 ? "" : "s"}`],
      ...(wasm.threadsProblem === null ? [] : [["", wasm.threadsProblem] as const]),
      ["", `at most ${gigabytes(wasm.maxBytes)} of memory`],
      ...(wasm.speed === undefined ? [] : [["", shownSpeed(wasm.speed)] as const]),
      ...(typeof webgpu === "string"
        ? [["WebGPU", webgpu.replace(/^webgpu: /, "")] as const]
        : [
            ["WebGPU", `${webgpu.adapter}${webgpu.software ? " (in software)" : ""}`] as const,
            ["", `tensors of at most ${gigabytes(webgpu.maxBytes)}, ${subgroups(webgpu.subgroupSize)}`] as const,
            ...(webgpu.speed === undefined ? [] : [["", shownSpeed(webgpu.speed)] as const]),
          ]),
    ];
    for (const [name, value] of lines) out.result(`${name.padEnd(13)}${value}`);
  },
};
