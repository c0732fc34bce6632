/**
 * @file What GPU encoders write: dispatches of WGSL kernels with their constants and buffers. The loader takes what an entry point of
 * `kernels/x.wgsl` reaches, rewrites `const NAME: T = ...;` lines whose name is in `constants`, functions whose name is in `hooks`, and the
 * block between `// body` and `// end body`. Functions of the library files (math, steps, activation, recurrent, gemm) that a kernel calls
 * and does not define are added to it: `f32_exp(x)` of kernels/math.wgsl, for example. Nothing else is changed.
 */
import { assert } from "../assert.ts";
import { bytesOf } from "../dtype.ts";
import type { Call, Operand, Place } from "../plan/plan.ts";
import { sizeOf } from "../shape.ts";

/** Values put into the `const` lines of a kernel's file; pairs are vec2<u32>, text is a type, put into an `alias` line. */
export type Constants = { readonly [name: string]: number | boolean | readonly [number, number] | string };

/** Functions of a kernel's file (by the names that it calls them by) and those, there or in a library, that stand in for them. */
export type Hooks = { readonly [name: string]: string };

/** Which kernel of which file, specialised how. Equal shaders share a pipeline. */
export interface Shader {
  /** File in kernels/ or the folder of its part there, without the ending. */
  readonly file: string;
  /** Entry point in that file. Default: `main`. */
  readonly entry?: string;
  readonly constants: Constants;
  readonly hooks?: Hooks;
  /** WGSL put in place of the block between the lines `// body` and `// end body`. */
  readonly body?: string;
  /** Directives of the module, such as `enable x`, besides those that its text shows to be needed. Default: none. With some it is never
   * part of another dispatch. */
  readonly directives?: readonly string[];
  /** True where the number of workgroups tells it something: it is never part of another dispatch. Default: false. */
  readonly alone?: boolean;
}

/** Bytes that a dispatch binds, and how it uses them: `read` is bound read-only, the others read_write. */
export interface Bound {
  readonly place: Place | { readonly space: "temporary"; readonly index: number; readonly offset: number };
  readonly bytes: number;
  readonly access: "read" | "write" | "update";
  /** True where f32 elements are stored as f16. Default: false. */
  readonly half?: boolean;
}

/** A workgroup's tile of a product by subgroup matrices: down * across subgroups with m * n sums each, fed in steps of k. */
export interface MatrixTile {
  readonly down: number;
  readonly across: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Multiply-adds per time relative to the fastest tile where all of it is used. */
  readonly speed: number;
}

/** A workgroup's tile of attention by subgroup matrices: so many rows for each subgroup, past tiles of `columns`. */
export interface AttentionTile {
  readonly subgroups: number;
  readonly rows: number;
  readonly columns: number;
}

/** Matrices that the invocations of a subgroup hold together, and multiply: A of m x k and B of k x n elements, sums in f32. */
export interface SubgroupMatrices {
  /** Of the elements of A and B. */
  readonly type: "f16" | "f32";
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** The most invocations that a subgroup has: workgroups that use matrices are whole numbers of them. */
  readonly subgroupSize: number;
  /** Whether every subgroup has so many. Else there may be more subgroups in a workgroup than that makes. */
  readonly exact: boolean;
  /** What modules must say. */
  readonly directives: readonly string[];
  /** For benchmarks and tests: the tile of all products. Default: chosen of those in parts/matrices.ts by their sizes. */
  readonly tile?: MatrixTile;
  /** For benchmarks and tests: the tile of attention wherever it fits. Default: chosen of those in encode/attention-matrices.ts. */
  readonly attention?: AttentionTile;
  /** For benchmarks: how often an operand in f32 must be read to be copied to f16 first. Default: see parts/matrices.ts. */
  readonly halvedFrom?: number;
}

