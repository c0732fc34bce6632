/**
 * @file Going on after a device is lost: a host copy of everything that training changes, taken every so many steps,
 * and another backend to put it on.
 */
import type { Backend } from "../backend.ts";
import type { TypedArray } from "../dtype.ts";
import { resolveBackend, succeed } from "../init.ts";
import type { Tensor } from "../tensor.ts";

/** A backend that can be opened anew after its device was lost. */
interface Reopenable extends Backend {
  reopen(): Promise<Backend>;
}

/** Host copies of tensors at one step of an epoch. */
export interface Checkpoint {
  /** Steps of the epoch that were done. */
  readonly step: number;
  /** Puts the copies in the place of what is on a device. */
  recover(): void;
}

export async function checkpoint(step: number, tensors: readonly Tensor[]): Promise<Checkpoint> {
  const copies = await Promise.all(tensors.map(async (tensor) => ({ tensor, host: (await tensor.data()).slice() as TypedArray })));
  return {
    step,
    recover() {
      for (const { tensor, host } of copies) tensor.recover(host.slice() as TypedArray);
    },
  };
}

/** A new device of the same kind where there is one, else WASM: also as the default backend, if `lost` was that. */
export async function replace(lost: Backend): Promise<Backend> {
  let next: Backend | undefined;
  try {
    next = await (lost as Partial<Reopenable>).reopen?.();
  } catch {
    // No new device: the CPU is always there.
  }
  next ??= await resolveBackend("wasm");
  await succeed(lost, next);
  return next;
}
