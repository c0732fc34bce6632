/** @file The changes that the build makes to WebAssembly binaries after the compiler. */
// The version that assemblyscript brings.
import binaryen from "binaryen";

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

/** Most instructions of a function that is put in the place of its only call; asc allows 80 of them and no loop. */
const ONE_CALLER = 400;
/** One that stays apart: beside it the loop over tiles of its caller takes 4 % longer (V8 has registers for one of them). */
const APART = "assembly/recurrent/row";
/** Calls all kernels, which stay apart from it: engines compile functions when they are first called, this one for the first command, and with 24 KB in it that took 1.3 ms. */
const DISPATCHER = "assembly/run/call";
/** Fewer than it calls. */
const KERNELS = 20;
const CODE_SECTION = 10;
/** Bytes of the runs that are compared, and how many functions before one it is compared with. */
const RUN = 6;
const LOOK_BACK = 4;

/** The bodies of all functions (https://webassembly.github.io/spec/core/binary/modules.html#code-section). */
function bodies(binary) {
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const taken = (length) => binary.subarray(at, (at += length));
  for (;;) {
    const section = binary[at++];
    const length = number();
    if (section === CODE_SECTION) return Array.from({ length: number() }, () => taken(number()));
    at += length;
  }
}

/**
 * An order of functions in which those that are alike follow each other: what compresses a module, in the package and on its way to a page, looks back 32 KB only, so that it
 * becomes 2 % smaller. From the largest on, the next one is that of which most runs of bytes are in the last few.
 */
function likeTogether(functions) {
  const runs = functions.map((body) => new Set(Array.from({ length: Math.max(0, body.length - RUN + 1) }, (_, i) => body.toString("latin1", i, i + RUN))));
  const rest = new Set(runs.keys());
  const order = [];
  const take = (rank) => {
    const next = [...rest].reduce((a, b) => (rank(b) > rank(a) ? b : a));
    rest.delete(next);
    order.push(next);
  };
  take((i) => runs[i].size);
  while (rest.size > 0) {
    const near = new Set(order.slice(-LOOK_BACK).flatMap((i) => [...runs[i]]));
    take((i) => [...runs[i]].filter((run) => near.has(run)).length / Math.sqrt(runs[i].size + 1));
  }
  return order;
}

/** A module with names (asc --debug), without these, with functions that have one caller put into it, where V8 unrolls their loops more (by a loop's depth in its function), and the others in an order that compresses well. */
export function arranged(binary) {
  const { Atomics, BulkMemory, BulkMemoryOpt, MutableGlobals, NontrappingFPToInt, RelaxedSIMD, SignExt, SIMD128 } = binaryen.Features;
  const module = binaryen.readBinary(binary);
  module.setFeatures(Atomics | BulkMemory | BulkMemoryOpt | MutableGlobals | NontrappingFPToInt | RelaxedSIMD | SignExt | SIMD128);
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(1);
  binaryen.setOneCallerInlineMaxSize(ONE_CALLER);
  binaryen.setAllowInliningFunctionsWithLoops(true);
  binaryen.setDebugInfo(false);
  for (const name of [APART, DISPATCHER]) if (module.getFunction(name) === 0) throw new Error(`the kernels have no function ${name}: it was renamed, and here it must be`);
  const [, dispatcher] = module.emitText().split(`(func $${DISPATCHER} `);
  const [body] = dispatcher.split("\n (func ");
  const called = new Set([...body.matchAll(/\(call \$(\S+)/g)].map(([, callee]) => callee));
  if (called.size < KERNELS) throw new Error(`${DISPATCHER} calls ${called.size} functions, expected all kernels, ${KERNELS} at least; is its text read right?`);
  for (const name of [APART, ...called]) {
    binaryen.setPassArgument("no-inline", name);
    module.runPasses(["no-inline"]);
  }
  binaryen.clearPassArguments();
  module.runPasses(["inlining-optimizing"]);
  const order = likeTogether(bodies(Buffer.from(module.emitBinary())));
  // Functions are written in the order in which they were added.
  const functions = order.map((i) => binaryen.getFunctionInfo(module.getFunctionByIndex(i)));
  for (const { name, params, results, vars, body } of functions) {
    module.removeFunction(name);
    module.addFunction(name, params, results, vars, body);
  }
  return Buffer.from(module.emitBinary());
}
