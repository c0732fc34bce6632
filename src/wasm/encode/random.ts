/** @file Encodes random numbers and permutations (assembly/random.ts). Elements do not depend on each other: pieces are runs of them. */
import type { PermutationAttrs, RandomAttrs } from "../../plan/kernels.ts";
import { PERMUTATION, RANDOM } from "../opcodes.ts";
import { read, write } from "../writer.ts";
import type { Encoder } from "../writer.ts";

const RANDOM_PER_PIECE = 4096;
/** An element of a permutation costs far more than a random number. */
const PERMUTATION_PER_PIECE = 1024;

const KINDS = { bits: 0, uniform: 1, normal: 2 } as const;

/** `random(key) -> y`. */
export const random: Encoder = (call, out) => {
  const { kind, stream, count } = call.attrs as unknown as RandomAttrs;
  if (count === 0) return;
  out.command(RANDOM, Math.ceil(count / RANDOM_PER_PIECE), [
    write(call.outputs[0]),
    read(call.inputs[0]),
    KINDS[kind],
    stream,
    count,
    RANDOM_PER_PIECE,
  ]);
};

/** `permutation(key, start) -> y`. */
export const permutation: Encoder = (call, out) => {
  const { size, stream, count } = call.attrs as unknown as PermutationAttrs;
  if (count === 0) return;
  out.command(PERMUTATION, Math.ceil(count / PERMUTATION_PER_PIECE), [
    write(call.outputs[0]),
    read(call.inputs[0]),
    read(call.inputs[1]),
    size,
    stream,
    count,
    PERMUTATION_PER_PIECE,
  ]);
};
