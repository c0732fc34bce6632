/**
 * @file Operators in the forms that ONNX's backend tests do not show, as ONNX Runtime computes them: types, ranks, axes, negative indices,
 * empty tensors, inputs that are constants of the file and such that are not.
 */
import { test } from "uvu";
import { open } from "../../build/esm/index.js";
import { i64, makeNode, t } from "./make.js";
import { sameAsRuntime } from "./ort.js";

const backend = await open("wasm");
test.after(() => backend.close());

/** A stream of numbers in [0, 1), the same in each run. */
let state = 1;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}
const int = (least, most) => least + Math.floor(random() * (most - least + 1));
const sizeOf = (shape) => shape.reduce((n, d) => n * d, 1);
const made = (type, shape, fn) => t(type, shape, Array.from({ length: sizeOf(shape) }, fn));
const floats = (shape, scale = 3) => made("float32", shape, () => Math.fround((random() * 2 - 1) * scale));
const ints = (type, shape, least, most) => made(type, shape, () => int(least, most));
const scalar = (n) => i64([n], []);
const any = (type, shape) => {
  if (type === "float32") return floats(shape);
  if (type === "bool") return ints(type, shape, 0, 1);
  return ints(type, shape, type.startsWith("u") ? 0 : -20, 20);
};

/** `all`: the constants of the file are all inputs but the first; `none`: none are. */
const ALL = ["x1", "x2", "x3", "x4", "x5", "x6", "x7"];
async function check(op, inputs, options = {}) {
  const bytes = makeNode(op, inputs, options);
  const fed = Object.fromEntries(inputs.flatMap((v, i) => (v === null ? [] : [[`x${i}`, v]])));
  const what = `${op} ${JSON.stringify(options)} ${inputs.map((v) => (v === null ? "-" : `${v.type}[${v.shape}]`)).join(" ")}`;
  await sameAsRuntime(what, bytes, fed, backend, options.tolerance);
}
/** With constants in the file, and with all fed. */
async function checkBoth(op, inputs, options = {}) {
  await check(op, inputs, { ...options, known: ALL });
  await check(op, inputs, options);
}

const SPECIAL = [0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -1.5, Infinity, -Infinity, NaN, 1e-30, 100, -100, 3.4e38, -3.4e38].map(Math.fround);
const special = t("float32", [SPECIAL.length], SPECIAL);

const FUNCTIONS = ["Elu", "Selu", "Celu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Mish"];
FUNCTIONS.push("Erf", "Round", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "IsNaN", "IsInf", "Gelu", "Shrink");
for (const op of FUNCTIONS) {
  test(`ONNX beside ONNX Runtime: ${op}`, async () => {
    for (const x of [floats([]), floats([0, 3]), floats([200], 10), floats([200], 0.01), special]) await check(op, [x], { opset: 20 });
  });
}

test("ONNX beside ONNX Runtime: activations with attributes, slopes and limits", async () => {
  for (const alpha of [0.3, 1.7]) {
    for (const op of ["Elu", "Celu", "LeakyRelu", "ThresholdedRelu"]) await check(op, [floats([50])], { attributes: { alpha } });
    await check("QuickGelu", [floats([50])], { attributes: { alpha }, domain: "com.microsoft" });
  }
  for (const high of [0, 1])
    for (const low of [0, 1]) await check("IsInf", [special], { opset: 20, attributes: { detect_negative: low, detect_positive: high } });
  for (const [shape, slope] of [
    [[2, 3], [3]],
    [[2, 3, 4], [3, 1]],
    [[2, 3, 4, 5], [3, 1, 1]],
    [[4], []],
  ])
    await checkBoth("PRelu", [floats(shape), floats(slope)], { opset: 16 });
  for (const type of ["float32", "int32", "int8", "uint8", "int64", "uint32"]) {
    const x = any(type, [30]);
    const [low, high] = [t(type, [], [2]), t(type, [], [9])];
    for (const inputs of [[x], [x, low], [x, null, high], [x, low, high], [x, high, low]]) await checkBoth("Clip", inputs, { opset: 13 });
  }
  for (const op of ["BiasGelu", "FastGelu"]) await checkBoth(op, [floats([2, 3, 4]), floats([4])], { domain: "com.microsoft" });
});

