/** @file What ONNX Runtime's optimizer puts in the place of several operators (domain com.microsoft). */
import * as lockstep from "../../index.ts";
import type { Tensor } from "../../index.ts";
import { mapped, sizeOf } from "../call.ts";
import type { Call, Operator, Operators } from "../call.ts";
import { INTEGERS, isFloat } from "../types.ts";
import { Value } from "../value.ts";
import { together } from "./arithmetic.ts";
import { activated } from "./activations.ts";
import { rowsAt } from "./rows.ts";
import { layerNormalized } from "./normalization.ts";
import { unpacked } from "./packed.ts";
import { PRODUCTS } from "./products.ts";

const { add, cast, mul, reshape, sub } = lockstep;

/** Words, their positions and segments, added up and normalized; and how many words of each sequence count. */
const EmbedLayerNormalization: Operator = (call) => {
  const [ids, segments, mask, positions] = [call.input(0), call.optional(1), call.optional(7), call.optional(8)];
  const [batch, time] = ids.shape;
  const table = call.input(3);
  if (ids.rank !== 2 || table.shape[0] < time) throw call.mismatch(`words [${ids.shape.join()}] at positions [${table.shape.join()}]`);
  const words = rowsAt(call.tensor(2), ids.tensor);
  const places = positions === null ? lockstep.slice(table.tensor, [0, 0], [time, table.shape[1]]) : rowsAt(table.tensor, positions.tensor);
  const both = add(words, places);
  const kinds = call.optional(4);
  const sum = segments === null || kinds === null ? both : add(both, rowsAt(kinds.tensor, segments.tensor));
  const [y] = layerNormalized(sum, [2], call.tensor(5), call.tensor(6), call.float("epsilon", 1e-12), false);
  const counts = mask === null ? lockstep.zeros([batch], "i32") : lockstep.sum(cast(mask.tensor, "i32"), { axis: 1 });
  const { type } = call.input(2);
  return [Value.of(type, y), Value.of("int32", counts), Value.of(type, sum)];
};

const FusedGemm: Operator = (call) => {
  const fn = activated(call, call.float("activation_alpha"), call.float("activation_beta"));
  const [y] = [PRODUCTS["Gemm"](call)].flat() as Value[];
  return mapped(y, fn);
};

/** softmax(x + bias) over all dimensions from an axis on. */
const BiasSoftmax: Operator = (call) => {
  const x = call.input(0);
  const axis = call.axis(call.int("axis", 1), x.rank);
  const y = together(call, x.type, [x, call.input(1)], (a, b) => add(a, b)).tensor;
  const flat = reshape(y, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]);
  return Value.of(x.type, x.size === 0 ? y : reshape(lockstep.softmax(flat, 1) as Tensor, x.shape));
};

/** x + bias + skip. */
const BiasAdd: Operator = (call) => {
  const [x, bias, skip] = [0, 1, 2].map((i) => call.input(i));
  return together(call, x.type, [x, bias, skip], (a, b, c) => add(add(a, b), c));
};

/** Of x + bias the first half of the last axis times gelu of the second. */
const BiasSplitGelu: Operator = (call) => {
  const sum = add(call.tensor(0), call.tensor(1));
  const lead = sum.shape.slice(0, -1);
  const half = sum.shape[sum.rank - 1] / 2;
  if (!Number.isInteger(half)) throw call.mismatch(`[${sum.shape.join()}] has no halves`);
  const part = (from: number): Tensor => lockstep.slice(sum, [...lead.map(() => 0), from], [...lead, half]);
  return Value.of(call.input(0).type, mul(part(0), lockstep.gelu(part(half))));
};

/** [batch, ..., channels] in groups of channels, normalized, scaled by channel, and with an activation where there is one. */
function groupsOf(call: Call, x: Tensor): Tensor {
  const groups = call.int("groups", 0);
  const [batch, channels] = [x.shape[0], x.shape[x.rank - 1]];
  if (groups < 1 || x.rank < 3 || channels % groups !== 0) throw call.mismatch(`[${x.shape.join()}] in ${groups} groups of channels`);
  if (x.size === 0) return x;
  const pixels = x.size / batch / channels;
  const rows = lockstep.transpose(reshape(x, [batch, pixels, groups, channels / groups]), [0, 2, 1, 3]);
  const normal = lockstep.normalizeLast(reshape(rows, [batch, groups, (pixels * channels) / groups]), 1, {
    epsilon: call.float("epsilon", 1e-5),
  });
  const back = reshape(lockstep.transpose(reshape(normal, [batch, groups, pixels, channels / groups]), [0, 2, 1, 3]), x.shape);
  const y = add(mul(back, call.tensor(1)), call.tensor(2));
  const activation = call.int("activation", 0);
  if (activation !== 0 && activation !== 1) throw call.fault(`activation must be 0 or 1, got ${activation}`);
  return activation === 1 ? lockstep.silu(y) : y;
}

