/** @file csvLogger and tensorBoard: what stands in the files that they write. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseCsv } from "../../build/esm/data/index.js";
import { ArgumentError, FileError } from "../../build/esm/errors.js";
import { add, dense, model, open, relu, sequential } from "../../build/esm/index.js";
import { crc32c, histogram, maskedCrc32c, recordOf, scalar, summaryEvent, versionEvent } from "../../build/esm/inspect/events.js";
import { csvLogger, tensorBoard } from "../../build/esm/inspect/index.js";
import { batches, errorOf, table } from "../model/helpers.js";

const backend = await open("wasm", { reproducible: true });
const data = table(40);
const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
test.after(() => rmSync(folder, { recursive: true }));
let names = 0;
const fresh = (ending = "") => join(folder, `f${names++}${ending}`);

async function compiled(metrics = ["mae"], optimizer = "sgd") {
  const model = sequential([dense(4, { activation: "tanh" }), dense(1)], { inputShape: [4], seed: 1 });
  await model.compile({ loss: "mse", optimizer, metrics, backend });
  return model;
}
const train = (model, callback, options = {}) =>
  model.fit(data.x, data.y, { epochs: 3, batchSize: 16, verbose: 0, callbacks: [callback], ...options });

test("csvLogger: a line of names and one for each epoch, with all digits", async () => {
  const file = fresh(".csv");
  const { history } = await train(await compiled(), csvLogger(file), { validationSplit: 0.25 });
  const { columns, values, rows } = parseCsv(readFileSync(file, "utf8"));
  assert.equal(columns, ["epoch", "loss", "mae", "valLoss", "valMae"]);
  assert.is(rows, 3);
  assert.equal(
    Array.from(values),
    history.loss.flatMap((_, e) => [e, ...["loss", "mae", "valLoss", "valMae"].map((name) => Math.fround(history[name][e]))]),
  );
  assert.is(readFileSync(file, "utf8").split("\n")[1], `0,${["loss", "mae", "valLoss", "valMae"].map((name) => history[name][0]).join()}`);
});

test("csvLogger: begins anew, or writes behind what is there under its columns", async () => {
  const file = fresh(".csv");
  for (let i = 0; i < 2; i++) await train(await compiled(), csvLogger(file));
  assert.is(readFileSync(file, "utf8").trimEnd().split("\n").length, 4);
  await train(await compiled(), csvLogger(pathToFileURL(file), { append: true }), { epochs: 5, initialEpoch: 3 });
  assert.equal(
    readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => line.split(",")[0]),
    ["epoch", "0", "1", "2", "3", "4"],
  );
  // A line that was cut off by whatever ended the program stays a line.
  writeFileSync(file, "epoch,mae,loss\n0,1,2");
  await train(await compiled(), csvLogger(file, { append: true }), { epochs: 1 });
  const [, first, second] = readFileSync(file, "utf8").split("\n");
  assert.is(first, "0,1,2");
  const [epoch, mae, loss] = second.split(",").map(Number);
  assert.ok(epoch === 0 && mae ** 2 < loss * 1.0001, second);
  const other = await errorOf(async () => train(await compiled(["mae", "logCosh"]), csvLogger(file, { append: true })));
  assert.instance(other, FileError);
  assert.match(other.message, /has the columns epoch, mae, loss, and none for "logCosh"/);
});

test("csvLogger: NA for what an epoch does not have, other separators, tables in quotes", async () => {
  const file = fresh(".csv");
  await train(await compiled(), csvLogger(file, { separator: ";" }), { validationSplit: 0.25, validationFreq: 2 });
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  assert.is(lines[0], "epoch;loss;mae;valLoss;valMae");
  assert.match(lines[1], /^0;[\d.]+;[\d.]+;NA;NA$/);
  assert.match(lines[2], /^1;[\d.]+;[\d.]+;[\d.]+;[\d.]+$/);
  const model = sequential([dense(2, { activation: "softmax" })], { inputShape: [4] });
  await model.compile({ loss: "sparseCategoricalCrossentropy", metrics: ["confusionMatrix"], backend });
  await model.fit(
    data.x,
    Int32Array.from({ length: 40 }, (_, i) => i % 2),
    { verbose: 0, callbacks: [csvLogger(file)] },
  );
  assert.match(readFileSync(file, "utf8").split("\n")[1], /^0,[\d.]+,"\[\[\d+,\d+\],\[\d+,\d+\]\]"$/);
});

test("csvLogger: what cannot be written or is no option", async () => {
  for (const make of [
    () => csvLogger(""),
    () => csvLogger(7),
    () => csvLogger("a", { separator: ", " }),
    () => csvLogger("a", { delimiter: ";" }),
  ])
    assert.instance(await errorOf(make), ArgumentError);
  const error = await errorOf(async () => train(await compiled(), csvLogger(join(folder, "no", "such", "folder.csv"))));
  assert.instance(error, FileError);
  assert.match(error.message, /cannot write ".*folder\.csv": ENOENT/);
});

const latin = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));

test("events: sums are CRC-32C, as RFC 3720 (iSCSI, B.4) has them, masked as in files of TensorFlow", () => {
  assert.is(crc32c(latin("123456789")), 0xe3069283);
  assert.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.is(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
  assert.is(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  assert.is(maskedCrc32c(latin("\x1a\x11CRC test, one two")), 0x5794d08a);
});

test("events: bytes are those that TensorFlow writes for tf.summary.scalar('accuracy', 0.99, step=77)", () => {
  const seconds = (bytes) => new DataView(latin(bytes).buffer).getFloat64(0, true);
  const first = seconds("\x00\x00\x80\x38\x99\xd6\xd7\x41");
  assert.equal(
    recordOf(versionEvent(first)),
    latin("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09\x00\x00\x80\x38\x99\xd6\xd7\x41\x1a\x0dbrain.Event:2\x12\x4b\x36\xab"),
  );
  const second = seconds("\xc4\x05\xb7\x3d\x99\xd6\xd7\x41");
  assert.equal(
    recordOf(summaryEvent(second, 77, [scalar("accuracy", 0.99)])),
    latin(
      "\x32\0\0\0\0\0\0\0\x24\x19\x56\xec\x09\xc4\x05\xb7\x3d\x99\xd6\xd7\x41\x10\x4d\x2a\x25\x0a\x23\x0a\x08accuracy\x42\x0a\x08\x01\x12" +
        "\x00\x22\x04\xa4\x70\x7d\x3f\x4a\x0b\x0a\x09\x0a\x07scalars\xa5\x5b\x64\x33",
    ),
  );
});

/** A naive reader: fields of a message as [field, value], value a number or bytes. */
function fieldsOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fields = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const wire = key & 7;
    if (wire === 0) fields.push([key >> 3, varint()]);
    else if (wire === 1) fields.push([key >> 3, view.getFloat64((at += 8) - 8, true)]);
    else {
      assert.is(wire, 2);
      const length = varint();
      fields.push([key >> 3, bytes.subarray(at, (at += length))]);
    }
  }
  return fields;
}
const field = (bytes, number) => fieldsOf(bytes).find(([n]) => n === number)?.[1];
const textOf = (bytes) => new TextDecoder().decode(bytes);

