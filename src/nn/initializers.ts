/**
 * @file Weight initializers with the semantics of Keras 3 (https://keras.io/api/layers/initializers/). Each is a function of
 * shape and random source; those with parameters are made by a function.
 */
import { ArgumentError, ShapeError } from "../errors.ts";
import { kindOf, unknownName } from "../check.ts";
import type { Random } from "../random.ts";
import { showShape, sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";

/** The first values of a weight of the given shape. */
export type Initializer = (shape: Shape, random: Random) => Float32Array;

/** The standard deviation of a standard normal distribution cut off at -2 and 2. */
const TRUNCATED_STDDEV = 0.87962566103423978;

/**
 * How many inputs feed an output of a kernel and how many outputs an input feeds, as Keras' `compute_fans`: [in, out] and
 * [...window, in, out]; one dimension counts as both, none as 1.
 */
export function computeFans(shape: Shape): { readonly fanIn: number; readonly fanOut: number } {
  const rank = shape.length;
  if (rank === 0) return { fanIn: 1, fanOut: 1 };
  if (rank === 1) return { fanIn: shape[0], fanOut: shape[0] };
  const window = sizeOf(shape.slice(0, -2));
  return { fanIn: shape[rank - 2] * window, fanOut: shape[rank - 1] * window };
}

type FanMode = "fanIn" | "fanAverage";

/** The variance that keeps signals of unit size: scale / fan. */
function varianceFor(shape: Shape, scale: number, mode: FanMode): number {
  const { fanIn, fanOut } = computeFans(shape);
  return scale / Math.max(1, mode === "fanIn" ? fanIn : (fanIn + fanOut) / 2);
}

function scaledUniform(scale: number, mode: FanMode): Initializer {
  return (shape, random) => {
    const limit = Math.sqrt(3 * varianceFor(shape, scale, mode));
    return randomUniform(-limit, limit)(shape, random);
  };
}

function scaledNormal(scale: number, mode: FanMode): Initializer {
  return (shape, random) => truncatedNormal(0, Math.sqrt(varianceFor(shape, scale, mode)) / TRUNCATED_STDDEV)(shape, random);
}

/**
 * Uniform in +-sqrt(6 / (fanIn + fanOut)): Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
 * networks", 2010.
 */
export const glorotUniform: Initializer = scaledUniform(1, "fanAverage");
/** Truncated normal of variance 2 / (fanIn + fanOut): Glorot & Bengio 2010. */
export const glorotNormal: Initializer = scaledNormal(1, "fanAverage");
/** Uniform in +-sqrt(6 / fanIn): He et al., "Delving Deep into Rectifiers", 2015. */
export const heUniform: Initializer = scaledUniform(2, "fanIn");
/** Truncated normal of variance 2 / fanIn: He et al. 2015. */
export const heNormal: Initializer = scaledNormal(2, "fanIn");
/** Uniform in +-sqrt(3 / fanIn): LeCun et al., "Efficient BackProp", 1998. */
export const lecunUniform: Initializer = scaledUniform(1, "fanIn");
/** Truncated normal of variance 1 / fanIn: LeCun et al. 1998. */
export const lecunNormal: Initializer = scaledNormal(1, "fanIn");

/** Uniform from min to max. */
export function randomUniform(min = -0.05, max = 0.05): Initializer {
  return (shape, random) => random.uniform(sizeOf(shape)).map((u) => min + u * (max - min));
}

/** Normal of the given mean and standard deviation. */
export function randomNormal(mean = 0, stddev = 0.05): Initializer {
  return (shape, random) => random.normal(sizeOf(shape)).map((z) => mean + z * stddev);
}

/** Normal of the given mean and standard deviation, drawn again where more than two standard deviations from the mean. */
export function truncatedNormal(mean = 0, stddev = 0.05): Initializer {
  return (shape, random) => random.truncatedNormal(sizeOf(shape)).map((z) => mean + z * stddev);
}

/** Every element is `value`. */
export function constant(value = 0): Initializer {
  return (shape) => new Float32Array(sizeOf(shape)).fill(value);
}

/** All elements 0. */
export const zeros: Initializer = constant(0);
/** All elements 1. */
export const ones: Initializer = constant(1);

/**
 * The identity matrix times `gain`; where the shape is not square, ones run down the main diagonal. @throws ShapeError unless of rank 2.
 */
export function identity(gain = 1): Initializer {
  return (shape) => {
    if (shape.length !== 2) throw new ShapeError(`identity: expected a shape of rank 2, got ${showShape(shape)}`);
    const [rows, columns] = shape;
    const out = new Float32Array(rows * columns);
    for (let i = 0; i < Math.min(rows, columns); i++) out[i * columns + i] = gain;
    return out;
  };
}

/**
 * A random matrix with orthonormal columns (or rows, where there are fewer of them) times `gain`: Saxe et al., "Exact solutions
 * to the nonlinear dynamics of learning in deep linear neural networks", 2013. A shape of more dimensions counts as
 * [product of the others, last]. @throws ShapeError where the rank is below 2.
 */
export function orthogonal(gain = 1): Initializer {
  return (shape, random) => {
    if (shape.length < 2) throw new ShapeError(`orthogonal: expected a shape of rank 2 or more, got ${showShape(shape)}`);
    const columns = shape[shape.length - 1];
    const rows = sizeOf(shape.slice(0, -1));
    const size = Math.max(rows, columns);
    const count = Math.min(rows, columns);
    const normals = random.normal(size * count);
    const vectors = Array.from({ length: count }, (_, j) => Float64Array.from({ length: size }, (_, i) => normals[i * count + j]));
    orthonormalize(vectors);
    const out = new Float32Array(size * count);
    const [step, vectorStep] = rows >= columns ? [columns, 1] : [1, columns];
    vectors.forEach((vector, j) =>
      vector.forEach((value, i) => {
        out[i * step + j * vectorStep] = gain * value;
      }),
    );
    return out;
  };
}

/**
 * Makes vectors orthonormal in place by modified Gram-Schmidt: the Q of the QR decomposition whose R has a positive
 * diagonal, which is the one Keras gets by fixing signs. A vector that shrinks below half has lost digits to cancellation and is
 * projected again; once is enough (Giraud et al., "The loss of orthogonality in the Gram-Schmidt orthogonalization process", 2005).
 */
function orthonormalize(vectors: readonly Float64Array[]): void {
  vectors.forEach((vector, j) => {
    let before = dot(vector, vector);
    let after = before;
    for (let pass = 0; pass === 0 || (pass === 1 && after < 0.25 * before); pass++) {
      before = after;
      for (let k = 0; k < j; k++) addScaled(vector, vectors[k], -dot(vector, vectors[k]));
      after = dot(vector, vector);
    }
    const scale = 1 / Math.sqrt(after);
    for (let i = 0; i < vector.length; i++) vector[i] *= scale;
  });
}

/** Four sums, so that one addition need not wait for another. */
function dot(a: Float64Array, b: Float64Array): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 4 <= a.length; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < a.length; i++) s0 += a[i] * b[i];
  return s0 + s1 + (s2 + s3);
}

