/** @file `lockstep convert` and `lockstep summary`: formats. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { open, tensor } from "../../build/esm/index.js";
import { readNpy, writeNpy } from "../../build/esm/cli/npy.js";
import { cleanUp, done, file, folder, refused, trainFlowers, writeImageModel, writeTables } from "./helpers.js";

test.after(cleanUp);
await open("wasm");
const image = await writeImageModel();
writeTables();

test("summary: layers, the graph, tensors without a model", async () => {
  assert.match(done("summary", "image.safetensors").stdout, /│ conv2d \(conv2d\) +│ \[batch, 4, 4, 2\] +│ +20 │/);
  assert.match(done("summary", "image.safetensors", "--mermaid").stdout, /^flowchart TB\n[\s\S]* {2}i0 --> l0\n/);
  const { stderr } = done("summary", "image.safetensors", "--svg", "graph.svg");
  assert.match(stderr, /wrote graph\.svg/);
  assert.match(readFileSync(join(folder, "graph.svg"), "utf8"), /^<svg /);
  const { writeSafetensors } = await import("../../build/esm/safetensors/index.js");
  writeFileSync(
    join(folder, "weights.safetensors"),
    await writeSafetensors({ a: { shape: [2, 3], data: new Float32Array(6) } }, { by: "hand" }),
  );
  const { stdout } = done("summary", "weights.safetensors");
  assert.match(stdout, /│ a +│ F32 +│ 2 x 3 +│ +6 │/);
  assert.match(stdout, /weights alone, without a model\nby: hand/);
  refused(1, /has weights alone, and no layers/, "summary", "weights.safetensors", "--mermaid");
  refused(1, /a name that says no format \(\.safetensors, .*\); give --from: lockstep, keras/, "summary", file("names.txt", "a\n"));
  refused(2, /--svg must end in \.svg, got graph\.png/, "summary", "image.safetensors", "--svg", "graph.png");
  refused(1, /damaged|not a Lockstep|metadata/, "summary", file("odd.safetensors", await writeSafetensors({}, { lockstep: "{" })));
  refused(2, /unknown format "keras4"; known: lockstep, keras/, "summary", "image.safetensors", "--from", "keras4");
  refused(1, /is a folder without config\.json or model\.json/, "summary", ".");
});

test("convert: each format, there and back", async () => {
  const x = tensor(
    Float32Array.from({ length: 36 }, (_, i) => Math.sin(i)),
    [1, 6, 6, 1],
  );
  const expected = await (await image.predict(x)).data();
  file("sin.npy", writeNpy({ shape: [1, 6, 6, 1], data: await x.data() }));
  for (const name of ["copy.safetensors", "image.keras", "web/model.json", "image.onnx"]) {
    assert.match(done("convert", "image.safetensors", name).stderr, new RegExp(`wrote ${name} \\(.*3 layers, 119 parameters`));
    refused(1, /is there already; give --force to replace it/, "convert", "image.safetensors", name);
    done("convert", "image.safetensors", name, "--force");
    done("run", name, "-i", "sin.npy", "-o", "sin-out.npy");
    const { data } = readNpy("y", readFileSync(join(folder, "sin-out.npy")));
    for (let i = 0; i < 3; i++) assert.ok(Math.abs(data[i] - expected[i]) < 1e-5, `${name}: ${[...data]}`);
  }
  refused(
    1,
    /"image\.pt" has a name that says no format; give --to; written are lockstep \(\.safetensors\), keras/,
    "convert",
    "image.safetensors",
    "image.pt",
  );
  refused(1, /is not written; written are/, "convert", "image.safetensors", "image.h5");
  // A folder has its model in a file.
  refused(1, /web\/model\.json is there already; give --force/, "convert", "image.safetensors", "web/");
  refused(1, /cannot write no\/x\.safetensors: there is no folder no/, "convert", "image.safetensors", "no/x.safetensors");
  // Graphs: their weights alone.
  assert.match(
    done("convert", "image.onnx", "graph.safetensors").stderr,
    /wrote graph\.safetensors: the weights alone, 119 elements in \d tensors/,
  );
  assert.match(
    done("summary", "graph.safetensors").stdout,
    /Parameters: 119 in \d tensors; weights alone, without a model\nformat: onnx\n/,
  );
  refused(
    1,
    /is a graph of operators, which has no layers.*lockstep convert image\.onnx OUT\.safetensors/,
    "convert",
    "image.onnx",
    "again.keras",
  );
  refused(1, /image\.onnx is ONNX already; copy the file/, "convert", "image.onnx", "again.onnx");
  trainFlowers("--epochs", "2");
  assert.match(done("convert", "flowers.safetensors", "flowers.keras").stderr, /what the model knows of its table .* has no place/);
  // What a model knows of its table stays with it.
  done("convert", "flowers.safetensors", "again.safetensors");
  assert.is(done("run", "again.safetensors", "-i", "new.csv").stdout, done("run", "flowers.safetensors", "-i", "new.csv").stdout);
});

test.run();
