/** @file What the WebAssembly backend needs of a kernel: the code that writes its commands, and where the kernel itself is. */
import type { KernelPart } from "./parts.ts";
import type { Encoder } from "./writer.ts";

/** `wasm` of a `Kernel`. */
export interface WasmKernel {
  /** Writes the commands of a call. */
  readonly encode: Encoder;
  /** The part of the kernels that these commands may be of; absent: the core alone. */
  readonly part?: KernelPart;
}