function addScaled(a: Float64Array, b: Float64Array, scale: number): void {
  for (let i = 0; i < a.length; i++) a[i] += scale * b[i];
}

const BY_NAME = {
  zeros,
  ones,
  glorotUniform,
  glorotNormal,
  heUniform,
  heNormal,
  lecunUniform,
  lecunNormal,
  constant: constant(),
  randomUniform: randomUniform(),
  randomNormal: randomNormal(),
  truncatedNormal: truncatedNormal(),
  orthogonal: orthogonal(),
  identity: identity(),
} as const satisfies Record<string, Initializer>;

/**
 * Names that stand for initializers with their default parameters: zeros, ones, constant, glorotUniform, glorotNormal, heUniform, heNormal,
 * lecunUniform, lecunNormal, randomUniform, randomNormal, truncatedNormal, orthogonal, identity.
 */
export type InitializerName = keyof typeof BY_NAME;

/** The initializer of a name, or the function itself. @throws ArgumentError naming the known ones for another name. */
export function initializer(nameOrFunction: InitializerName | Initializer): Initializer {
  if (typeof nameOrFunction === "function") return nameOrFunction;
  if (Object.hasOwn(BY_NAME, nameOrFunction)) return BY_NAME[nameOrFunction];
  throw unknownName("initializer", nameOrFunction, Object.keys(BY_NAME));
}

/**
 * What an initializer gives for the weight `name`. @throws ArgumentError where that is not one f32 number for each element, as for
 * `randomNormal` in the place of `randomNormal()`.
 */
export function firstValues(name: string, init: InitializerName | Initializer, shape: Shape, random: Random): Float32Array {
  const values: unknown = initializer(init)(shape, random);
  const size = sizeOf(shape);
  if (values instanceof Float32Array && values.length === size) {
    if (!values.some(Number.isNaN)) return values;
    throw new ArgumentError(`the initializer of ${name} gives NaN; it takes numbers one behind the other, as randomNormal(0, 0.02)`);
  }
  const call = typeof values === "function" ? "; write randomNormal(), not randomNormal" : "";
  throw new ArgumentError(`the initializer of ${name} must give a Float32Array of ${size} elements, got ${kindOf(values)}${call}`);
}
