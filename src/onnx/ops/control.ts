/**
 * @file Graphs inside of graphs: If, Loop and Scan. A condition must be known while tracing, or a stage ends where it is computed. Loops
 * are Lockstep's own where each step carries on tensors of the same shapes and decides nothing by elements; else they are unrolled.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { dtypeOf } from "../types.ts";
import type { Constant } from "../tensors.ts";
import { HostStep, NotYetKnown, Value, checkShape } from "../value.ts";
import { reshaped, strided } from "./shapes.ts";

/** Fewer rounds are unrolled. */
const FEW = 8;
/** More are not. */
const MOST_UNROLLED = 4096;
/** The most rounds of a loop. */
const MOST = 2 ** 24;

/** A round cannot be one of Lockstep's loops. */
class NoLoop extends Error {}

/** What a round gives. */
interface Round {
  readonly next: readonly Value[];
  readonly ys: readonly Value[];
  /** Whether there is another one. */
  readonly goesOn: Value | null;
}

/** Rounds of a body. */
interface Rounds {
  readonly call: Call;
  /** How many at most. */
  readonly length: number;
  readonly carry: readonly Value[];
  /** Of which round i gets slice i. */
  readonly xs: readonly Value[];
  readonly step: (carry: readonly Value[], x: readonly Value[], at: Value, apart: boolean) => Round;
}

interface Result {
  readonly carry: readonly Value[];
  /** [rounds, ...] each. */
  readonly ys: readonly Value[];
}

/** Whether a condition holds. @throws NotYetKnown */
function holds(call: Call, condition: Value | null): boolean {
  if (condition === null) return true;
  if (condition.size !== 1) throw call.mismatch(`a condition has one element, got [${condition.shape.join()}]`);
  return condition.elements[0] !== 0;
}

const isSame = (a: Value, b: Value): boolean =>
  a.items === null && b.items === null && a.type === b.type && a.shape.join() === b.shape.join();

/** By a loop of Lockstep's. @throws NoLoop */
function scanned({ call, length, carry, xs, step }: Rounds): Result {
  if (carry.some((v) => v.items !== null || v.type === "string")) throw new NoLoop();
  const made: { next: Value[]; ys: Value[] } = { next: [], ys: [] };
  const [last, ys] = lockstep.scan(
    (now: readonly Tensor[], given: { at: Tensor; slices: readonly Tensor[] }) => {
      const values = now.map((t, i) => Value.of(carry[i].type, t));
      const slices = given.slices.map((t, i) => Value.of(xs[i].type, t));
      const round = step(values, slices, Value.of("int64", given.at), true);
      if (round.goesOn !== null && (round.goesOn.known === null || !holds(call, round.goesOn))) throw new NoLoop();
      if (!round.next.every((v, i) => isSame(v, carry[i])) || round.ys.some((v) => v.items !== null || v.type === "string"))
        throw new NoLoop();
      made.next = [...round.next];
      made.ys = [...round.ys];
      return [round.next.map((v) => v.tensor), round.ys.map((v) => v.tensor)] as const;
    },
    carry.map((v) => v.tensor) as readonly Tensor[],
    { at: lockstep.iota([length]), slices: xs.map((v) => v.tensor) },
    { length },
  );
  return {
    carry: last.map((t, i) => Value.of(carry[i].type, t)),
    ys: (ys as readonly Tensor[]).map((t, i) => Value.of(made.ys[i].type, t)),
  };
}

/** Values of one shape along a new first axis. */
function stacked(call: Call, values: readonly Value[]): Value {
  const [{ type, shape }] = values;
  const other = values.find((v) => v.type !== type || v.shape.join() !== shape.join());
  if (other !== undefined)
    throw call.mismatch(
      `what rounds give for one output has one shape, got ${type}[${shape.join()}] and ${other.type}[${other.shape.join()}]`,
    );
  if (values.every((v) => v.known !== null)) {
    const elements = values.flatMap((v) => Array.from((v.known as Constant).elements as ArrayLike<number>));
    return Value.known({ type, shape: [values.length, ...shape], elements });
  }
  if (sizeOf(shape) === 0) return Value.of(type, lockstep.zeros([values.length, ...shape], dtypeOf(call.who, type)));
  return Value.of(type, lockstep.stack(values.map((v) => v.tensor)));
}

