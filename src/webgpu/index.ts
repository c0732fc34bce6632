/**
 * @file The WebGPU backend: plans become lists of dispatches of the kernels in kernels/*.wgsl, on any device that
 * `navigator.gpu` or the package `webgpu` opens. Loaded only when it is opened.
 */
// First: see there.
import { checkSizes, encode, GpuProgram, Pipelines } from "./program.ts";
import type { EncodedPlan } from "./list.ts";
import { assert } from "../assert.ts";
import type { Backend, DeviceBuffer, Limits, Program } from "../backend.ts";
import { ArgumentError, BackendError, DeviceLostError, internal } from "../errors.ts";
import { assignSlots } from "../plan/memory.ts";
import type { Plan } from "../plan/plan.ts";
import { bringHome } from "../tensor.ts";
import { openDevice } from "./adapter.ts";
import type { OpenDevice, Pending, WebGpuOptions } from "./adapter.ts";
import { Buffers, GpuMemory } from "./buffers.ts";
import { kernelsFor } from "./commands.ts";
import type { GpuEncoder, GpuFeatures, GpuKernels } from "./dispatch.ts";
import { halves } from "./encode/half.ts";
import { stagesOf } from "./join.ts";
import type { TileTuner } from "./parts/tuner.ts";
import { Submissions } from "./submissions.ts";
import type { Copy } from "./submissions.ts";

export type { WebGpuOptions } from "./adapter.ts";

/** GPUMapMode.READ, which runtimes without a global WebGPU do not have. */
const READ = 0x1;
/** Kernels of which there is more than one. */
const TIMED_KERNELS = /matmul|conv2d/i;
/** Fused bodies beyond this gain nothing and compile slowly. */
const MOST_STEPS = 64;
const MOST_OPERANDS = 16;

/** What a WebGPU backend has beyond `Backend`. */
export interface GpuBackend extends Backend {
  /** The adapter's description. */
  readonly adapter: string;
  readonly features: GpuFeatures;
  /** Buffers in use with their bytes. */
  memory(): { buffers: number; bytes: number };
  /** Since it was opened: runs, dispatches in them, submits (of runs, and of what is read), and milliseconds that encoding took. */
  statistics(): { runs: number; dispatches: number; submits: number; encodeMs: number };
  /** Resolves when no kernel is left to be timed (option `tune`): what was compiled before has the fastest ones then. */
  tuned(): Promise<void>;
  /** A new backend like this one: after the device was lost. */
  reopen(): Promise<GpuBackend>;
}

interface Read extends Copy {
  readonly resolve: (mapped: Promise<ArrayBuffer>) => void;
}

class WebGpuBackend implements GpuBackend {
  readonly name = "webgpu";
  readonly adapter: string;
  readonly features: GpuFeatures;
  readonly limits: Limits;
  readonly #options: WebGpuOptions;
  /** The open device, also for those who time parts of a plan (inspect/parts.ts). */
  readonly device: GPUDevice;
  readonly #pending: Pending;
  readonly #release: () => void;
  readonly #buffers: Buffers;
  readonly #pipelines: Pipelines;
  readonly #submissions: Submissions;
  /** Reads that the next submission, at the latest the end of this turn of the event loop, copies to staging buffers. */
  #reads: Read[] = [];
  /** What to call when the device is lost or closed, for everything that waits. */
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #statistics = { runs: 0, dispatches: 0, encodeMs: 0 };
  /** WGSL of all parts that plans needed so far. */
  #shaders: GpuKernels["shaders"] = {};
  /** Asked for by the first plan that has something to be timed; null where it cannot be loaded. */
  #tuner: Promise<TileTuner | null> | null = null;
  /** Set by the first close(). */
  #closing: Promise<void> | null = null;
  /** No commands are taken any more. */
  #closed = false;
  #lost: DeviceLostError | null = null;
  #failure: Error | null = null;

