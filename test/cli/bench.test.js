/** @file `lockstep bench` and `lockstep compare`: times and measures. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { dense, embedding, lstm, open, sequential } from "../../build/esm/index.js";
import { writeNpy } from "../../build/esm/cli/npy.js";
import { cleanUp, done, file, folder, refused, trainFlowers, writeImageModel, writeTables } from "./helpers.js";

test.after(cleanUp);
await open("wasm");
await writeImageModel();
writeTables();

test("bench: times of batches, of layers, as JSON, for samples of any size", async () => {
  const { stdout } = done("bench", "image.safetensors", "--batch", "1,4", "--runs", "5", "--layers");
  assert.match(stdout, /^image\.safetensors: samples of 6 x 6 x 1; read in [\d.]+ ms\n/);
  assert.match(stdout, /\n│ +4 │/);
  assert.match(stdout, /Model: "model", 4 samples on wasm, times by clock/);
  const { results, profile } = JSON.parse(done("bench", "image.safetensors", "-b", "2", "--runs", "3", "--json", "--layers").stdout);
  assert.ok(results.length === 1 && results[0].batch === 2 && results[0].medianMs > 0 && results[0].p95Ms >= results[0].medianMs);
  assert.is(profile.layers.length, 3);
  const text = sequential([embedding(10, 4), lstm(3), dense(1)], { inputShape: [null] });
  writeFileSync(join(folder, "text.safetensors"), await text.toBytes());
  refused(2, /input 0 has sizes that data decide \(any\); give them for one sample: --shape SIZES/, "bench", "text.safetensors");
  assert.match(done("bench", "text.safetensors", "--shape", "7", "--runs", "2").stdout, /samples of 7;/);
  refused(2, /the model takes 1 input, got 2 of --shape/, "bench", "text.safetensors", "--shape", "7", "--shape", "8");
  file("ids.json", "[[1, 2], [3, 4]]");
  assert.match(done("bench", "text.safetensors", "--input", "ids.json", "--runs", "2").stdout, /samples of 2;[^]*│ +2 │/);
  refused(2, /give it without --batch and --shape/, "bench", "text.safetensors", "-i", "ids.json", "-b", "2");
  refused(1, /batch of 1: .*ids\.json|\[10\]|11/, "bench", "text.safetensors", "-i", file("far.json", "[[1, 11]]"));
  const { saveOnnx } = await import("../../build/esm/onnx/index.js");
  const fixed = sequential([dense(2)], { inputShape: [3] });
  writeFileSync(join(folder, "fixed.onnx"), await saveOnnx(fixed));
  assert.match(done("bench", "fixed.onnx", "--runs", "2").stdout, /samples of 3;[^]*│ +32 │/);
  refused(2, /--batch must be numbers of samples such as 1,32, got 0/, "bench", "image.safetensors", "--batch", "0");
});

test("compare: what models are measured by", async () => {
  const image = join(folder, "image.safetensors");
  file("other.safetensors", readFileSync(image));
  const measured = (labels, ...more) => {
    const x = file("two.npy", writeNpy({ shape: [2, 6, 6, 1], data: Float32Array.from({ length: 72 }, (_, i) => Math.sin(i)) }));
    return done("compare", "image.safetensors", "other.safetensors", "-d", x, "--labels", labels, "--runs", "1", ...more);
  };
  const classes = file("classes.json", "[2, 0]");
  assert.match(measured(classes).stderr, /loss: sparseCategoricalCrossentropy; another by --loss/);
  const rows = measured(file("rows.json", "[[0, 0, 1], [1, 0, 0]]"), "--json");
  assert.match(rows.stderr, /loss: categoricalCrossentropy/);
  const [byRows] = JSON.parse(rows.stdout);
  const [byClass] = JSON.parse(measured(classes, "--json").stdout);
  assert.ok(Math.abs(byRows.logs.loss - byClass.logs.loss) < 1e-6 && byRows.logs.accuracy === byClass.logs.accuracy);
  const numbers = measured(file("numbers.json", "[[0.5, 0.1, 1], [1, 0, 0]]"), "--loss", "meanAbsoluteError");
  assert.match(numbers.stderr, /loss: meanAbsoluteError\n/);
  assert.match(numbers.stdout, /│ rootMeanSquaredError/);
});

test("compare: models of one table, of arrays, and what cannot be compared", () => {
  trainFlowers();
  done("train", "houses.csv", "-t", "price", "--epochs", "2", "-o", "a.safetensors");
  file("copy.safetensors", readFileSync(join(folder, "image.safetensors")));
  const pixels = Float32Array.from({ length: 36 }, (_, i) => i / 36);
  file("x.npy", writeNpy({ shape: [1, 6, 6, 1], data: pixels }));
  done("train", "flowers.csv", "--target", "species", "--exclude", "id", "--hidden", "8", "--epochs", "5", "-o", "small.safetensors");
  const { stdout } = done("compare", "flowers.safetensors", "small.safetensors", "--data", "flowers.csv", "--runs", "3");
  assert.match(stdout, /│ +│ flowers\.safetensors │ small\.safetensors │/);
  assert.match(stdout, /│ accuracy +│ +[\d.]+ │ +[\d.]+ │/);
  const [large, small] = JSON.parse(
    done("compare", "flowers.safetensors", "small.safetensors", "-d", "flowers.csv", "--runs", "2", "--json").stdout,
  );
  assert.ok(large.parameters > small.parameters && large.logs.accuracy > 0.9);
  file("labels.npy", writeNpy({ shape: [1], data: Int32Array.of(2) }));
  const arrays = done("compare", "image.safetensors", "copy.safetensors", "-d", "x.npy", "--labels", "labels.npy", "--runs", "2").stdout;
  assert.match(arrays, /│ accuracy/);
  assert.not.match(done("compare", "image.safetensors", "copy.safetensors", "-d", "x.npy", "--runs", "2").stdout, /loss/);
  refused(2, /say what they are to be compared on/, "compare", "flowers.safetensors", "small.safetensors");
  refused(2, /image\.safetensors is given twice/, "compare", "image.safetensors", "image.safetensors", "-d", "x.npy");
  refused(1, /were trained with other columns or classes/, "compare", "flowers.safetensors", "a.safetensors", "-d", "flowers.csv");
  refused(
    1,
    /image\.safetensors does not say what its columns are/,
    "compare",
    "flowers.safetensors",
    "image.safetensors",
    "-d",
    "flowers.csv",
  );
});

test.run();
