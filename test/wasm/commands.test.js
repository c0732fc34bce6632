/** Tests of command lists: barriers stand exactly where hazards are (against brute force), addresses and patches are right. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { buildPlan } from "../../build/esm/plan/build.js";
import { BARRIER, encode, link } from "../../build/esm/wasm/commands.js";
import {
  CONV2D,
  CONV2D_DEPTHWISE,
  CONV2D_NARROW,
  CONV2D_NARROW_FILTER_GRAD,
  HEADER_WORDS,
  LOOP,
  LOOP_HEADER,
  WINOGRAD,
  WINOGRAD_FILTER_GRAD,
  WINOGRAD_INPUT_GRAD,
} from "../../build/esm/wasm/opcodes.js";
import { at, f32Word } from "../../build/esm/wasm/writer.js";
import { allCases, hasGradient, randomSource, traceForward, traceGradient, wasms } from "../ops/harness.js";
import { MODELS } from "../plan/models.js";
import { randomGraph } from "../plan/random-graph.js";

const SLOT_BASE = [1 << 20, 1 << 21, 1 << 22];
const SCRATCH = 1 << 24;
/** Kept memory counts on from bindings. */
const BINDINGS = 100;

/** Commands of a linked list as `{ opcode, barrier, pieces, args, start }`, those that a loop repeats behind it. */
function parse({ words }, from = 0, end = words.length) {
  const commands = [];
  for (let i = from; i < end; i += words[i + 1]) {
    assert.ok(words[i + 1] >= HEADER_WORDS, "a command has a length");
    commands.push({
      opcode: words[i] & 0xffff,
      barrier: (words[i] & BARRIER) !== 0,
      pieces: words[i + 2],
      args: words.subarray(i + HEADER_WORDS, i + words[i + 1]),
      start: i,
    });
    const body = i + HEADER_WORDS;
    if ((words[i] & 0xffff) === LOOP) commands.push(...parse({ words }, body + LOOP_HEADER, body + words[body + 1]));
  }
  return commands;
}

/** Encoded commands in the same order. */
const flat = (commands) => commands.flatMap((c) => [c, ...flat(c.loop?.commands ?? [])]);
/** How far behind its offset what a reference stands for begins, at the last step of the loops around. */
const reach = ({ place: { moves = [] } }) => moves.reduce((sum, { bytes, steps }) => sum + bytes * Math.max(0, steps - 1), 0);
const moves = ({ place }) => place.moves?.some(({ bytes }) => bytes !== 0) ?? false;

/**
 * Where barriers must stand, byte by byte (4 at a time): before a command that writes what one since the last barrier
 * read or wrote, or reads what one wrote; except among commands of one piece, which one thread runs in order. A loop begins with one.
 */
function expectedBarriers(commands) {
  const none = () => ({ read: { one: new Set(), many: new Set() }, written: { one: new Set(), many: new Set() } });
  let since = none();
  return commands.map(({ words, pieces, loop }) => {
    if (pieces === 0 || loop !== undefined) {
      since = none();
      return true;
    }
    const [reads, writes] = [[], []];
    for (const w of words) {
      if (typeof w === "number") continue;
      for (let b = 0; b < w.bytes + (w.bytes > 0 ? reach(w) : 0); b += 4) {
        const key = `${w.place.space}${w.place.index}:${w.place.offset + b}`;
        if (w.access !== "write") reads.push(key);
        if (w.access !== "read") writes.push(key);
      }
    }
    const met = (sets, key) => sets.many.has(key) || (pieces > 1 && sets.one.has(key));
    const wait = reads.some((k) => met(since.written, k)) || writes.some((k) => met(since.written, k) || met(since.read, k));
    if (wait) since = none();
    const kind = pieces === 1 ? "one" : "many";
    for (const k of reads) since.read[kind].add(k);
    for (const k of writes) since.written[kind].add(k);
    return wait;
  });
}

function check(encoded, name) {
  const list = link(encoded, BINDINGS, SLOT_BASE, SCRATCH);
  const commands = parse(list);
  const wanted = flat(encoded.commands);
  assert.is(commands.length, wanted.length, name);
  assert.equal(
    commands.map((c) => c.barrier),
    expectedBarriers(wanted),
    `${name}: barriers`,
  );
  assert.is(list.barriers, commands.filter((c) => c.barrier).length);
  const patched = new Map(list.patches.map((p) => [p.word, p]));
  wanted.forEach((c, i) => {
    assert.is(commands[i].opcode, c.opcode);
    assert.is(commands[i].pieces, c.pieces);
    c.words.forEach((w, k) => {
      const at = commands[i].start + HEADER_WORDS + k;
      if (typeof w === "number") assert.is(list.words[at], w >>> 0, `${name}: a number`);
      else if (moves(w)) assert.is(list.words[at], 0, `${name}: the loop sets it`);
      else if (w.place.space === "binding") assert.equal(patched.get(at), { word: at, binding: w.place.index, offset: w.place.offset });
      else if (w.place.space === "kept")
        assert.equal(patched.get(at), { word: at, binding: BINDINGS + w.place.index, offset: w.place.offset });
      else assert.is(list.words[at], (w.place.space === "slot" ? SLOT_BASE[w.place.index] : SCRATCH) + w.place.offset);
    });
  });
  // The prologue and its fence: commands that write kept memory, all of it, and no others do.
  const writesKept = ({ words }) => words.some((w) => w.place?.space === "kept" && w.access !== "read");
  encoded.commands.forEach((c, i) => assert.is(writesKept(c), i < encoded.prologue - 1, `${name}: prologue`));
  if (encoded.prologue > 0) assert.is(encoded.commands[encoded.prologue - 1].pieces, 0);
  assert.is(list.prologue, commands[encoded.prologue]?.start ?? 0);
  return list;
}

