/**
 * @file Convolutions by 3x3 filters with stride 1 as products of transformed tiles (kernels/winograd/): Winograd's method, F(4x4, 3x3),
 * with a quarter of the multiplications. Loaded by the first plan with such filters, and used where that should take less time than a
 * product of windows (`gains`). Never where products round their operands to f16: rounding transformed tiles and filters makes results
 * five times as wrong as rounding x and w, and tiles are up to 26 times as large as x, beyond f16 where that is not.
 */
import files from "#shaders-winograd";
import type { Attrs } from "../../op.ts";
import type { Activation, ConvAttrs, IotaAttrs, MatmulAttrs } from "../../plan/kernels.ts";
import type { Call, Operand, Place } from "../../plan/plan.ts";
import { read, update, write } from "../dispatch.ts";
import type { Bound, Constants, DispatchWriter, GpuEncoder, GpuFeatures, GpuKernels } from "../dispatch.ts";
import { activationFunction } from "../encode/matmul.ts";
import { timeOfPasses, timeOfProduct } from "../encode/tiles.ts";

/** Elements of a transformed tile and pixels of one that nothing else makes, along its side; taps of a filter. */
const XI = 36;
const SIDE = 4;
const TAPS = 9;
const THREADS = 64;
/** Bytes from number to number of steps: what buffers may be bound at anywhere. */
const NUMBER_BYTES = 256;
/** Bytes of transformed tiles, or of their products, at a time: those of a step fit into the cache of a large GPU. */
export const PART_BYTES = 2 ** 25;
/** Bytes of transformed filters, which are made all at once: what every adapter binds. */
const MOST_FILTER_BYTES = 2 ** 27;
/** How many times as long as a product in memory one of windows takes (an H200: 28.9 and 21.8 TFLOP/s). */
const WINDOWS = 1.3;
/** What tiles must gain, since models err, and the channels and filters of a group that there must be for it. */
const LEAST_GAIN = 1.2;
const LEAST_CHANNELS = 32;
/**
 * On an adapter that is a program on the CPU: likewise, and the multiply-adds by windows. SwiftShader takes a third to a fifth of the time
 * for tiles from there on, and a third of a second more to compile them.
 */
const SOFTWARE = { channels: 16, work: 2 ** 24 };

/** A convolution of images by tiles: pixels x [n, h, w, c] become y [n, p, q, f]. */
type Tiling = Pick<ConvAttrs, "n" | "h" | "w" | "c" | "p" | "q" | "f" | "groups" | "padTop" | "padLeft">;

/** dx is the convolution of dy by turned filters. */
const turned = (a: ConvAttrs): Tiling => ({
  ...{ n: a.n, h: a.p, w: a.q, c: a.f, p: a.h, q: a.w, f: a.c, groups: a.groups },
  ...{ padTop: 2 - a.padTop, padLeft: 2 - a.padLeft },
});

/** Tiles: rows and columns of them in an image, all of them, and those that each of `count` steps makes. */
interface Steps {
  readonly grid: readonly [number, number];
  readonly tiles: number;
  readonly count: number;
  readonly rows: number;
}

function stepsOf({ n, p, q, c, f }: Tiling, { winograd }: GpuFeatures): Steps {
  const grid = [Math.ceil(p / SIDE), Math.ceil(q / SIDE)] as const;
  const tiles = n * grid[0] * grid[1];
  const most = Math.max(1, Math.floor((winograd?.partBytes ?? PART_BYTES) / (4 * XI * Math.max(c, f))));
  const count = Math.ceil(tiles / most);
  return { grid, tiles, count, rows: Math.ceil(tiles / count) };
}

/**
 * Whether tiles should take less time than windows: a quarter of the multiplications, but all that is multiplied is written and read again.
 * On large GPUs that pays for 48 channels and filters or more in images of many tiles.
 * @param filters true for the gradient of the filters, whose product sums over tiles
 */
function gains(t: Tiling, { tiles, count, rows }: Steps, filters: boolean, features: GpuFeatures): boolean {
  const [c, f] = [t.c / t.groups, t.f / t.groups];
  const pixels = t.n * t.p * t.q;
  if (features.software) return Math.min(c, f) >= SOFTWARE.channels && TAPS * pixels * c * t.f >= SOFTWARE.work;
  if (Math.min(c, f) < LEAST_CHANNELS) return false;
  const product = (file: string, batch: number, m: number, k: number): number => {
    const [sizes, sizeY] = filters ? [{ m: k, n: f, k: m }, k * f] : [{ m, n: f, k }, m * f];
    return timeOfProduct({ file, batch: batch * t.groups, ...sizes, sizeY: batch * t.groups * sizeY }, features);
  };
  const bytes = 4 * (tiles * (2 * XI + SIDE * SIDE) * (t.c + t.f) + (2 * XI + TAPS) * c * t.f);
  const time = count * product("matmul", XI, rows, c) + timeOfPasses(2 * count + 1, bytes, features);
  return LEAST_GAIN * time <= WINDOWS * product("conv", 1, pixels, TAPS * c);
}