/** Pictures with channels last, unless the attribute says otherwise. */
const groupNorm = (call: Call, x: Value): Value =>
  call.flag("channels_last", true) ? Value.of(x.type, groupsOf(call, x.tensor)) : Value.channelsLast(x.type, groupsOf(call, x.last));

const GroupNorm: Operator = (call) => groupNorm(call, call.input(0));

/** Of x, what is added to it, [batch, ..., channels] or [batch, channels], and a bias; and that sum. */
const SkipGroupNorm: Operator = (call) => {
  const [x, skip, bias] = [call.input(0), call.input(3), call.optional(4)];
  if (!call.flag("channels_last", true)) throw call.fault("channels_last = 0 is not supported");
  const channels = x.shape[x.rank - 1];
  const spread = skip.rank === 2 ? reshape(skip.tensor, [skip.shape[0], ...x.shape.slice(1, -1).map(() => 1), channels]) : skip.tensor;
  const both = add(x.tensor, spread);
  const sum = Value.of(x.type, bias === null ? both : add(both, bias.tensor));
  return [groupNorm(call, sum), sum];
};

/** Rows of integers of few bits, in blocks along an axis that share a scale. Bytes have those of two in them, or of one. */
const GatherBlockQuantized: Operator = (call) => {
  const [data, index, scales, zeros] = [call.input(0), call.input(1), call.input(2), call.optional(3)];
  const isBytes = data.type === "uint8";
  const bits = isBytes ? call.int("bits", 4) : (INTEGERS[data.type]?.bits ?? 0);
  if (bits !== 4 && bits !== 8) throw call.fault(`elements of 4 or 8 bits are gathered, got ${data.type} of ${bits}`);
  const each = isBytes ? 8 / bits : 1;
  const shape = data.shape.map((d, i) => (i === data.rank - 1 ? d * each : d));
  const axis = call.axis(call.int("gather_axis", 0), data.rank);
  const along = call.axis(call.int("quantize_axis", 1), data.rank);
  const block = call.int("block_size", 128);
  const wanted = shape.map((d, i) => (i === along ? Math.ceil(d / block) : d));
  if (axis === along || !(block >= 1) || scales.shape.join() !== wanted.join() || !isFloat(scales.type))
    throw call.mismatch(
      `scales of blocks of ${block} along axis ${along} of [${shape.join()}] are [${wanted.join()}], got [${scales.shape.join()}]`,
    );
  if (axis === data.rank - 1 && each > 1) throw call.fault("the last axis is packed, and not gathered along");
  const taken = (t: Tensor): Tensor => rowsAt(t, index.tensor, axis);
  const numbers = (t: Tensor): Tensor => cast(isBytes ? unpacked(cast(t, "i32"), bits) : t, "f32");
  /** [..., blocks, ...] for each element of a block. */
  const at = along < axis ? along : along + index.rank - 1;
  const spread = (t: Tensor): Tensor => {
    const [outer, blocks, inner] = [sizeOf(t.shape.slice(0, at)), t.shape[at], sizeOf(t.shape.slice(at + 1))];
    const copies = lockstep.broadcastTo(reshape(t, [outer, blocks, 1, inner]), [outer, blocks, block, inner]);
    const all = lockstep.slice(reshape(copies, [outer, blocks * block, inner]), [0, 0, 0], [outer, shape[along], inner]);
    return reshape(
      all,
      t.shape.map((d, i) => (i === at ? shape[along] : d)),
    );
  };
  const whole = numbers(taken(data.tensor));
  const point = (): Tensor | number => {
    if (zeros === null) return isBytes ? 2 ** (bits - 1) : 0;
    const t = numbers(taken(zeros.tensor));
    // Packed ones may have a place too many.
    const start = t.shape.map(() => 0);
    const size = t.shape.map((d, i) => (i === at ? wanted[along] : d));
    return spread(lockstep.slice(t, start, size));
  };
  return Value.of(scales.type, mul(sub(whole, point()), spread(taken(scales.tensor))));
};

export const FUSED_MICROSOFT: Operators = {
  EmbedLayerNormalization,
  FusedGemm,
  BiasSoftmax,
  BiasAdd,
  BiasSplitGelu,
  GroupNorm,
  SkipGroupNorm,
  GatherBlockQuantized,
};