test("ONNX beside ONNX Runtime: softmax and its kin, flattened and along an axis", async () => {
  for (const op of ["Softmax", "LogSoftmax", "Hardmax"])
    for (const shape of [[2, 3, 4], [2, 1, 3, 1, 2], [0, 3]])
      for (const opset of [11, 13])
        for (let axis = -shape.length; axis < shape.length; axis++) await check(op, [floats(shape)], { opset, attributes: { axis } });
});

const NUMBERS = ["float32", "int32", "int64", "int8", "uint8", "int16", "uint16", "uint32"];
const PAIRS = [
  [[2, 3], [3]],
  [[], [2, 3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[0, 3], [3]],
  [
    [2, 3, 4, 1, 2],
    [4, 5, 1],
  ],
];

test("ONNX beside ONNX Runtime: arithmetic of all types wraps, divides and compares", async () => {
  for (const type of NUMBERS) {
    const full = (shape) =>
      type === "float32"
        ? floats(shape, 10)
        : type.endsWith("8")
          ? ints(type, shape, ...(type === "int8" ? [-128, 127] : [0, 255]))
          : any(type, shape);
    for (const [a, b] of PAIRS) {
      const [x, y] = [full(a), full(b)];
      const divisor = { ...y, elements: y.elements.map((v) => v || 3) };
      for (const op of ["Add", "Sub", "Mul"]) await checkBoth(op, [x, y], { opset: 14 });
      for (const op of ["Equal", "Greater", "LessOrEqual"]) await checkBoth(op, [x, y], { opset: 16 });
      await checkBoth("Div", [x, divisor], { opset: 14 });
      await checkBoth("Mod", [x, divisor], { opset: 13, attributes: { fmod: 1 } });
      if (type !== "float32") await checkBoth("Mod", [x, divisor], { opset: 13 });
      if (type !== "float32") for (const op of ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]) await checkBoth(op, [x, y], { opset: 18 });
    }
  }
  for (const type of ["float32", "int32", "int64"])
    for (const exponents of ["float32", "int32"]) {
      const x = type === "float32" ? floats([2, 3]) : ints(type, [2, 3], -5, 5);
      await checkBoth("Pow", [x, ints(exponents, [3], 0, 5)], { opset: 15 });
    }
  for (const direction of ["LEFT", "RIGHT"])
    for (const type of ["uint8", "uint32"])
      await checkBoth("BitShift", [ints(type, [9], 0, 200), ints(type, [9], 0, 7)], { opset: 18, attributes: { direction } });
});

test("ONNX beside ONNX Runtime: casts among all types", async () => {
  const codes = { float32: 1, uint8: 2, int8: 3, uint16: 4, int16: 5, int32: 6, int64: 7, bool: 9, uint32: 12 };
  for (const from of [...NUMBERS, "bool"])
    for (const [to, code] of Object.entries(codes)) {
      const x = from === "float32" ? t(from, [8], [0, -0, 1, 2.5, 3.99, 0.5, 100.75, 127]) : any(from, [20]);
      for (const known of [[], ["x0"]]) await check("Cast", [x], { attributes: { to: code }, known, what: to });
    }
});