/** Slice i of each. */
function slicesAt(call: Call, xs: readonly Value[], i: number): Value[] {
  return xs.map((x) => {
    const row = strided(
      call,
      x,
      x.shape.map((_, d) => (d === 0 ? i : 0)),
      x.shape.map((d, k) => (k === 0 ? 1 : d)),
      x.shape.map(() => 1),
    );
    return reshaped(row, x.shape.slice(1));
  });
}

const numbered = (i: number): Value => Value.numbers("int64", [i], []);

function unrolled({ call, length, carry, xs, step }: Rounds): Result {
  let now = carry;
  let condition: Value | null = null;
  const rows: (readonly Value[])[] = [];
  for (let i = 0; i < length && holds(call, condition); i++) {
    if (i === MOST_UNROLLED) throw call.fault(`more than ${MOST_UNROLLED} rounds of which each decides what the next computes`);
    const round = step(now, slicesAt(call, xs, i), numbered(i), false);
    now = round.next;
    condition = round.goesOn;
    rows.push(round.ys);
  }
  if (rows.length > 0)
    return {
      carry: now,
      ys: rows[0].map((_, k) =>
        stacked(
          call,
          rows.map((row) => row[k]),
        ),
      ),
    };
  return { carry: now, ys: nothingOf(call, carry, xs, step) };
}

/** What no rounds give: shapes are those that a round would. */
function nothingOf(call: Call, carry: readonly Value[], xs: readonly Value[], step: Rounds["step"]): Value[] {
  const none = (v: Value): Value => Value.of(v.type, lockstep.zeros(v.shape.slice(1), dtypeOf(call.who, v.type)));
  try {
    return step(carry, xs.map(none), numbered(0), false).ys.map((y) => Value.numbers(y.type, [], [0, ...y.shape]));
  } catch (error) {
    if (!isUnknown(error)) throw error;
    throw call.fault("it has no rounds, and what a round would give has a shape that elements decide");
  }
}

const isUnknown = (error: unknown): boolean => error instanceof NotYetKnown || error instanceof HostStep;

function rounds(given: Rounds): Result {
  if (given.length < FEW) return unrolled(given);
  try {
    if (given.length <= MOST) return scanned(given);
  } catch (error) {
    if (!(error instanceof NoLoop || isUnknown(error))) throw error;
  }
  return unrolled(given);
}

const If: Operator = (call) => call.run(holds(call, call.input(0)) ? "then_branch" : "else_branch", []);

/** Rounds of a body (number, condition, carried ...) -> (condition, carried ..., collected ...). */
const Loop: Operator = (call) => {
  const most = call.optional(0) === null ? Infinity : (call.number(0) as number);
  const carry = call.inputs.slice(2).map((_, i) => call.input(i + 2));
  const begins = holds(call, call.optional(1));
  const yes = Value.numbers("bool", [1], []);
  const { carry: last, ys } = rounds({
    call,
    length: begins ? Math.max(0, most) : 0,
    carry,
    xs: [],
    step: (now, _x, at, apart) => {
      const out = call.run("body", [at, yes, ...now], apart);
      return { goesOn: out[0], next: out.slice(1, 1 + carry.length), ys: out.slice(1 + carry.length) };
    },
  });
  return [...last, ...ys];
};

/** `axis` in front. */
function fronted(x: Value, axis: number): Value {
  if (axis === 0) return x;
  return Value.of(x.type, lockstep.transpose(x.tensor, [axis, ...x.shape.map((_, i) => i).filter((i) => i !== axis)]));
}

/** The first axis at `axis`. */
function put(y: Value, axis: number): Value {
  if (axis === 0) return y;
  const order = Array.from({ length: y.rank - 1 }, (_, i) => i + 1);
  order.splice(axis, 0, 0);
  return Value.of(y.type, lockstep.transpose(y.tensor, order));
}

