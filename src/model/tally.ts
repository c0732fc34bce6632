/** @file What a model's programs count where the data is: loss and metrics of an epoch, and where numbers stopped being finite. */
import { allocate } from "../dtype.ts";
import { assign } from "../graph.ts";
import { add, cast, greater, isFinite, mul, not, sub, where } from "../ops/map.ts";
import { sum } from "../ops/reduce.ts";
import { zeros } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import type { Logs } from "../train/callbacks.ts";
import { logName } from "./outputs.ts";
import type { OutputTraining, Result } from "./training.ts";

let ids = 0;

/** Loss and metrics of an epoch, counted on the device. */
export class Tally {
  /** Names it among programs. */
  readonly id = ids++;
  readonly #outputs: readonly OutputTraining[];
  /** Sum of batch losses times samples, its rounding error, and samples. */
  readonly #loss = [zeros([]), zeros([]), zeros([])];
  /** Of several outputs: sums of their own losses times samples. */
  readonly #parts: readonly Tensor[];
  /** Of each output's metrics. */
  readonly #states: readonly (readonly (readonly Tensor[])[])[];
  /** The last batch's loss. */
  readonly last = zeros([]);
  #turn: Promise<unknown> = Promise.resolve();

  constructor(outputs: readonly OutputTraining[]) {
    this.#outputs = outputs.filter((o) => o.loss !== null);
    this.#parts = this.#outputs.flatMap((o) => (o.name === "" ? [] : [zeros([])]));
    this.#states = this.#outputs.map((o) => o.metrics.map((m) => m.state.map((s) => zeros(s.shape, s.dtype))));
  }

  /** Inside a trace: adds a batch, with what each output that is trained on gave. */
  add(loss: Tensor, samples: number, results: readonly Result[]): void {
    const [sum, error, count] = this.#loss;
    // Kahan: what the last addition lost is put back into the next.
    const term = sub(mul(loss, samples), error);
    const next = add(sum, term);
    assign(sum, next);
    assign(error, sub(sub(next, sum), term));
    assign(count, add(count, samples));
    assign(this.last, loss);
    this.#parts.forEach((part, i) => assign(part, add(part, mul(results[i].loss, samples))));
    this.#outputs.forEach(({ metrics }, i) =>
      metrics.forEach((m, j) => {
        const states = this.#states[i][j];
        m.update(results[i].y, results[i].prediction, states).forEach((value, k) => assign(states[k], value));
      }),
    );
  }

  /** Runs `count` when all that was handed in before is done: two evaluations at once would add to the same sums. */
  alone<R>(count: () => Promise<R>): Promise<R> {
    const result = this.#turn.then(count);
    this.#turn = result.catch(() => {});
    return result;
  }

  /** What a checkpoint must keep. */
  get tensors(): Tensor[] {
    return [...this.#loss, ...this.#parts, ...this.#states.flat(2), this.last];
  }

  /** Begins an epoch. All that it has is set, since what an epoch before left may be gone with a device. */
  reset(): void {
    for (const t of this.tensors) t.set(allocate(t.dtype, t.size));
  }

  /** The epoch so far, by name, with `prefix` before each. */
  async read(): Promise<Logs> {
    const [sum, , count] = await Promise.all(this.#loss.map((t) => t.item()));
    const out: { [name: string]: number | number[][] } = { loss: sum / count };
    for (const [i, { name, metrics }] of this.#outputs.entries()) {
      if (name !== "") out[logName(name, "loss")] = (await this.#parts[i].item()) / count;
      for (const [j, m] of metrics.entries())
        out[logName(name, m.name)] = m.result(await Promise.all(this.#states[i][j].map((t) => t.data())));
    }
    return out as Logs;
  }
}

/** Where numbers first stopped being finite, kept on the device. */
export class Watch {
  /** Names it among programs. */
  readonly id = ids++;
  /** The first step (from 1) with a number that is not finite; 0: none yet. */
  readonly step = zeros([], "i32");
  /** Not finite elements in each source at that step. */
  #counts: readonly Tensor[] = [];
  #sources: readonly string[] = [];

  /** Inside a trace: looks at `tensors` of this step. */
  look(tensors: readonly { source: string; tensor: Tensor }[], step: Tensor): void {
    const counts = tensors.map(({ tensor: t }) => sum(cast(not(isFinite(t)), "i32")));
    if (this.#counts.length !== counts.length) this.#counts = counts.map(() => zeros([], "i32"));
    this.#sources = tensors.map((t) => t.source);
    const before = greater(this.step, 0);
    this.#counts.forEach((count, i) => assign(count, where(before, count, counts[i])));
    assign(this.step, where(before, this.step, where(greater(counts.reduce(add), 0), step, 0)));
  }

  /** Forgets what it saw. */
  reset(): void {
    for (const t of [this.step, ...this.#counts]) t.set(new Int32Array(1));
  }

  /** The first source with such an element, or null. */
  async read(): Promise<{ step: number; source: string } | null> {
    const step = await this.step.item();
    if (step === 0) return null;
    const counts = await Promise.all(this.#counts.map((t) => t.item()));
    return { step, source: this.#sources[counts.findIndex((n) => n > 0)] };
  }

  /** What a checkpoint must keep. */
  get tensors(): Tensor[] {
    return [this.step, ...this.#counts];
  }
}
