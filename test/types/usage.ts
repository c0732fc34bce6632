/** What editors and the compiler must see of the public API: right uses compile, each wrong one is an error on its line. Never run. */
import {
  adam,
  add,
  compile,
  dense,
  earlyStopping,
  embedding,
  f1,
  grad,
  integerLookup,
  loadModel,
  loadWeights,
  lstm,
  matmul,
  meanSquaredError,
  mul,
  multiHeadAttention,
  scan,
  sequential,
  stringLookup,
  sum,
  tensor,
  textVectorization,
  tiedHead,
  transformerDecoder,
  valueAndGrad,
} from "lockstep";
import type { Callback, History, LossName, MetricName, OptimizerName, Tensor } from "lockstep";
import { padSequences, parseCsv, trainTestSplit } from "lockstep/data";
import { loadLora, lora } from "lockstep/lora";
import type { AdapterSource, Lora, LoraOptions } from "lockstep/lora";
import { openSafetensors, readSafetensors, writeSafetensors } from "lockstep/safetensors";

const names: readonly [LossName, OptimizerName, MetricName] = ["sparseCategoricalCrossentropy", "adamw", "accuracy"];
const own: Callback = { onEpochEnd: (_epoch, logs, training) => (logs.loss < 0.1 ? training.stop() : undefined) };
const model = sequential([dense(4, { activation: "relu" }), (x) => x, lstm(3)], { inputShape: [2, 4], name: "m" });

/** Layers that attend take options behind their tensors; heads are tied to embeddings. */
export function attending(x: Tensor, mask: Tensor): readonly Tensor[] {
  const [tokens, attend, decode] = [embedding(9, 4), multiHeadAttention(2, 4), transformerDecoder(8, 2)];
  const y = attend.call(x, x, null, { mask, useCausalMask: true, training: false });
  const z = decode.call(y, x, { encoderPaddingMask: mask, paddingMask: [[true, false]] });
  // @ts-expect-error an unknown option
  attend.call(x, { causal: true });
  // @ts-expect-error a layer that does not attend
  dense(3).call(x, { useCausalMask: true });
  // @ts-expect-error a layer without embeddings
  tiedHead(dense(3));
  // @ts-expect-error an unknown option of turns
  multiHeadAttention(2, 4, { rotary: { base: 10000 } });
  return [tokens.attend(z), tiedHead(tokens, { logitSoftCap: 30 }).call(z)];
}

/** Models that begin with texts are given texts; layers that read them encode, and learn vocabularies. */
export async function texts(): Promise<readonly (string | number)[]> {
  const words = textVectorization({ standardize: (text) => text.toLowerCase(), split: "character", outputSequenceLength: 4 });
  await words.adapt(["a", "b"]);
  await words.adapt(function* () {
    yield ["a"];
    yield [["b"]];
  });
  const net = sequential([words, embedding(words.vocabularySize(), 2)]);
  await net.fit(["a", "b"], [1, 0], { validationData: [["a"], [1]] });
  await net.predict([["a"], ["b"]]);
  await net.evaluate(() => [[["a"], [1]] as const]);
  const ids: Tensor = words.encode(["a"]);
  const city = stringLookup({ vocabulary: ["a"], outputMode: "tfIdf", idfWeights: [1] });
  const numbers = integerLookup({ vocabulary: Int32Array.of(1), maskToken: 0 });
  await numbers.adapt([1, 2]);
  // @ts-expect-error texts have no tensor
  words.call("a");
  // @ts-expect-error numbers are no tokens of texts
  stringLookup({ vocabulary: [1] });
  // @ts-expect-error rows for each token are of stringLookup alone
  textVectorization({ outputMode: "oneHot" });
  return [...city.getVocabulary(), ...numbers.getVocabulary(false), String(await city.decode(ids))];
}