/** Events of the one file in a folder: { step, values: { name: { plugin, numbers, shape } } }. */
function eventsIn(run) {
  const [name, ...others] = readdirSync(run);
  assert.equal(others, []);
  assert.match(name, /^events\.out\.tfevents\.\d{10}\./);
  const bytes = readFileSync(join(run, name));
  const events = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at));
    assert.is(bytes.readUInt32LE(at + 8), maskedCrc32c(bytes.subarray(at, at + 8)));
    const event = bytes.subarray(at + 12, at + 12 + length);
    assert.is(bytes.readUInt32LE(at + 12 + length), maskedCrc32c(event));
    at += 16 + length;
    assert.ok(Math.abs(field(event, 1) - Date.now() / 1000) < 600);
    const summary = field(event, 5);
    if (summary === undefined) {
      if (field(event, 4) === undefined) assert.is(textOf(field(event, 3)), "brain.Event:2");
      else events.graph = field(event, 4);
      continue;
    }
    const values = fieldsOf(summary).map(([, value]) => {
      const tensor = field(value, 8);
      const content = Uint8Array.from(field(tensor, 4));
      const numbers = field(tensor, 1) === 1 ? new Float32Array(content.buffer) : new Float64Array(content.buffer);
      const shape = fieldsOf(field(tensor, 2)).map(([, dim]) => field(dim, 1));
      return [textOf(field(value, 1)), { plugin: textOf(field(field(field(value, 9), 1), 1)), numbers: [...numbers], shape }];
    });
    events.push({ step: field(event, 2), values: Object.fromEntries(values) });
  }
  return events;
}

