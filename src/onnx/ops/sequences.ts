/** @file Sequences of tensors and optional values. They are lists while a program is traced; what runs are their tensors. */
import type { Call, Operator, Operators } from "../call.ts";
import { elementType } from "../types.ts";
import { Value } from "../value.ts";
import { parts } from "./moving.ts";
import { joined, reshaped } from "./shapes.ts";

/** @throws FileError for a tensor */
function itemsOf(call: Call, place: number): readonly Value[] {
  const { items, isNone } = call.input(place);
  if (items === null || isNone)
    throw call.fault(`input ${place} is ${isNone ? "an optional that has none" : "a tensor"}, expected a sequence`);
  return items;
}

/** A position, counted from the end where it is negative; up to `most`. */
function positionIn(call: Call, place: number, count: number, most: number, absent: number): number {
  const given = call.number(place) ?? absent;
  if (!(given >= -count && given <= most)) throw call.mismatch(`position ${given} is none of a sequence of ${count}`);
  return given < 0 ? given + count : given;
}

const SequenceConstruct: Operator = (call) => {
  const items = call.inputs.map((_, i) => call.input(i));
  const other = items.find((v) => v.type !== items[0].type);
  if (other !== undefined) throw call.fault(`a sequence has one type, got ${items[0].type} and ${other.type}`);
  return Value.sequence(items[0]?.type ?? "float32", items);
};

const SequenceInsert: Operator = (call) => {
  const [items, value] = [itemsOf(call, 0), call.input(1)];
  if (items.length > 0 && items[0].type !== value.type) throw call.fault(`a sequence has one type, got ${items[0].type} and ${value.type}`);
  const at = positionIn(call, 2, items.length, items.length, items.length);
  return Value.sequence(value.type, [...items.slice(0, at), value, ...items.slice(at)]);
};

const SequenceErase: Operator = (call) => {
  const items = itemsOf(call, 0);
  const at = positionIn(call, 1, items.length, items.length - 1, items.length - 1);
  return Value.sequence(
    call.input(0).type,
    items.filter((_, i) => i !== at),
  );
};

const SequenceAt: Operator = (call) => {
  const items = itemsOf(call, 0);
  if (call.optional(1) === null) throw call.fault("no position is given");
  return items[positionIn(call, 1, items.length, items.length - 1, 0)];
};

const SplitToSequence: Operator = (call) => {
  const [x, split] = [call.input(0), call.optional(1)];
  const axis = call.axis(call.int("axis", 0), x.rank);
  const size = x.shape[axis];
  const given = call.numbers(1);
  // One number is the size of each part, but for the last.
  const part = given === null ? 1 : given[0];
  const isEach = split === null || split.rank === 0;
  if (isEach && !(part >= 1)) throw call.mismatch(`parts of ${part}`);
  const sizes = isEach ? Array.from({ length: Math.ceil(size / part) }, (_, i) => Math.min(part, size - i * part)) : (given as number[]);
  const items = parts(call, x, axis, sizes);
  const drops = split === null && !call.flag("keepdims", true);
  const shape = x.shape.filter((_, i) => i !== axis);
  return Value.sequence(x.type, drops ? items.map((v) => reshaped(v, shape)) : items);
};

const ConcatFromSequence: Operator = (call) => {
  const items = itemsOf(call, 0);
  if (items.length === 0) throw call.mismatch("an empty sequence has no shape");
  const isNew = call.flag("new_axis");
  const given = call.int("axis");
  if (given === null) throw call.fault("no axis is given");
  const { rank, shape } = items[0];
  const axis = call.axis(given, rank + Number(isNew));
  const values = isNew ? items.map((v) => reshaped(v, [...v.shape.slice(0, axis), 1, ...v.shape.slice(axis)])) : items;
  if (isNew && items.some((v) => v.shape.join() !== shape.join())) throw call.mismatch("tensors of different shapes are not stacked");
  return joined(values, axis);
};

/** A graph for each place of sequences; tensors beside them are given to each. */
const SequenceMap: Operator = (call) => {
  const count = itemsOf(call, 0).length;
  const values = call.inputs.map((_, i) => call.input(i));
  const other = values.find((v) => v.items !== null && v.items.length !== count);
  if (other !== undefined) throw call.mismatch(`sequences of ${count} and ${other.items?.length ?? 0} are not walked together`);
  const results = Array.from({ length: count }, (_, i) =>
    call.run(
      "body",
      values.map((v) => (v.items === null ? v : v.items[i])),
    ),
  );
  return call.outputs.map((_, k) =>
    Value.sequence(
      results[0]?.[k].type ?? "float32",
      results.map((row) => row[k]),
    ),
  );
};

const isThere = (v: Value | null): boolean => v !== null && !v.isNone;

const OptionalGetElement: Operator = (call) => {
  const value = call.input(0);
  if (!isThere(value)) throw call.fault("the optional has none");
  return value;
};

export const SEQUENCES: Operators = {
  SequenceConstruct,
  SequenceEmpty: (call) => Value.sequence(elementType(call.who, call.int("dtype", 1)), []),
  SequenceInsert,
  SequenceErase,
  SequenceAt,
  SequenceLength: (call) => Value.numbers("int64", [itemsOf(call, 0).length], []),
  SequenceMap,
  SplitToSequence,
  ConcatFromSequence,
  Optional: (call) => call.optional(0) ?? Value.none("float32"),
  OptionalHasElement: (call) => Value.numbers("bool", [Number(isThere(call.optional(0)))], []),
  OptionalGetElement,
};
