/**
 * @file Recurrent sequences over xw = x Wx + b, which the caller computes for all steps by one matmul. The kernels run
 * the steps; the gradients of the weights are single products over all steps, built here as graph.
 */
import { apply } from "../apply.ts";
import { currentGraph, floats } from "../graph.ts";
import type { Op } from "../graph.ts";
import type { Activation, RecurrentAttrs } from "../plan/kernels.ts";
import type { Attrs } from "../op.ts";
import { checkOptions, kindOf } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { sameShape, showShape } from "../shape.ts";
import { Tensor, zeros } from "../tensor.ts";
import * as kernels from "../kernels.ts";
import { TRAINING } from "../training.ts";
import { add, cast, mul, sub, where, equal } from "./map.ts";
import { columnSum, matmul } from "./matmul.ts";
import { asMatrix, broadcastTo, reshape } from "./broadcast.ts";
import { concat, expandDims, slice } from "./move.ts";
import { sum } from "./reduce.ts";

const attrsOf = (attrs: Attrs): RecurrentAttrs => attrs as unknown as RecurrentAttrs;
const seq = (a: RecurrentAttrs, gates: number): readonly number[] => [a.b, a.t, gates * a.u];
const state = (a: RecurrentAttrs): readonly number[] => [a.b, a.u];

/** The states before each step: h moved by one step, h0 (or zeros) first in order of computing. */
function previous(h: Tensor, h0: Tensor | null, a: RecurrentAttrs): Tensor {
  const first = h0 === null ? constantZeros([a.b, 1, a.u]) : expandDims(h0, 1);
  if (a.t === 1) return first;
  const rest = slice(h, [0, a.reverse ? 1 : 0, 0], [a.b, a.t - 1, a.u]);
  return concat(a.reverse ? [rest, first] : [first, rest], 1);
}

/** What each step read of the states `before` [B,T,U]. */
const dropped = (before: Tensor, factors: Tensor | null): Tensor => (factors === null ? before : mul(before, expandDims(factors, 1)));

/** d loss / d factors, from the states before each step and the gradients of what was read of them. */
const factorsGrad = (before: Tensor, read: Tensor): Tensor => sum(mul(before, reshape(read, before.shape)), { axis: 1 });

/** The gradient of h_prev for dz of h_prev W = z, over all steps at once. */
const readGrad = (dz: Tensor, wr: Tensor): Tensor => matmul(asMatrix(dz), wr, { transposeB: true });

function constantZeros(shape: readonly number[]): Tensor {
  return currentGraph()?.constant(0, "f32", shape) ?? zeros(shape);
}

/** d loss / d W of h_prev W = z, over all steps at once. */
const weightGrad = (prev: Tensor, dz: Tensor): Tensor => matmul(asMatrix(prev), asMatrix(dz), { transposeA: true });

/** The gradient that reaches c[B,T,U] from outside may only be in the last computed step: that is all a cell state is used for. */
function lastStep(dc: Tensor | null, a: RecurrentAttrs): Tensor | null {
  return dc === null ? null : reshape(slice(dc, [0, a.reverse ? 0 : a.t - 1, 0], [a.b, 1, a.u]), [a.b, a.u]);
}

/** (xw, wr, h0?, c0?, mask?, factors?) -> h, c, gates */
export const lstmOp: Op = {
  name: "lstm",
  infer: (_inputs, attrs) => floats(seq(attrsOf(attrs), 1), seq(attrsOf(attrs), 1), seq(attrsOf(attrs), 4)),
  vjp: TRAINING
    ? ({ dy, y, x, needs, attrs }) => {
        const a = attrsOf(attrs);
        const [, wr, h0, c0, mask, factors] = x;
        const [h, c, gates] = y;
        const [dgates, dh0, dc0] = apply(lstmGradOp, [dy[0], lastStep(dy[1], a), wr, c, gates, h0, c0, mask, factors], attrs);
        const before = previous(h, h0, a);
        const dwr = needs[1] ? weightGrad(dropped(before, factors), dgates) : null;
        return [dgates, dwr, h0 && dh0, c0 && dc0, null, needs[5] ? factorsGrad(before, readGrad(dgates, wr as Tensor)) : null];
      }
    : null,
  lower: ({ inputs, outputs, attrs }) => [{ kernel: kernels.lstm, inputs, outputs, attrs, required: 2 }],
};

export const lstmGradOp: Op = {
  name: "lstmGrad",
  infer: (_inputs, attrs) => floats(seq(attrsOf(attrs), 4), state(attrsOf(attrs)), state(attrsOf(attrs))),
  vjp: null,
  gradientOf: "lstm",
  lower: kernels.lstmGrad,
};