const turned = (x: Value, isReverse: boolean): Value => (isReverse && x.size > 0 ? Value.of(x.type, lockstep.flip(x.tensor, 0)) : x);

/** Steps over slices, all of one length. */
function steps(call: Call, states: readonly Value[], xs: readonly Value[], length: number): Result {
  return rounds({
    call,
    length,
    carry: states,
    xs,
    step: (now, x, _at, apart) => {
      const out = call.run("body", [...now, ...x], apart);
      return { goesOn: null, next: out.slice(0, states.length), ys: out.slice(states.length) };
    },
  });
}

const Scan: Operator = (call) => {
  const count = call.int("num_scan_inputs") ?? 0;
  if (call.opset < 9) return batched(call, count);
  const values = call.inputs.map((_, i) => call.input(i));
  const states = values.slice(0, values.length - count);
  const [axes, directions] = [call.ints("scan_input_axes"), call.ints("scan_input_directions")];
  const xs = values.slice(states.length).map((x, i) => turned(fronted(x, call.axis(axes?.[i] ?? 0, x.rank)), directions?.[i] === 1));
  const length = xs[0]?.shape[0];
  if (length === undefined || xs.some((x) => x.shape[0] !== length))
    throw call.mismatch(`what is scanned has one length, got ${xs.map((x) => `[${x.shape.join()}]`).join(" and ")}`);
  const { carry, ys } = steps(call, states, xs, length);
  const [outAxes, outDirections] = [call.ints("scan_output_axes"), call.ints("scan_output_directions")];
  return [...carry, ...ys.map((y, i) => put(turned(y, outDirections?.[i] === 1), call.axis(outAxes?.[i] ?? 0, y.rank)))];
};

/** Opset 8: lengths of sequences (or none), states [batch, ...] and inputs [batch, length, ...]. */
function batched(call: Call, count: number): Value[] {
  const values = call.inputs.slice(1).map((_, i) => call.input(i + 1));
  const states = values.slice(0, values.length - count);
  const xs = values.slice(states.length);
  const directions = call.ints("directions");
  const [batch, most] = xs[0]?.shape ?? [];
  if (most === undefined || xs.some((x) => x.shape[0] !== batch || x.shape[1] !== most) || states.some((s) => s.shape[0] !== batch))
    throw call.mismatch(
      `states are [batch, ...] and inputs [batch, length, ...], got ${values.map((v) => `[${v.shape.join()}]`).join(" and ")}`,
    );
  const lengths = call.numbers(0) ?? new Array<number>(batch).fill(most);
  const results = lengths.map((length, b) => {
    if (!(length >= 0 && length <= most)) throw call.mismatch(`a length of ${length} in sequences of ${most}`);
    const own = slicesAt(call, xs, b).map((x, i) => {
      const cut = strided(
        call,
        x,
        x.shape.map(() => 0),
        x.shape.map((d, k) => (k === 0 ? length : d)),
        x.shape.map(() => 1),
      );
      return turned(cut, directions?.[i] === 1);
    });
    const { carry, ys } = steps(call, slicesAt(call, states, b), own, length);
    return [...carry, ...ys.map((y) => lengthened(call, y, most))];
  });
  if (results.length === 0) throw call.mismatch("the batch is empty");
  return results[0].map((_, k) =>
    stacked(
      call,
      results.map((list) => list[k]),
    ),
  );
}

/** Zeros behind what a short sequence gives. */
function lengthened(call: Call, y: Value, length: number): Value {
  if (y.shape[0] === length) return y;
  checkShape([length, ...y.shape.slice(1)]);
  const rest = lockstep.zeros([length - y.shape[0], ...y.shape.slice(1)], dtypeOf(call.who, y.type));
  return Value.of(y.type, y.shape[0] === 0 ? rest : lockstep.concat([y.tensor, rest], 0));
}

export const CONTROL: Operators = { If, Loop, Scan };
