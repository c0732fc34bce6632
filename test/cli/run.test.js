/** @file `lockstep run`: arrays, JSON, pictures, tables, texts. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open, sequential, tensor } from "../../build/esm/index.js";
import { readNpy, writeNpy } from "../../build/esm/cli/npy.js";
import { call, cleanUp, done, file, folder, png, refused, writeImageModel } from "./helpers.js";

test.after(cleanUp);
await open("wasm");
const image = await writeImageModel();

test("run: arrays, JSON and pictures, shown, of the greatest, and written", async () => {
  const pixels = Array.from({ length: 36 }, (_, i) => (i * 7) % 256);
  const expected = await (
    await image.predict(
      tensor(
        Float32Array.from(pixels, (v) => v / 255),
        [1, 6, 6, 1],
      ),
    )
  ).data();
  file("x.png", png(6, 6, 0, pixels));
  done("run", "image.safetensors", "--input", "x.png", "--output", "y.npy");
  const written = readNpy("y", readFileSync(join(folder, "y.npy")));
  assert.equal(written.shape, [1, 3]);
  for (let i = 0; i < 3; i++) assert.ok(Math.abs(written.data[i] - expected[i]) < 1e-6);
  file("x.npy", writeNpy({ shape: [1, 6, 6, 1], data: Float32Array.from(pixels, (v) => v / 255) }));
  done("run", "image.safetensors", "-i", "x.npy", "-o", "y.json");
  const [row] = JSON.parse(readFileSync(join(folder, "y.json"), "utf8"));
  for (let i = 0; i < 3; i++) assert.ok(Math.abs(row[i] - expected[i]) < 1e-6);
  // One sample without the batch.
  file("one.json", JSON.stringify(Array.from({ length: 6 }, (_, r) => pixels.slice(6 * r, 6 * r + 6).map((v) => [v / 255]))));
  const { stdout } = done("run", "image.safetensors", "-i", "one.json");
  assert.match(stdout, /^output f32 \[1, 3\]\n\[\[0\.\d+,0\.\d+,0\.\d+\]\]\n$/);
  const spaced = file("spaced.txt", "cat\n\nbird\r\n\n");
  assert.match(done("run", "image.safetensors", "-i", "one.json", "--top", "3", "--labels", spaced).stdout, /│ +bird +│|│ bird +│/);
  refused(
    1,
    /two\.txt has 2 names, and the model gives 3 numbers for each row/,
    "run",
    "image.safetensors",
    "-i",
    "one.json",
    "--top",
    "1",
    "--labels",
    file("two.txt", "a\nb\n"),
  );
  refused(2, /--labels are the names of what --top N shows/, "run", "image.safetensors", "-i", "one.json", "--labels", "two.txt");
  refused(2, /give --top, which shows, or --output/, "run", "image.safetensors", "-i", "one.json", "--top", "1", "-o", "y.npy");
  const top = done("run", "image.safetensors", "-i", "one.json", "--top", "2", "--labels", file("names.txt", "cat\ndog\nbird\n")).stdout;
  const best = ["cat", "dog", "bird"][expected.indexOf(Math.max(...expected))];
  assert.match(top.split("\n")[3], new RegExp(`│ +0 │ ${best} +│ 0\\.\\d{4} │`));
});

test("run: pictures less a mean, of bytes as they are; what is many is shown in part; NaN is no JSON", async () => {
  const pixels = Array.from({ length: 36 }, (_, i) => (i * 7) % 256);
  file("gray.png", png(6, 6, 0, pixels));
  done("run", "image.safetensors", "-i", "gray.png", "--mean", "127.5", "--scale", "127.5", "-o", "centered.npy");
  const input = tensor(
    Float32Array.from(pixels, (v) => v / 127.5 - 1),
    [1, 6, 6, 1],
  );
  const expected = await (await image.predict(input)).data();
  const { data } = readNpy("y", readFileSync(join(folder, "centered.npy")));
  for (let i = 0; i < 3; i++) assert.ok(Math.abs(data[i] - expected[i]) < 1e-6);
  refused(
    2,
    /--scale must be a number, or three with commas between, got 1,2/,
    "run",
    "image.safetensors",
    "-i",
    "gray.png",
    "--scale",
    "1,2",
  );
  const many = file("many.npy", writeNpy({ shape: [100, 6, 6, 1], data: new Float32Array(3600) }));
  assert.match(
    done("run", "image.safetensors", "-i", many).stdout,
    /^output f32 \[100, 3\]\n\[[\d.,]+, \.\.\. of 300 elements; --output writes all\n$/,
  );
  const nan = file("nan.npy", writeNpy({ shape: [6, 6, 1], data: new Float32Array(36).fill(NaN) }));
  const { status, stderr } = call("run", "image.safetensors", "-i", nan, "-o", "nan.json");
  assert.is(status, 1);
  assert.match(stderr, /NaN/);
});

test("run: graphs by name and in order, whole numbers for integers", async () => {
  const { embedding, dense } = await import("../../build/esm/index.js");
  const { saveOnnx } = await import("../../build/esm/onnx/index.js");
  const words = sequential([embedding(10, 4), dense(2)], { inputShape: [3], seed: 1 });
  writeFileSync(join(folder, "words.onnx"), await saveOnnx(words));
  const [input] = JSON.parse(JSON.stringify([/│ input +│ (\S+) +│ (\S+)/.exec(done("summary", "words.onnx").stdout)]));
  const ids = file("ids.json", "[1, 2, 9]");
  const { stdout } = done("run", "words.onnx", "-i", ids);
  assert.is(done("run", "words.onnx", "-i", `${input[1]}=ids.json`).stdout, stdout);
  assert.match(stdout, /^\S+ f32 \[1, 3, 2\]\n/);
  refused(2, /the model takes 1 input \(.*\), got 2 of --input/, "run", "words.onnx", "-i", ids, "-i", ids);
  refused(1, /new\.csv: tables are for models of lockstep train/, "run", "words.onnx", "-i", file("new.csv", "a\n1\n"));
});

const shared = process.env.LOCKSTEP_SHARED;
if (shared !== undefined) {
  const llama = join(shared, "models/llama/stories260K");
  test("run: a text that a language model goes on with, and what cannot be asked", () => {
    const { stdout, stderr } = done("run", llama, "--prompt", "Once upon", "--max-tokens", "12");
    assert.match(stdout, /^Once upon a time, there was a little girl\b.*\n$/);
    assert.match(stderr, /^12 tokens, [\d.]+ a second; the first after [\d.]+ s\n$/);
    refused(2, /give --prompt or --input, and not both/, "run", llama, "--prompt", "a", "-i", "x.npy");
    refused(2, /--output and --top are for numbers/, "run", llama, "--prompt", "a", "-o", "y.npy");
    refused(1, /the checkpoint has no chat template/, "run", llama, "--prompt", "a", "--chat");
    refused(1, /the checkpoint is of images; give one: --input IMAGE/, "run", join(shared, "models/hf/vit"), "--prompt", "a");
  });
}

test("run: what users do wrong", () => {
  refused(
    1,
    /--prompt is for checkpoints of Hugging Face and GGUF files; image\.safetensors is none/,
    "run",
    "image.safetensors",
    "-p",
    "a",
  );
  refused(1, /cannot read "none\.npy": there is no such file/, "run", "image.safetensors", "-i", "none.npy");
  refused(1, /holes\.json: .*rows? /, "run", "image.safetensors", "-i", file("holes.json", "[[1, 2], [3]]"));
  refused(1, /object\.json must be a list of numbers/, "run", "image.safetensors", "-i", file("object.json", '{"x": 1}'));
  refused(2, /give what it is to be computed for: --input FILE/, "run", "image.safetensors");
  refused(1, /cannot read "none\.safetensors": there is no such file/, "run", "none.safetensors", "-i", "x.npy");
  refused(
    1,
    /x2\.npy has the shape 2; the model takes samples of 6 x 6 x 1/,
    "run",
    "image.safetensors",
    "-i",
    file("x2.npy", writeNpy({ shape: [2], data: new Float32Array(2) })),
  );
  refused(2, /the model takes 1 input, got 2 of --input/, "run", "image.safetensors", "-i", "x.npy", "-i", "x.npy");
  refused(1, /inputs are \.npy, \.json, \.csv/, "run", "image.safetensors", "-i", file("x.txt", "1"));
  refused(1, /bad\.json is no JSON/, "run", "image.safetensors", "-i", file("bad.json", "[1,"));
  refused(1, /does not say what its columns are/, "run", "image.safetensors", "-i", "new.csv");
  refused(1, /results are written as \.npy or \.json/, "run", "image.safetensors", "-i", "x.npy", "-o", "y.csv");
  refused(1, /x\.jpg: pictures other than PNG are read by the package sharp/, "run", "image.safetensors", "-i", file("x.jpg", "nothing"));
  refused(1, /damaged|truncated|not a|header/i, "run", file("broken.safetensors", "no model at all"), "-i", "x.npy");
});

test.run();