export async function right(): Promise<number> {
  await model.compile({
    loss: "mse",
    optimizer: "adam",
    metrics: ["accuracy", "mae", f1(), (_y: Tensor, p: Tensor) => p],
    backend: "wasm",
  });
  await model.compile({ loss: names[0], optimizer: names[1], metrics: [names[2]] });
  await model.compile({ loss: meanSquaredError(), optimizer: adam({ learningRate: 1e-3 }) });
  const history: History = await model.fit({ data: new Float32Array(8), shape: [1, 2, 4] }, [[1, 2, 3]], {
    epochs: 1,
    callbacks: [own, earlyStopping({ patience: 2 })],
  });
  const { loss, accuracy, f1: scores } = await model.evaluate(tensor([[[1, 2]]]), [[1]]);
  const best: number = Math.max(accuracy, ...history.history.valLoss) - loss;
  // @ts-expect-error f1 may be one number for each class
  scores.toFixed();
  const copy = await loadModel(await model.toBytes(), { loss: "mse" });
  copy.trainable = copy.getLayer("dense").trainable && copy.getLayer(-1).trainable;
  const p: Tensor = await copy.predict([[[1, 2, 3, 4]]]);
  const { columns } = parseCsv("a,b\n1,2", { header: true });
  return history.epoch.length + best + p.size + columns.length;
}

/** What files are read from, and what of one's own loadModel is given. */
export async function files(response: Response, stream: ReadableStream<Uint8Array>, file: File): Promise<void> {
  for (const source of [
    response,
    fetch("a"),
    stream,
    file,
    "a",
    new URL("a:b"),
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
    new SharedArrayBuffer(8),
    Promise.resolve(file),
  ])
    await loadModel(source);
  await loadModel(file, {
    layers: {
      scale:
        ({ by }) =>
        (x) =>
          mul(x, by as number),
    },
    activations: { cubic: (x) => mul(x, x) },
    regularizers: { half: (w) => sum(w) },
    losses: { mine: (y, p) => mul(y, p) },
    metrics: { own: null, f1: f1() },
  });
  await loadWeights(model, response, { names: (name) => name.toUpperCase() });
  await loadWeights(model, response, { names: { "dense/kernel": "fc.weight" } });
  const { tensors, metadata } = await readSafetensors(file, { names: ["a"], raw: true });
  const bytes: Uint8Array | undefined = tensors.get("a")?.bytes;
  const data: Float32Array | Int32Array | Uint32Array = (await (await openSafetensors(stream)).read("a")).data;
  await writeSafetensors(
    { a: tensor(data), b: { shape: [1], data: BigInt64Array.of(1n) }, c: { dtype: "F4", shape: [2], bytes: bytes ?? new Uint8Array(1) } },
    metadata,
  );
  await model.save(new URL("file:///a"));
  // @ts-expect-error a number is no source
  await loadModel(7);
  // @ts-expect-error a misspelled option
  await loadModel(file, { layer: {} });
}

/** Forms of data, batches and shapes. */
export async function forms(): Promise<readonly (number | null)[]> {
  const reader = sequential([dense(1)], { inputShape: [null, 2] });
  const rows = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
  const { xTrain, yTrain } = trainTestSplit({ data: new Float32Array(4), shape: [2, 2] }, { data: new Uint8Array(2), shape: [2] });
  await reader.fit(xTrain, yTrain, {
    stepsPerEpoch: 2,
    validationFreq: [1, 3],
    padTo: "powersOfTwo",
    validationData: async function* () {
      yield { xs: rows, ys: [1, 2] };
    },
  });
  await reader.fit(() => [[rows, [1, 2]] as const, [rows, yTrain, [0.5, 1]] as const], {
    validationData: [rows, yTrain],
    validationSteps: 1,
  });
  await reader.evaluate(() => [{ xs: rows, ys: yTrain }], { steps: 1 });
  await reader.predict(padSequences([[1, 2], [3]], { dtype: "f32", padding: "post" }), { padTo: [16, 32] });
  return reader.outputShape;
}