test("models", () => {
  for (const [name, model] of Object.entries(MODELS)) {
    const { graph, results } = model();
    const list = check(encode(buildPlan(graph, results, wasms[0].limits)), name);
    assert.ok(list.commands > 1 && list.barriers < list.commands, name);
  }
});

test("random graphs", () => {
  for (let seed = 0; seed < 100; seed++) {
    const { graph, results } = randomGraph(seed);
    check(encode(buildPlan(graph, results, wasms[0].limits)), `graph ${seed}`);
  }
});

test("all cases and their gradients", async () => {
  for (const c of Object.values(await allCases()).flat()) {
    for (const traced of hasGradient(c) ? [traceForward(c), traceGradient(c)] : [traceForward(c)]) {
      const total = traced.graph.nodes.reduce((n, node) => n + node.outputs.reduce((m, t) => m + t.size, 0), 0);
      if (total < 3000) check(encode(buildPlan(traced.graph, traced.results, wasms[0].limits)), `${c.op} ${c.name}`);
    }
  }
});

test("random references: overlapping, touching and empty spans", () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = randomSource(seed);
    const whole = (n) => Math.floor(random() * n);
    const ref = () => ({
      place: { space: ["slot", "binding", "scratch"][whole(3)], index: 0, offset: 4 * whole(8) },
      bytes: 4 * whole(5),
      access: ["read", "write", "update"][whole(3)],
    });
    const commands = Array.from({ length: 12 }, () => ({
      // None of a loop.
      opcode: 1 + whole(LOOP - 1),
      pieces: 1 + whole(4),
      words: Array.from({ length: 1 + whole(4) }, () => (random() < 0.3 ? whole(2 ** 32) : ref())),
    }));
    check({ commands, prologue: 0, sharedBytes: 64 }, `seed ${seed}`);
  }
});

test("a command with overlapping operands of its own needs no barrier before itself", () => {
  const place = { space: "slot", index: 0, offset: 0 };
  const list = link(
    {
      commands: [{ opcode: 1, pieces: 1, words: [{ place, bytes: 16, access: "read" }, { place, bytes: 16, access: "write" }] }],
      prologue: 0,
      sharedBytes: 0,
    },
    BINDINGS,
    SLOT_BASE,
    SCRATCH,
  );
  assert.is(list.barriers, 0);
});

test("words of references and floats", () => {
  assert.is(at(0, 64), 0, "an absent operand stays absent");
  assert.equal(at({ place: { space: "slot", index: 0, offset: 4 }, bytes: 16, access: "read" }, 8), {
    place: { space: "slot", index: 0, offset: 12 },
    bytes: 8,
    access: "read",
  });
  assert.is(f32Word(1), 0x3f800000);
  assert.is(f32Word(-0), 0x80000000);
});

test(
  "convolutions by 3x3 filters, and their gradients, are products of tiles; those of few channels and of each channel by itself read " +
    "windows in place, others pack them",
  async () => {
    const kernels = { conv2d: WINOGRAD, conv2dInputGrad: WINOGRAD_INPUT_GRAD, conv2dFilterGrad: WINOGRAD_FILTER_GRAD };
    const { conv } = await allCases();
    const opcodes = (c) => {
      const { graph, results } = traceForward(c);
      return encode(buildPlan(graph, results, wasms[0].limits)).commands.map((command) => command.opcode);
    };
    const tiled = conv.filter((c) => c.tiled);
    assert.equal(new Set(tiled.map((c) => c.op)), new Set(Object.keys(kernels)));
    for (const c of tiled) assert.ok(opcodes(c).includes(kernels[c.op]), `${c.op} ${c.name}`);
    const narrow = conv.filter((c) => c.narrow && c.op === "conv2d");
    assert.ok(narrow.length > 10);
    for (const c of narrow) assert.equal(opcodes(c), [CONV2D_NARROW], c.name);
    for (const c of conv.filter((other) => other.narrow && other.op === "conv2dFilterGrad"))
      assert.is(opcodes(c)[0], CONV2D_NARROW_FILTER_GRAD, c.name);
    const depthwise = conv.filter((c) => c.depthwise && c.op === "conv2d");
    assert.ok(depthwise.length > 10);
    for (const c of depthwise) assert.equal(opcodes(c), [CONV2D_DEPTHWISE], c.name);
    const others = conv.filter(
      (c) =>
        /strides|dilation|groups|^1x1x1x1|^4x8x8x64/.test(c.name) &&
        c.op === "conv2d" &&
        !c.narrow &&
        !c.depthwise &&
        !c.name.startsWith("0x"),
    );
    assert.ok(others.length > 10);
    for (const c of others)
      assert.ok(
        opcodes(c).every((opcode) => opcode <= CONV2D),
        c.name,
      );
  },
);

test.run();
