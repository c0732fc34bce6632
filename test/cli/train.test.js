/** @file `lockstep train`: models of tables, their report, their file, and what users do wrong. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadModel, open } from "../../build/esm/index.js";
import { cleanUp, csvOf, done, file, folder, numbers, refused, root, trainFlowers, writeTables } from "./helpers.js";

test.after(cleanUp);
await open("wasm");
writeTables();

test("train: a classifier of a table, its report, its file, and what it predicts of other tables", () => {
  const { stdout, stderr } = trainFlowers("--plot", "h.svg");
  assert.match(stdout, /^240 rows, 3 columns as 4 numbers; species: 3 classes\n/);
  assert.match(stdout, /Test, 48 rows that were not trained on:/);
  const [, accuracy] = /│ accuracy +│ +│ +│ +([\d.]+) │/.exec(stdout);
  assert.ok(Number(accuracy) > 0.9, stdout);
  assert.match(stdout, /Always "\w+" would be right in 0\.[234]\d+ of the rows\./);
  assert.match(stderr, /wrote flowers\.safetensors; predict with: lockstep run flowers\.safetensors/);
  assert.match(readFileSync(join(folder, "h.svg"), "utf8"), /^<svg /);
  // Columns in another order, without the target.
  assert.match(done("run", "flowers.safetensors", "--input", "new.csv").stdout, /^species,probability\nsetosa,[\d.]+\nvirginica,[\d.]+\n$/);
  done("run", "flowers.safetensors", "-i", "new.csv", "-o", "predicted.csv");
  assert.match(readFileSync(join(folder, "predicted.csv"), "utf8"), /^species,probability\nsetosa,/);
  assert.match(done("run", "flowers.safetensors", "-i", "new.csv", "--top", "1").stdout, /│ +0 │ setosa +│ +[\d.]+ │/);
  // What is to be predicted may stand there without a value, and is not read.
  const blank = file("blank.csv", "species,colour,petal,sepal\n,red,1.3,5.4\ntulip,red,5.4,8.5\n");
  assert.match(done("run", "flowers.safetensors", "-i", blank).stdout, /^species,probability\nsetosa,[\d.]+\nvirginica,[\d.]+\n$/);
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

/** A table of one column and what follows from it, with `cells` in the place of what stands first. */
const lineOf = (delimiter, cells, ending = "\n") =>
  Array.from({ length: 60 }, (_, i) => {
    const x = (10 * numbers[i]).toFixed(3);
    return (cells[i] ?? [x, numbers[i] > 0.5 ? "big" : "small"]).join(delimiter);
  })
    .concat("")
    .join(ending);
const sized = (name, delimiter = ",", cells = {}, header = ["x", "size"]) =>
  file(name, `${header.join(delimiter)}\n${lineOf(delimiter, cells)}`);
const trained = (...args) => done("train", ...args, "--epochs", "30", "-o", "t.safetensors");

test("train: semicolons, tabs, a mark at the beginning, UTF-16, columns without a name, names with commas", () => {
  const plain = trained(sized("plain.csv"), "-t", "size").stdout;
  assert.is(trained(sized("semi.csv", ";"), "-t", "size").stdout, plain);
  assert.is(trained(sized("tab.tsv", "\t"), "-t", "size").stdout, plain);
  assert.is(trained(sized("pipe.csv", "|"), "-t", "size", "--delimiter", "|").stdout, plain);
  assert.is(trained(file("bom.csv", `\ufeffx,size\r\n${lineOf(",", {}, "\r\n")}`), "-t", "size").stdout, plain);
  assert.is(trained(file("wide.csv", Buffer.from(`\ufeffx,size\n${lineOf(",", {})}`, "utf16le")), "-t", "size").stdout, plain);
  const rows = lineOf(",", {}).trimEnd().split("\n");
  const unnamed = trained(file("pandas.csv", `,x,size\n${rows.map((r, i) => `${i},${r}`).join("\n")}\n`), "-t", "size");
  assert.is(unnamed.stdout, plain);
  assert.match(unnamed.stderr, /column 1 has no name and is left out/);
  const commas = file("commas.csv", `x,"a, b",size\n${rows.map((r, i) => r.replace(",", `,${i},`)).join("\n")}\n`);
  assert.is(trained(commas, "-t", "size", "--exclude", "a, b").stdout, plain);
  // Predictions come in the same form.
  assert.match(done("run", "t.safetensors", "-i", "semi.csv").stdout, /^size;probability\n\w+;[\d.]+\n/);
});