const REDUCTIONS = ["Sum", "Mean", "Prod", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"].map((name) => `Reduce${name}`);
for (const op of REDUCTIONS) {
  test(`ONNX beside ONNX Runtime: ${op}`, async () => {
    for (const type of op.includes("Log") ? ["float32"] : ["float32", "int32", "int64"])
      for (const shape of [[], [2, 3, 4]])
        for (const keepdims of [0, 1]) {
          const x = type === "float32" && op === "ReduceLogSum" ? made(type, shape, () => Math.fround(random() + 0.1)) : any(type, shape);
          if (type !== "float32") x.elements = x.elements.map((v) => v % 5);
          const attributes = { keepdims };
          if (type !== "int64" || ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"].includes(op)) {
            for (let axis = -shape.length; axis < shape.length; axis++) await checkBoth(op, [x, i64([axis])], { opset: 18, attributes });
            if (shape.length > 2) await checkBoth(op, [x, i64([0, -1])], { opset: 18, attributes });
            await check(op, [x, i64([])], { opset: 18, attributes: { keepdims, noop_with_empty_axes: 1 }, known: ALL });
          }
        }
  });
}

test("ONNX beside ONNX Runtime: places of extremes, sorting, cumulative sums", async () => {
  const few = (type, shape) => (type === "float32" ? made(type, shape, () => int(-2, 2)) : ints(type, shape, 0, 3));
  for (const op of ["ArgMax", "ArgMin"])
    for (const shape of [[2, 3, 4]])
      for (const type of ["float32", "int32", "uint8"])
        for (let axis = -shape.length; axis < shape.length; axis++)
          for (const keepdims of [0, 1])
            for (const last of [0, 1])
              await check(op, [few(type, shape)], { opset: 13, attributes: { axis, keepdims, select_last_index: last } });
  for (const shape of [[5], [2, 100, 3], [1, 300]])
    for (const type of ["float32", "int64"])
      for (const largest of [0, 1])
        for (let axis = -1; axis < shape.length; axis++)
          for (const k of [0, 1, 5, shape.at(axis)]) {
            if (k > shape.at(axis)) continue;
            const infinite = made("float32", shape, () => [-Infinity, 0, 1, 2, -5, 7.5, Infinity][int(0, 6)]);
            const x = type === "float32" ? infinite : ints(type, shape, 0, 9);
            await check("TopK", [x, i64([k])], { opset: 11, outputs: 2, attributes: { axis, largest }, known: ALL });
          }
  for (const shape of [[5], [2, 3, 4], [3, 150], [0, 3]])
    for (const type of ["float32", "int32"])
      for (let axis = -1; axis < shape.length; axis++)
        for (const exclusive of [0, 1])
          for (const reverse of [0, 1])
            await check("CumSum", [any(type, shape), scalar(axis)], {
              opset: 14,
              attributes: { exclusive, reverse },
              known: ALL,
              tolerance: 1e-4,
            });
});

const TYPES = ["float32", "int32", "int64", "uint8", "bool"];
test("ONNX beside ONNX Runtime: splitting, padding, tiling, triangles", async () => {
  for (const type of TYPES) {
    await check("Split", [any(type, [6, 4]), i64([2, 4])], { opset: 13, outputs: 2, known: ALL });
    await check("Split", [any(type, [6, 4])], { opset: 13, outputs: 3 });
    await check("Split", [any(type, [7, 4])], { opset: 18, outputs: 3, attributes: { num_outputs: 3 } });
    for (const mode of ["constant", "edge", "reflect", "wrap"]) {
      if (type === "bool" && mode !== "constant") continue;
      for (const pads of [
        [1, 0, 0, 2],
        [2, 2, 1, 1],
        [-1, 0, 0, 1],
        [-1, -1, 1, 1],
      ])
        await checkBoth("Pad", [any(type, [4, 5]), i64(pads)], { opset: 19, attributes: { mode } });
      await check("Pad", [any(type, [2, 3, 4]), i64([1, 1, 2, 1]), null, i64([2, 0])], { opset: 19, known: ALL, attributes: { mode } });
    }
    await checkBoth("Pad", [any(type, [2, 3]), i64([1, 1, 0, 0]), any(type, [])], { opset: 19 });
    for (const [shape, repeats] of [
      [
        [2, 1, 3],
        [2, 4, 1],
      ],
      [[3], [0]],
      [
        [2, 2, 2, 2, 2],
        [2, 1, 2, 1, 3],
      ],
    ])
      await checkBoth("Tile", [any(type, shape), i64(repeats)], { opset: 13 });
    for (const k of [-10, -1, 0, 2, 10])
      for (const upper of [0, 1])
        for (const shape of [[4, 5], [2, 3, 3], [0, 4]])
          if (type !== "uint8") await check("Trilu", [any(type, shape), scalar(k)], { opset: 14, known: ALL, attributes: { upper } });
  }
  for (const [batch, time] of [
    [0, 1],
    [1, 0],
  ]) {
    const shape = [4, 3, 2];
    const lengths = ints("int64", [shape[batch]], 1, shape[time]);
    await checkBoth("ReverseSequence", [floats(shape), lengths], { attributes: { batch_axis: batch, time_axis: time } });
  }
});

test("ONNX beside ONNX Runtime: gathering and scattering, with places twice", async () => {
  for (const type of TYPES) {
    for (const [shape, index, axis] of [
      [[5, 3], [2, 2], 0],
      [[5, 3], [], 1],
      [[2, 3, 4], [3], -1],
      [[5], [0], 0],
    ]) {
      const d = shape.at(axis);
      await checkBoth("Gather", [any(type, shape), ints("int64", index, -d, d - 1)], { opset: 13, attributes: { axis } });
    }
    for (const [shape, index, axis] of [
      [[3, 4], [3, 2], 1],
      [[2, 3, 4], [2, 2, 4], 1],
      [[3, 4], [2, 3], 1],
      [[3, 4], [0, 4], 0],
    ]) {
      const d = shape.at(axis);
      const places = ints("int64", index, -d, d - 1);
      await checkBoth("GatherElements", [any(type, shape), places], { opset: 13, attributes: { axis } });
      for (const reduction of ["add", "mul", "max", "min"]) {
        if (type === "bool") continue;
        await checkBoth("ScatterElements", [any(type, shape), places, any(type, index)], { opset: 18, attributes: { axis, reduction } });
      }
    }
    for (const [shape, index, batchDims] of [
      [[3, 4], [2, 2], 0],
      [[2, 3, 4], [2, 2, 2], 1],
      [[2, 3, 4], [5, 3], 0],
      [[2, 2, 3], [2, 2, 1], 2],
      [[3, 4], [6, 1], 0],
    ]) {
      const K = index.at(-1);
      const places = made("int64", index, (_, i) => int(-shape[batchDims + (i % K)], shape[batchDims + (i % K)] - 1));
      await checkBoth("GatherND", [any(type, shape), places], { opset: 13, attributes: { batch_dims: batchDims } });
      if (batchDims > 0 || type === "bool") continue;
      const updates = any(type, [...index.slice(0, -1), ...shape.slice(K)]);
      for (const reduction of ["add", "mul", "max", "min"])
        await checkBoth("ScatterND", [any(type, shape), places, updates], { opset: 18, attributes: { reduction } });
    }
  }
  for (const shape of [[3], [2, 3]])
    for (let axis = -shape.length - 1; axis <= shape.length; axis++) {
      const attributes = { axis };
      await checkBoth("OneHot", [ints("int64", shape, -6, 6), scalar(5), t("float32", [2], [-1, 3])], { opset: 11, attributes });
    }
});

test("ONNX beside ONNX Runtime: what selects elements", async () => {
  for (const type of TYPES) {
    await check("NonZero", [ints(type, [2, 3, 2], 0, 1)], { opset: 13 });
    for (const [condition, axis] of [
      [[1, 0, 1], 0],
      [[0, 1], 1],
      [[1, 0, 0, 1, 1], null],
      [[0, 0, 0], 0],
    ]) {
      const attributes = axis === null ? {} : { axis };
      await checkBoth("Compress", [any(type, [3, 4]), t("bool", [condition.length], condition)], { attributes });
    }
  }
  for (const sorted of [0, 1]) {
    await check("Unique", [made("float32", [2, 4], () => int(-2, 2))], { outputs: 4, attributes: { sorted } });
    for (const axis of [0, 1, -1]) await check("Unique", [ints("int64", [4, 3], 0, 1)], { outputs: 4, attributes: { sorted, axis } });
  }
  for (const count of [1, 7, 30])
    for (const center of [0, 1]) {
      const [boxes, scores] = [made("float32", [2, count, 4], random), made("float32", [2, 3, count], random)];
      const limits = [i64([3]), t("float32", [1], [0.3]), t("float32", [1], [0.4])].map((v) => ({
        ...v,
        elements: v.elements.map(Math.fround),
      }));
      const inputs = [boxes, scores].map((v) => ({ ...v, elements: v.elements.map(Math.fround) }));
      await checkBoth("NonMaxSuppression", [...inputs, ...limits], { opset: 11, attributes: { center_point_box: center } });
    }
});

test("ONNX beside ONNX Runtime: quantization for all, along an axis, by blocks", async () => {
  const scale = (shape) => made("float32", shape, () => Math.fround(0.01 + random() * 0.2));
  for (const type of ["uint8", "int8", "uint16", "int16"]) {
    const zero = (shape) => ints(type, shape, type.startsWith("u") ? 0 : -20, type === "uint8" ? 200 : 60);
    for (const [shape, of, attributes] of [
      [[3, 4], [], {}],
      [[3, 4], [4], {}],
      [[3, 4], [3], { axis: 0 }],
      [[2, 3, 4, 2], [3], {}],
      [[3, 7], [3, 3], { axis: 1, block_size: 3 }],
      [[4, 3, 2], [4, 2, 2], { axis: 1, block_size: 2 }],
    ]) {
      await checkBoth("QuantizeLinear", [floats(shape, 20), scale(of), zero(of)], { opset: 21, attributes });
      await checkBoth("DequantizeLinear", [zero(shape), scale(of), zero(of)], { opset: 21, attributes });
    }
    if (type.endsWith("16")) continue;
    const one = () => [scale([]), zero([])];
    for (const op of ["QLinearAdd", "QLinearMul"])
      await checkBoth(op, [zero([3, 4]), ...one(), zero([4]), ...one(), ...one()], { domain: "com.microsoft" });
    await check("QLinearLeakyRelu", [zero([3, 4]), ...one(), ...one()], {
      domain: "com.microsoft",
      attributes: { alpha: 0.1 },
      known: ALL,
    });
  }
  const pool = (isLast) => ({ domain: "com.microsoft", known: ALL, attributes: { channels_last: isLast } });
  const bytes = (shape) => ints("uint8", shape, 0, 200);
  for (const isLast of [0, 1])
    await check("QLinearGlobalAveragePool", [bytes([2, 3, 4, 5]), scale([]), bytes([]), scale([]), bytes([])], pool(isLast));
  for (const transB of [0, 1])
    for (const of of [[], [5]])
      for (const more of [[], [t("float32", [], [0.7]), bytes([])]]) {
        const b = bytes(transB ? [5, 4] : [4, 5]);
        const inputs = [bytes([3, 4]), scale([]), bytes([]), b, scale(of), bytes(of), ints("int32", [5], -500, 500), ...more];
        await check("QGemm", inputs, { domain: "com.microsoft", known: [...ALL, "x8"], attributes: { transB } });
      }
  for (const x of [floats([3, 4], 20), t("float32", [3], [1, 2, 3]), t("float32", [3], [-1, -2, -3])])
    await check("DynamicQuantizeLinear", [x], { opset: 11, outputs: 3 });
});

test("ONNX beside ONNX Runtime: counts of n-grams", async () => {
  const pool = { ngram_counts: [0, 4], ngram_indexes: [0, 1, 2, 3, 4, 5, 6], pool_int64s: [2, 3, 5, 4, 5, 6, 7, 8, 6, 7] };
  for (const mode of ["TF", "IDF", "TFIDF"])
    for (const [min_gram_length, max_gram_length, max_skip_count] of [
      [2, 2, 0],
      [1, 2, 5],
      [1, 1, 3],
    ])
      for (const shape of [[12], [2, 6]]) {
        const attributes = { ...pool, mode, min_gram_length, max_gram_length, max_skip_count, weights: { floats: [1, 2, 3, 4, 5, 6, 7] } };
        await check("TfIdfVectorizer", [t("int32", shape, [1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8])], { opset: 9, attributes });
      }
});

test("ONNX beside ONNX Runtime: losses with weights and labels that do not count", async () => {
  for (const reduction of ["none", "sum", "mean"])
    for (const ignored of [null, 1, -100])
      for (const shape of [[3, 5], [2, 4, 2, 3]]) {
        const [batch, classes, ...rest] = shape;
        const labels = ints("int64", [batch, ...rest], 0, classes - 1);
        if (ignored === -100) labels.elements[0] = -100;
        const attributes = ignored === null ? { reduction } : { reduction, ignore_index: ignored };
        for (const weights of [[], [made("float32", [classes], () => Math.fround(random() + 0.1))]]) {
          await check("NegativeLogLikelihoodLoss", [floats(shape), labels, ...weights], { opset: 13, attributes });
          await check("SoftmaxCrossEntropyLoss", [floats(shape), labels, ...weights], { opset: 13, attributes, outputs: 2 });
        }
      }
});

test.run();
