/**
 * @file map: a body of elementwise steps over a strided iteration space. `eachElement` runs the body for every point of
 * the space and is shared with reduce. Register i is input i, register inputs + j the result of step j.
 */
import { constantOf, convert, wrap } from "./dtype.js";
import { INTEGER, LOGICAL, PREDICATE, REAL } from "./elementwise.js";

/** Operations of the arguments' own dtype. */
export const ARITHMETIC = { f32: REAL, i32: INTEGER, u32: INTEGER, bool: LOGICAL };

/** One step as a function from the registers to its value. `dtypes[r]` is the dtype of register r. */
function compileStep({ op, args, dtype, value }, dtypes) {
  const [a, b, c] = args;
  if (op === "const") {
    const constant = constantOf(value, dtype);
    return () => constant;
  }
  if (op === "where") return (reg) => (reg[a] !== 0 ? reg[b] : reg[c]);
  if (op === "cast") return (reg) => convert(reg[a], dtypes[a], dtype);
  const f = PREDICATE[op] ?? ARITHMETIC[dtype][op];
  return dtype === "i32" || dtype === "u32" ? (reg) => wrap(f(reg[a], reg[b]), dtype) : (reg) => f(reg[a], reg[b]);
}

/** The dtype of every register of a body. */
export function registerTypes(body, inputs) {
  return [...inputs.map((operand) => operand.dtype), ...body.steps.map((step) => step.dtype)];
}

/** True where strides are those of elements that follow one another over `space`. */
export function isContiguous(strides, space) {
  let step = 1;
  for (let d = space.length - 1; d >= 0; d--) {
    if (space[d] !== 1 && strides[d] !== step) return false;
    step *= space[d];
  }
  return true;
}

/** Steps `index` to the next point of `space` in row-major order. */
export function advance(index, space) {
  for (let d = space.length - 1; d >= 0; d--) {
    if (++index[d] < space[d]) return;
    index[d] = 0;
  }
}

/** Calls `visit(i, registers)` for every point i of the body's space in row-major order; `visit` may not keep `registers`. */
export function eachElement(body, inputs, dtypes, visit) {
  const steps = body.steps.map((step) => compileStep(step, dtypes));
  const registers = new Array(dtypes.length);
  const size = body.space.reduce((a, d) => a * d, 1);
  const index = body.space.map(() => 0);
  for (let i = 0; i < size; i++, advance(index, body.space)) {
    inputs.forEach((x, r) => {
      registers[r] = x[body.strides[r].reduce((at, stride, d) => at + stride * index[d], 0)];
    });
    steps.forEach((step, j) => {
      registers[inputs.length + j] = step(registers);
    });
    visit(i, registers);
  }
}

export function map({ body }, inputs, outputs, call) {
  eachElement(body, inputs, registerTypes(body, call.inputs), (i, registers) => {
    outputs.forEach((y, k) => {
      y[i] = registers[body.results[k]];
    });
  });
}
