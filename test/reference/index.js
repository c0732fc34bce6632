/**
 * @file The float64 reference backend: the executable specification of the kernels and of the backend contract. Every
 * element of any dtype is one float64; every slot is a buffer of its own, painted with NaN before each run, as is every
 * output before it is computed. Nothing is fast and nothing is rounded: other backends are compared with it.
 */
import { assignSlots } from "../../build/esm/plan/memory.js";
import { updates } from "./contract.js";
import * as attention from "./attention.js";
import * as conv from "./conv.js";
import { encode } from "./dtype.js";
import * as gather from "./gather.js";
import * as loss from "./loss.js";
import { isContiguous, map } from "./map.js";
import { matmul } from "./matmul.js";
import * as move from "./move.js";
import { layerNorm, layerNormGrad } from "./norm.js";
import * as packed from "./packed.js";
import * as pool from "./pool.js";
import { permutation, random } from "./random.js";
import * as recurrent from "./recurrent.js";
import { rotary } from "./rotary.js";
import { scan } from "./scan.js";
import { reduce } from "./reduce.js";
import { scatterUpdate } from "./scatter.js";
import { logSoftmax, logSoftmaxGrad, softmax, softmaxGrad } from "./softmax.js";
import { massThreshold } from "./threshold.js";
import { validatePlan } from "./validate.js";

/** Every kernel by name: `kernel(attrs, inputs, outputs, call)` over Float64Arrays; null where an operand is absent. */
export const KERNELS = {
  map,
  reduce,
  matmul,
  softmax,
  softmaxGrad,
  logSoftmax,
  logSoftmaxGrad,
  layerNorm,
  layerNormGrad,
  ...conv,
  ...gather,
  ...loss,
  ...move,
  packedMatmul: packed.packedMatmul,
  packedRows: packed.packedRows,
  unpack: packed.unpack,
  ...pool,
  random,
  permutation,
  ...recurrent,
  rotary,
  scan: (attrs, inputs, outputs, call) => scan(attrs, inputs, outputs, call, runCalls),
  scatterUpdate,
  massThreshold,
  ...attention,
};

const ELEMENT_BYTES = 4;

const LIMITS = { alignment: 4, maxBytes: 2 ** 31, pack: assignSlots, hostMemory: true, asynchronous: false, maxOperands: 8, maxSteps: 64 };

/** As src/errors.ts has it; the reference stands alone. */
class BackendError extends Error {
  name = "BackendError";
}

/**
 * What the views that `write` takes hold: dtypes, and bytes, of which a buffer has an element each. A Float64Array is one f32 element per
 * number, unrounded.
 */
const VIEW_TYPES = { Float32Array: "f32", Float64Array: "f32", Int32Array: "i32", Uint32Array: "u32", Uint8Array: "u8" };

class ReferenceBuffer {
  constructor(bytes) {
    this.bytes = bytes;
    this.values = new Float64Array(bytes / ELEMENT_BYTES).fill(NaN);
    /** What was written last, which tells `read` how to encode. */
    this.dtype = "f32";
    this.freed = false;
  }
}

function overlap(a, b) {
  return a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}

const sameElements = (a, b) => a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length;

/** Only map may write where it reads, and only the very elements that it reads. @throws Error when another call does. */
function checkOverlaps(call, inputs, outputs) {
  const complain = (what) => {
    throw new Error(`internal: ${call.kernel}${call.source ? ` (${call.source})` : ""}: ${what}`);
  };
  outputs.forEach((y, k) => {
    if (y === null) return;
    if (outputs.some((other, l) => l < k && other !== null && overlap(y, other))) complain(`output ${k} overlaps another output`);
    inputs.forEach((x, i) => {
      if (x === null || !overlap(x, y)) return;
      const elementwise = call.kernel === "map" && sameElements(x, y) && isContiguous(call.attrs.body.strides[i], call.attrs.body.space);
      if (!elementwise) complain(`output ${k} overlaps input ${i}`);
    });
  });
}

/** Outputs hold NaN until they are computed, except those that a call reads (in place) or updates. */
function paint(call, inputs, outputs) {
  if (updates(call)) return;
  // Its calls do so themselves.
  if (call.kernel === "scan") return;
  for (const y of outputs) {
    if (y !== null && !inputs.some((x) => x !== null && overlap(x, y))) y.fill(NaN);
  }
}

/** Runs calls over the elements that operands have, and tells of each output that is written. */
function runCalls(calls, elementsOf, written = () => {}) {
  for (const call of calls) {
    const inputs = call.inputs.map(elementsOf);
    const outputs = call.outputs.map(elementsOf);
    checkOverlaps(call, inputs, outputs);
    paint(call, inputs, outputs);
    KERNELS[call.kernel](call.attrs, inputs, outputs, call);
    for (const y of call.outputs) if (y) written(y);
  }
}

class ReferenceBackend {
  name = "reference";
  limits = LIMITS;
  #closed = false;

  get closed() {
    return this.#closed;
  }

  #open() {
    if (this.#closed) throw new BackendError("reference backend: it is closed");
  }

