/**
 * @file Training where there are GPUs: the choice of a backend, and going on after a device is lost. Loaded on demand, as the backend for
 * GPUs is, and whole in itself, as padding.ts is.
 */
import type { Backend } from "../backend.ts";
import { DeviceLostError } from "../errors.ts";
import type { Executable } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import type { AnyModel } from "./learning.ts";
import { describe, time } from "./probe.ts";
import type { Timing } from "./probe.ts";
import { checkpoint } from "./recovery.ts";

/**
 * Moves the model to the backend that runs a step fastest. What the timed steps changed is put back.
 * @param args what the step is given
 * @param changing what it changes
 * @param compiled the step on the model's backend
 * @returns what was found, as a text; null where there is one backend
 */
export async function choose(
  model: AnyModel,
  backends: readonly Backend[],
  args: readonly Tensor[],
  changing: readonly Tensor[],
  compiled: () => Promise<Executable>,
): Promise<string | null> {
  if (backends.length < 2) return null;
  const copy = await checkpoint(0, changing);
  const put = (backend: Backend): void => {
    for (const t of args) t.recover();
    copy.recover();
    model.moveTo(backend);
  };
  const timings: Timing[] = [];
  for (const backend of backends) {
    put(backend);
    const program = await compiled();
    timings.push(await time(backend, () => program.enqueue(args)));
  }
  const best = timings.reduce((a, b) => (b.perStep < a.perStep ? b : a));
  put(best.backend);
  return describe(timings, best);
}

/** How a model goes on where a device was lost. */
type Replace = (lost: Backend) => Promise<Backend>;

/** The model on another backend. `how`: what it does there, as the second half of a sentence; gives the backend. */
async function moved(model: AnyModel, error: DeviceLostError, replace: Replace, how: string): Promise<Backend> {
  const next = await replace(model.state("fit").programs.backend);
  model.moveTo(next);
  console.warn(`lockstep: fit: ${error.message}; training ${how} on ${next.name}`);
  return next;
}

/**
 * Compiles a step; when the device is lost meanwhile, on another backend.
 * @param tensors what the step reads and changes, none of which it has changed: where the host has all of it, nothing is lost
 */
export async function compiling(
  model: AnyModel,
  compile: () => Promise<unknown>,
  tensors: () => readonly Tensor[],
  replace: Replace,
): Promise<void> {
  for (;;) {
    try {
      await compile();
      return;
    } catch (error) {
      if (!(error instanceof DeviceLostError) || tensors().some((t) => t.host === null)) throw error;
      await moved(model, error, replace, "begins");
    }
  }
}

/**
 * Runs an epoch; when the device is lost, goes on from the last copy on another backend.
 * @param every steps between copies of what `changing` gives
 * @param from the step that the epoch begins with
 * @param inputs data on the device; null where the epoch cannot be run again, as with iterables, which cannot be rewound: there the error
 * stands, and the model has the weights of the copy
 * @param told of each copy, and of each way back to the last one; `replace` gives another backend
 */
export async function recovering<R>(
  model: AnyModel,
  { every, from, inputs, changing }: { every: number; from: number; inputs: readonly Tensor[] | null; changing: () => readonly Tensor[] },
  epoch: (from: number, done: (step: number) => Promise<void>) => Promise<R>,
  told: { kept(): void; lost(): void; readonly replace: Replace },
): Promise<R> {
  let copy = await checkpoint(from, changing());
  const done = async (step: number): Promise<void> => {
    if (step % every !== 0) return;
    copy = await checkpoint(step, changing());
    told.kept();
  };
  for (;;) {
    try {
      return await epoch(copy.step, done);
    } catch (error) {
      if (!(error instanceof DeviceLostError)) throw error;
      copy.recover();
      if (inputs === null) throw error;
      for (const t of inputs) t.recover();
      told.lost();
      const next = await moved(model, error, told.replace, `goes on from step ${copy.step} of the epoch`);
      if (next.limits.hostMemory) copy = await checkpoint(copy.step, changing());
    }
  }
}
