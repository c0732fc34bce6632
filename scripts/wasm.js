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
/** Calls the kernels of the core, and `part` for others. */
const DISPATCHER = "assembly/run/call";
/** The parts that applications download only if they use them, by the number that PART_SHIFT leaves of their opcodes (src/wasm/opcodes.ts): what calls their kernels. */
export const PARTS = { conv: "assembly/parts/conv/conv", recurrent: "assembly/parts/recurrent/recurrent", norm: "assembly/parts/norm/norm" };
/** Fewer than the dispatchers call. */
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

/** A module read from what asc or this file writes. */
function moduleOf(source) {
  const { Atomics, BulkMemory, BulkMemoryOpt, MutableGlobals, NontrappingFPToInt, RelaxedSIMD, SignExt, SIMD128 } = binaryen.Features;
  const module = typeof source === "string" ? binaryen.parseText(source) : binaryen.readBinary(source);
  module.setFeatures(Atomics | BulkMemory | BulkMemoryOpt | MutableGlobals | NontrappingFPToInt | RelaxedSIMD | SignExt | SIMD128);
  return module;
}

/** The text of a module: what comes before functions, and each of them by name. */
function textOf(module) {
  const [head, ...functions] = module.emitText().split(/^ (?=\(func \$)/m);
  const last = functions.length - 1;
  functions[last] = functions[last].slice(0, functions[last].lastIndexOf(")"));
  return { head, functions: new Map(functions.map((text) => [/\$(\S+)/.exec(text)[1], text])) };
}

const calledIn = (text) => [...text.matchAll(/\(call \$(\S+)/g)].map(([, name]) => name);

/** A binary of a module in text, with functions in an order that compresses well. */
function written(text) {
  const module = moduleOf(text);
  binaryen.setDebugInfo(false);
  const order = likeTogether(bodies(Buffer.from(module.emitBinary())));
  // Those that are imported have the first indices. Functions are written in the order in which they were added.
  const imported = text.match(/\(import [^\n]*\(func /g)?.length ?? 0;
  const functions = order.map((i) => binaryen.getFunctionInfo(module.getFunctionByIndex(imported + i)));
  for (const { name, params, results, vars, body } of functions) {
    module.removeFunction(name);
    module.addFunction(name, params, results, vars, body);
  }
  return Buffer.from(module.emitBinary());
}

/** Puts functions that have one caller into it, where V8 unrolls their loops more (by a loop's depth in its function). Kernels stay apart from the dispatchers: engines compile functions when they are first called, that of all kernels for the first command, and with 24 KB in it that took 1.3 ms. */
function inlined(binary) {
  const module = moduleOf(binary);
  const { functions } = textOf(module);
  const dispatchers = [DISPATCHER, ...Object.values(PARTS)];
  for (const name of [APART, ...dispatchers]) if (!functions.has(name)) throw new Error(`the kernels have no function ${name}: it was renamed, and here it must be`);
  const called = new Set(dispatchers.flatMap((name) => calledIn(functions.get(name))).filter((name) => functions.has(name)));
  if (called.size < KERNELS) throw new Error(`${dispatchers.join(", ")} call ${called.size} functions, expected all kernels, ${KERNELS} at least; is their text read right?`);
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(1);
  binaryen.setOneCallerInlineMaxSize(ONE_CALLER);
  binaryen.setAllowInliningFunctionsWithLoops(true);
  for (const name of [APART, ...called]) {
    binaryen.setPassArgument("no-inline", name);
    module.runPasses(["no-inline"]);
  }
  binaryen.clearPassArguments();
  module.runPasses(["inlining-optimizing"]);
  return module;
}

/** A function and those that it calls. */
function reached(functions, from) {
  const found = new Set();
  const visit = (name) => {
    if (!functions.has(name) || found.has(name)) return;
    found.add(name);
    calledIn(functions.get(name)).forEach(visit);
  };
  from.forEach(visit);
  return found;
}

/** What a part's caller takes, behind the number of the part: operands and types of `part` in assembly/run.ts. */
const OPERANDS = "(param $0 i32) (param $1 i32) (param $2 i32) (param $3 i32) (param $4 i32)";
const PASSED = "(local.get $1) (local.get $2) (local.get $3) (local.get $4)";
const typeOf = (text) => /^\(func \S+(?: \(param[^)]*\))*(?: \(result[^)]*\))?/.exec(text)[0];

/**
 * What asc compiled (--debug: with names), as `whole` module and as a `core` and its `parts`, which import the core's memory, functions that both need, and a table into which each
 * puts the function that calls its kernels.
 */
export function linked(binary) {
  const { head, functions } = textOf(inlined(binary));
  if (head.includes("(global ")) throw new Error("the kernels have a global, which each part would have for itself");
  const names = Object.keys(PARTS), callers = Object.values(PARTS);
  const [importOfPart, part] = /^ \(import "build" "part" \(func (\S+)[^\n]*\n/m.exec(head);
  // What is exported for the build alone goes, as the memory, which whoever makes an instance has.
  const declarations = head.replace(importOfPart, "").replace(/^ \(export "(\w+)"[^\n]*\n/gm, (line, name) => (name in PARTS || name === "memory" ? "" : line));
  const starts = [...declarations.matchAll(/^ \(export "\w+" \(func \$(\S+)\)\)/gm)].map(([, name]) => name);
  const core = reached(functions, starts);
  const own = callers.map((caller) => [...reached(functions, [caller])].filter((name) => !core.has(name)));
  const calls = own.map((list) => new Set(list.flatMap((name) => calledIn(functions.get(name))).filter((name) => core.has(name))));
  const shared = [...new Set(calls.flatMap((set) => [...set]))];
  const table = `(table $parts ${names.length + 1} funcref)`;
  const assembled = (before, list, after = "") => written([before, ...Array.from(list, (name) => functions.get(name)), after, ")"].join("\n"));
  const callPart = callers.reduceRight((rest, caller, i) => {
    const call = `(call $${caller} ${PASSED})`;
    return rest === "" ? call : `(if (i32.eq (local.get $0) (i32.const ${i + 1})) (then ${call}) (else ${rest}))`;
  }, "");
  const exportsForParts = [`${table} (export "parts" (table $parts))`, ...shared.map((name, i) => `(export "${i}" (func $${name}))`)];
  const partOf = (caller, i) => assembled([
    declarations.replace(/^ \((data|export) [^\n]*\n/gm, ""),
    `(import "core" "parts" ${table})`,
    ...shared.flatMap((name, j) => (calls[i].has(name) ? [`(import "core" "${j}" ${typeOf(functions.get(name))}))`] : [])),
    `(elem (i32.const ${i + 1}) $${caller})`,
  ].join("\n"), own[i]);
  return {
    whole: assembled(declarations, functions.keys(), `(func ${part} ${OPERANDS} ${callPart})`),
    core: assembled([declarations, ...exportsForParts].join("\n"), core, `(func ${part} ${OPERANDS} (call_indirect $parts (param i32 i32 i32 i32) ${PASSED} (local.get $0)))`),
    parts: Object.fromEntries(names.map((name, i) => [name, partOf(callers[i], i)])),
  };
}