test("tensorBoard: numbers of each epoch in the runs train and validation", async () => {
  const logDir = fresh();
  const { history } = await train(await compiled(), tensorBoard({ logDir }), { validationSplit: 0.25 });
  assert.equal(readdirSync(logDir), ["train", "validation"]);
  const scalarOf = (value) => ({ plugin: "scalars", numbers: [Math.fround(value)], shape: [] });
  assert.equal(
    eventsIn(join(logDir, "train")),
    history.loss.map((loss, step) => ({
      step,
      values: { epoch_loss: scalarOf(loss), epoch_mae: scalarOf(history.mae[step]), epoch_learningRate: scalarOf(0.01) },
    })),
  );
  assert.equal(
    eventsIn(join(logDir, "validation")),
    history.valLoss.map((loss, step) => ({ step, values: { epoch_loss: scalarOf(loss), epoch_mae: scalarOf(history.valMae[step]) } })),
  );
});

test("tensorBoard: losses of batches, and weights", async () => {
  const logDir = fresh();
  const model = await compiled();
  const losses = [];
  const keep = { onBatchEnd: (_step, { loss }) => void losses.push(Math.fround(loss)) };
  await train(model, tensorBoard({ logDir: pathToFileURL(logDir), updateFreq: 2, histogramFreq: 2 }), {
    callbacks: undefined,
    epochs: 1,
  });
  assert.not(existsSync(logDir), "callbacks were left out");
  const board = tensorBoard({ logDir: pathToFileURL(logDir), updateFreq: 2, histogramFreq: 2 });
  await model.fit(data.x, data.y, { epochs: 3, batchSize: 16, verbose: 0, callbacks: [keep, board] });
  assert.equal(readdirSync(logDir), ["train"]);
  const events = eventsIn(join(logDir, "train"));
  const batch = events.filter((e) => "batch_loss" in e.values);
  assert.equal(
    batch.map((e) => [e.step, e.values.batch_loss.numbers[0]]),
    losses.flatMap((loss, step) => (step % 2 === 1 ? [[step, loss]] : [])),
  );
  const histograms = events.filter((e) => "dense/kernel" in e.values);
  assert.equal(
    histograms.map((e) => e.step),
    [0, 2],
  );
  const [, , , , ...rest] = Object.entries(histograms[1].values);
  assert.equal(rest.map(([name]) => name).sort(), ["dense/bias", "dense_1/bias", "dense_1/kernel"]);
  const { numbers, shape, plugin } = histograms[1].values["dense/kernel"];
  assert.equal([shape, plugin], [[30, 3], "histograms"]);
  const kernel = await (await model.getWeights())[0].data();
  assert.is(numbers[0], Math.min(...kernel));
  assert.is(numbers[88], Math.max(...kernel));
  const count = (from, to) => kernel.filter((v) => v >= from && (v < to || to === numbers[88])).length;
  for (let i = 0; i < 30; i++)
    assert.is(numbers[3 * i + 2], count(numbers[3 * i], i === 29 ? numbers[88] : numbers[3 * i + 3]), `bucket ${i}`);
});

