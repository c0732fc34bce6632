/** @file Copies of what came over the network. */
import { rangesOf } from "../io/ranges.ts";
import type { Ranges } from "../io/ranges.ts";
import type { Reading } from "./files.ts";

/** The file at an address. */
export async function cached(address: string, { signal }: Reading): Promise<Ranges> {
  return rangesOf(address, address, signal);
}
