/**
 * @file Going on after a device is lost: a host copy of everything that training changes, taken every so many steps.
 */
import type { TypedArray } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";

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
