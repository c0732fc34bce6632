/** @file Tensors of constants and of numbers one after another. */
import * as lockstep from "../../index.ts";
import type { Operator, Operators } from "../call.ts";
import { fit } from "../known.ts";
import { dtypeOf, elementType } from "../types.ts";
import { Value, checkShape } from "../value.ts";
import { filled } from "./reductions.ts";

/** More numbers than these are made where they are computed with. */
const MOST_KNOWN = 4096;

const ConstantOfShape: Operator = (call) => {
  const shape = checkShape(call.numbers(0) ?? []);
  const { type, elements } = call.constant("value") ?? { type: "float32" as const, elements: [0] };
  if (elements.length !== 1) throw call.fault(`the value must have one element, got ${elements.length}`);
  if (type !== "string") return filled(call, type, elements[0] as number, shape);
  const size = shape.reduce((n, d) => n * d, 1);
  if (size > MOST_KNOWN) throw call.fault(`at most ${MOST_KNOWN} strings are made, got [${shape.join()}]`);
  return Value.known({ type, shape, elements: new Array<string>(size).fill(elements[0] as string) });
};

const Range: Operator = (call) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => call.number(i) as number);
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  if (!(count < 2 ** 31)) throw call.fault(`from ${start} to ${limit} by ${delta} there are ${count} numbers`);
  const { type } = call.input(0);
  if (count <= MOST_KNOWN)
    return Value.numbers(
      type,
      Array.from({ length: count }, (_, i) => fit(type, start + i * delta)),
    );
  const dtype = dtypeOf(call.who, type);
  const number = (n: number): lockstep.Tensor => lockstep.tensor([n], [], dtype);
  return Value.of(type, lockstep.add(lockstep.mul(lockstep.iota([count], { dtype }), number(delta)), number(start)));
};

/** 1 on a diagonal. */
const EyeLike: Operator = (call) => {
  const x = call.input(0);
  if (x.rank !== 2) throw call.mismatch(`a matrix is [rows, columns], got [${x.shape.join()}]`);
  const code = call.int("dtype");
  const type = code === null ? x.type : elementType(call.who, code);
  const [rows, columns] = x.shape;
  const k = Math.min(columns, Math.max(-rows, call.int("k", 0)));
  if (x.size <= MOST_KNOWN)
    return Value.numbers(
      type,
      Array.from({ length: x.size }, (_, i) => Number((i % columns) - Math.floor(i / columns) === k)),
      x.shape,
    );
  const isOn = lockstep.equal(lockstep.sub(lockstep.iota([rows, columns]), lockstep.iota([rows, 1], { axis: 0 })), k);
  const dtype = dtypeOf(call.who, type);
  return Value.of(type, dtype === "bool" ? isOn : lockstep.cast(isOn, dtype));
};

export const FILLING: Operators = { ConstantOfShape, Range, EyeLike };
