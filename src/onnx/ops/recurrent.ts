/**
 * @file Recurrent layers: LSTM, GRU and RNN. What Lockstep's kernels compute runs in them; peepholes, clipping and rarer activations are a
 * loop over the steps.
 */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { Value } from "../value.ts";

const { add, matmul, mul, reshape, sigmoid, slice, sub, tanh, transpose } = lockstep;

type KernelActivation = NonNullable<lockstep.ops.Conv2dOptions["activation"]>;

/** An activation of gates or candidates. */
interface Activation {
  readonly fn: (x: Tensor) => Tensor;
  /** Its name in kernels that apply it; null where none does. */
  readonly kernel: KernelActivation | null;
}

/** Numbers that an activation takes, and what they are where none is given. */
interface Kind {
  readonly alpha?: number;
  readonly beta?: number;
  readonly kernel?: KernelActivation;
  readonly fn: (x: Tensor, alpha: number, beta: number) => Tensor;
}

const { where, less, greaterEqual, clip } = lockstep;

/** By lower-case names. */
const KINDS: { readonly [name: string]: Kind } = {
  relu: { kernel: "relu", fn: (x) => lockstep.relu(x) },
  tanh: { kernel: "tanh", fn: (x) => tanh(x) },
  sigmoid: { kernel: "sigmoid", fn: (x) => sigmoid(x) },
  softsign: { kernel: "softsign", fn: (x) => lockstep.softsign(x) },
  softplus: { kernel: "softplus", fn: (x) => lockstep.softplus(x) },
  affine: { alpha: 1, beta: 0, fn: (x, alpha, beta) => add(mul(x, alpha), beta) },
  leakyrelu: { alpha: 0.01, fn: (x, alpha) => where(less(x, 0), mul(x, alpha), x) },
  thresholdedrelu: { alpha: 1, fn: (x, alpha) => where(greaterEqual(x, alpha), x, 0) },
  scaledtanh: { alpha: 1, beta: 1, fn: (x, alpha, beta) => mul(tanh(mul(x, beta)), alpha) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, fn: (x, alpha, beta) => clip(add(mul(x, alpha), beta), 0, 1) },
  elu: { alpha: 1, fn: (x, alpha) => where(less(x, 0), mul(lockstep.expm1(x), alpha), x) },
};

/** `count` activations of each direction. */
function activationsOf(call: Call, directions: number, absent: readonly string[]): Activation[][] {
  const names = call.strings("activations") ?? Array.from({ length: directions }, () => absent).flat();
  if (names.length !== directions * absent.length)
    throw call.fault(`expected ${directions * absent.length} activations, got ${names.length}`);
  const [alphas, betas] = [[...(call.floats("activation_alpha") ?? [])], [...(call.floats("activation_beta") ?? [])]];
  const all = names.map((name): Activation => {
    const key = name.toLowerCase();
    if (!Object.hasOwn(KINDS, key)) throw call.fault(`the activation "${name.slice(0, 40)}" is not known`);
    const { fn, kernel = null, ...kind } = KINDS[key];
    // Lists have numbers for those alone that take some.
    const alpha = kind.alpha === undefined ? 0 : (alphas.shift() ?? kind.alpha);
    const beta = kind.beta === undefined ? 0 : (betas.shift() ?? kind.beta);
    return { fn: (x) => fn(x, alpha, beta), kernel };
  });
  return Array.from({ length: directions }, (_, d) => all.slice(d * absent.length, (d + 1) * absent.length));
}

/** What one direction computes with, batch-major. */
interface Direction {
  /** [B, T, I] */
  readonly x: Tensor;
  /** [G * H, I] and [H, G * H]: of inputs and, turned around, of states, with gates in the order given. */
  w(order: readonly number[]): Tensor;
  r(order: readonly number[]): Tensor;
  /** [G * H]: biases of inputs, of states, or both. */
  bias(of: "inputs" | "states" | "both", order: readonly number[]): Tensor | null;
  /** [B, H] */
  readonly h0: Tensor | null;
  readonly c0: Tensor | null;
  /** [3 * H] */
  readonly peepholes: Tensor | null;
  /** bool [B, T]: steps of the sequence. */
  readonly mask: Tensor | null;
  readonly reverse: boolean;
  readonly hidden: number;
  readonly activations: readonly Activation[];
  readonly clip: number | null;
}

