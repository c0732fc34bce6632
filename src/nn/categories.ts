/** @file Layers that make classes of numbers, and rows of classes. */
import { checkPositive, shown } from "../check.ts";
import { ArgumentError, DataError, LockstepError, ShapeError } from "../errors.ts";
import { cast, less, minimum, mul, not } from "../ops/map.ts";
import { expandDims, reshape } from "../ops/move.ts";
import { sum } from "../ops/reduce.ts";
import { oneHot } from "../ops/softmax.ts";
import { toTensor } from "../samples.ts";
import type { Data } from "../samples.ts";
import { sameShape, showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { asIndices, indexCheck } from "./embedding.ts";
import type { Layer } from "./layer.ts";
import { checkCount, checkOneOf, layerOf } from "./options.ts";
import type { NameOption } from "./options.ts";
import { binBoundaries } from "./quantiles.ts";

/** How classes are given on: a row of numbers, one for each class. */
export type CategoryMode = "oneHot" | "multiHot" | "count";

const MODES: readonly CategoryMode[] = ["oneHot", "multiHot", "count"];

/**
 * Classes (i32) as rows of `depth` numbers (f32); those outside of the range have no place. `weights`: how much each class counts.
 * @throws ShapeError for other ranks than 2 where a row tells of several classes
 */
export function rowsOfClasses(index: Tensor, depth: number, mode: CategoryMode | "tfIdf", weights: Tensor | null = null): Tensor {
  if (mode === "oneHot") {
    const { shape, rank } = index;
    return oneHot(rank > 1 && shape[rank - 1] === 1 ? reshape(index, shape.slice(0, -1)) : index, depth);
  }
  if (index.rank !== 2) throw new ShapeError(`outputMode "${mode}" takes [batch, tokens], got ${showShape(index.shape)}`);
  const each = oneHot(index, depth);
  const counts = sum(weights === null ? each : mul(each, expandDims(weights, -1)), { axis: 1 });
  return mode === "multiHot" ? minimum(counts, 1) : counts;
}

/** Options of `categoryEncoding`. */
export interface CategoryEncodingOptions extends NameOption {
  /**
   * `oneHot`: a row for each class, [...] -> [..., numTokens], where a last dimension of 1 is left out. `multiHot`: one row for all classes
   * of a sample, [batch, classes] -> [batch, numTokens], with 1 for those that it has. `count`: the same, with how often it has them.
   * Default `multiHot`.
   */
  readonly outputMode?: CategoryMode;
}

const checkTokens = indexCheck("category encoding", "numTokens");

/**
 * Class numbers 0 to numTokens - 1 as rows of numbers, f32: see `outputMode`. As Keras' `CategoryEncoding`. In an op by itself, and behind
 * other layers, a number outside of the range is no class; a model refuses such elements of its inputs with a DataError.
 * `layer.call(x, countWeights)` counts each class by its weight.
 * @throws ArgumentError for bad options, and for weights where they do not count; when called, ShapeError for shapes that do not fit
 */
export function categoryEncoding(numTokens: number, options: CategoryEncodingOptions = {}): Layer {
  const defaults: Required<CategoryEncodingOptions> = { name: "", outputMode: "multiHot" };
  return layerOf("categoryEncoding", { numTokens }, defaults, options, ({ outputMode }) => {
    checkCount("categoryEncoding", "numTokens", numTokens);
    checkOneOf("categoryEncoding", "outputMode", outputMode, MODES);
    return {
      anyDtype: true,
      inputs: 2,
      call: (x, _weights, counts = null) => {
        if (counts !== null && outputMode !== "count")
          throw new ArgumentError(`countWeights count with outputMode: "count" alone, it is ${JSON.stringify(outputMode)}`);
        if (counts !== null && !sameShape(counts.shape, x.shape))
          throw new ShapeError(`countWeights must have the shape of its classes, ${showShape(x.shape)}, got ${showShape(counts.shape)}`);
        return rowsOfClasses(asIndices(x, numTokens, checkTokens), numTokens, outputMode, counts && cast(counts, "f32"));
      },
    };
  });
}

/** Options of `discretization`. */
export interface DiscretizationOptions extends NameOption {
  /** Where one bin ends and the next one begins, in ascending order: [0, 1] are the bins below 0, from 0 to below 1, and from 1 on. */
  readonly binBoundaries?: readonly number[] | null;
  /** How many bins `adapt` makes, of about as many elements each. */
  readonly numBins?: number | null;
  /** How exact quantiles are that `adapt` finds: of the data 1 / epsilon are kept. Default 0.01. */
  readonly epsilon?: number;
  /** `int`: the number of the bin, i32, of the shape of the input. The others as those of `categoryEncoding`. Default `int`. */
  readonly outputMode?: "int" | CategoryMode;
}

/** A layer of bins, which may learn them from data before training, not from gradients. */
export interface DiscretizationLayer extends Layer {
  /**
   * Takes the boundaries of `numBins` bins from `data`, of any shape, replacing those of an earlier call; `layer.config.binBoundaries` are
   * what it took. The same numbers as of Keras' `Discretization`, for data that are given at once.
   * @param data as `fit` takes it; a typed array may be followed by its shape. Tensors are waited for.
   * @throws DataError for empty or non-finite data, ArgumentError without `numBins`, ShapeError where the layer is in use with another
   * number of bins
   */
  adapt(data: Data, shape?: Shape): Promise<void>;
}

/** @throws ArgumentError unless `values` are numbers in ascending order */
function checkBoundaries(values: unknown): void {
  const fits =
    Array.isArray(values) &&
    values.every((v, i) => Number.isFinite(v) && (i === 0 || (values as readonly number[])[i - 1] <= (v as number)));
  if (!fits) throw new ArgumentError(`discretization: binBoundaries must be numbers in ascending order, got ${shown(values)}`);
}

/**
 * The bin that each element lies in: below the first boundary 0, from there on 1, and so on; NaN lies in the last one. As Keras'
 * `Discretization`.
 * @throws ArgumentError for bad options; when called, LockstepError before `adapt`, ShapeError for shapes that do not fit
 * @example const bins = discretization({ numBins: 10, outputMode: "oneHot" }); await bins.adapt(xTrain);
 */
export function discretization(options: DiscretizationOptions = {}): DiscretizationLayer {
  const defaults: Required<DiscretizationOptions> = { name: "", binBoundaries: null, numBins: null, epsilon: 0.01, outputMode: "int" };
  let boundaries: Tensor | null = null;
  const tensorOf = (values: readonly number[]): Tensor => new Tensor([values.length], "f32", null, 0, Float32Array.from(values));
  const base = layerOf("discretization", {}, defaults, options, ({ binBoundaries: given, numBins, epsilon, outputMode }) => {
    if (given === null && numBins === null)
      throw new ArgumentError("discretization: give it binBoundaries, or numBins and await layer.adapt(data)");
    if (given !== null) checkBoundaries(given);
    if (numBins !== null) checkCount("discretization", "numBins", numBins);
    checkPositive("discretization", "epsilon", epsilon);
    checkOneOf("discretization", "outputMode", outputMode, ["int", ...MODES]);
    if (given !== null) boundaries = tensorOf(given);
    return {
      call: (x) => {
        if (boundaries === null) throw new LockstepError("it has seen no data: call await layer.adapt(data) before the model is used");
        const bins = sum(not(less(expandDims(x, -1), boundaries)), { axis: -1 });
        return outputMode === "int" ? bins : rowsOfClasses(bins, boundaries.size + 1, outputMode);
      },
    };
  });
  const { numBins = null, epsilon = 0.01 } = base.config as { numBins?: number | null; epsilon?: number };
  return Object.assign(base, {
    async adapt(data: Data, shape?: Shape): Promise<void> {
      if (numBins === null) throw new ArgumentError("discretization: it was given binBoundaries; adapt needs the option numBins instead");
      const given = (shape === undefined || data instanceof Tensor ? data : { data, shape }) as Data;
      const t = toTensor("discretization: adapt", given);
      const values = Float32Array.from((t.host ?? (await t.data())) as ArrayLike<number>);
      if (values.length === 0) throw new DataError(`discretization: adapt needs data, got a tensor of shape ${showShape(t.shape)}`);
      const bad = values.findIndex((v) => !Number.isFinite(v));
      if (bad >= 0) throw new DataError(`discretization: adapt needs finite data, got ${values[bad]} at element ${bad}`);
      const found = binBoundaries(values, numBins, epsilon);
      if (base.built && boundaries !== null && boundaries.size !== found.length)
        throw new ShapeError(
          `discretization: the layer is in use with ${boundaries.size + 1} bins, the data give ${found.length + 1}; make a new layer`,
        );
      Object.assign(base.config, { binBoundaries: found });
      if (boundaries === null || boundaries.size !== found.length) boundaries = tensorOf(found);
      else boundaries.set(Float32Array.from(found));
    },
  });
}
