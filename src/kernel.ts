/** @file What a kernel is, for those that name one. */

/**
 * A kernel of the vocabulary (plan/kernels.ts). Calls name it. Ops bring the value (kernels.ts), so that an application holds the code of
 * those that its ops use; a backend that is loaded on demand has all of them, by name.
 */
export interface Kernel {
  readonly name: string;
  /**
   * What the WebAssembly backend needs to run it, which nobody else looks into. Absent where the planner calls it: that is always there.
   */
  readonly wasm?: object;
}