test("tensorBoard: the graph of the model, whose names TensorFlow takes", async () => {
  const logDir = fresh();
  const [first, second] = [dense(4, { name: "in/1" }), dense(4, { name: "in 1" })];
  const net = model((x) => add(first.call(x), relu(second.call(x))), { inputShape: [4] });
  await net.compile({ loss: "mse", backend });
  const target = { data: new Float32Array(160), shape: [40, 4] };
  await net.fit(data.x, target, { epochs: 1, verbose: 0, callbacks: [tensorBoard({ logDir })] });
  const fields = fieldsOf(eventsIn(join(logDir, "train")).graph);
  assert.equal(
    fields.map(([n]) => n),
    [1, 1, 1, 1, 1, 1, 4],
  );
  const nodes = fields.slice(0, -1).map(([, node]) => {
    const attributes = Object.fromEntries(
      fieldsOf(node)
        .filter(([n]) => n === 5)
        .map(([, entry]) => [textOf(field(entry, 1)), field(entry, 2)]),
    );
    const inputs = fieldsOf(node).filter(([n]) => n === 3);
    return { name: textOf(field(node, 1)), op: textOf(field(node, 2)), inputs: inputs.map(([, name]) => textOf(name)), attributes };
  });
  assert.equal(
    nodes.map(({ name, op, inputs }) => [name, op, inputs]),
    [
      ["input", "input", []],
      ["in_1", "dense", ["input"]],
      ["in_1_1", "dense", ["input"]],
      ["relu", "relu", ["in_1_1"]],
      ["add", "add", ["in_1", "relu"]],
      ["output", "output", ["add"]],
    ],
  );
  // That of a function has the batch already, and is left out.
  assert.equal(
    nodes.map(({ attributes }) => "_output_shapes" in attributes),
    [true, true, true, false, false, true],
  );
  assert.is(field(fields.at(-1)[1], 1), 22, "the version of the GraphDef");
  const { _output_shapes: shapes, parameters } = nodes[1].attributes;
  assert.is(field(parameters, 3), 20);
  const sizes = fieldsOf(field(field(shapes, 1), 7)).map(([, dim]) => dim);
  // -1 has all 64 bits.
  assert.equal([...sizes[0]], [8, ...new Array(9).fill(255), 1]);
  assert.is(field(sizes[1], 1), 4);
  const without = fresh();
  await net.fit(data.x, target, { epochs: 1, verbose: 0, callbacks: [tensorBoard({ logDir: without, writeGraph: false })] });
  assert.is(eventsIn(join(without, "train")).graph, undefined);
});

test("events: histograms of one value, of none, and of what is not finite", () => {
  const rows = (values) => {
    const tensor = field(field(histogram("w", values), 1), 8);
    return [fieldsOf(field(tensor, 2)).map(([, dim]) => field(dim, 1)), [...new Float64Array(field(tensor, 4).slice().buffer)]];
  };
  assert.equal(rows([2, 2, NaN]), [[1, 3], [1.5, 2.5, 2]]);
  assert.equal(rows([NaN, Infinity]), [[0, 3], []]);
  const [, values] = rows([0, 3, Infinity]);
  assert.equal(values.slice(0, 3), [0, 0.1, 1]);
  assert.equal(values.slice(-3), [0.1 * 29, 3, 1]);
});

test("tensorBoard: what is no option", async () => {
  for (const make of [
    () => tensorBoard("logs"),
    () => tensorBoard({ logDir: "" }),
    () => tensorBoard({ updateFreq: 0 }),
    () => tensorBoard({ updateFreq: "batches" }),
    () => tensorBoard({ histogramFreq: -1 }),
    () => tensorBoard({ logdir: "logs" }),
    () => tensorBoard({ writeGraph: "yes" }),
  ])
    assert.instance(await errorOf(make), ArgumentError);
});

test("both write while batches come from an iterable", async () => {
  const [file, logDir] = [fresh(".csv"), fresh()];
  const model = await compiled();
  await model.fit(() => batches(data, 8), {
    epochs: 2,
    verbose: 0,
    callbacks: [csvLogger(file), tensorBoard({ logDir, updateFreq: "batch" })],
  });
  assert.is(readFileSync(file, "utf8").trimEnd().split("\n").length, 3);
  assert.is(eventsIn(join(logDir, "train")).length, 12);
});

test.run();
