/**
 * @file Layers that tell steps apart by their positions: learned vectors, sines, and turns of pairs of features. Angles are computed in
 * double with + - * / alone, so that every engine gives the same bits.
 */
import { checkCount, checkFlag, checkOptions, checkPositive } from "../check.ts";
import { ArgumentError, ShapeError } from "../errors.ts";
import { currentGraph } from "../graph.ts";
import type { Graph } from "../graph.ts";
import { add } from "../ops/map.ts";
import { gather } from "../ops/gather.ts";
import { broadcastTo, reshape, slice } from "../ops/move.ts";
import { rotary } from "../ops/rotary.ts";
import { optionsOf } from "../options.ts";
import { sinCos } from "../random.ts";
import { showShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { positionsOf } from "./decoding.ts";
import { embedding, withAttend } from "./embedding.ts";
import type { EmbeddingLayer, EmbeddingOptions } from "./embedding.ts";
import type { Layer } from "./layer.ts";
import { maskOf, masked } from "./masks.ts";
import { checkFeatures, checkRank, lastOf, layerOf } from "./options.ts";
import type { InitializerOption, NameOption } from "./options.ts";
import type { RegularizerOption } from "./regularizers.ts";

/** x^n for an integer n >= 0. */
function power(x: number, n: number): number {
  let y = 1;
  for (; n > 0; n = Math.floor(n / 2), x *= x) if (n % 2 === 1) y *= x;
  return y;
}

/** The n-th root of x > 0, by halving. */
function rootOf(x: number, n: number): number {
  if (x < 1) return 1 / rootOf(1 / x, n);
  let low = 1;
  let high = 1 + (x - 1) / n;
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (power(middle, n) < x) low = middle;
    else high = middle;
  }
}

/** Radians a step of each pair of `dim` features: maxWavelength^(-2 i / dim) (Vaswani et al. 2017). */
function frequenciesOf(maxWavelength: number, dim: number, count: number): number[] {
  const root = rootOf(maxWavelength, dim);
  return Array.from({ length: count }, (_, i) => 1 / power(root, 2 * i));
}

/** A quarter of a turn in two parts, the first of 33 bits: products with small integers are exact (Cody & Waite 1980). */
const QUARTER = [1.57079632673412561417, 6.07710050650619224932e-11] as const;

function sinCosOf(angle: number): readonly [number, number] {
  const quarters = Math.round(angle / (Math.PI / 2));
  return sinCos(quarters, angle - quarters * QUARTER[0] - quarters * QUARTER[1]);
}

/** Positions computed for themselves; the others are sums of two. */
const BLOCK = 64;

/** Sines and cosines of position * frequency, [positions, frequencies] each, in double. */
function anglesOf(positions: number, frequencies: readonly number[]): { readonly sin: Float64Array; readonly cos: Float64Array } {
  const count = frequencies.length;
  const [sin, cos] = [new Float64Array(positions * count), new Float64Array(positions * count)];
  for (let p = 0; p < positions; p++) {
    const within = (p % BLOCK) * count;
    const start = p * count - within;
    for (let i = 0; i < count; i++) {
      const at = p * count + i;
      if (p < BLOCK || within === 0) [sin[at], cos[at]] = sinCosOf(p * frequencies[i]);
      else {
        const [s, c, ds, dc] = [sin[start + i], cos[start + i], sin[within + i], cos[within + i]];
        sin[at] = s * dc + c * ds;
        cos[at] = c * dc - s * ds;
      }
    }
  }
  return { sin, cos };
}

/** Tables that are in a graph already: layers of the same options share them. */
const tables = new WeakMap<Graph, Map<string, readonly Tensor[]>>();

/** f32 [positions, columns] each; made once for a graph and a key. */
function tablesOf(key: unknown, positions: number, columns: number, make: () => readonly ArrayLike<number>[]): readonly Tensor[] {
  const graph = currentGraph();
  const known = (graph && tables.get(graph)) ?? new Map<string, readonly Tensor[]>();
  if (graph !== null) tables.set(graph, known);
  const name = JSON.stringify([key, positions]);
  const made = known.get(name) ?? make().map((t) => new Tensor([positions, columns], "f32", null, 0, Float32Array.from(t)));
  known.set(name, made);
  return made;
}

