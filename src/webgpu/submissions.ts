/**
 * @file What is submitted together. A command buffer of its own costs a run as much as several dispatches do, so runs that follow each
 * other share one, and a compute pass, while the GPU is busy with others: one that is idle gets work at once, and when the thread has
 * nothing more to say all is submitted. WebGPU orders the dispatches of a pass, so that results are those of runs one by one.
 */
import { nextTask } from "../pacing.ts";
import type { GpuMemory } from "./buffers.ts";
import type { GpuProgram } from "./program.ts";

/** Dispatches of several runs in one submission: beyond some hundred there is nothing left to gain. */
const MOST_DISPATCHES = 128;
/** Milliseconds of several runs in one submission: a GPU that others want, pages above all, cannot leave it earlier. */
const MOST_MS = 2;
/** Submissions by which runs are timed: the news that one is done takes its time, in browsers some ms. */
const TIMED = 8;

/** When runs were submitted together, and how many runs there were before. */
interface Submission {
  readonly from: number;
  readonly before: number;
}

/** Bytes that are copied for the host behind what was run before. */
export interface Copy {
  readonly from: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
  readonly staging: GPUBuffer;
}

export class Submissions {
  readonly #device: GPUDevice;
  readonly #settled: (work: Promise<unknown>) => Promise<unknown>;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  /** Programs of the runs that are to be submitted, and what these are expected to take. */
  #programs: GpuProgram[] = [];
  #dispatches = 0;
  #ms = 0;
  /** Submissions with runs that are not known to be done, and the end of the last one. */
  #underWay = 0;
  #last: Promise<void> = Promise.resolve();
  #runs = 0;
  /** The last submissions of one program that the device has not been idle between, and the program. */
  #stream: Submission[] = [];
  #streamOf: GpuProgram | null = null;
  /** The turn of the event loop ends with a submission. */
  #ending = false;
  /** Calls of `submit` of the queue. */
  count = 0;

  /** @param settled resolves when its argument is settled, and when the device is gone */
  constructor(device: GPUDevice, settled: (work: Promise<unknown>) => Promise<unknown>) {
    this.#device = device;
    this.#settled = settled;
  }

  /** Resolves when all that has been submitted so far has run or failed: the same promise until there is another submission. */
  get last(): Promise<void> {
    return this.#last;
  }

  /** Encodes a run, and submits it now or with later ones. */
  run(program: GpuProgram, buffers: readonly GpuMemory[]): void {
    const copies = program.bind(buffers);
    const encoder = (this.#encoder ??= this.#device.createCommandEncoder());
    if (copies.length > 0) this.#endPass();
    for (const { from, to, bytes } of copies) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
    program.dispatch((this.#pass ??= encoder.beginComputePass()));
    this.#programs.push(program);
    this.#dispatches += program.dispatches;
    this.#ms += program.ms;
    // Another like it would be too much.
    const full = this.#dispatches + program.dispatches > MOST_DISPATCHES || this.#ms + program.ms > MOST_MS;
    if (full || this.#underWay === 0) this.submit();
    else if (!this.#ending) {
      this.#ending = true;
      void nextTask().then(() => {
        this.#ending = false;
        this.submit();
      });
    }
  }

  /** Submits what has been run, and `copies` behind it. */
  submit(copies: readonly Copy[] = []): void {
    if (this.#encoder === null && copies.length === 0) return;
    const encoder = this.#encoder ?? this.#device.createCommandEncoder();
    this.#endPass();
    for (const { from, offset, bytes, staging } of copies) encoder.copyBufferToBuffer(from, offset, staging, 0, bytes);
    const programs = this.#programs;
    this.#encoder = null;
    this.#programs = [];
    this.#dispatches = this.#ms = 0;
    this.count++;
    this.#device.queue.submit([encoder.finish()]);
    if (programs.length > 0) this.#follow(programs);
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
  }

  /** Waits for the end of a submission, which tells how long a run takes at most. */
  #follow(programs: readonly GpuProgram[]): void {
    const program = programs.every((p) => p === programs[0]) ? programs[0] : null;
    if (this.#underWay++ === 0 || program === null || program !== this.#streamOf) this.#stream = [];
    this.#streamOf = program;
    const stream = this.#stream;
    stream.push({ from: performance.now(), before: this.#runs });
    if (stream.length > TIMED) stream.shift();
    const [{ from, before }] = stream;
    const runs = (this.#runs += programs.length) - before;
    this.#last = this.#settled(this.#device.queue.onSubmittedWorkDone()).then(() => {
      this.#underWay--;
      if (program !== null) program.ms = (performance.now() - from) / runs;
    });
  }
}
