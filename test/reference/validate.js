/**
 * @file Checks a plan against the contract before anything runs: known kernels, operands of the right number, size and
 * dtype inside their bindings and slots, and nothing read before it is written or as another dtype than it was written.
 */
import { checkBody } from "./body.js";
import { CONTRACT, updates } from "./contract.js";
import { isContiguous } from "./map.js";
import { bytesOfPacked, isPacked } from "./packed.js";

/** Which input of a kernel is packed. */
const PACKED_INPUT = { packedMatmul: 1, packedRows: 0, unpack: 0 };

const ELEMENT_BYTES = 4;

const sizeOf = (shape) => shape.reduce((a, d) => a * d, 1);

function spaceName({ space, index, offset }) {
  return `${space} ${index} at byte ${offset}`;
}

/** bool is stored as 0 or 1, so that integers read it as it is. Other bits mean nothing under another dtype. */
const readsAs = (written, read) => written === read || (written === "bool" && read !== "f32");

/** What an element lies in memory as: its dtype, or the storage of its tensor. */
const kindOf = ({ dtype, storage }) => (storage === undefined ? dtype : `${storage}`);

/** Bytes of a binding: whole words, also of elements of one byte. */
const bytesOf = ({ shape, storage }) =>
  isPacked(storage)
    ? bytesOfPacked(storage)
    : (storage === "u8" ? Math.ceil(sizeOf(shape) / ELEMENT_BYTES) : sizeOf(shape)) * ELEMENT_BYTES;

/** What each element of each binding and slot was last written as, null where nothing was. Bindings of bytes have an element for each. */
class Contents {
  constructor(plan) {
    this.binding = plan.bindings.map((b) => new Array(sizeOf(b.shape)).fill(b.kind === "output" ? null : kindOf(b)));
    this.slot = plan.slots.map((bytes) => new Array(bytes / ELEMENT_BYTES).fill(null));
    this.writtenBindings = new Set();
  }

  range({ place, shape }) {
    const start = place.offset / ELEMENT_BYTES;
    return { elements: this[place.space][place.index], start, end: start + sizeOf(shape) };
  }

  /** Complaint when the operand's bytes are not all inside. */
  checkInside(operand) {
    const { place } = operand;
    const elements = this[place.space]?.[place.index];
    if (elements === undefined) return `there is no ${place.space} ${place.index}`;
    if (!(place.offset >= 0) || place.offset % ELEMENT_BYTES !== 0)
      return `byte offset ${place.offset} is not a multiple of ${ELEMENT_BYTES}`;
    const { end } = this.range(operand);
    return end <= elements.length
      ? null
      : `${spaceName(place)}: ${sizeOf(operand.shape)} elements end past its ${elements.length * ELEMENT_BYTES} bytes`;
  }

  checkRead(operand) {
    const { elements, start, end } = this.range(operand);
    for (let i = start; i < end; i++) {
      if (elements[i] === null) return `${spaceName(operand.place)} is read before it is written (element ${i - start})`;
      if (!readsAs(elements[i], kindOf(operand)))
        return `${spaceName(operand.place)} was written as ${elements[i]}, is read as ${kindOf(operand)}`;
    }
    return null;
  }

  markWritten(operand) {
    const { elements, start, end } = this.range(operand);
    elements.fill(operand.dtype, start, end);
    if (operand.place.space === "binding") this.writtenBindings.add(operand.place.index);
  }
}

/** Complaint about operands against what the contract says of them; trailing optional ones may be left out. */
function checkOperands(role, specs, operands) {
  if (operands.length > specs.length) return `${operands.length} ${role}s, at most ${specs.length} expected`;
  for (const [i, { name, size, dtype, optional }] of specs.entries()) {
    const operand = operands[i] ?? null;
    if (operand === null) {
      if (!optional) return `${role} ${name} is missing`;
      continue;
    }
    const got = sizeOf(operand.shape);
    if (size !== null && got !== size) return `${role} ${name} has ${got} elements (shape [${operand.shape}]), ${size} expected`;
    if (!dtype.includes(operand.dtype)) return `${role} ${name} is ${operand.dtype}, expected ${dtype.join(" or ")}`;
  }
  return null;
}