/** Rows of tables at the positions of `time` steps, [time, columns] or [batch, time, columns]; `tablesFor` gives them for so many. */
function rowsAt(time: number, tablesFor: (positions: number) => readonly Tensor[], own = true): readonly Tensor[] {
  const positions = own ? positionsOf(time) : null;
  return positions === null ? tablesFor(time) : tablesFor(positions.count).map((t) => gather(t, positions.at));
}

/** Frequencies stretched as Llama 3 does it. */
export interface FrequencyScaling {
  /** By how much low frequencies are divided. */
  readonly factor: number;
  /** Those with fewer turns than this within `originalMaxPositions` are low. */
  readonly lowFrequencyFactor: number;
  /** Those with more turns than this stay as they are; between the two is a ramp. */
  readonly highFrequencyFactor: number;
  /** How long sequences were before. */
  readonly originalMaxPositions: number;
}

/** How pairs of features are turned. */
export interface RotaryEmbeddingOptions extends NameOption {
  /** The base of the wavelengths, `rope_theta` in files of Llama: 2 pi to about 2 pi maxWavelength steps a turn. Default 10000. */
  readonly maxWavelength?: number;
  /** Positions are divided by it (linear scaling, Chen et al. 2023, arXiv 2306.15595). Default 1. */
  readonly scalingFactor?: number;
  /** Default null: none. */
  readonly frequencyScaling?: FrequencyScaling | null;
  /** What the frequency of each pair is divided by (LongRoPE, Ding et al. 2024, arXiv 2402.13753). Default null: none. */
  readonly frequencyFactors?: readonly number[] | null;
  /** What turned features are multiplied by (YaRN's temperature, Peng et al. 2023, arXiv 2309.00071). Default 1. */
  readonly attentionFactor?: number;
  /** How many of the features are turned, from the first on. Default null: all. */
  readonly rotaryDim?: number | null;
  /** Pairs are features 2i and 2i + 1 (GPT-J), in place of i and i + half (GPT-NeoX, Llama in Hugging Face's layout). Default false. */
  readonly neighbours?: boolean;
}

const ROTARY: Required<RotaryEmbeddingOptions> = {
  name: "",
  maxWavelength: 10000,
  scalingFactor: 1,
  frequencyScaling: null,
  frequencyFactors: null,
  attentionFactor: 1,
  rotaryDim: null,
  neighbours: false,
};

const SCALING = ["factor", "lowFrequencyFactor", "highFrequencyFactor", "originalMaxPositions"] as const;

/** Llama 3.1's rule, as in Hugging Face's `rope_type: "llama3"`. */
function stretched(frequency: number, { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions }: FrequencyScaling): number {
  const turns = (originalMaxPositions * frequency) / (2 * Math.PI);
  const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  const share = Math.min(1, Math.max(0, kept));
  return (1 - share) * (frequency / factor) + share * frequency;
}

/**
 * Turns x [batch, time, heads, features] by its positions: those of the run's steps, or from 0 on where it is not `own`, but of another
 * sequence. @throws ArgumentError for bad options
 */
