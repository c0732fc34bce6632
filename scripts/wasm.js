/** @file The two changes that the build makes to WebAssembly binaries after the compiler. */

/** The import entry "env" "memory"; the byte behind it is the flag of its limits. */
const MEMORY_IMPORT = Buffer.from("\x03env\x06memory\x02", "latin1");
const LIMITS_SHARED = 3;
const LIMITS_WITH_MAXIMUM = 1;

/** The kernels run with either kind of memory. Files import the one that is not shared, which streams and every runtime take; src/wasm/load.ts changes the flag for threads. */
export function withoutSharedMemory(binary) {
  const at = binary.indexOf(MEMORY_IMPORT) + MEMORY_IMPORT.length;
  if (at < MEMORY_IMPORT.length || binary[at] !== LIMITS_SHARED) throw new Error("the kernels do not import a shared memory");
  const changed = Buffer.from(binary);
  changed[at] = LIMITS_WITH_MAXIMUM;
  return changed;
}

/** The binary with a custom section "lockstep" that holds `text` (short enough for lengths of one byte). */
export function withName(binary, text) {
  const content = Buffer.from(`\x08lockstep${text}`, "latin1");
  if (content.length > 127) throw new Error(`"${text}" is too long`);
  return Buffer.concat([binary, Buffer.from([0, content.length]), content]);
}