/** Complaint about an operand that is not stored as words where the kernel has words only. */
function checkStorage({ kernel, inputs, outputs, attrs }) {
  for (const [i, x] of inputs.entries()) {
    if (!x?.storage) continue;
    if (isPacked(x.storage)) {
      const { rows, k, format, transposed } = x.storage;
      // A loop hands it to its body.
      if (kernel === "scan") continue;
      if (PACKED_INPUT[kernel] !== i) return `input ${i} is packed`;
      if (attrs.k !== k || attrs.format !== format || (attrs.rows ?? attrs.n) !== rows)
        return `input ${i} is ${rows} rows of ${k}, ${format}`;
      if (attrs.transposed !== undefined && attrs.transposed !== transposed) return `input ${i} is ${x.storage}`;
      continue;
    }
    if (x.storage !== "u8" || x.dtype !== "i32") return `input ${i} is ${x.dtype} stored as ${x.storage}`;
    const possible = kernel === "map" ? isContiguous(attrs.body.strides[i], attrs.body.space) : kernel === "gather" && i === 0;
    if (!possible) return `input ${i} is stored as u8`;
  }
  const y = outputs.findIndex((o) => o?.storage);
  return y < 0 ? null : `output ${y} is stored as ${outputs[y].storage}`;
}

/** Complaint about one call by itself, or null. */
function checkCall(call, limits) {
  const contract = Object.hasOwn(CONTRACT, call.kernel) ? CONTRACT[call.kernel] : null;
  if (contract === null) return "there is no such kernel";
  const { attrs } = call;
  const inputs = contract.inputs?.(attrs, call) ?? null;
  const outputs = contract.outputs?.(attrs, call) ?? null;
  return (
    (inputs && checkOperands("input", inputs, call.inputs)) ??
    (outputs && checkOperands("output", outputs, call.outputs)) ??
    contract.check?.(attrs, call) ??
    checkStorage(call) ??
    (attrs.body ? checkBody(call, limits) : null)
  );
}

const present = (operands) => operands.filter((o) => o !== null);

/** Complaint about where one call reads and writes, or null. What is updated is read too. */
function follow(contents, call) {
  const inputs = present(call.inputs);
  const outputs = present(call.outputs);
  const carried = call.body?.bindings.filter((b) => b.kind === "capture" && b.written).length ?? 0;
  const updated = updates(call) ? outputs : outputs.slice(0, carried);
  const complaints = [
    ...[...inputs, ...outputs].map((o) => () => contents.checkInside(o)),
    ...[...inputs, ...updated].map((o) => () => contents.checkRead(o)),
  ];
  for (const complain of complaints) {
    const complaint = complain();
    if (complaint) return complaint;
  }
  for (const o of outputs) contents.markWritten(o);
  return null;
}

function fail(who, complaint) {
  throw new Error(`internal: ${who}: ${complaint}`);
}

function checkBindings({ bindings, slots }) {
  bindings.forEach((b, i) => {
    const bytes = bytesOf(b);
    if (b.bytes !== bytes) fail(`binding ${i}`, `${b.bytes} bytes for ${kindOf(b)}[${b.shape}], expected ${bytes}`);
  });
  slots.forEach((bytes, i) => {
    if (!Number.isInteger(bytes / ELEMENT_BYTES) || bytes < 0) fail(`slot ${i}`, `${bytes} bytes are not a multiple of ${ELEMENT_BYTES}`);
  });
}

/** Bindings after the last call: none was written that is said to be only read, and outputs are complete. */
function checkEnd({ bindings }, contents) {
  bindings.forEach((b, i) => {
    if (!b.written && contents.writtenBindings.has(i)) fail(`binding ${i}`, "is said to be only read, but a call writes it");
    const elements = contents.binding[i];
    const wrong = elements.findIndex((dtype) => dtype === null || !readsAs(dtype, kindOf(b)));
    if (wrong >= 0)
      fail(
        `binding ${i}`,
        `element ${wrong} of ${b.kind} ${b.dtype}[${b.shape}] holds ${elements[wrong] ?? "nothing"} after the last call`,
      );
  });
}

/** @throws Error `internal: ...` naming the call and what is wrong with it. */
export function validatePlan(plan, limits) {
  checkBindings(plan);
  const contents = new Contents(plan);
  plan.calls.forEach((call, i) => {
    if (call.body) validatePlan(call.body, limits);
    const complaint = checkCall(call, limits) ?? follow(contents, call);
    if (complaint) fail(`call ${i}, ${call.kernel}${call.source ? ` (${call.source})` : ""}`, complaint);
  });
  checkEnd(plan, contents);
}
