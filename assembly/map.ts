/**
 * @file map: a fused chain of elementwise steps as a tile interpreter (numexpr's idea): the chain runs over TILE elements
 * at a time, which stay in L1, one step after another.
 *
 * Arguments: n, inputs, outputs, steps, rank, constants; then dims[rank]; per input: address, mode, strides[rank] in elements; per output:
 * address; per constant: slot, bits; per step: opcode, dst, a, b, c (slots); adam takes the place of three (see adam.ts). Slots: inputs,
 * then outputs, then temporaries (constants among them). Each slot has a pointer for the current tile: to memory where the operand is
 * contiguous words, else to its tile in scratch, where bytes become words.
 * Parallel over blocks of PIECE elements of the flat iteration space. An output may be the same memory as a contiguous input when the
 * encoder stores it by the last step that reads that input.
 */
import { MODE_BYTES, MODE_CONTIGUOUS, MODE_SCALAR, MAP_TILE, MAP_PIECE, MAP_HEADER } from "../src/wasm/opcodes";
import { STEP_ADAM, STEP_GELU } from "../src/wasm/steps";
import { adam } from "./map/adam";
import { gelu } from "./map/gelu";
import { widenBytes } from "./move";
import { step } from "./steps";

// One cache line more than a tile: strided reads write whole vectors, and tiles do not fall on the same cache sets.
const TILE_BYTES: usize = MAP_TILE * 4 + 64;
// Pointers of 256 slots come first in scratch.
const POINTERS: usize = 1024;

// @ts-ignore: decorator
@inline
export function slotPointer(scratch: usize, slot: u32): usize {
  return load<u32>(scratch + (slot << 2));
}

// @ts-ignore: decorator
@inline
function setPointer(scratch: usize, slot: u32, p: usize): void {
  store<u32>(scratch + (slot << 2), <u32>p);
}

// @ts-ignore: decorator
@inline
function tileOf(scratch: usize, slot: u32): usize {
  return scratch + POINTERS + <usize>slot * TILE_BYTES;
}

export function fillTile(p: usize, bits: u32, bytes: usize): void {
  const v = i32x4.splat(<i32>bits);
  for (const end = p + bytes; p < end; p += 16) store<v128>(p, v);
}

/** Sets what stays the same over all tiles of a piece: temporaries' pointers, constants, scalars. */
export function mapSetup(c: usize, scratch: usize): void {
  const inputs = load<u32>(c, 4);
  const outputs = load<u32>(c, 8);
  const rank = load<u32>(c, 16);
  const constants = load<u32>(c, 20);
  let p = c + 4 * (MAP_HEADER + rank);
  for (let i: u32 = 0; i < inputs; i++) {
    if (load<u32>(p, 4) == MODE_SCALAR) fillTile(tileOf(scratch, i), load<u32>(load<u32>(p)), MAP_TILE * 4);
    setPointer(scratch, i, tileOf(scratch, i));
    p += 8 + 4 * rank;
  }
  p += 4 * outputs;
  for (let slot = inputs; slot < 255; slot++) setPointer(scratch, slot, tileOf(scratch, slot));
  for (let i: u32 = 0; i < constants; i++) {
    fillTile(tileOf(scratch, load<u32>(p)), load<u32>(p, 4), MAP_TILE * 4);
    p += 8;
  }
}

/** Copies `n` elements exactly. */
function copyExactly(to: usize, from: usize, n: u32): void {
  memory.copy(to, from, n << 2);
}