/** (xw, wr, bias2?, h0?, mask?, factors?) -> h, gates */
export const gruOp: Op = {
  name: "gru",
  infer: (_inputs, attrs) => floats(seq(attrsOf(attrs), 1), seq(attrsOf(attrs), 4)),
  vjp: TRAINING
    ? ({ dy, y, x, needs, attrs }) => {
        const a = attrsOf(attrs);
        const [, wr, bias2, h0, mask, factors] = x;
        const [h, gates] = y;
        const [dxw, dhw, dh0] = apply(gruGradOp, [dy[0], wr, h, gates, h0, mask, factors], attrs);
        const before = previous(h, h0, a);
        const dwr = needs[1] ? gruWeightGrad(dropped(before, factors), dhw, gates, a) : null;
        const dfactors = needs[5] ? factorsGrad(before, gruReadGrad(dhw, wr as Tensor, gates, a)) : null;
        return [dxw, dwr, bias2 && (needs[2] ? columnSum(dhw) : null), h0 && dh0, null, dfactors];
      }
    : null,
  lower: kernels.gru,
};

/** Columns of `blocks` gates of x[B,T,G*U]. */
const gatesOf = (x: Tensor, from: number, blocks: number, { b, t, u }: RecurrentAttrs): Tensor =>
  slice(x, [0, 0, from * u], [b, t, blocks * u]);

/** Without resetAfter the candidate's part of Wr multiplies r * h_prev, which the kernel kept in the fourth block of gates. */
function gruWeightGrad(prev: Tensor, dhw: Tensor, gates: Tensor, a: RecurrentAttrs): Tensor {
  if (a.resetAfter) return weightGrad(prev, dhw);
  return concat([weightGrad(prev, gatesOf(dhw, 0, 2, a)), weightGrad(gatesOf(gates, 3, 1, a), gatesOf(dhw, 2, 1, a))], 1);
}

function gruReadGrad(dhw: Tensor, wr: Tensor, gates: Tensor, a: RecurrentAttrs): Tensor {
  if (a.resetAfter) return readGrad(dhw, wr);
  const columns = (from: number, blocks: number): Tensor => slice(wr, [0, from * a.u], [a.u, blocks * a.u]);
  const reset = mul(asMatrix(gatesOf(gates, 1, 1, a)), readGrad(gatesOf(dhw, 2, 1, a), columns(2, 1)));
  return add(readGrad(gatesOf(dhw, 0, 2, a), columns(0, 2)), reset);
}

export const gruGradOp: Op = {
  name: "gruGrad",
  infer: (_inputs, attrs) => floats(seq(attrsOf(attrs), 3), seq(attrsOf(attrs), 3), state(attrsOf(attrs))),
  vjp: null,
  gradientOf: "gru",
  lower: kernels.gruGrad,
};

/** (xw, wr, h0?, mask?, factors?) -> h */
export const simpleRnnOp: Op = {
  name: "simpleRnn",
  infer: (_inputs, attrs) => floats(seq(attrsOf(attrs), 1)),
  vjp: TRAINING
    ? ({ dy, y, x, needs, attrs }) => {
        const [, wr, h0, mask, factors] = x;
        const [dxw, dh0] = apply(simpleRnnGradOp, [dy[0], wr, y[0], h0, mask, factors], attrs);
        const before = previous(y[0], h0, attrsOf(attrs));
        const dwr = needs[1] ? weightGrad(dropped(before, factors), dxw) : null;
        return [dxw, dwr, h0 && dh0, null, needs[4] ? factorsGrad(before, readGrad(dxw, wr as Tensor)) : null];
      }
    : null,
  lower: kernels.simpleRnn,
};

export const simpleRnnGradOp: Op = {
  name: "simpleRnnGrad",
  infer: (_inputs, attrs) => floats(seq(attrsOf(attrs), 1), state(attrsOf(attrs))),
  vjp: null,
  gradientOf: "simpleRnn",
  lower: kernels.simpleRnnGrad,
};

/** Options of the recurrent ops. */
export interface RecurrentOptions {
  /** Of the candidate (and the LSTM's cell output). Default tanh. */
  readonly activation?: Activation;
  /** Of the gates. Default sigmoid. */
  readonly recurrentActivation?: Activation;
  /** Run from the last step to the first. Default false. */
  readonly reverse?: boolean;
  /** i32 or bool [B, T]: where 0 the state stays as it was. */
  readonly mask?: Tensor | null;
  /** [B, U]; default zeros. */
  readonly h0?: Tensor | null;
  /**
   * [B, U], multiplies what each step reads of h (recurrent dropout), but not the share of h that a GRU or a masked step keeps. Default
   * none.
   */
  readonly factors?: Tensor | null;
}

