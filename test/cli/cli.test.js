/** @file The command line as a user calls it: a process of its own, its output, what it tells besides, and exit codes. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { conv2d, dense, flatten, loadModel, open, sequential, tensor } from "../../build/esm/index.js";
import { readNpy, writeNpy } from "../../build/esm/cli/npy.js";
import { pictureAs, readPng } from "../../build/esm/cli/png.js";
import { Random } from "../../build/esm/random.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const json = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
test.after(() => rmSync(folder, { recursive: true }));
await open("wasm");

/** Calls the command in the folder. */
function call(...args) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [join(root, "build/cli.js"), ...args], {
    cwd: folder,
    encoding: "utf8",
    timeout: 120_000,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** What it gives where it does what was asked for. */
function done(...args) {
  const { status, stdout, stderr } = call(...args);
  assert.is(status, 0, `lockstep ${args.join(" ")}: ${stderr}`);
  return { stdout, stderr };
}

/** That it ends with this code, says this and nothing on standard output. */
function refused(code, pattern, ...args) {
  const { status, stdout, stderr } = call(...args);
  assert.is(status, code, `lockstep ${args.join(" ")}: ${stdout}${stderr}`);
  assert.match(stderr, pattern);
  assert.not.match(stderr, /\n {4}at |mistake of Lockstep/, "a stack is nothing for users");
  assert.is(stdout, "");
}

const file = (name, content) => {
  writeFileSync(join(folder, name), content);
  return name;
};

// Tables of what can be learned.
const random = new Random(7, 0);
const numbers = random.uniform(2000);
const kinds = ["setosa", "versicolor", "virginica"];
const flowers = Array.from({ length: 240 }, (_, i) => {
  const kind = i % 3;
  const [a, b, c] = numbers.slice(3 * i, 3 * i + 3);
  return [i, (5 + 1.5 * kind + a).toFixed(2), (1 + 2 * kind + b).toFixed(2), c > 0.5 ? "red" : "dark, blue", kinds[kind]];
});
const csvOf = (header, rows) => `${header}\n${rows.map((r) => r.map((v) => (/,/.test(v) ? `"${v}"` : v)).join(",")).join("\n")}\n`;
file("flowers.csv", csvOf("id,sepal,petal,colour,species", flowers));
file("new.csv", csvOf("colour,petal,sepal", [["red", "1.3", "5.4"], ["dark, blue", "5.4", "8.5"]]));
const houses = Array.from({ length: 200 }, (_, i) => {
  const [rooms, north, noise] = [1 + Math.floor(6 * numbers[i]), numbers[300 + i] > 0.5, numbers[600 + i]];
  return [String(rooms), north ? "north" : "south", (50000 + 40000 * rooms + (north ? 30000 : 0) + 5000 * noise).toFixed(0)];
});
file("houses.csv", csvOf("rooms,town,price", houses));

test("without a command, with --help, --version, and of commands that there are not", () => {
  const { status, stdout, stderr } = call();
  assert.equal([status, stdout], [2, ""]);
  assert.match(stderr, /Usage: lockstep COMMAND/);
  const { stdout: help } = done("--help");
  for (const name of ["info", "summary", "convert", "run", "train", "bench", "compare"]) {
    assert.match(help, new RegExp(`^ {2}${name} +\\S`, "m"));
    const { stdout: own } = done(name, "--help");
    assert.match(own, new RegExp(`Usage: lockstep ${name} `));
    assert.match(own, /--threads N/);
    assert.is(done("help", name).stdout, own);
  }
  for (const flag of ["--version", "-v"]) assert.is(done(flag).stdout, `${json.version}\n`);
  refused(2, /unknown command "trian"; did you mean "train"\?/, "trian");
});

test("options that are none, have no value, are given twice, or are no number", () => {
  refused(
    2,
    /lockstep train: unknown option --targt; did you mean "target"\?.*\nTry: lockstep train --help/s,
    "train",
    "flowers.csv",
    "--targt",
    "x",
  );
  refused(2, /--target needs a value: --target COLUMN/, "train", "flowers.csv", "--target", "--epochs", "3");
  refused(2, /--epochs must be a number of at least 1, got "many"/, "train", "flowers.csv", "-t", "species", "--epochs", "many");
  refused(2, /--epochs must be a whole number, got 1.5/, "train", "flowers.csv", "-t", "species", "--epochs=1.5");
  refused(2, /--seed must be a number of at least 0, got "-1"/, "train", "flowers.csv", "-t", "species", "--seed", "-1");
  refused(2, /--quiet takes no value/, "train", "flowers.csv", "--quiet=yes");
  refused(2, /--target is given twice/, "train", "flowers.csv", "--target", "a", "--target", "b");
  refused(2, /expected 1 argument \(FILE \[options\]\), got 0/, "summary");
  refused(2, /expected 2 arguments \(IN OUT \[options\]\), got 1/, "convert", "a");
  refused(2, /--backend must be wasm or webgpu, got "cuda"/, "summary", "a", "--backend", "cuda");
});

test("info: what the machine has, also as JSON", () => {
  const { stdout } = done("info", "--no-speed", "--threads", "1");
  assert.match(stdout, new RegExp(`^Lockstep +${json.version}$`, "m"));
  assert.match(stdout, /^Runtime +Node \d+/m);
  assert.match(stdout, /^WebAssembly +(relaxed )?SIMD, 1 thread$/m);
  const facts = JSON.parse(done("info", "--json").stdout);
  assert.ok(facts.wasm.speed.gflops > 0 && facts.wasm.speed.gbytes > 0);
  assert.ok(facts.cores >= 1 && facts.memory > 0);
  assert.ok(typeof facts.webgpu === "string" || facts.webgpu.adapter !== "");
});

test("train: a classifier of a table, its report, its file, and what it predicts of other tables", () => {
  const { stdout, stderr } = done(
    "train",
    "flowers.csv",
    "--target",
    "species",
    "--exclude",
    "id",
    "-o",
    "flowers.safetensors",
    "--plot",
    "h.svg",
  );
  assert.match(stdout, /^240 rows, 3 columns as 4 numbers; species: 3 classes\n/);
  assert.match(stdout, /Test, 48 rows that were not trained on:/);
  const [, accuracy] = /│ accuracy +│ +│ +│ +([\d.]+) │/.exec(stdout);
  assert.ok(Number(accuracy) > 0.9, stdout);
  assert.match(stdout, /Always "\w+" would be right in 0\.[234]\d+ of the rows\./);
  assert.match(stderr, /wrote flowers\.safetensors; predict with: lockstep run flowers\.safetensors/);
  assert.match(readFileSync(join(folder, "h.svg"), "utf8"), /^<svg /);
  // Columns in another order, without the target.
  assert.match(done("run", "flowers.safetensors", "--input", "new.csv").stdout, /^species,probability\nsetosa,[\d.]+\nvirginica,[\d.]+\n$/);
  assert.match(done("run", "flowers.safetensors", "-i", "new.csv", "--top", "1").stdout, /│ +0 │ setosa +│ [\d.]+ │/);
  assert.match(done("summary", "flowers.safetensors").stdout, /│ dense_2 \(dense\) +│ \[batch, 3\] +│/);
});

test("train: numbers, in those of the target, and the same again with the same seed", async () => {
  const first = done("train", "houses.csv", "-t", "price", "-o", "a.safetensors", "--hidden", "32", "--seed", "5").stdout;
  assert.match(first, /price: numbers\n/);
  const [, r2] = /│ model +│ +[\d.e+]+ │ +[\d.e+]+ │ +([\d.]+) │/.exec(first);
  assert.ok(Number(r2) > 0.9, first);
  const second = done("train", "houses.csv", "-t", "price", "-o", "b.safetensors", "--hidden", "32", "--seed", "5").stdout;
  assert.is(second, first);
  assert.equal(readFileSync(join(folder, "a.safetensors")), readFileSync(join(folder, "b.safetensors")));
  // As a file of the library: [rooms, north, south].
  const model = await loadModel(readFileSync(join(folder, "a.safetensors")));
  const price = await (await model.predict([[3, 1, 0]])).item();
  assert.ok(Math.abs(price - 202500) < 15000, String(price));
  file("one.csv", "rooms,town\n3,north\n");
  assert.is(Math.round(Number(done("run", "a.safetensors", "-i", "one.csv").stdout.split("\n")[1])), Math.round(price));
});

test("train: whole numbers are classes where they are few, unless it is said otherwise", () => {
  file(
    "survived.csv",
    csvOf(
      "age,survived",
      Array.from({ length: 40 }, (_, i) => [String(i), String(Number(i > 20))]),
    ),
  );
  const { stdout, stderr } = done("train", "survived.csv", "-t", "survived", "--epochs", "3", "-o", "s.safetensors");
  assert.match(stdout, /survived: 2 classes/);
  assert.match(stderr, /has 2 whole numbers: taken for classes; --task regression for numbers/);
  const said = done("train", "survived.csv", "-t", "survived", "--task", "regression", "--epochs", "3", "-o", "s.safetensors");
  assert.match(said.stdout, /survived: numbers/);
  assert.not.match(said.stderr, /taken for/);
});

test("train: what users do wrong", () => {
  refused(2, /say which column is to be predicted: --target COLUMN; there are id, sepal, petal, colour, species/, "train", "flowers.csv");
  refused(1, /the table has no column "specis"; there are id, sepal/, "train", "flowers.csv", "-t", "specis");
  refused(1, /cannot read "nowhere\.csv"/, "train", "nowhere.csv", "-t", "a");
  refused(1, /csv: line 3, column "a": expected a value, found an empty cell/, "train", file("gap.csv", "a,b\n1,2\n,3\n4,5\n"), "-t", "b");
  refused(1, /3 rows are too few/, "train", file("few.csv", "a,b\n1,2\n2,3\n4,5\n"), "-t", "b");
  refused(1, /the target species is of texts/, "train", "flowers.csv", "-t", "species", "--task", "regression");
  refused(
    2,
    /--output must end in \.safetensors, got m\.keras; lockstep convert/,
    "train",
    "flowers.csv",
    "-t",
    "species",
    "-o",
    "m.keras",
  );
  refused(2, /--hidden must be sizes of layers such as 64,32, got 8,x/, "train", "flowers.csv", "-t", "species", "--hidden", "8,x");
  refused(
    1,
    /is "a" in every row/,
    "train",
    file(
      "one-class.csv",
      csvOf(
        "x,y",
        Array.from({ length: 12 }, (_, i) => [String(i), "a"]),
      ),
    ),
    "-t",
    "y",
  );
  refused(
    1,
    /the table has no column "petal"; the model was trained with/,
    "run",
    "flowers.safetensors",
    "-i",
    file("less.csv", "sepal,colour\n5,red\n"),
  );
  refused(
    1,
    /column "colour" has "green", which the model was not trained with/,
    "run",
    "flowers.safetensors",
    "-i",
    file("green.csv", "sepal,petal,colour\n5,1,green\n"),
  );
});

/** A small PNG: `filter` of each row, color type, samples of a pixel. */
function png(width, height, color, pixels, { filter = 0, depth = 8, palette } = {}) {
  const chunk = (type, data) => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(data.length);
    head.write(type, 4, "latin1");
    return Buffer.concat([head, data, Buffer.alloc(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = color;
  const stride = pixels.length / height;
  const samples = stride / width;
  const rows = Buffer.alloc(height * (stride + 1));
  for (let y = 0; y < height; y++) {
    rows[y * (stride + 1)] = filter;
    for (let x = 0; x < stride; x++) {
      const at = (dy, dx) => (y - dy < 0 || x - dx < 0 ? 0 : pixels[(y - dy) * stride + x - dx]);
      const [left, up, corner] = [at(0, samples), at(1, 0), at(1, samples)];
      const nearest = [left, up, corner].reduce((best, v) =>
        Math.abs(left + up - corner - v) < Math.abs(left + up - corner - best) ? v : best,
      );
      const predicted = [0, left, up, (left + up) >> 1, nearest][filter];
      rows[y * (stride + 1) + 1 + x] = (pixels[y * stride + x] - predicted) & 255;
    }
  }
  return Buffer.concat([
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk("IHDR", header),
    ...(palette ? [chunk("PLTE", Buffer.from(palette))] : []),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

test("pictures: every filter, gray, colors, alpha, palettes", () => {
  const pixels = Array.from({ length: 5 * 4 * 3 }, (_, i) => (i * 37) % 256);
  for (let filter = 0; filter < 5; filter++) {
    const { width, height, channels, data } = readPng("x", png(5, 4, 2, pixels, { filter }));
    assert.equal([width, height, channels, [...data]], [5, 4, 3, pixels], `filter ${filter}`);
  }
  assert.is(readPng("x", png(2, 1, 6, [1, 2, 3, 4, 5, 6, 7, 8])).channels, 4);
  assert.equal([...readPng("x", png(2, 1, 3, [1, 0], { palette: [1, 2, 3, 9, 8, 7] })).data], [9, 8, 7, 1, 2, 3]);
  const whole = png(3, 3, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  assert.throws(() => readPng("x", whole.subarray(0, whole.length - 20)), /truncated|no data/);
  assert.throws(() => readPng("x", png(2, 1, 3, [1, 5], { palette: [1, 2, 3, 9, 8, 7] })), /a color that its palette does not/);
  assert.throws(() => readPng("x", png(1, 1, 0, [0], { depth: 16 })), /16 bits is not read/);
});

test("pictures: of another size by their neighbours, gray of colors and colors of gray", () => {
  const gray = { width: 2, height: 2, channels: 1, data: Uint8Array.of(0, 100, 200, 255) };
  assert.equal([...pictureAs(gray, 2, 2, 1, 1)], [0, 100, 200, 255]);
  assert.equal([...pictureAs(gray, 1, 1, 1, 1)], [138.75]);
  assert.equal([...pictureAs(gray, 1, 4, 1, 1)].map(Math.round), [100, 119, 158, 178]);
  assert.equal([...pictureAs(gray, 1, 1, 3, 1)], [138.75, 138.75, 138.75]);
  const red = { width: 1, height: 1, channels: 4, data: Uint8Array.of(255, 0, 0, 7) };
  assert.equal([...pictureAs(red, 1, 1, 3, 255)], [1, 0, 0]);
  assert.ok(Math.abs(pictureAs(red, 1, 1, 1, 255)[0] - 0.299) < 1e-6);
});

/** An array as NumPy writes it. */
function npy(descr, shape, bytes, { fortran = "False", version = 1 } = {}) {
  const header = `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }\n`;
  const head = Buffer.from([0x93, 78, 85, 77, 80, 89, version, 0, header.length & 255, header.length >> 8, ...(version > 1 ? [0, 0] : [])]);
  return Buffer.concat([head, Buffer.from(header, "latin1"), Buffer.from(bytes.buffer ?? bytes)]);
}

test("arrays of NumPy: types, orders, versions, and what is none", () => {
  const read = (...args) => {
    const { shape, data } = readNpy("x.npy", npy(...args));
    return [shape, [...data], data.constructor.name];
  };
  assert.equal(read("<f4", [2, 2], Float32Array.of(1, 2, 3, 4)), [[2, 2], [1, 2, 3, 4], "Float32Array"]);
  assert.equal(read("<f8", [3], Float64Array.of(1, 0.5, -3)), [[3], [1, 0.5, -3], "Float32Array"]);
  assert.equal(read("<f2", [4], Uint16Array.of(0x3c00, 0xc000, 0x7c00, 1)), [[4], [1, -2, Infinity, 2 ** -24], "Float32Array"]);
  assert.equal(read("<i8", [2], BigInt64Array.of(-5n, 7n)), [[2], [-5, 7], "Int32Array"]);
  assert.equal(read("|u1", [2], Uint8Array.of(1, 255)), [[2], [1, 255], "Uint8Array"]);
  assert.equal(read("|b1", [2], Uint8Array.of(1, 0)), [[2], [1, 0], "Uint8Array"]);
  assert.equal(read("<i2", [], Int16Array.of(-2)), [[], [-2], "Int32Array"]);
  assert.equal(read("<i4", [2, 3], Int32Array.of(1, 4, 2, 5, 3, 6), { fortran: "True" }), [[2, 3], [1, 2, 3, 4, 5, 6], "Int32Array"]);
  assert.equal(read("<f4", [1], Float32Array.of(8), { version: 2 }), [[1], [8], "Float32Array"]);
  for (const [args, pattern] of [
    [["<c8", [1], new Float32Array(2)], /type <c8 are not read/],
    [[">f4", [1], new Float32Array(1)], /type >f4 are not read/],
    [["<f4", [3], new Float32Array(2)], /needs 12 bytes of data, found 8/],
    [["<i8", [1], BigInt64Array.of(2n ** 40n)], /does not fit into 32 bits/],
    [["<f4", [1], new Float32Array(1), { version: 9 }], /version 9/],
  ])
    assert.throws(() => readNpy("x.npy", npy(...args)), pattern);
  assert.throws(() => readNpy("x.npy", new Uint8Array(20)), /no array of NumPy/);
  for (const shape of [[], [2], [1, 2], [2, 0]]) {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(3);
    const written = writeNpy({ shape, data });
    assert.is((written.length - data.byteLength) % 64, 0);
    assert.equal(readNpy("x", written), { shape, data });
  }
});

test("inputs: pictures for models with channels last and first, alone and in the size that the model has", async () => {
  const { readInput } = await import("../../build/esm/cli/inputs.js");
  const path = join(folder, file("colors.png", png(2, 1, 2, [255, 0, 51, 0, 102, 255])));
  const read = async (shape) => {
    const t = await readInput(path, shape, 255);
    return [t.shape, Array.from(await t.data(), (v) => Number(v.toFixed(3)))];
  };
  assert.equal(await read([1, 2, 3]), [[1, 1, 2, 3], [1, 0, 0.2, 0, 0.4, 1]]);
  assert.equal(await read([3, 1, 2]), [[1, 3, 1, 2], [1, 0, 0, 0.4, 0.2, 1]]);
  assert.equal(await read([null, null, 3]), [[1, 1, 2, 3], [1, 0, 0.2, 0, 0.4, 1]]);
  assert.equal((await read(null))[0], [1, 1, 2, 3]);
  assert.equal((await read([4, 4, 1]))[0], [1, 4, 4, 1]);
  for (const shape of [[5], [4, 4, 2]]) {
    const error = await readInput(path, shape, 255).catch((e) => e);
    assert.match(error.message, /is a picture, and the model takes samples of/);
  }
});

const image = sequential([conv2d(2, 3), flatten(), dense(3, { activation: "softmax" })], { inputShape: [6, 6, 1], seed: 3 });
writeFileSync(join(folder, "image.safetensors"), await image.toBytes());

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
  const top = done("run", "image.safetensors", "-i", "one.json", "--top", "2", "--labels", file("names.txt", "cat\ndog\nbird\n")).stdout;
  const best = ["cat", "dog", "bird"][expected.indexOf(Math.max(...expected))];
  assert.match(top.split("\n")[3], new RegExp(`│ +0 │ ${best} +│ 0\\.\\d{4} │`));
});

test("run: what users do wrong", () => {
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
  refused(1, /a name that says no format; give --from/, "summary", "names.txt");
  refused(1, /unknown format "keras4"; known: lockstep, keras/, "summary", "image.safetensors", "--from", "keras4");
  refused(1, /a folder without config\.json or model\.json/, "summary", ".");
});

test("convert: each format that this version has, there and back", async () => {
  const x = tensor(
    Float32Array.from({ length: 36 }, (_, i) => Math.sin(i)),
    [1, 6, 6, 1],
  );
  const expected = await (await image.predict(x)).data();
  const formats = { "copy.safetensors": "safetensors", "image.keras": "keras", "web/model.json": "keras", "image.onnx": "onnx" };
  file("sin.npy", writeNpy({ shape: [1, 6, 6, 1], data: await x.data() }));
  for (const [name, entry] of Object.entries(formats)) {
    if (json.exports[`./${entry}`] === undefined) {
      refused(1, new RegExp(`this version of Lockstep has no lockstep/${entry}`), "convert", "image.safetensors", name);
      assert.not(existsSync(join(folder, name)));
      continue;
    }
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
  // What a model knows of its table stays with it.
  done("convert", "flowers.safetensors", "again.safetensors");
  assert.is(done("run", "again.safetensors", "-i", "new.csv").stdout, done("run", "flowers.safetensors", "-i", "new.csv").stdout);
});

test("bench: times of batches, of layers, as JSON, for samples of any size", async () => {
  const { stdout } = done("bench", "image.safetensors", "--batch", "1,4", "--runs", "5", "--layers");
  assert.match(stdout, /^image\.safetensors: samples of 6 x 6 x 1; read in [\d.]+ ms\n/);
  assert.match(stdout, /\n│ +4 │/);
  assert.match(stdout, /Model: "model", 4 samples on wasm, times by clock/);
  const { results, profile } = JSON.parse(done("bench", "image.safetensors", "-b", "2", "--runs", "3", "--json", "--layers").stdout);
  assert.ok(results.length === 1 && results[0].batch === 2 && results[0].medianMs > 0 && results[0].p95Ms >= results[0].medianMs);
  assert.is(profile.layers.length, 3);
  const { embedding, lstm } = await import("../../build/esm/index.js");
  const text = sequential([embedding(10, 4), lstm(3), dense(1)], { inputShape: [null] });
  writeFileSync(join(folder, "text.safetensors"), await text.toBytes());
  refused(2, /input 0 has sizes that data decide \(any\); give --shape/, "bench", "text.safetensors");
  assert.match(done("bench", "text.safetensors", "--shape", "7", "--runs", "2").stdout, /samples of 7;/);
  refused(2, /--batch must be numbers of samples such as 1,32, got 0/, "bench", "image.safetensors", "--batch", "0");
});

test("compare: models of one table, of arrays, and what cannot be compared", () => {
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

test("results go to standard output, everything else elsewhere; a reader may have enough", () => {
  const cli = join(root, "build/cli.js");
  if (process.platform === "win32") return;
  const link = join(folder, "lockstep");
  symlinkSync(cli, link);
  const { status, stdout } = spawnSync("sh", ["-c", `"${process.execPath}" "${link}" --help | head -1`], { encoding: "utf8" });
  assert.equal([status, stdout], [0, `lockstep ${json.version}: train and run neural networks in JavaScript\n`]);
});

test.run();
