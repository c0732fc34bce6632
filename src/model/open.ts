/** @file Models with dimensions of any size: what their shapes are, found by tracing them with several sizes. */
import { ShapeError } from "../errors.ts";
import type { Layer } from "../nn/layer.ts";
import { showShape } from "../shape.ts";
import type { OpenShape, Shape } from "../shape.ts";

/** Shapes of a model's parts for one sample. */
export interface Shapes<S extends OpenShape> {
  readonly outputs: readonly S[];
  readonly layers: ReadonlyMap<Layer, S>;
}

/**
 * Sizes that stand in pairs for an open dimension: shapes that differ between the two depend on it. Multiples of what layers divide by;
 * the first pair is tried first, the second has room for long windows, the others fit into short tables of positions.
 */
const SIZES = [[64, 48], [960, 640], [12, 8], [6, 4], [3, 2], [2, 1]] as const;

/** A dimension that two sizes make differ is open. */
const joined = (a: Shape, b: Shape): OpenShape => a.map((d, i) => (d === b[i] ? d : null));

/**
 * The shapes of a model whose inputs have open dimensions; `trace` gives them for one size. @throws ShapeError where a layer needs the
 * size.
 */
export function openShapes<T extends Shapes<Shape>>(
  inputShapes: readonly OpenShape[],
  trace: (size: number) => T,
): Shapes<OpenShape> & { readonly traced: T } {
  let reason: ShapeError | null = null;
  for (const pair of SIZES) {
    try {
      const [traced, other] = pair.map(trace);
      const layers = new Map([...traced.layers].map(([layer, shape]) => [layer, joined(shape, other.layers.get(layer) ?? shape)]));
      return { outputs: traced.outputs.map((shape, i) => joined(shape, other.outputs[i])), layers, traced };
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      reason ??= error;
    }
  }
  const given = inputShapes.map(showShape).join(", ");
  throw new ShapeError(`${reason?.message}; a layer needs the size that is null in inputShape ${given}`);
}