/** States after all steps, and the last ones. */
interface Computed {
  /** [B, T, H] */
  readonly h: Tensor;
  /** [B, H]; null for what has none. */
  readonly cLast: Tensor | null;
}

/** Gates of `t` [G * H, ...] in another order. */
function ordered(t: Tensor, order: readonly number[], hidden: number): Tensor {
  const part = (gate: number): Tensor =>
    slice(
      t,
      t.shape.map((_, i) => (i === 0 ? gate * hidden : 0)),
      t.shape.map((d, i) => (i === 0 ? hidden : d)),
    );
  return lockstep.concat(order.map(part), 0);
}

/** The last state of [B, T, H] in the order of computing. */
function lastOf(t: Tensor, reverse: boolean): Tensor {
  const [b, steps, hidden] = t.shape;
  return reshape(slice(t, [0, reverse ? 0 : steps - 1, 0], [b, 1, hidden]), [b, hidden]);
}

const kernelOf = (a: Activation): KernelActivation | undefined => a.kernel ?? undefined;

/** A loop over the steps. `step` is given x W of one step, [B, G * H]. */
function stepwise(
  d: Direction,
  xw: Tensor,
  step: (xw: Tensor, h: Tensor, c: Tensor) => { readonly h: Tensor; readonly c: Tensor },
): Computed {
  const [batch] = d.x.shape;
  const zeros = lockstep.zeros([batch, d.hidden]);
  const mask = d.mask === null ? null : lockstep.expandDims(transpose(d.mask, [1, 0]), 2);
  const xs = { xw: transpose(xw, [1, 0, 2]), ...(mask === null ? {} : { mask: lockstep.cast(mask, "i32") }) };
  const [last, h] = lockstep.scan(
    (now: { h: Tensor; c: Tensor }, x: { xw: Tensor; mask?: Tensor }) => {
      const next = step(x.xw, now.h, now.c);
      const kept = (a: Tensor, before: Tensor): Tensor =>
        x.mask === undefined ? a : where(lockstep.broadcastTo(lockstep.notEqual(x.mask, 0), a.shape), a, before);
      const state = { h: kept(next.h, now.h), c: kept(next.c, now.c) };
      return [state, state.h];
    },
    { h: d.h0 ?? zeros, c: d.c0 ?? zeros },
    xs,
    { reverse: d.reverse },
  );
  return { h: transpose(h, [1, 0, 2]), cLast: last.c };
}

/** Gates [B, G * H], apart. */
const apart = (t: Tensor, count: number): Tensor[] => {
  const [batch, size] = [t.shape[0], t.shape[1] / count];
  return Array.from({ length: count }, (_, i) => slice(t, [0, i * size], [batch, size]));
};

const clipped = (x: Tensor, most: number | null): Tensor => (most === null ? x : clip(x, -most, most));

/** x W + b, gates in the order given. */
const fromInputs = (d: Direction, bias: "inputs" | "both", order: readonly number[]): Tensor =>
  matmul(d.x, d.w(order), { transposeB: true, bias: d.bias(bias, order) });

/** The order of gates in files. */
const AS_THEY_ARE = [0, 1, 2, 3];

