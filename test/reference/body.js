/** @file Checks of map bodies: known operations, dtypes that agree (nothing is promoted), registers and strides in range. */
import { inside } from "./contract.js";
import { PREDICATE } from "./elementwise.js";
import { ARITHMETIC, registerTypes } from "./map.js";

/** Complaint about one step's dtypes; `types` are its arguments' dtypes. */
function checkTypes({ op, dtype }, types) {
  if (op === "const" || op === "cast") return null;
  if (op === "where") {
    if (types[0] === "f32") return "the condition is f32, not bool";
    return types[1] === dtype && types[2] === dtype ? null : `chooses between ${types[1]} and ${types[2]} for ${dtype}`;
  }
  if (types.some((t) => t !== types[0])) return `mixes ${types.join(" and ")}`;
  const expected = Object.hasOwn(PREDICATE, op) ? "bool" : types[0];
  return dtype === expected ? null : `gives ${expected}, not ${dtype}`;
}

/** How many arguments an operation takes, undefined when it does not exist for `dtype`. */
function arityOf({ op, dtype }) {
  const special = { const: 0, cast: 1, where: 3 };
  if (Object.hasOwn(special, op)) return special[op];
  if (Object.hasOwn(PREDICATE, op)) return PREDICATE[op].length;
  return Object.hasOwn(ARITHMETIC[dtype] ?? {}, op) ? ARITHMETIC[dtype][op].length : undefined;
}

function checkStep(step, register, types) {
  const arity = arityOf(step);
  if (arity === undefined) return `there is no operation "${step.op}" of dtype ${step.dtype}`;
  if (step.args.length !== arity) return `${step.op} takes ${arity} arguments, not ${step.args.length}`;
  if (step.args.some((r) => !(r >= 0 && r < register))) return `${step.op} reads registers ${step.args} before step ${register} set them`;
  if (step.op === "const" && typeof step.value !== "number") return `const has no number but ${step.value}`;
  const complaint = checkTypes(
    step,
    step.args.map((r) => types[r]),
  );
  return complaint && `${step.op} ${complaint}`;
}

function checkResults(body, outputs, types, size) {
  if (body.results.length !== outputs.length) return `${body.results.length} results for ${outputs.length} outputs`;
  for (const [k, register] of body.results.entries()) {
    const y = outputs[k];
    if (y === null) return `output ${k} is null`;
    if (types[register] === undefined) return `result ${k} is register ${register} of ${types.length}`;
    if (size !== null && y.dtype !== types[register]) return `output ${k} is ${y.dtype}, its register ${types[register]}`;
    if (size !== null && y.shape.reduce((a, d) => a * d, 1) !== size) return `output ${k} has not the space's ${size} elements`;
  }
  return null;
}

/** Complaint about a call with a body, or null. The outputs of a reduction do not have the body's size or dtype. */
export function checkBody(call, limits) {
  const { body } = call.attrs;
  const { inputs, outputs } = call;
  if (inputs.includes(null) || body.strides.length !== inputs.length)
    return `${inputs.length} inputs for ${body.strides.length} lists of strides`;
  if (inputs.length + outputs.length > limits.maxOperands)
    return `${inputs.length + outputs.length} operands, more than ${limits.maxOperands}`;
  if (body.steps.length > limits.maxSteps) return `${body.steps.length} steps, more than ${limits.maxSteps}`;
  for (const [i, x] of inputs.entries()) {
    const size = x.shape.reduce((a, d) => a * d, 1);
    const complaint = inside(`input ${i}`, size, body.space, 0, body.strides[i]);
    if (complaint) return complaint;
  }
  const types = registerTypes(body, inputs);
  for (const [j, step] of body.steps.entries()) {
    const complaint = checkStep(step, inputs.length + j, types);
    if (complaint) return complaint;
  }
  const space = body.space.reduce((a, d) => a * d, 1);
  if (call.kernel === "map") return checkResults(body, outputs, types, space);
  const { outer, size, inner } = call.attrs;
  if (space !== outer * size * inner) return `the body has ${space} values, the reduction ${outer} x ${size} x ${inner}`;
  const y = outputs[0];
  const result = types[body.results[0]];
  if (y && y.dtype !== result && !call.attrs.op.startsWith("arg")) return `output 0 is ${y.dtype}, the body's value ${result}`;
  return checkResults(body, outputs, types, null);
}
