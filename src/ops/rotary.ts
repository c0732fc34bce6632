/**
 * @file Rotary position embedding (Su et al. 2021, arXiv 2104.09864): pairs of features turned by an angle that grows with the position.
 */
import { apply } from "../apply.ts";
import { checkFlag, checkOptions } from "../check.ts";
import { ShapeError } from "../errors.ts";
import { floats } from "../graph.ts";
import type { Attrs, Op } from "../graph.ts";
import * as kernels from "../kernels.ts";
import type { RotaryAttrs } from "../plan/kernels.ts";
import { sameShape, showShape, sizeBetween } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { reshape } from "./broadcast.ts";
import { add, mul, sub } from "./map.ts";
import { slice } from "./move.ts";
import { toFloat } from "./promote.ts";
import { sum } from "./reduce.ts";

const attrsOf = (attrs: Attrs): RotaryAttrs => attrs as unknown as RotaryAttrs;

/** The first and the second of each pair: [outer, time, heads, half] each. */
function pairsOf(x: Tensor, { outer, time, heads, dim, half, neighbours }: RotaryAttrs): readonly [Tensor, Tensor] {
  const flat = reshape(x, [outer, time, heads, dim]);
  const part = (start: number): Tensor => {
    if (!neighbours) return slice(flat, [0, 0, 0, start * half], [outer, time, heads, half]);
    return slice(flat, [0, 0, 0, start], [outer, time, heads, half], [1, 1, 1, 2]);
  };
  return [part(0), part(1)];
}

/** (x[outer, time, heads, dim], cos[time, half], sin[time, half]) -> y. */
export const rotaryOp: Op = {
  name: "rotary",
  infer: (_inputs, attrs) => {
    const { outer, time, heads, dim } = attrsOf(attrs);
    return floats([outer, time, heads, dim]);
  },
  // A turn back is the transpose of a turn.
  vjp: TRAINING
    ? ({ dy, x, needs, attrs }) => {
        const a = attrsOf(attrs);
        const [t, cos, sin] = x as readonly Tensor[];
        const d = dy[0] as Tensor;
        const [[x1, x2], [d1, d2]] = [pairsOf(t, a), pairsOf(d, a)];
        const over = (values: Tensor): Tensor => sum(values, { axis: [0, 2] });
        const turned = sub(mul(d2, x1), mul(d1, x2));
        return [
          needs[0] ? apply(rotaryOp, [d, cos, sin], { ...attrs, back: !a.back })[0] : null,
          needs[1] ? over(add(mul(d1, x1), mul(d2, x2))) : null,
          needs[2] ? over(a.back ? sub(mul(d1, x2), mul(d2, x1)) : turned) : null,
        ];
      }
    : null,
  lower: kernels.rotary,
};

/** Options of `rotary`. */
export interface RotaryOptions {
  /** Pairs are features 2i and 2i + 1 (GPT-J), in place of i and i + half (GPT-NeoX, Llama in Hugging Face's layout). Default false. */
  readonly neighbours?: boolean;
}

/**
 * x[..., time, heads, dim] with each pair (a, b) of features turned by an angle: (a cos - b sin, b cos + a sin). cos and sin are
 * [time, half]; features behind the 2 half first stay as they are. f32. Su et al. 2021, arXiv 2104.09864.
 * @throws ShapeError where x has fewer than 3 dimensions, or cos and sin do not have the shape [time, half] with 2 half <= dim.
 */
export function rotary(x: TensorLike, cos: TensorLike, sin: TensorLike, options: RotaryOptions = {}): Tensor {
  const [t, c, s] = [x, cos, sin].map((value) => toFloat("rotary", value));
  const { neighbours = false } = checkOptions("rotary", options, ["neighbours"]);
  checkFlag("rotary", "neighbours", neighbours);
  if (t.rank < 3) throw new ShapeError(`rotary: expected x [..., time, heads, features], got ${showShape(t.shape)}`);
  const [time, heads, dim] = t.shape.slice(-3);
  if (c.rank !== 2 || c.shape[0] !== time || c.shape[1] === 0 || 2 * c.shape[1] > dim || !sameShape(c.shape, s.shape)) {
    const [given, other] = [c, s].map(({ shape }) => showShape(shape));
    throw new ShapeError(
      `rotary: x ${showShape(t.shape)} needs cos and sin [${time}, at most ${Math.floor(dim / 2)}], got ${given} and ${other}`,
    );
  }
  const outer = sizeBetween(t.shape, 0, t.rank - 3);
  const attrs: RotaryAttrs = { outer, time, heads, dim, half: c.shape[1], neighbours, back: false };
  const flat = reshape(t, [outer, time, heads, dim]);
  return reshape(apply(rotaryOp, [flat, c, s], attrs as unknown as Attrs)[0], t.shape);
}