test("train: names with quotes, line ends and letters of double width", () => {
  const [big, small] = ['a "b", c', "猫\n犬"];
  const cell = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = Array.from({ length: 60 }, (_, i) => `${(10 * numbers[i]).toFixed(3)},${cell(numbers[i] > 0.5 ? big : small)}`);
  const { stdout } = done("train", file("q.csv", `x,${cell('the, "y"')}\n${rows.join("\n")}\n`), "-t", 'the, "y"', "-o", "q.safetensors");
  const widths = stdout
    .split("\n")
    .filter((line) => /^[│┌├└]/.test(line))
    .map((line) => line.length + (line.match(/[猫犬]/g)?.length ?? 0));
  assert.is(new Set(widths).size, 2, "two tables, whose lines are equally wide");
  const { stdout: predicted } = done("run", "q.safetensors", "-i", "q.csv");
  assert.match(predicted, /^"the, ""y""",probability\n/);
  assert.ok(predicted.includes(`${cell(big)},0.`) && predicted.includes(`${cell(small)},0.`), predicted);
});

test("train: cells without a value are refused, filled or dropped; what is filled in is known to run", () => {
  const name = sized("gaps.csv", ",", { 3: ["", "small"], 7: ["NA", "small"], 9: ["5", ""] });
  refused(
    1,
    /some of the 60 rows have no value in a column: "x" in 2 rows, the first being row 4; "size" in 1 rows.*--missing fill/s,
    "train",
    name,
    "-t",
    "size",
  );
  const filled = trained(name, "-t", "size", "--missing", "fill");
  assert.match(filled.stderr, /1 of 60 rows are left out/);
  assert.match(filled.stdout, /^59 rows, 1 column as 1 number; size: 2 classes\n/);
  assert.match(done("run", "t.safetensors", "-i", file("hole.csv", 'x\n""\n9\n')).stdout, /^size,probability\n\w+,[\d.]+\nbig,/);
  const dropped = trained(name, "-t", "size", "--missing", "drop");
  assert.match(dropped.stderr, /3 of 60 rows are left out/);
  assert.match(dropped.stdout, /^57 rows/);
  refused(1, /hole\.csv: .*expected a value, found an empty cell/, "run", "t.safetensors", "-i", "hole.csv");
  refused(2, /--missing must be fill or drop, got "mean"/, "train", name, "-t", "size", "--missing", "mean");
  refused(
    1,
    /column "x" has no values; --exclude x/,
    "train",
    file("empty-column.csv", `x,z,size\n${lineOf(",", {}).replace(/^(?=.)/gm, ",")}`),
    "-t",
    "size",
  );
});

test("train: columns of which models make nothing", () => {
  const rows = Array.from({ length: 40 }, (_, i) => [numbers[i], `day ${i}`, 7, 1e30 * numbers[i], 2 * numbers[i] + 1]);
  const name = file(
    "odd.csv",
    csvOf(
      "x,day,seven,huge,y",
      rows.map((r) => r.map(String)),
    ),
  );
  const { stderr, stdout } = trained(name, "-t", "y", "--exclude", "huge");
  assert.match(stderr, /the same in every row, and so of no use: seven/);
  assert.match(stderr, /column "day" has 40 different texts in 40 rows, such as "day 0"/);
  assert.match(stdout, /y: numbers\n/);
  refused(
    1,
    /huge\.csv: numbers of column "huge" deviate by \d\.?\d*e\+29; give it in another unit/,
    "train",
    file(
      "huge.csv",
      csvOf(
        "huge,y",
        rows.map((r) => [String(r[3]), String(r[4])]),
      ),
    ),
    "-t",
    "y",
  );
  const years = file(
    "late.csv",
    csvOf(
      "seconds,y",
      rows.map((r, i) => [String(1.7e9 + i), String(r[4])]),
    ),
  );
  assert.match(trained(years, "-t", "y").stderr, /column "seconds" differs by little for its size/);
});