/** The steps by which a convolution is made of tiles; null where it is not. */
function planned(a: ConvAttrs, t: Tiling, filters: boolean, { features }: DispatchWriter): Steps | null {
  if (a.r !== 3 || a.s !== 3 || a.strideH * a.strideW * a.dilationH * a.dilationW !== 1) return null;
  const { c, f, groups } = t;
  if (t.n * t.p * t.q * t.h * t.w * c * f === 0 || (4 * XI * c * f) / groups > MOST_FILTER_BYTES) return null;
  const steps = stepsOf(t, features);
  return (features.winograd?.used ?? gains(t, steps, filters, features)) ? steps : null;
}

/** What the dispatches of a convolution have in common: where they are written, its groups, and where it came from. */
interface Context {
  readonly out: DispatchWriter;
  readonly groups: number;
  readonly source: string;
}

/** Matrices for the elements of tiles and the groups: [36, groups, rows, channels / groups]. */
interface Matrices {
  readonly rows: number;
  readonly channels: number;
  readonly memory: ReturnType<DispatchWriter["temporary"]>;
}

const matrices = ({ out }: Context, rows: number, channels: number): Matrices => ({
  rows,
  channels,
  memory: out.temporary(4 * XI * rows * channels),
});

/** Memory as an operand of a call. Its place is one of this backend alone, which only it looks into. */
const operand = ({ place, bytes }: Bound, dtype: Operand["dtype"]): Operand => ({ place: place as Place, shape: [bytes / 4], dtype });

/** y = a b, matrix by matrix; a or b transposed. */
function multiply({ out, groups, source }: Context, a: Matrices, b: Matrices, y: Matrices, transposed: "a" | "b" | "none"): void {
  const batch = XI * groups;
  const [m, k] = transposed === "a" ? [a.channels / groups, a.rows] : [a.rows, a.channels / groups];
  const attrs: MatmulAttrs = {
    ...{ batch, batchA: batch, batchB: batch, m, k, n: y.channels / groups },
    ...{ transposeA: transposed === "a", transposeB: transposed === "b", activation: "linear" },
  };
  out.call({
    kernel: "matmul",
    inputs: [operand(a.memory.read, "f32"), operand(b.memory.read, "f32"), null],
    outputs: [operand(y.memory.write, "f32")],
    attrs: attrs as unknown as Attrs,
    source,
  });
}

/** The hooks of kernels/winograd/winograd.wgsl, by what is transformed. */
const INPUTS = { load: "load_pixels", line: "input_line", store: "store_matrices" };
const FILTERS = { load: "load_taps", line: "filter_line", store: "store_matrices" };
const OUTPUTS = { load: "load_matrices", line: "output_line", store: "store_pixels" };
const OUTPUT_GRADS = { load: "load_pixels", line: "output_grad_line", store: "store_matrices" };
const FILTER_GRADS = { load: "load_matrices", line: "filter_grad_line", store: "store_taps" };

/** What a transform reads and writes; `step`: the number of the step, null where there is one. */
interface Transform {
  readonly x: Bound | null;
  readonly bias?: Bound | null;
  readonly y: Bound | null;
  readonly step?: Bound | null;
  readonly constants?: Constants;
  readonly activation?: Activation;
}

/** Transforms to or from matrices. */
function transform(
  { out, groups }: Context,
  { rows, channels }: Matrices,
  hooks: typeof INPUTS,
  { x, bias = null, y, step = null, constants, activation = "linear" }: Transform,
): void {
  // Halves are written in vectors alone.
  const lanes = y?.half ? 4 : 1;
  out.dispatch(
    {
      file: "winograd",
      constants: {
        ...constants,
        GROUPS: groups,
        ROWS: rows,
        CHANNELS: channels / lanes,
        HAS_BIAS: bias !== null,
        Value: lanes === 1 ? "f32" : "vec4<f32>",
      },
      hooks: {
        ...hooks,
        write_y: lanes === 1 ? "lane_y" : "vector_y",
        steps_before: step === null ? "no_steps" : "counted_steps",
        activate: activationFunction(activation),
      },
    },
    [x, bias, y, step],
    Math.ceil((rows * channels) / lanes / THREADS),
  );
}