export function rotation(who: string, options: Omit<RotaryEmbeddingOptions, "name">): (x: Tensor, own?: boolean) => Tensor {
  const o = optionsOf(who, ROTARY, options);
  const { maxWavelength, scalingFactor, frequencyScaling, frequencyFactors, attentionFactor, rotaryDim, neighbours } = o;
  for (const name of ["maxWavelength", "scalingFactor", "attentionFactor"] as const) checkPositive(who, name, o[name]);
  checkFlag(who, "neighbours", neighbours);
  if (rotaryDim !== null) {
    checkCount(who, "rotaryDim", rotaryDim, 2);
    if (rotaryDim % 2 !== 0) throw new ArgumentError(`${who}: rotaryDim must be even, for pairs of features, got ${rotaryDim}`);
  }
  if (frequencyScaling !== null) {
    const scaling = checkOptions(`${who}: frequencyScaling`, frequencyScaling, SCALING);
    for (const name of SCALING) checkPositive(`${who}: frequencyScaling`, name, scaling[name]);
    if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor)
      throw new ArgumentError(`${who}: frequencyScaling: highFrequencyFactor must be larger than lowFrequencyFactor`);
  }
  if (frequencyFactors !== null && !(Array.isArray(frequencyFactors) && frequencyFactors.every((f) => Number.isFinite(f) && f > 0)))
    throw new ArgumentError(`${who}: frequencyFactors must be a list of positive numbers, one for each pair of features`);
  return (x, own) => {
    const [batch, time, heads, features] = x.shape;
    const dim = rotaryDim ?? features;
    if (dim > features || dim % 2 !== 0 || dim === 0)
      throw new ShapeError(
        dim > features
          ? `it turns ${dim} features, got ${showShape(x.shape)}`
          : `it turns pairs of features, whose number must be even, got ${showShape(x.shape)}; give rotaryDim to turn the first ones only`,
      );
    if (frequencyFactors !== null && frequencyFactors.length !== dim / 2)
      throw new ShapeError(
        `it has ${frequencyFactors.length} frequencyFactors for the ${dim / 2} pairs of features of ${showShape(x.shape)}`,
      );
    const key = ["rotary", dim, maxWavelength, scalingFactor, frequencyScaling, frequencyFactors, attentionFactor];
    const [cos, sin] = rowsAt(
      time,
      (positions) =>
        tablesOf(key, positions, dim / 2, () => {
          const scaled = frequenciesOf(maxWavelength, dim, dim / 2).map(
            (f, i) => (frequencyScaling === null ? f : stretched(f, frequencyScaling)) / scalingFactor / (frequencyFactors?.[i] ?? 1),
          );
          const angles = anglesOf(positions, scaled);
          return [angles.cos, angles.sin].map((t) => t.map((v) => v * attentionFactor));
        }),
      own,
    );
    if (cos.rank === 2) return rotary(x, cos, sin, { neighbours });
    // Sequences with positions of their own are one long one to the op, which has an angle for each step.
    const [c, s] = [cos, sin].map((t) => reshape(t, [batch * time, dim / 2]));
    return reshape(rotary(reshape(x, [1, batch * time, heads, features]), c, s, { neighbours }), x.shape);
  };
}

/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864), as KerasHub's layer: pairs of features of x [batch, time, features] or
 * [batch, time, heads, features] are turned by position / maxWavelength^(2 i / features), so that products of two steps depend on their
 * distance alone. `multiHeadAttention` and `groupedQueryAttention` do it to queries and keys by their option `rotary`.
 * @throws ArgumentError for bad options; when called, ShapeError for another rank or an odd number of features
 */
export function rotaryEmbedding(options: RotaryEmbeddingOptions = {}): Layer {
  return layerOf("rotaryEmbedding", {}, ROTARY, options, ({ name: _, ...o }) => {
    const turn = rotation("rotaryEmbedding", o);
    return {
      mask: "pass",
      call: (x) => {
        checkRank(x.shape, "[batch, time, features] or [batch, time, heads, features]", 3, 4);
        const [batch, time] = x.shape;
        return reshape(turn(reshape(x, [batch, time, x.rank === 4 ? x.shape[2] : 1, lastOf(x.shape)])), x.shape);
      },
    };
  });
}

/** Options of `sinePositionEncoding`. */
export interface SinePositionEncodingOptions extends NameOption {
  /** Default 10000. */
  readonly maxWavelength?: number;
}

/**
 * Sines and cosines of positions (Vaswani et al. 2017, arXiv 1706.03762), as KerasHub's layer: for x [batch, time, features] an encoding of
 * this shape, to be added to x; feature 2i is sin(position / maxWavelength^(2 i / features)), feature 2i + 1 the cosine.
 * @throws ArgumentError for bad options; when called, ShapeError for another rank
 */
export function sinePositionEncoding(options: SinePositionEncodingOptions = {}): Layer {
  return layerOf<Required<SinePositionEncodingOptions>>(
    "sinePositionEncoding",
    {},
    { name: "", maxWavelength: 10000 },
    options,
    ({ maxWavelength }) => {
      checkPositive("sinePositionEncoding", "maxWavelength", maxWavelength);
      return {
        mask: "pass",
        call: (x) => {
          checkRank(x.shape, "[batch, time, features]", 3);
          const features = lastOf(x.shape);
          const [rows] = rowsAt(x.shape[1], (positions) =>
            tablesOf(["sine", features, maxWavelength], positions, features, () => {
              const half = Math.ceil(features / 2);
              const { sin, cos } = anglesOf(positions, frequenciesOf(maxWavelength, features, half));
              const both = (_: unknown, at: number): number => {
                const i = at % features;
                return (i % 2 === 0 ? sin : cos)[((at - i) / features) * half + Math.floor(i / 2)];
              };
              return [Float64Array.from({ length: positions * features }, both)];
            }),
          );
          return broadcastTo(rows, x.shape);
        },
      };
    },
  );
}