  constructor({ device, adapter, features, pending, release }: OpenDevice, options: WebGpuOptions) {
    this.adapter = adapter;
    this.features = features;
    this.#options = options;
    this.device = device;
    this.#pending = pending;
    this.#release = release;
    const maxBytes = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
    const { precision, storage = precision === "mixed" ? "f16" : "f32" } = options;
    this.limits = {
      alignment: device.limits.minStorageBufferOffsetAlignment,
      maxBytes,
      pack: assignSlots,
      stages: stagesOf,
      hostMemory: false,
      asynchronous: true,
      maxOperands: Math.min(features.maxBuffers, MOST_OPERANDS),
      maxSteps: MOST_STEPS,
      ...(storage === "f16" ? { halves } : {}),
      ...(features.half ? { halfProducts: true } : {}),
    };
    // A command buffer with a buffer that was destroyed is an error when it is submitted.
    this.#buffers = new Buffers(device, maxBytes, () => this.#flush());
    this.#submissions = new Submissions(device, (work) => this.#wait(pending.add(work)).catch(() => {}));
    this.#pipelines = new Pipelines(device, pending);
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event;
      const { bytes, buffers } = this.#buffers.live;
      this.#buffers.trim();
      this.#failure ??= new BackendError(
        error.constructor.name === "GPUOutOfMemoryError"
          ? `webgpu: out of memory with ${bytes} bytes in ${buffers} buffers in use: ${error.message}`
          : `webgpu: ${error.message}`,
      );
    });
    void device.lost.then(({ reason, message }) => {
      this.#lost ??= new DeviceLostError(
        `webgpu: the device was lost (${reason}): ${message}; what only it had is gone: a model goes on from the weights that its ` +
          "last fit ended with, others must be set again",
      );
      this.#rejectWaiting(this.#lost);
    });
  }

  get closed(): boolean {
    return this.#closed || this.#lost !== null;
  }

  memory(): { buffers: number; bytes: number } {
    return this.#buffers.live;
  }

  reopen(): Promise<GpuBackend> {
    return openWebGpu(this.#options);
  }

  alloc(bytes: number): DeviceBuffer {
    this.#open("alloc");
    return this.#buffers.alloc(bytes);
  }

  free(buffer: DeviceBuffer): void {
    if (!this.#closed) this.#buffers.free(buffer as GpuMemory);
  }

  write(buffer: DeviceBuffer, offset: number, data: ArrayBufferView): void {
    this.#open("write");
    const { bytes, memory } = buffer as GpuMemory;
    if (memory === null) throw internal("write into a freed buffer");
    assert(
      offset >= 0 && offset + data.byteLength <= bytes,
      () => `write of ${data.byteLength} bytes at ${offset} into a buffer of ${bytes}`,
    );
    this.#flush();
    const from = data.buffer as ArrayBuffer;
    // The queue takes whole words: what is left of bytes follows in one, and buffers end with whole ones.
    const whole = data.byteLength & ~3;
    if (whole > 0) this.device.queue.writeBuffer(memory.buffer, offset, from, data.byteOffset, whole);
    if (whole < data.byteLength) {
      const last = new Uint8Array(4);
      last.set(new Uint8Array(from, data.byteOffset + whole, data.byteLength - whole));
      this.device.queue.writeBuffer(memory.buffer, offset + whole, last);
    }
  }

  async read(buffer: DeviceBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    this.#open("read");
    const { memory } = buffer as GpuMemory;
    if (memory === null) throw internal("read from a freed buffer");
    assert(offset >= 0 && offset + bytes <= buffer.bytes, () => `read of ${bytes} bytes at ${offset} from a buffer of ${buffer.bytes}`);
    if (bytes === 0) return new ArrayBuffer(0);
    const staging = this.#buffers.takeStaging(bytes);
    const copied = new Promise<ArrayBuffer>((resolve) => {
      if (this.#reads.push({ from: memory.buffer, offset, bytes, staging, resolve }) === 1) queueMicrotask(() => this.#flush());
    });
    return this.#wait(copied);
  }

  async compile(plan: Plan): Promise<Program> {
    this.#open("compile");
    const [kernels, tuner] = await Promise.all([kernelsFor(plan, this.features), this.#tunerOf(plan)]);
    // Meanwhile it may have been closed.
    this.#open("compile");
    this.#shaders = { ...this.#shaders, ...kernels.shaders };
    const guesses = tuner?.guesses;
    const encodeNow = (): EncodedPlan => encode(plan, tuner === null ? this.features : { ...this.features, tuner }, kernels);
    const encoded = encodeNow();
    checkSizes(plan, encoded.temporaries, this.limits.maxBytes);
    const guessed = tuner?.guesses !== guesses;
    const program = await this.#wait(GpuProgram.create(plan, this.device, this.#buffers, this.#pipelines, encoded));
    if (guessed) tuner?.later(async () => void (program.closed || (await program.replace(encodeNow(), this.#pipelines))));
    return program;
  }

  async tuned(): Promise<void> {
    await (await this.#tuner)?.settled();
  }

  /** Null where nothing is timed, and for plans that have nothing to be timed. */
  async #tunerOf({ calls }: Plan): Promise<TileTuner | null> {
    const { tune = true } = this.#options;
    if (tune === false || this.features.software || !calls.some(({ kernel, body }) => body !== undefined || TIMED_KERNELS.test(kernel)))
      return null;
    const device = {
      adapter: this.adapter,
      device: this.device,
      pending: this.#pending,
      buffers: this.#buffers,
      closed: (): boolean => this.closed,
      compile: (timed: Plan, encoder: GpuEncoder): Promise<GpuProgram> => {
        const encoders = { [timed.calls[0].kernel]: encoder };
        const encoded = encode(timed, this.features, { encoders, shaders: this.#shaders });
        return GpuProgram.create(timed, this.device, this.#buffers, this.#pipelines, encoded);
      },
    };
    // Whoever cannot load it does without.
    this.#tuner ??= import("./parts/tuner.ts").then(
      ({ createTuner }) => createTuner(device, tune),
      () => null,
    );
    return this.#tuner;
  }

  run(program: Program, buffers: readonly DeviceBuffer[]): void {
    this.#open("run");
    assert(program instanceof GpuProgram, () => "run: a program of another backend");
    if (program.closed) throw internal("run: a program that was closed");
    if (this.#reads.length > 0) this.#flush();
    const from = performance.now();
    this.#submissions.run(program, buffers as readonly GpuMemory[]);
    this.#statistics.runs++;
    this.#statistics.dispatches += program.dispatches;
    this.#statistics.encodeMs += performance.now() - from;
  }

  statistics(): { runs: number; dispatches: number; submits: number; encodeMs: number } {
    return { ...this.#statistics, submits: this.#submissions.count };
  }

  async sync(): Promise<void> {
    this.#open("sync");
    this.#flush();
    await this.#wait(this.#pending.add(this.device.queue.onSubmittedWorkDone()));
    this.#open("sync");
  }

  caughtUp(): Promise<void> {
    return this.#submissions.last;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    void this.#tuner?.then((tuner) => tuner?.stop());
    this.#rejectWaiting(new BackendError("webgpu: the backend was closed meanwhile"));
    // Reads that are ordered now are the last.
    const home = this.#lost === null ? bringHome(this) : null;
    this.#flush();
    this.#closed = true;
    if (home !== null) await home;
    this.device.destroy();
    this.#release();
  }

  /** @throws BackendError after close(), when the device is lost, and for errors that came up since the last call. */
  #open(what: string): void {
    if (this.#closed) throw new BackendError(`webgpu: ${what} after close()`);
    if (this.#lost !== null) throw this.#lost;
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }

  /** Submits all runs and the copies of all reads so far: these are to see what was enqueued before them and nothing later. */
  #flush(): void {
    const reads = this.#reads;
    this.#reads = [];
    if (this.#closed || this.#lost !== null) return;
    this.#submissions.submit(reads);
    for (const r of reads) r.resolve(this.#take(r));
  }

  async #take({ staging, bytes }: Read): Promise<ArrayBuffer> {
    await this.#pending.add(staging.mapAsync(READ, 0, bytes));
    const copy = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    this.#buffers.giveStaging(staging);
    if (!this.#closed) this.#open("read");
    return copy;
  }

  /** `work`, or an error as soon as the device is lost or closed: a lost device may leave promises open for ever. */
  #wait<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const stop = (error: Error): void => reject(error);
      this.#waiting.add(stop);
      work.then(
        (value) => {
          this.#waiting.delete(stop);
          resolve(value);
        },
        (error: unknown) => {
          // Work on a device that was just lost may fail a moment before the loss is known: what it says then is beside the point.
          setTimeout(
            () => {
              this.#waiting.delete(stop);
              reject(this.#lost ?? error);
            },
            this.#closed ? 0 : LOSS_DELAY_MS,
          );
        },
      );
    });
  }

  #rejectWaiting(error: Error): void {
    for (const stop of [...this.#waiting]) stop(error);
    this.#waiting.clear();
  }
}

/** How long after a failure the news of a lost device may come. */
const LOSS_DELAY_MS = 50;

/**
 * Opens a WebGPU backend.
 * @throws ArgumentError for an unknown `storage`, `precision` or `tune`; BackendError where there is no WebGPU or no adapter, saying what
 * to install.
 */
export async function openWebGpu(options: WebGpuOptions = {}): Promise<GpuBackend> {
  const { storage = "f32", precision = "f32", tune = true } = options;
  if (storage !== "f32" && storage !== "f16")
    throw new ArgumentError(
      `webgpu: unknown storage ${JSON.stringify(storage)}; known: "f32" (default), "f16" for temporaries of the forward pass`,
    );
  if (precision !== "f32" && precision !== "mixed")
    throw new ArgumentError(
      `webgpu: unknown precision ${JSON.stringify(precision)}; known: "f32" (default), "mixed" for products of f16 with sums in f32`,
    );
  if (typeof tune !== "boolean" && (typeof tune !== "string" || tune === ""))
    throw new ArgumentError(`webgpu: tune must be true, false or the path of a folder, got ${JSON.stringify(tune)}`);
  return new WebGpuBackend(await openDevice(options), options);
}
