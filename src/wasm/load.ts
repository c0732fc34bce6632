/**
 * @file Getting hold of the kernels: those in the package as text, which need no configuration, a `.wasm` file by its address or as a
 * response, or a compiled module. Two builds exist, plain and relaxed SIMD; each says in a custom section which it is. Files and modules
 * are whole, text comes as a core and parts.
 */
import { id } from "#kernels";
import { once } from "../cache.ts";
import { ArgumentError, BackendError } from "../errors.ts";
import { builtin, readBytes } from "../node/files.ts";
import { TRAINING } from "../training.ts";
import type { KernelPart, Simd } from "./parts.ts";

/**
 * Where kernels come from: the address of a `.wasm` file (in Node, Deno and Bun also a path), a response with one, its bytes, or a module
 * that is compiled already. The files are `lockstep/plain.wasm` and `lockstep/relaxed.wasm`.
 */
export type KernelSource = URL | string | Response | PromiseLike<Response> | BufferSource | WebAssembly.Module;

export interface Kernels {
  readonly module: WebAssembly.Module;
  readonly simd: Simd;
  /** It imports a shared memory. */
  readonly shared: boolean;
  /** All kernels, not the core alone. */
  readonly whole: boolean;
}

/** The import entry "env" "memory". The byte behind it says of which kind: the files have a memory with a maximum that is not shared. */
const MEMORY_IMPORT = [3, 101, 110, 118, 6, 109, 101, 109, 111, 114, 121, 2];
const LIMITS_SHARED = 3;
const LIMITS_WITH_MAXIMUM = 1;
/** The import comes after the function types, of which there are few. */
const LAST_IMPORT_BYTE = 800;
/** The custom section that names the build: `id simd`. */
const SECTION = "lockstep";

/** The kernels take either kind of memory; only the import's flag must agree. */
function withSharedMemory(bytes: Uint8Array): Uint8Array {
  for (let at = 8; at < LAST_IMPORT_BYTE; at++) {
    if (bytes[at + MEMORY_IMPORT.length] === LIMITS_WITH_MAXIMUM && MEMORY_IMPORT.every((b, i) => bytes[at + i] === b)) {
      const copy = bytes.slice();
      copy[at + MEMORY_IMPORT.length] = LIMITS_SHARED;
      return copy;
    }
  }
  return bytes;
}

/** What a module says of itself. @throws BackendError when it is not of this version of Lockstep. */
function simdOf(who: string, module: WebAssembly.Module): Simd {
  const [section] = WebAssembly.Module.customSections(module, SECTION);
  const imports = WebAssembly.Module.imports(module);
  const exports = WebAssembly.Module.exports(module).map((e) => e.name);
  if (section === undefined || imports.length !== 1 || imports[0].kind !== "memory" || !exports.includes("run")) {
    throw new BackendError(
      `${who}: not Lockstep's kernels: it exports ${exports.slice(0, 8).join(", ") || "nothing"}; use lockstep/plain.wasm or ` +
        "lockstep/relaxed.wasm",
    );
  }
  const [build, simd] = new TextDecoder().decode(section).split(" ");
  if (build !== id)
    throw new BackendError(
      `${who}: kernels of another version of Lockstep: expected build ${id}, got ${build}; use lockstep/${simd}.wasm of the ` +
        "installed package",
    );
  return simd as Simd;
}

/**
 * Compiles bytes or a response. @throws BackendError for what is no WebAssembly, or that this engine does not know, and for a response that
 * is none.
 */
async function compiled(who: string, source: Uint8Array | Response, shared: boolean): Promise<WebAssembly.Module> {
  try {
    if (ArrayBuffer.isView(source))
      return await WebAssembly.compile((shared ? withSharedMemory(source) : source) as Uint8Array<ArrayBuffer>);
    // While it comes in; not where the flag of the memory has to be changed first, or where the server names another type, which streaming
    // refuses.
    if (
      source.ok &&
      !shared &&
      typeof WebAssembly.compileStreaming === "function" &&
      /^application\/wasm\b/.test(source.headers.get("content-type") ?? "")
    )
      return await WebAssembly.compileStreaming(source);
  } catch (cause) {
    throw new BackendError(
      `${who}: cannot compile the kernels: ${(cause as Error).message}; without relaxed SIMD use lockstep/plain.wasm, where ` +
        "compiling is forbidden allow 'wasm-unsafe-eval' in script-src or pass a WebAssembly.Module",
      { cause },
    );
  }
  if (!source.ok)
    throw new BackendError(`${who}: cannot fetch the kernels: HTTP status ${source.status} for ${source.url || "the response"}`);
  return compiled(who, new Uint8Array(await source.arrayBuffer()), shared);
}

/** What is at an address; where there are files it may be a path. */
async function fromAddress(who: string, address: string): Promise<Uint8Array | Response> {
  if (builtin("node:fs") !== undefined && !/^(https?|data|blob):/.test(address))
    return readBytes(address.startsWith("file:") ? new URL(address) : address);
  try {
    return await fetch(address);
  } catch (cause) {
    throw new BackendError(`${who}: cannot fetch the kernels from ${address}: ${(cause as Error).message}`, { cause });
  }
}

