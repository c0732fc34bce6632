/** @file Opening the WASM backend (linear.ts): plans become command lists in one linear memory, run by AssemblyScript kernels. */
import { ArgumentError, BackendError } from "../errors.ts";
import type { Kernel } from "../op.ts";
import { instantiate } from "./instance.ts";
import { loadKernels, loadPart } from "./load.ts";
import type { KernelSource } from "./load.ts";
import { SCRATCH_BYTES } from "./opcodes.ts";
import type { WasmKernel } from "./kernel.ts";
import { LinearBackend, PAGE } from "./linear.ts";
import type { WasmBackend } from "./linear.ts";
import { arrange } from "./threads.ts";
import type { WorkerSource } from "./threads.ts";

export type { WasmBackend } from "./linear.ts";

/** Options of `open("wasm")`. */
export interface WasmOptions {
  /**
   * Plain SIMD only, so that results are the same bits in every runtime and on every machine. Default false: relaxed SIMD (fused
   * multiply-add) where there is any.
   */
  readonly reproducible?: boolean;
  /** Most bytes of linear memory. Default and limit: 4 GiB. */
  readonly maxBytes?: number;
  /**
   * Threads that share a program's work; `auto`: one for each core, at most 8. Workers start with the first program that is large enough.
   * Results are the same bits for any number. One thread where there are no threads (pages that are not cross-origin isolated, workerd).
   * Default auto.
   */
  readonly threads?: "auto" | number;
  /**
   * The kernels, in place of those in the package: `new URL("lockstep/relaxed.wasm", ...)`, `fetch(...)`, bytes or, where compiling is
   * forbidden, a compiled module, which runs on one thread. Default: the kernels in the package, of which only the build that this engine
   * takes is loaded.
   */
  readonly module?: KernelSource;
  /**
   * All work of more than some 70 us is done by workers, and the calling thread never waits for them. Where there are no threads it takes
   * turns with other tasks instead, every 8 ms. Default: true on a page's main thread with more than one thread, which may not wait, else
   * false: the calling thread takes part.
   */
  readonly background?: boolean;
  /**
   * Address of the workers' script (`lockstep/worker.js`, or a copy), or a function that starts a worker with it. Default: the script
   * beside this module, found as `new Worker(new URL("./worker.js", import.meta.url), { type: "module" })`; needed where a bundler does not
   * follow that (esbuild, Rollup).
   */
  readonly worker?: WorkerSource;
}

const MAX_PAGES = 65536;
const FIRST_PAGES = Math.ceil((SCRATCH_BYTES + PAGE) / PAGE) + 1;
const LEAST_SHARED_PAGES = 4096;
/** A module with one `f32x4.relaxed_madd`: valid only where the engine has relaxed SIMD. */
const RELAXED_PROBE = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  6,
  1,
  96,
  1,
  123,
  1,
  123,
  3,
  2,
  1,
  0,
  10,
  13,
  1,
  11,
  0,
  32,
  0,
  32,
  0,
  32,
  0,
  253,
  133,
  2,
  11,
);
/** A module with one `i32x4.splat`. */
const SIMD_PROBE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 17, 11);

/**
 * Opens a WASM backend. @throws BackendError where WebAssembly SIMD is missing or `module` is not Lockstep's, ArgumentError for options out
 * of range.
 */
export async function openWasm({
  reproducible = false,
  maxBytes = MAX_PAGES * PAGE,
  threads = "auto",
  background,
  worker,
  module: source,
}: WasmOptions = {}): Promise<WasmBackend> {
  if (!(maxBytes >= 4 * 2 ** 20 && maxBytes <= MAX_PAGES * PAGE))
    throw new ArgumentError(`open: maxBytes must be between 4 MiB and 4 GiB, got ${maxBytes}`);
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD_PROBE)) {
    throw new BackendError("wasm: this runtime has no WebAssembly SIMD; it needs Chrome 91, Firefox 89, Safari 16.4, Node 16.4 or newer");
  }
  const wanted = arrange(threads, background, worker);
  const kernels = await loadKernels(source, WebAssembly.validate(RELAXED_PROBE), reproducible, wanted.workers > 0);
  const arrangement =
    wanted.workers > 0 && !kernels.shared
      ? { ...wanted, workers: 0, problem: "the kernels were passed as a compiled module, whose memory cannot be shared" }
      : wanted;
  const { memory, pages } = newMemory(Math.floor(maxBytes / PAGE), kernels.shared);
  return new LinearBackend(kernels, await instantiate(kernels, memory), memory, pages * PAGE, arrangement, worker);
}

/** Begins to load what `openWasm({})` takes, with the parts of `used` where the kernels come in parts. */
export async function anticipateWasm(used: () => readonly Kernel[]): Promise<void> {
  try {
    const kernels = await loadKernels(
      undefined,
      WebAssembly.validate(RELAXED_PROBE),
      false,
      arrange("auto", undefined, undefined).workers > 0,
    );
    if (!kernels.whole)
      await Promise.all(
        used()
          .flatMap(({ wasm }) => (wasm as WasmKernel | undefined)?.part ?? [])
          .map((part) => loadPart(part, kernels)),
      );
  } catch {
    // Said when they are needed.
  }
}

/**
 * Memory that can grow to `most` pages. What is shared cannot move, so that it is reserved whole: where there is no room for that (phones),
 * for half, down to 256 MiB.
 */
function newMemory(most: number, shared: boolean): { memory: WebAssembly.Memory; pages: number } {
  for (let pages = most; ; pages >>= 1) {
    try {
      return { memory: new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: pages, shared }), pages };
    } catch (cause) {
      if (!shared || pages < 2 * LEAST_SHARED_PAGES)
        throw new BackendError(
          `wasm: no address space for ${(pages * PAGE) / 2 ** 20} MiB of ${shared ? "shared " : ""}memory; close other backends or ` +
            "pages, or give a smaller maxBytes",
          { cause },
        );
    }
  }
}