/** Reads elements [begin, begin + n) of a strided operand into a tile, run by run of the innermost dimension. */
function gatherTile(tile: usize, base: usize, dims: usize, strides: usize, rank: u32, begin: u32, n: u32, scratch: usize): void {
  // The running index of each dimension (rank <= 8) lies behind the last tile.
  const index = tileOf(scratch, 255);
  let rest = begin;
  let at: i32 = 0;
  for (let d = <i32>rank - 1; d >= 0; d--) {
    const size = load<u32>(dims + (d << 2));
    const i = rest % size;
    rest /= size;
    store<u32>(index + (d << 2), i);
    at += <i32>i * load<i32>(strides + (d << 2));
  }
  const last = rank - 1;
  const inner = load<u32>(dims + (last << 2));
  const step = load<i32>(strides + (last << 2));
  let i = load<u32>(index + (last << 2));
  let out = tile;
  let left = n;
  while (true) {
    const run = min(inner - i, left);
    const from = base + (at << 2);
    if (step == 1) {
      // Whole vectors may write past the run: the tile has room and what follows overwrites it.
      for (let k: u32 = 0; k < run; k += 4) store<v128>(out + (k << 2), load<v128>(from + (k << 2)));
    } else if (step == 0) {
      const v = v128.load_splat<u32>(from);
      for (let k: u32 = 0; k < run; k += 4) store<v128>(out + (k << 2), v);
    } else {
      for (let k: u32 = 0; k < run; k++) store<u32>(out + (k << 2), load<u32>(from + ((<i32>k * step) << 2)));
    }
    out += run << 2;
    left -= run;
    if (left == 0) return;
    at -= <i32>i * step;
    i = 0;
    for (let d = <i32>last - 1; d >= 0; d--) {
      const s = load<i32>(strides + (d << 2));
      const next = load<u32>(index + (d << 2)) + 1;
      if (next < load<u32>(dims + (d << 2))) {
        store<u32>(index + (d << 2), next);
        at += s;
        break;
      }
      at -= s * <i32>(next - 1);
      store<u32>(index + (d << 2), 0);
    }
  }
}

/**
 * Computes elements [begin, begin + n) of the body, n <= TILE. With `direct`, outputs are written to their memory; else
 * they stay in their tiles (slots `inputs` and following), padded to whole vectors.
 */
export function mapTile(c: usize, begin: u32, n: u32, direct: bool, scratch: usize): void {
  const inputs = load<u32>(c, 4);
  const outputs = load<u32>(c, 8);
  const steps = load<u32>(c, 12);
  const rank = load<u32>(c, 16);
  const constants = load<u32>(c, 20);
  const dims = c + 4 * MAP_HEADER;
  let p = dims + 4 * rank;
  for (let i: u32 = 0; i < inputs; i++) {
    const base: usize = load<u32>(p);
    const mode = load<u32>(p, 4);
    if (mode == MODE_CONTIGUOUS) setPointer(scratch, i, base + (begin << 2));
    else if (mode == MODE_BYTES) widenBytes(tileOf(scratch, i), base + begin, n);
    else if (mode != MODE_SCALAR) gatherTile(tileOf(scratch, i), base, dims, p + 8, rank, begin, n, scratch);
    p += 8 + 4 * rank;
  }
  const outs = p;
  // A last vector that is not full would write past the output: such a tile goes through scratch.
  const whole = direct && (n & 3) == 0;
  for (let o: u32 = 0; o < outputs; o++) {
    setPointer(scratch, inputs + o, whole ? <usize>load<u32>(outs + (o << 2)) + (begin << 2) : tileOf(scratch, inputs + o));
  }
  p = outs + 4 * outputs + 8 * constants;
  const bytes = ((n + 3) >> 2) << 4;
  for (const end = p + 20 * steps; p < end; p += 20) {
    if (TRAINING && load<u32>(p) == STEP_ADAM) {
      adam(p, scratch, bytes);
      p += 40;
    } else if (load<u32>(p) == STEP_GELU) gelu(p, scratch, bytes);
    else
      step(
        load<u32>(p),
        slotPointer(scratch, load<u32>(p, 4)),
        slotPointer(scratch, load<u32>(p, 8)),
        slotPointer(scratch, load<u32>(p, 12)),
        slotPointer(scratch, load<u32>(p, 16)),
        bytes,
      );
  }
  if (direct && !whole) {
    for (let o: u32 = 0; o < outputs; o++) copyExactly(<usize>load<u32>(outs + (o << 2)) + (begin << 2), tileOf(scratch, inputs + o), n);
  }
}

export function map(c: usize, piece: u32, scratch: usize): void {
  const n = load<u32>(c);
  mapSetup(c, scratch);
  const end = min(n, (piece + 1) * MAP_PIECE);
  for (let begin = piece * MAP_PIECE; begin < end; begin += MAP_TILE) mapTile(c, begin, min(<u32>MAP_TILE, end - begin), true, scratch);
}
