/** @file Models of ONNX that tests write: nodes, constants and graphs inside, as bytes of a file. */
import { PbfWriter } from "pbf";
import { encoded } from "../../build/esm/onnx/tensors.js";
import { codeOf } from "../../build/esm/onnx/types.js";

const floats = (list) => list.some((v) => !Number.isInteger(v));

/** A constant: `t("int64", [2], [1, 2])`. */
export const t = (type, shape, elements) => ({ type, shape, elements });
export const f32 = (shape, elements) => t("float32", shape, elements);
export const i64 = (elements, shape = [elements.length]) => t("int64", shape, elements);

/** Two elements of 4 bits in a byte, the first in its lower half. */
const inHalves = (elements) =>
  Uint8Array.from({ length: Math.ceil(elements.length / 2) }, (_, i) => (elements[2 * i] & 15) | (((elements[2 * i + 1] ?? 0) & 15) << 4));

function writeTensor({ name = "", type, shape, elements }, pbf) {
  for (const d of shape) pbf.writeVarintField(1, d);
  pbf.writeVarintField(2, codeOf(type));
  if (type === "string") for (const s of elements) pbf.writeBytesField(6, new TextEncoder().encode(s));
  else pbf.writeBytesField(9, /^u?int4$/.test(type) ? inHalves(elements) : encoded(type, elements));
  pbf.writeStringField(8, name);
}

/** Attributes by what they are: whole numbers, text, lists, `{ float }`, `{ floats }`, `{ graph }`, tensors. */
function writeAttribute([name, value], pbf) {
  pbf.writeStringField(1, name);
  const kind = (code) => pbf.writeVarintField(20, code);
  if (typeof value === "number" && Number.isInteger(value)) (pbf.writeVarintField(3, value), kind(2));
  else if (typeof value === "number") (pbf.writeFloatField(2, value), kind(1));
  else if (typeof value === "string") (pbf.writeBytesField(4, new TextEncoder().encode(value)), kind(3));
  else if (Array.isArray(value) && typeof value[0] === "string")
    (value.forEach((s) => pbf.writeBytesField(9, new TextEncoder().encode(s))), kind(8));
  else if (Array.isArray(value) && !floats(value)) (value.forEach((v) => pbf.writeVarintField(8, v)), kind(7));
  else if (Array.isArray(value)) (value.forEach((v) => pbf.writeFloatField(7, v)), kind(6));
  else if ("float" in value) (pbf.writeFloatField(2, value.float), kind(1));
  else if ("floats" in value) (value.floats.forEach((v) => pbf.writeFloatField(7, v)), kind(6));
  else if ("nodes" in value) (pbf.writeMessage(6, writeGraph, value), kind(5));
  else (pbf.writeMessage(5, writeTensor, value), kind(4));
}

function writeNode([op, inputs, outputs, attributes = {}, domain = ""], pbf) {
  for (const name of inputs) pbf.writeStringField(1, name);
  for (const name of outputs) pbf.writeStringField(2, name);
  pbf.writeStringField(4, op);
  for (const entry of Object.entries(attributes)) pbf.writeMessage(5, writeAttribute, entry);
  if (domain) pbf.writeStringField(7, domain);
}

const writeDimension = (d, pbf) => (typeof d === "number" ? pbf.writeVarintField(1, d) : pbf.writeStringField(2, d));

function writeValue({ name, type, shape, isSequence = false }, pbf) {
  pbf.writeStringField(1, name);
  if (type === undefined) return;
  const writeShape = (list, p) => list.forEach((d) => p.writeMessage(1, writeDimension, d));
  const writeType = (_, p) => {
    p.writeVarintField(1, codeOf(type));
    if (shape) p.writeMessage(2, writeShape, shape);
  };
  const writeTensorType = (_, p) => p.writeMessage(1, writeType, null);
  const writeSequence = (_, p) => p.writeMessage(4, (_q, q) => q.writeMessage(1, writeTensorType, null), null);
  pbf.writeMessage(2, isSequence ? writeSequence : writeTensorType, null);
}

function writeGraph({ nodes, inputs = [], outputs, constants = {} }, pbf) {
  for (const node of nodes) pbf.writeMessage(1, writeNode, node);
  pbf.writeStringField(2, "graph");
  for (const [name, c] of Object.entries(constants)) pbf.writeMessage(5, writeTensor, { ...c, name });
  for (const v of inputs) pbf.writeMessage(11, writeValue, v);
  for (const v of outputs) pbf.writeMessage(12, writeValue, v);
}

/**
 * Bytes of a model. `nodes`: [operator, inputs, outputs, attributes, domain]. `inputs`, `outputs`: { name, type, shape, isSequence }.
 * `constants` by name.
 */
export function makeModel({ opset = 21, ...graph }) {
  const pbf = new PbfWriter();
  pbf.writeVarintField(1, 10);
  pbf.writeMessage(7, writeGraph, graph);
  const writeOpset = ([domain, version], p) => {
    if (domain) p.writeStringField(1, domain);
    p.writeVarintField(2, version);
  };
  pbf.writeMessage(8, writeOpset, ["", opset]);
  pbf.writeMessage(8, writeOpset, ["com.microsoft", 1]);
  return pbf.finish();
}

/** One node: its inputs are fed, or constants of the file where their names are in `known`. "" is left out. */
export function makeNode(op, inputs, { outputs = 1, attributes = {}, domain = "", opset = 21, known = [], types = [] } = {}) {
  const names = inputs.map((v, i) => (v === null ? "" : `x${i}`));
  const fed = inputs.map((v, i) => ({ name: names[i], ...v })).filter(({ name }) => name !== "" && !known.includes(name));
  const outs = Array.from({ length: outputs }, (_, i) => ({ name: `y${i}`, type: types[i] }));
  const constants = Object.fromEntries(inputs.flatMap((v, i) => (known.includes(names[i]) ? [[names[i], v]] : [])));
  return makeModel({
    opset,
    constants,
    inputs: fed.map(({ name, type, shape }) => ({ name, type, shape })),
    outputs: outs,
    nodes: [[op, names, outs.map(({ name }) => name), attributes, domain]],
  });
}