/** Gates are i o f c in ONNX, i f c o in kernels. */
const lstm =
  (couples: boolean) =>
  (d: Direction): Computed => {
    const { hidden } = d;
    const [f, g, h] = d.activations;
    if (f.kernel !== null && g.kernel !== null && g.kernel === h.kernel && d.clip === null && d.peepholes === null && !couples) {
      const order = [0, 2, 3, 1];
      const y = lockstep.ops.lstmSequence(fromInputs(d, "both", order), d.r(order), {
        activation: kernelOf(g),
        recurrentActivation: kernelOf(f),
        reverse: d.reverse,
        mask: d.mask,
        h0: d.h0,
        c0: d.c0,
      });
      return { h: y.h, cLast: lastOf(y.c, d.reverse) };
    }
    const [pi, po, pf] = d.peepholes === null ? [null, null, null] : apart(reshape(d.peepholes, [1, 3 * hidden]), 3);
    const recurrent = d.r(AS_THEY_ARE);
    return stepwise(d, fromInputs(d, "both", AS_THEY_ARE), (xw, before, c) => {
      const gate = (x: Tensor, p: Tensor | null, cell: Tensor): Tensor => f.fn(clipped(p === null ? x : add(x, mul(p, cell)), d.clip));
      const [i, o, forget, candidate] = apart(add(xw, matmul(before, recurrent)), 4);
      const input = gate(i, pi, c);
      const kept = couples ? sub(1, input) : gate(forget, pf, c);
      const cell = add(mul(kept, c), mul(input, g.fn(clipped(candidate, d.clip))));
      // Gates and candidates are clipped, as ONNX Runtime does it, but not the cell.
      return { h: mul(gate(o, po, cell), h.fn(cell)), c: cell };
    });
  };

/** Gates are z r h in both. */
const gru =
  (isLinear: boolean) =>
  (d: Direction): Computed => {
    const { hidden } = d;
    const [f, g] = d.activations;
    const order = AS_THEY_ARE.slice(0, 3);
    if (f.kernel !== null && g.kernel !== null && d.clip === null) {
      const h = lockstep.ops.gruSequence(fromInputs(d, isLinear ? "inputs" : "both", order), d.r(order), {
        activation: kernelOf(g),
        recurrentActivation: kernelOf(f),
        reverse: d.reverse,
        mask: d.mask,
        h0: d.h0,
        resetAfter: isLinear,
        recurrentBias: isLinear ? d.bias("states", order) : null,
      });
      return { h, cLast: null };
    }
    const [rz, rr, rh] = apart(d.r(order), 3);
    const bias = d.bias("states", order);
    const [bz, br, bh] = bias === null ? [null, null, null] : apart(reshape(bias, [1, 3 * hidden]), 3);
    const plus = (a: Tensor, b: Tensor | null): Tensor => (b === null ? a : add(a, b));
    return stepwise(d, fromInputs(d, "inputs", order), (xw, before, c) => {
      const [xz, xr, xh] = apart(xw, 3);
      const recurrent = (h: Tensor, r: Tensor, b: Tensor | null): Tensor => plus(matmul(h, r), b);
      const z = f.fn(clipped(add(xz, recurrent(before, rz, bz)), d.clip));
      const r = f.fn(clipped(add(xr, recurrent(before, rr, br)), d.clip));
      const part = isLinear ? mul(r, recurrent(before, rh, bh)) : recurrent(mul(r, before), rh, bh);
      const candidate = g.fn(clipped(add(xh, part), d.clip));
      return { h: add(mul(sub(1, z), candidate), mul(z, before)), c };
    });
  };

function rnn(d: Direction): Computed {
  const [f] = d.activations;
  const [xw, recurrent] = [fromInputs(d, "both", [0]), d.r([0])];
  if (f.kernel !== null && d.clip === null) {
    const options = { activation: kernelOf(f), reverse: d.reverse, mask: d.mask, h0: d.h0 };
    return { h: lockstep.ops.simpleRnnSequence(xw, recurrent, options), cLast: null };
  }
  return stepwise(d, xw, (x, before, c) => ({ h: f.fn(clipped(add(x, matmul(before, recurrent)), d.clip)), c }));
}