/** The kernels that a user passed. */
async function given(source: KernelSource, shared: boolean): Promise<Kernels> {
  const who = "open: module";
  const value: unknown = await source;
  if (value instanceof WebAssembly.Module) return { module: value, simd: simdOf(who, value), shared: false, whole: true };
  let found: Uint8Array | Response;
  if (typeof value === "string" || value instanceof URL) found = await fromAddress(who, String(value));
  else if (typeof Response === "function" && value instanceof Response) found = value;
  else if (ArrayBuffer.isView(value)) found = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  else if (value instanceof ArrayBuffer) found = new Uint8Array(value);
  else
    throw new ArgumentError(
      `${who}: expected a URL, a Response, bytes or a WebAssembly.Module, got ${value === null ? "null" : typeof value}`,
    );
  const module = await compiled(who, found, shared);
  return { module, simd: simdOf(who, module), shared, whole: true };
}

/** The loop alone takes more than a millisecond in a process that has just started. */
function decoded(base64: string): Uint8Array {
  const { Buffer } = globalThis as { Buffer?: { from(text: string, encoding: string): Uint8Array } };
  const { fromBase64 } = Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array };
  if (fromBase64 !== undefined) return fromBase64.call(Uint8Array, base64);
  return Buffer?.from(base64, "base64") ?? Uint8Array.from(atob(base64), (ch) => ch.charCodeAt(0));
}

/**
 * Undoes raw DEFLATE (RFC 1951): packed so, what a page downloads is a third smaller, since base64 hides from HTTP's compression what
 * repeats.
 */
async function inflated(bytes: Uint8Array): Promise<Uint8Array> {
  // At once where there is zlib; a stream takes several turns of the event loop.
  const zlib = builtin("node:zlib");
  if (zlib !== undefined) return zlib.inflateRawSync(bytes);
  if (typeof DecompressionStream === "undefined")
    throw new BackendError(
      "open: this browser cannot unpack the kernels (DecompressionStream: Chrome 103, Firefox 113, Safari 16.4); pass them as " +
        "module, see lockstep/plain.wasm",
    );
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The core, where the condition `workerd` holds a compiled module, which is whole. */
const loadCore: (simd: Simd) => Promise<{ readonly default: string | WebAssembly.Module }> = TRAINING
  ? (simd) => (simd === "plain" ? import("#kernels/plain") : import("#kernels/relaxed"))
  : (simd) => (simd === "plain" ? import("#kernels/inference-plain") : import("#kernels/inference-relaxed"));

/** One build of the core, or a part of it, as the package holds it: deflated and base64, or a module. */
async function packed(simd: Simd, part: KernelPart | null): Promise<string | WebAssembly.Module> {
  try {
    return (await (part !== null ? part.load(simd) : loadCore(simd))).default;
  } catch (cause) {
    try {
      const file = `${TRAINING ? "" : "inference-"}${simd}${part === null ? "" : `-${part.name}`}.js`;
      // A page without a bundler does not know names with #. The file is beside the one that holds this code; bundlers must not look for
      // it, nor for a pattern.
      return ((await import(/* webpackIgnore: true */ /* @vite-ignore */ [".", file].join("/"))) as { readonly default: string }).default;
    } catch {
      throw new BackendError(`open: cannot load the kernels: ${(cause as Error).message}; pass them as module, see lockstep/${simd}.wasm`, {
        cause,
      });
    }
  }
}

/**
 * From the file beside this one, in Node and Bun: at once, and 3 ms earlier than from text that is imported, decoded and unpacked. Bundled
 * applications have none, or one of another version; Deno might ask its user.
 */
async function beside(simd: Simd, shared: boolean): Promise<Kernels | null> {
  const here: unknown = import.meta.url;
  if ("Deno" in globalThis || typeof here !== "string" || !here.startsWith("file:")) return null;
  try {
    const bytes = builtin("node:fs")?.readFileSync(new URL([".", `${simd}.wasm`].join("/"), here));
    const module = bytes === undefined ? null : await compiled("", bytes, shared);
    return module !== null && simdOf("", module) === simd ? { module, simd, shared, whole: true } : null;
  } catch {
    return null;
  }
}

/** A module that the package holds as text. */
const unpacked = async (text: string, shared: boolean): Promise<WebAssembly.Module> =>
  compiled("open", await inflated(decoded(text)), shared);

async function embedded(simd: Simd, shared: boolean): Promise<Kernels> {
  const file = await beside(simd, shared);
  if (file !== null) return file;
  const found = await packed(simd, null);
  return typeof found === "string"
    ? { module: await unpacked(found, shared), simd, shared, whole: false }
    : { module: found, simd, shared: false, whole: true };
}

const builtIn = new Map<string, Promise<Kernels>>();
const builtInParts = new Map<string, Promise<WebAssembly.Module>>();

/** A part that belongs to these kernels. @throws BackendError when it cannot be had. */
export function loadPart(part: KernelPart, { simd, shared }: Kernels): Promise<WebAssembly.Module> {
  return once(builtInParts, `${part.name} ${simd} ${shared}`, async () => unpacked((await packed(simd, part)) as string, shared));
}

/**
 * The kernels to run with. `relaxed`: may be the relaxed build. `shared`: for a memory shared among threads, where that can be had.
 * @throws BackendError for a module that is not Lockstep's or cannot be had, ArgumentError for one that does not fit the options.
 */
export async function loadKernels(
  source: KernelSource | undefined,
  relaxed: boolean,
  reproducible: boolean,
  shared: boolean,
): Promise<Kernels> {
  if (source !== undefined) {
    const kernels = await given(source, shared);
    if (reproducible && kernels.simd === "relaxed")
      throw new ArgumentError(
        "open: reproducible: true needs the plain kernels, module has those with relaxed SIMD; pass lockstep/plain.wasm",
      );
    return kernels;
  }
  const simd = relaxed && !reproducible ? "relaxed" : "plain";
  return once(builtIn, `${simd} ${shared}`, () => embedded(simd, shared));
}