function attributes(who: string, xw: Tensor, wr: Tensor, gates: number, o: RecurrentOptions, resetAfter = false): Attrs {
  for (const t of [xw, wr, o.h0 ?? xw, o.mask ?? xw]) {
    if (!(t instanceof Tensor)) {
      throw new ArgumentError(`${who}: expected tensors, got ${kindOf(t)}`);
    }
  }
  const u = wr.shape[0];
  if (xw.rank !== 3 || wr.rank !== 2 || wr.shape[1] !== gates * u || xw.shape[2] !== gates * u) {
    throw new ShapeError(
      `${who}: expected xw [batch, time, ${gates}*units] and wr [units, ${gates}*units], got ${showShape(xw.shape)} and ` +
        `${showShape(wr.shape)}`,
    );
  }
  const [b, t] = xw.shape;
  if (o.h0 && !sameShape(o.h0.shape, [b, u]))
    throw new ShapeError(`${who}: expected an initial state ${showShape([b, u])}, got ${showShape(o.h0.shape)}`);
  if (o.factors && !sameShape(o.factors.shape, [b, u])) {
    throw new ShapeError(`${who}: expected factors ${showShape([b, u])}, got ${showShape(o.factors.shape)}`);
  }
  if (o.mask && !sameShape(o.mask.shape, [b, t]))
    throw new ShapeError(`${who}: expected a mask ${showShape([b, t])}, got ${showShape(o.mask.shape)}`);
  const attrs: RecurrentAttrs = {
    b,
    t,
    u,
    activation: o.activation ?? "tanh",
    recurrentActivation: o.recurrentActivation ?? "sigmoid",
    reverse: o.reverse ?? false,
    resetAfter,
  };
  return attrs as unknown as Attrs;
}

const maskOf = (o: RecurrentOptions): Tensor | null => (o.mask ? cast(o.mask, "i32") : null);

/**
 * All steps of an LSTM (Hochreiter & Schmidhuber 1997; Keras gate order i f c o): xw[B,T,4U], wr[U,4U] -> h[B,T,U], c[B,T,U]. Gradients
 * flow through all of h and the last computed step of c.
 */
export function lstmSequence(xw: Tensor, wr: Tensor, options: RecurrentOptions & { c0?: Tensor | null } = {}): { h: Tensor; c: Tensor } {
  const { c0 = null, ...o } = checkOptions("lstm", options);
  const [h, c] = apply(lstmOp, [xw, wr, o.h0 ?? null, c0, maskOf(o), o.factors ?? null], attributes("lstm", xw, wr, 4, o));
  return { h, c };
}

/**
 * All steps of a GRU (Cho et al. 2014; Keras gate order z r h): xw[B,T,3U], wr[U,3U] -> h[B,T,U]. `recurrentBias` [3U] goes with
 * `resetAfter` (default true).
 */
export function gruSequence(
  xw: Tensor,
  wr: Tensor,
  options: RecurrentOptions & { recurrentBias?: Tensor | null; resetAfter?: boolean } = {},
): Tensor {
  const { recurrentBias = null, resetAfter = true, ...o } = checkOptions("gru", options);
  return apply(gruOp, [xw, wr, recurrentBias, o.h0 ?? null, maskOf(o), o.factors ?? null], attributes("gru", xw, wr, 3, o, resetAfter))[0];
}

/** All steps of h = activation(xw + h_prev wr): xw[B,T,U], wr[U,U] -> h[B,T,U]. */
export function simpleRnnSequence(xw: Tensor, wr: Tensor, options: RecurrentOptions = {}): Tensor {
  const o = checkOptions("simpleRnn", options);
  return apply(simpleRnnOp, [xw, wr, o.h0 ?? null, maskOf(o), o.factors ?? null], attributes("simpleRnn", xw, wr, 1, o))[0];
}

/** Keeps `previous` where mask[B] is 0. For cells written out step by step. */
export function keepMasked(next: Tensor, before: Tensor, mask: Tensor): Tensor {
  return where(broadcastTo(expandDims(equal(mask, 0), 1), next.shape), before, next);
}

/** z * a + (1 - z) * b */
export const blend = (z: Tensor, a: Tensor, b: Tensor): Tensor => add(mul(z, a), mul(sub(1, z), b));