  /** The live buffer, with room for `bytes` from `offset`. */
  #checked(buffer, offset = 0, bytes = 0) {
    this.#open();
    if (!(buffer instanceof ReferenceBuffer)) throw new BackendError("reference backend: the buffer belongs to another backend");
    if (buffer.freed) throw new BackendError("reference backend: the buffer was freed");
    const aligned = [offset, bytes].every((n) => Number.isInteger(n) && n >= 0 && n % ELEMENT_BYTES === 0);
    if (!aligned || offset + bytes > buffer.bytes) {
      throw new BackendError(
        `reference backend: bytes ${offset} to ${offset + bytes} are not whole elements inside a buffer of ${buffer.bytes} bytes`,
      );
    }
    return buffer;
  }

  alloc(bytes) {
    this.#open();
    if (!Number.isInteger(bytes) || bytes < 0 || bytes % ELEMENT_BYTES !== 0) {
      throw new BackendError(`reference backend: a buffer has whole elements of ${ELEMENT_BYTES} bytes, got ${bytes} bytes`);
    }
    if (bytes > LIMITS.maxBytes) throw new BackendError(`reference backend: a buffer has at most ${LIMITS.maxBytes} bytes, got ${bytes}`);
    return new ReferenceBuffer(bytes);
  }

  /** After close() there is nothing left to free: handles that are collected later do no harm. */
  free(buffer) {
    if (!this.#closed) this.#checked(buffer).freed = true;
  }

  write(buffer, offset, data) {
    const dtype = VIEW_TYPES[data.constructor.name];
    if (dtype === undefined)
      throw new BackendError(`reference backend: cannot write a ${data.constructor.name}, only ${Object.keys(VIEW_TYPES).join(", ")}`);
    const size = dtype === "u8" ? 1 : ELEMENT_BYTES;
    this.#checked(buffer, offset, Math.ceil((data.length * size) / ELEMENT_BYTES) * ELEMENT_BYTES);
    if (buffer.values.length !== buffer.bytes / size) buffer.values = new Float64Array(buffer.bytes / size).fill(NaN);
    buffer.values.set(data, offset / size);
    buffer.dtype = dtype;
  }

  async read(buffer, offset, bytes) {
    const { values, dtype } = this.#checked(buffer, offset, bytes);
    if (dtype === "u8") return Uint8Array.from(values.subarray(offset, offset + bytes)).buffer;
    return encode(values.subarray(offset / ELEMENT_BYTES, (offset + bytes) / ELEMENT_BYTES), dtype).buffer;
  }

  /** The float64 elements themselves, for tests that compare unrounded results. */
  values(buffer) {
    return this.#checked(buffer).values;
  }

  async compile(plan) {
    this.#open();
    plan.slots.forEach((bytes, i) => {
      if (bytes > LIMITS.maxBytes)
        throw new BackendError(`reference backend: slot ${i} needs ${bytes} bytes, at most ${LIMITS.maxBytes} are possible`);
    });
    validatePlan(plan, LIMITS);
    const slots = plan.slots.map((bytes) => new Float64Array(bytes / ELEMENT_BYTES));
    return {
      plan,
      slots,
      bytes: plan.slots.reduce((a, b) => a + b, 0),
      close() {
        this.slots = null;
      },
    };
  }

  #checkBuffers(program, buffers) {
    this.#open();
    if (!program.slots) throw new BackendError("reference backend: the program is closed");
    const { bindings } = program.plan;
    if (buffers.length !== bindings.length)
      throw new BackendError(`reference backend: ${buffers.length} buffers for ${bindings.length} bindings`);
    bindings.forEach(({ bytes }, i) => {
      const got = this.#checked(buffers[i]).bytes;
      if (got !== bytes) throw new BackendError(`reference backend: binding ${i} needs ${bytes} bytes, its buffer has ${got}`);
    });
  }

  run(program, buffers) {
    this.#checkBuffers(program, buffers);
    for (const slot of program.slots) slot.fill(NaN);
    const { bindings } = program.plan;
    // One buffer for several bindings, one of which is written: what the others read is as it was.
    const valuesOf = buffers.map((buffer, i) => {
      const changes = !bindings[i].written && buffers.some((other, j) => other === buffer && bindings[j].written);
      return changes ? buffer.values.slice() : buffer.values;
    });
    const elementsOf = (operand) => {
      if (!operand) return null;
      const { space, index, offset } = operand.place;
      const start = offset / ELEMENT_BYTES;
      const bytewise = operand.storage !== undefined;
      if (space === "binding" && bytewise !== (buffers[index].dtype === "u8")) {
        throw new Error(`internal: binding ${index} holds ${buffers[index].dtype}, is read as ${operand.storage ?? operand.dtype}`);
      }
      const whole = space === "slot" ? program.slots[index] : valuesOf[index];
      if (packed.isPacked(operand.storage)) return whole;
      return whole.subarray(start, start + operand.shape.reduce((a, d) => a * d, 1));
    };
    runCalls(program.plan.calls, elementsOf, (y) => {
      if (y.place.space === "binding") buffers[y.place.index].dtype = y.dtype;
    });
  }

  async sync() {
    this.#open();
  }

  async caughtUp() {}

  close() {
    this.#closed = true;
  }
}

export function referenceBackend() {
  return new ReferenceBackend();
}