/** Options of `positionEmbedding`. */
export interface PositionEmbeddingOptions extends NameOption {
  /** Default glorotUniform. */
  readonly embeddingsInitializer?: InitializerOption;
  /** Default none. */
  readonly embeddingsRegularizer?: RegularizerOption;
}

/**
 * A learned vector for each position, as KerasHub's layer: for x [batch, time, features] the vectors of its steps, repeated to this shape,
 * to be added to x. Weights: embeddings [sequenceLength, features].
 * @throws ArgumentError for a sequenceLength below 1 and unknown options; when called, ShapeError for another rank or more steps
 */
export function positionEmbedding(sequenceLength: number, options: PositionEmbeddingOptions = {}): Layer {
  return layerOf<Required<PositionEmbeddingOptions>>(
    "positionEmbedding",
    { sequenceLength },
    { name: "", embeddingsInitializer: "glorotUniform", embeddingsRegularizer: null },
    options,
    () => {
      checkCount("positionEmbedding", "sequenceLength", sequenceLength);
      const check = (time: number): void => {
        if (time > sequenceLength) throw new ShapeError(`it has vectors for ${sequenceLength} positions, got ${time}; make it longer`);
      };
      return {
        mask: "pass",
        build: (shape, weight) => {
          checkRank(shape, "[batch, time, features]", 3);
          check(shape[1]);
          weight("embeddings", [sequenceLength, lastOf(shape)]);
        },
        call: (x, { embeddings }) => {
          checkRank(x.shape, "[batch, time, features]", 3);
          checkFeatures(x, embeddings.shape[1]);
          const [time, features] = [x.shape[1], embeddings.shape[1]];
          const positions = positionsOf(time);
          check(positions?.count ?? time);
          const rows = positions === null ? slice(embeddings, [0, 0], [time, features]) : gather(embeddings, positions.at);
          return broadcastTo(rows, x.shape);
        },
      };
    },
  );
}

/** Options of `tokenAndPositionEmbedding`. */
export interface TokenAndPositionEmbeddingOptions extends EmbeddingOptions {
  /** Of both tables. Default randomUniform, from -0.05 to 0.05. */
  readonly embeddingsInitializer?: InitializerOption;
}

/**
 * The sum of what `embedding(vocabularySize, embeddingDim)` and `positionEmbedding(sequenceLength)` give, as KerasHub's layer: i32 [batch,
 * time] -> [batch, time, embeddingDim]. Weights: tokenEmbeddingEmbeddings [vocabularySize, embeddingDim], positionEmbeddingEmbeddings
 * [sequenceLength, embeddingDim].
 * @throws as `embedding` and `positionEmbedding`
 */
export function tokenAndPositionEmbedding(
  vocabularySize: number,
  sequenceLength: number,
  embeddingDim: number,
  options: TokenAndPositionEmbeddingOptions = {},
): EmbeddingLayer {
  const kind = "tokenAndPositionEmbedding";
  return withAttend(
    layerOf<Required<TokenAndPositionEmbeddingOptions>>(
      kind,
      { vocabularySize, sequenceLength, embeddingDim },
      { name: "", embeddingsInitializer: "randomUniform", embeddingsRegularizer: null, maskZero: false },
      options,
      ({ name: _, maskZero, ...tables }) => {
        checkCount(kind, "vocabularySize", vocabularySize);
        checkCount(kind, "embeddingDim", embeddingDim);
        const tokenEmbedding = embedding(vocabularySize, embeddingDim, { maskZero, ...tables });
        const positions = positionEmbedding(sequenceLength, tables);
        return {
          parts: { tokenEmbedding, positionEmbedding: positions },
          anyDtype: true,
          call: (x) => {
            checkRank(x.shape, "[batch, time]", 2);
            const tokens = tokenEmbedding.call(x);
            return masked(add(tokens, positions.call(tokens)), maskOf(tokens));
          },
        };
      },
    ),
  );
}