test("train: Ctrl-C ends after the epoch, and writes what there is", async () => {
  const child = spawn(
    process.execPath,
    [join(root, "build/cli.js"), "train", "houses.csv", "-t", "price", "-o", "i.safetensors", "--epochs", "100000", "--patience", "100000"],
    { cwd: folder },
  );
  let [stdout, stderr] = ["", ""];
  let asked = false;
  child.stdout.on("data", (text) => {
    stdout += text;
    if (!asked) setTimeout(() => child.kill("SIGINT"), 300);
    asked = true;
  });
  child.stderr.on("data", (text) => (stderr += text));
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.is(code, 130, stderr);
  assert.match(stdout, /\d epochs?, interrupted; [\d,]+ parameters\nTest, 40 rows/);
  assert.match(stderr, /ending after this epoch[^]*wrote i\.safetensors/);
  assert.match(done("run", "i.safetensors", "-i", "houses.csv").stdout, /^price\n\d/);
});

test("train: what users do wrong", () => {
  refused(2, /say which column is to be predicted: --target COLUMN; there are id, sepal, petal, colour, species/, "train", "flowers.csv");
  refused(1, /flowers\.csv has no column "specis"; there are id, sepal/, "train", "flowers.csv", "-t", "specis");
  refused(1, /cannot read "nowhere\.csv": there is no such file/, "train", "nowhere.csv", "-t", "a");
  refused(
    1,
    /no-names\.csv has no column "y"; there are 1\.5, a; the first line must name the columns/,
    "train",
    file("no-names.csv", "1.5,a\n2.5,b\n"),
    "-t",
    "y",
  );
  refused(1, /semi2\.csv has one column, "x": say what is between cells by --delimiter/, "train", file("semi2.csv", "x\n1\n"), "-t", "y");
  refused(1, /none\.csv is empty/, "train", file("none.csv", "\n\n"), "-t", "y");
  refused(1, /latin\.csv is no text in UTF-8/, "train", file("latin.csv", Buffer.from("x,y\n1,\xe9\n", "latin1")), "-t", "y");
  refused(
    1,
    /column "x" has numbers with commas, such as 1,5; write them with points/,
    "train",
    file("decimal.csv", `x;y\n${"1,5;2\n2,5;3\n".repeat(6)}`),
    "-t",
    "y",
  );
  refused(1, /cannot write no\/m\.safetensors: there is no folder no/, "train", "flowers.csv", "-t", "species", "-o", "no/m.safetensors");
  refused(2, /--plot must end in \.svg, got h\.png/, "train", "flowers.csv", "-t", "species", "--plot", "h.png");
  refused(1, /flowers\.csv has no column "ids"; there are id, sepal/, "train", "flowers.csv", "-t", "species", "--exclude", "ids");
  refused(
    1,
    /the target id has 240 different values in 240 rows: too many/,
    "train",
    "flowers.csv",
    "-t",
    "id",
    "--task",
    "classification",
  );
  refused(
    1,
    /numbers that are written in several ways: "1", "1\.0"/,
    "train",
    file("ways.csv", `x,y\n${"1,1\n2,1.0\n3,2\n4,3\n".repeat(4)}`),
    "-t",
    "y",
  );
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
    /less\.csv has no column "petal", which the model was trained with: sepal, petal, colour; it has sepal, colour/,
    "run",
    "flowers.safetensors",
    "-i",
    file("less.csv", "sepal,colour\n5,red\n"),
  );
  refused(
    1,
    /green\.csv: row 1 has in column "colour" "green", which the model was not trained with: it knows dark, blue, red/,
    "run",
    "flowers.safetensors",
    "-i",
    file("green.csv", "sepal,petal,colour\n5,1,green\n"),
  );
  refused(
    1,
    /texts\.csv: row 1 has in column "sepal" "tall"; the model was trained with numbers there/,
    "run",
    "flowers.safetensors",
    "-i",
    file("texts.csv", "sepal,petal,colour\ntall,1,red\nsmall,2,red\n"),
  );
});

test.run();