/** Arguments without a type are tensors; others say what they are. */
export const untyped = compile((x, y) => matmul(x, y));
export const slope = compile((x) => valueAndGrad((t) => sum(mul(t, x)), [x])(x).grads);
export const slopes = compile((x) => grad((t, scale: number) => sum(mul(t as Tensor, scale)), [x])(x, 2));
export const typed = compile(({ w }: { w: Tensor }, [x]: readonly Tensor[]) => ({ product: matmul(x, w) }));
export async function call(x: Tensor): Promise<Tensor[]> {
  return [await untyped(x, x), (await typed({ w: x }, [x])).product];
}

/** What a loop carries may be a tensor, a list, an object or nothing, and stays so: lists of a known length without `as const`. */
export function looped(x: Tensor, n: number): readonly Tensor[] {
  const [sum, sums] = scan((total, row) => [add(total, row), mul(total, 2)], tensor(0), x);
  const [[a, b], pairs] = scan(([first, second], row) => [[second, add(first, row)], [first, row]], [x, x], x);
  const [{ h, c }, none] = scan(({ h, c }) => [{ h: add(h, c[0]), c: [c[1], h] }, null], { h: x, c: [x, x] }, null, { length: n });
  const [nothing, [y]] = scan((_, [row]: readonly Tensor[]) => [null, [row]], null, [x]);
  const layers: readonly Tensor[] = [x, x];
  const [many] = scan((all) => [all.map((t) => mul(t, 2)), null], layers, null, { length: n });
  const exact: readonly [Tensor, Tensor] = [a, b];
  const empty: readonly [null, null] = [none, nothing];
  // @ts-expect-error a list that gets longer
  scan(([first, second]) => [[first, second, first], null], [x, x], null, { length: n });
  // @ts-expect-error another structure
  scan((t) => [{ t }, null], x, null, { length: n });
  return [sum, sums, ...exact, ...pairs, h, ...c, y, ...many, ...empty.filter((t) => t !== null)];
}

export function wrong(): void {
  // @ts-expect-error a model has its layers from the start
  model.add(dense(1));
  // @ts-expect-error an option of the model
  dense(4, { inputShape: [3] });
  // @ts-expect-error all arguments as one object
  dense({ units: 4 });
  // @ts-expect-error a call with states gives them
  lstm(4, { returnState: true });
  // @ts-expect-error a misspelled metric
  void model.compile({ loss: "mse", metrics: ["acuracy"] });
  // @ts-expect-error a loss as Python writes it
  void model.compile({ loss: "mean_squared_error" });
  // @ts-expect-error a class name
  void model.compile({ loss: "mse", optimizer: "Adam" });
  // @ts-expect-error an unknown option
  adam({ lr: 0.1 });
  // @ts-expect-error columns are no data
  void model.predict({ a: [1], b: [2] });
  // @ts-expect-error data that has to be awaited
  void model.predict(Promise.resolve([[1]]));
  // @ts-expect-error an unknown option
  earlyStopping({ restore_best_weights: true });
  // @ts-expect-error an unknown activation
  dense(4, { activation: "Relu" });
  // @ts-expect-error units are a number
  dense("4");
  // @ts-expect-error an unknown option
  void model.fit([[1]], [[1]], { batch_size: 3 });
  // @ts-expect-error a misspelled method
  void model.fit([[1]], [[1]], { callbacks: [{ onEpochend() {} }] });
  // @ts-expect-error an unknown option
  parseCsv("a", { sep: ";" });
}

/** Adapters: targets are names, regular expressions and functions; files come by path, as bytes or by name. */
export async function adapting(source: AdapterSource): Promise<Lora> {
  const options: LoraOptions = { rank: 4, alpha: 8, targets: ["kernel", /query/, ({ layer, shape }) => layer === "m" && shape[0] > 2] };
  const adapters = lora(model, options);
  await adapters.load({ "adapter_config.json": new Uint8Array(2), "adapter_model.safetensors": "a.safetensors" });
  adapters.parameters[0].shape.at(0);
  const again = await loadModel(await model.toBytes(), { lora });
  // @ts-expect-error an unknown option
  lora(again, { r: 4 });
  // @ts-expect-error targets are no numbers
  lora(again, { targets: [1] });
  await adapters.merge();
  return loadLora(model, source, { dropout: 0.1 });
}