/** Where each step finds its number; all else is the same for them, so that they share their shaders. */
function numbersOf({ out, source }: Context, { count }: Steps): readonly (Bound | null)[] {
  if (count === 1) return [null];
  const { read, write } = out.temporary(NUMBER_BYTES * count);
  const attrs: IotaAttrs = { size: count, inner: NUMBER_BYTES / 4 };
  out.call({ kernel: "iota", inputs: [], outputs: [operand(write, "i32")], attrs: attrs as unknown as Attrs, source });
  return Array.from({ length: count }, (_, i) => ({ ...read, bytes: 4, place: { ...read.place, offset: i * NUMBER_BYTES } }));
}

/** Constants of tiles with `side` pixels along their sides of images [h, w], and of what lies before the first. */
const pixels = (h: number, w: number, { grid, tiles }: Steps, side: number, padTop = 0, padLeft = 0): Constants => ({
  IMAGE: [h, w],
  // A negative padding leaves out rows and columns.
  PAD: [padTop >>> 0, padLeft >>> 0],
  GRID: grid,
  TILES: tiles,
  SIDE: side,
});

/** y(x, filters, bias?), or with `turn` dx(dy, filters): by filters that are turned, with channels and filters exchanged. */
function convolve({ inputs, outputs, attrs, source }: Call, out: DispatchWriter, t: Tiling, steps: Steps, turn: boolean): void {
  const { h, w, c, p, q, f, groups } = t;
  const [x, filters, bias] = inputs;
  const context = { out, groups, source };
  const [v, m] = [matrices(context, steps.rows, c), matrices(context, steps.rows, f)];
  const u = turn ? matrices(context, f / groups, c) : matrices(context, c / groups, f);
  const [from, to] = [pixels(h, w, steps, SIDE + 2, t.padTop, t.padLeft), pixels(p, q, steps, SIDE)];
  const activation = turn ? "linear" : (attrs.activation as Activation);
  const y = write(outputs[0]);
  transform(context, u, FILTERS, { x: read(filters), y: u.memory.write, constants: { TURNED: turn } });
  for (const step of numbersOf(context, steps)) {
    transform(context, v, INPUTS, { x: read(x), y: v.memory.write, step, constants: from });
    multiply(context, v, u, m, turn ? "b" : "none");
    transform(context, m, OUTPUTS, { x: m.memory.read, bias: read(bias ?? null), y, step, constants: to, activation });
  }
}

/** dw(x, dy): the transposes of these maps, with a product that sums over the tiles of a step. */
function gradientOfFilters({ inputs: [x, dy], outputs: [dw], source }: Call, out: DispatchWriter, t: Tiling, steps: Steps): void {
  const { h, w, c, p, q, f, groups } = t;
  const context = { out, groups, source };
  const [v, dm] = [matrices(context, steps.rows, c), matrices(context, steps.rows, f)];
  const du = matrices(context, c / groups, f);
  const [ofX, ofDy] = [pixels(h, w, steps, SIDE + 2, t.padTop, t.padLeft), pixels(p, q, steps, SIDE)];
  for (const step of numbersOf(context, steps)) {
    transform(context, v, INPUTS, { x: read(x), y: v.memory.write, step, constants: ofX });
    transform(context, dm, OUTPUT_GRADS, { x: read(dy), y: dm.memory.write, step, constants: ofDy });
    multiply(context, v, dm, du, "a");
    transform(context, du, FILTER_GRADS, { x: du.memory.read, y: update(dw), step });
  }
}

/** `windows` where tiles do not pay; `filters`: for the gradient of the filters. */
const orTiles =
  (windows: GpuEncoder, tilingOf: (a: ConvAttrs) => Tiling, filters: boolean, encode: typeof gradientOfFilters): GpuEncoder =>
  (call, out) => {
    const attrs = call.attrs as unknown as ConvAttrs;
    const tiling = tilingOf(attrs);
    const steps = planned(attrs, tiling, filters, out);
    if (steps === null) windows(call, out);
    else encode(call, out, tiling, steps);
  };

/** The encoders of convolutions in the place of those given, which know windows alone. */
export const encodersWith = ({ conv2d, conv2dInputGrad, conv2dFilterGrad }: GpuKernels["encoders"]): GpuKernels["encoders"] => ({
  conv2d: orTiles(
    conv2d,
    (a) => a,
    false,
    (...given) => convolve(...given, false),
  ),
  conv2dInputGrad: orTiles(conv2dInputGrad, turned, false, (...given) => convolve(...given, true)),
  conv2dFilterGrad: orTiles(conv2dFilterGrad, (a) => a, true, gradientOfFilters),
});

export const shaders: GpuKernels["shaders"] = { winograd: files.winograd };