/** What encoders may ask of the adapter. */
export interface GpuFeatures {
  /** The fewest invocations a subgroup has, a power of two from 4 to 128; 0 where shaders may not use subgroups. */
  readonly subgroupSize: number;
  /** Whether products round their operands to f16, whose sums stay f32: tiles in workgroup memory are f16 then. */
  readonly half: boolean;
  /** What products are made of on adapters that have them, where `half` precision is asked for; else null. */
  readonly matrices: SubgroupMatrices | null;
  /**
   * For benchmarks and tests: whether convolutions that can be are made of tiles, and the most bytes of these at a time. Default: see
   * parts/winograd.ts.
   */
  readonly winograd?: { readonly used?: boolean; readonly partBytes?: number };
  /** Who made it, as WebGPU names them; empty where that is not said. */
  readonly vendor: string;
  /** What WGSL has beyond what it has everywhere. Absent where an entry point does not say. */
  readonly language?: { has(name: string): boolean };
  /** True for an adapter that is a program on the CPU. */
  readonly software: boolean;
  readonly maxWorkgroupSize: number;
  readonly maxWorkgroupBytes: number;
  /** Storage buffers one dispatch may bind. */
  readonly maxBuffers: number;
  /** Workgroups of a dispatch along each dimension. */
  readonly maxGroups: number;
  /** What was found by timing on it. Absent where nothing is timed. */
  readonly tuner?: Tuner;
}

/** Ways to the same bits, of which one may be the fastest on an adapter. */
export interface Choice {
  /** What is computed, as far as it decides which way is the fastest. */
  readonly key: string;
  /** Their names. The first is taken where nothing is known. */
  readonly ways: readonly string[];
  readonly operands: readonly (Bound | null)[];
  /** Writes the dispatches of a way over operands like those. */
  encode(out: DispatchWriter, way: number, operands: readonly (Bound | null)[]): void;
}

/** Knows of each choice the fastest way, or tries them later. */
export interface Tuner {
  /** The index of the way to take now. */
  choose(choice: Choice): number;
}

export interface DispatchWriter {
  readonly features: GpuFeatures;
  /**
   * Encodes a `Product` (encode/matmul.ts) otherwise than the core does, and returns whether it did: by subgroup matrices. Absent where
   * there are none.
   */
  readonly product?: (product: object) => boolean;
  /**
   * Appends a dispatch. `buffers[i]` is bound at @group(0) @binding(i); null stands for an absent operand (a small dummy is bound). One
   * buffer may not be bound both read-only and writable, or twice writable: an encoder that meets an output in the place of an input binds
   * it once. `groups`: a count, which is folded into (x, y) when it exceeds `features.maxGroups` (kernels compute
   * `group = id.x + id.y * count.x` and return past their end), or [x, y, z].
   */
  dispatch(shader: Shader, buffers: readonly (Bound | null)[], groups: number | readonly [number, number, number]): void;
  /** What `write` appends is done `steps` times. */
  loop(steps: number, write: () => void): void;
  /** Appends the dispatches of a call that is part of the one being encoded. */
  call(call: Call): void;
  /** A buffer of `bytes` for the dispatches of the call being encoded: partial sums and the like. Undefined contents. */
  temporary(bytes: number): { readonly read: Bound; readonly write: Bound; readonly update: Bound };
}

/** Encodes one kernel call as dispatches. */
export type GpuEncoder = (call: Call, out: DispatchWriter) => void;

/** The core of the kernels, or a part that is loaded on demand. */
export interface GpuKernels {
  /** By the names of the kernels. */
  readonly encoders: { readonly [kernel: string]: GpuEncoder };
  /** WGSL by the names of its files. */
  readonly shaders: { readonly [file: string]: string };
  /** What puts one call in the place of several of a list. Default: nothing. */
  readonly joins?: readonly ((calls: readonly Call[], features: GpuFeatures) => readonly Call[])[];
  /** See DispatchWriter. */
  readonly product?: (product: object, out: DispatchWriter) => boolean;
}

const bound = (o: Operand | null, access: Bound["access"]): Bound | null =>
  o === null ? null : { place: o.place, bytes: bytesOf(sizeOf(o.shape), o.storage), access, half: o.storage === "f16" };

/** An operand that the kernel reads. */
export const read = (o: Operand | null): Bound | null => bound(o, "read");
/** An operand that the kernel writes completely. */
export const write = (o: Operand | null): Bound | null => bound(o, "write");
/** An operand that the kernel reads and writes. */
export const update = (o: Operand | null): Bound | null => bound(o, "update");

/** Counts along two dimensions, `most` at most, of so many groups or a few more: kernels take `x + y * count.x` and end past the last. */
export function fold(groups: number, most: number): readonly [number, number] {
  if (groups <= most) return [groups, 1];
  const x = Math.ceil(Math.sqrt(groups));
  assert(x <= most, () => `a dispatch of ${groups} groups`);
  return [x, Math.ceil(groups / x)];
}