/** An operator of so many gates. `absent`: activations where none are given. */
const recurrent =
  (gates: number, absent: readonly string[], compute: (call: Call) => (d: Direction) => Computed): Operator =>
  (call) => {
    const [x, w, r] = [call.input(0), call.input(1), call.input(2)];
    const directions = call.word("direction", ["forward", "reverse", "bidirectional"]) === "bidirectional" ? 2 : 1;
    const isBatchMajor = call.flag("layout");
    const hidden = r.shape[2] ?? 0;
    const fits =
      x.rank === 3 &&
      w.shape.join() === `${directions},${gates * hidden},${x.shape[2]}` &&
      r.shape.join() === `${directions},${gates * hidden},${hidden}`;
    if (!fits) {
      const shapes = [x, w, r].map((v) => `[${v.shape.join()}]`).join(", ");
      throw call.mismatch(`expected X, W and R of ${directions} direction(s) and ${gates} gate(s), got ${shapes}`);
    }
    const batch = x.shape[isBatchMajor ? 0 : 1];
    const steps = x.shape[isBatchMajor ? 1 : 0];
    if (steps === 0 || batch === 0) throw call.mismatch(`there are no steps in [${x.shape.join()}]`);
    const inputs = isBatchMajor ? x.tensor : transpose(x.tensor, [1, 0, 2]);
    const lengths = call.optional(4);
    const mask = lengths === null ? null : less(lockstep.iota([1, steps]), lockstep.cast(reshape(lengths.tensor, [batch, 1]), "i32"));
    const state = (place: number, d: number): Tensor | null => {
      const value = call.optional(place);
      if (value === null) return null;
      const [start, size] = isBatchMajor ? [[0, d, 0], [batch, 1, hidden]] : [[d, 0, 0], [1, batch, hidden]];
      return reshape(slice(value.tensor, start, size), [batch, hidden]);
    };
    // Of weights all this is made once.
    const matrix = (value: Value, d: number, order: readonly number[], turned: boolean): Tensor =>
      call.kept(`gates ${order.slice(0, gates).join()} ${turned} of ${d}`, [value], (t) => {
        const own = ordered(reshape(slice(t, [d, 0, 0], [1, ...t.shape.slice(1)]), t.shape.slice(1)), order.slice(0, gates), hidden);
        return turned ? transpose(own) : own;
      });
    const [bias, peepholes] = [call.optional(3), gates === 4 ? call.optional(7) : null];
    const biasOf = (d: number, of: "inputs" | "states" | "both", order: readonly number[]): Tensor | null =>
      bias &&
      call.kept(`bias of ${of} ${order.slice(0, gates).join()} of ${d}`, [bias], (t) => {
        const size = gates * hidden;
        const half = (from: number): Tensor => ordered(reshape(slice(t, [d, from], [1, size]), [size]), order.slice(0, gates), hidden);
        return of === "both" ? add(half(0), half(size)) : half(of === "inputs" ? 0 : size);
      });
    const activations = activationsOf(call, directions, absent);
    const run = compute(call);
    const limit = call.float("clip");
    const computed = Array.from({ length: directions }, (_, d) => {
      const reverse = d === 1 || call.string("direction") === "reverse";
      const { h, cLast } = run({
        x: inputs,
        w: (order) => matrix(w, d, order, false),
        r: (order) => matrix(r, d, order, true),
        bias: (of, order) => biasOf(d, of, order),
        h0: state(5, d),
        c0: gates === 4 ? state(6, d) : null,
        peepholes: peepholes && reshape(slice(peepholes.tensor, [d, 0], [1, 3 * hidden]), [3 * hidden]),
        mask,
        reverse,
        hidden,
        activations: activations[d],
        clip: limit,
      });
      // Behind a sequence's end the state stays, and the output is 0.
      const y = mask === null ? h : where(lockstep.broadcastTo(lockstep.expandDims(mask, 2), h.shape), h, 0);
      return { y: isBatchMajor ? y : transpose(y, [1, 0, 2]), last: lastOf(h, reverse), cLast };
    });
    const states = (list: readonly (Tensor | null)[]): Value => Value.of(x.type, lockstep.stack(list as Tensor[], isBatchMajor ? 1 : 0));
    const y = lockstep.stack(
      computed.map((c) => c.y),
      isBatchMajor ? 2 : 1,
    );
    const outputs = [Value.of(x.type, y), states(computed.map((c) => c.last))];
    return gates === 4 ? [...outputs, states(computed.map((c) => c.cLast))] : outputs;
  };

export const LSTM: Operator = recurrent(4, ["Sigmoid", "Tanh", "Tanh"], (call) => lstm(call.flag("input_forget")));

export const RECURRENT: Operators = {
  LSTM,
  GRU: recurrent(3, ["Sigmoid", "Tanh"], (call) => gru(call.flag("linear_before_reset"))),
  RNN: recurrent(1, ["Tanh"], () => rnn),
};
