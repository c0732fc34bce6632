import { test } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, DataError } from "../../build/esm/errors.js";
import { parseCsv } from "../../build/esm/data/csv.js";

/** Asserts an error of one type whose message holds every part. */
function refuses(type, text, options, ...parts) {
  try {
    parseCsv(text, options);
  } catch (error) {
    assert.instance(error, type, error.stack);
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    return;
  }
  assert.unreachable(`accepted ${JSON.stringify(text)}`);
}

const values = (text, options) => Array.from(parseCsv(text, options).values);

test("numbers without a header", () => {
  const table = parseCsv("1,2.5,-3\n4e2,.5,+6.\n");
  assert.equal(table.columns, ["0", "1", "2"]);
  assert.is(table.rows, 2);
  assert.instance(table.values, Float32Array);
  assert.equal(Array.from(table.values), [1, 2.5, -3, 400, 0.5, 6]);
  assert.equal(table.categories, {});
});

test("a header is found, demanded or denied", () => {
  assert.equal(parseCsv("a,b\n1,2").columns, ["a", "b"]);
  assert.equal(parseCsv("red,1\nblue,2").columns, ["0", "1"]);
  assert.equal(parseCsv("a\nb\nc").rows, 3, "texts under a text are no header");
  assert.equal(parseCsv("a\nb\nc", { header: true }).rows, 2);
  assert.equal(parseCsv("1958,1959\n1,2", { header: true }).columns, ["1958", "1959"]);
  refuses(DataError, "a,b\n1,2", { header: false }, "line 1", '"0"', 'found "a"');
});

test("texts become categories in sorted order", () => {
  const table = parseCsv("x,colour\n1,red\n2,blue\n3,red\n4,Zinc");
  assert.equal(table.categories, { colour: ["Zinc", "blue", "red"] });
  assert.equal(Array.from(table.values), [1, 2, 2, 1, 3, 2, 4, 0]);
  assert.equal(parseCsv("1,__proto__\n2,b", { header: false }).categories, { 1: ["__proto__", "b"] });
});

test("numbers can be read as categories", () => {
  const table = parseCsv("id,zip\n1,0210\n2,AB1\n3,0210", { categorical: ["zip"] });
  assert.equal(table.categories, { zip: ["0210", "AB1"] });
  assert.equal(Array.from(table.values), [1, 0, 2, 1, 3, 0]);
});

test("columns are selected by name or index, in the order asked", () => {
  const text = "a,b,c\n1,2,x\n3,4,y\n";
  const table = parseCsv(text, { columns: ["c", 0] });
  assert.equal(table.columns, ["c", "a"]);
  assert.equal(Array.from(table.values), [0, 1, 1, 3]);
  assert.equal(values("a,b\n1,\n2,?", { columns: ["a"] }), [1, 2], "what is not selected may be missing");
  for (const column of ["d", 3, -1, 0.5]) refuses(ArgumentError, text, { columns: [column] }, JSON.stringify(column), '"a", "b", "c"');
  refuses(ArgumentError, text, { categorical: ["d"] }, '"d"');
});

test("quotations as in RFC 4180", () => {
  const table = parseCsv('name,"size, cm"\r\n"O""Neil, ""Jo""",1\r\n"two\r\nlines","2"\r\n"",3\r\n', { columns: [1] });
  assert.equal(table.columns, ["size, cm"]);
  assert.equal(Array.from(table.values), [1, 2, 3]);
  const { categories } = parseCsv('n,s\n1,"a ""b"""\n2,"c\nd"\n3,""""', {});
  assert.equal(categories, { s: ['"', 'a "b"', "c\nd"] });
  refuses(DataError, '1,"a\n2,b', {}, "line 1", "closing quote");
  refuses(DataError, '1,"a"b\n2,b', {}, "line 1", 'found "b"');
  refuses(DataError, '1,a\n2,b"c"', {}, "line 2", "quoted as a whole");
  refuses(DataError, '1,"a""', {}, "line 1", "closing quote");
});

test("line ends, BOM, delimiter", () => {
  for (const text of ["1,2\n3,4", "1,2\r\n3,4\r\n", "1,2\r3,4\r", "\ufeff1,2\n3,4\n\n\n", " 1 , 2\n3 ,\t4"]) {
    assert.equal(values(text), [1, 2, 3, 4], JSON.stringify(text));
  }
  assert.equal(values("1;2\n3;4", { delimiter: ";" }), [1, 2, 3, 4]);
  assert.equal(values("1\t2", { delimiter: "\t" }), [1, 2]);
  assert.equal(parseCsv("\ufeffa\n1").columns, ["a"]);
  for (const delimiter of ["", "::", '"', "\n"]) refuses(ArgumentError, "1", { delimiter }, "delimiter");
});

test("faults name line and column", () => {
  refuses(DataError, "1,2\n3\n", {}, "line 2", "expected 2 cells", "found 1");
  refuses(DataError, "1,2\n3,4,5\n", {}, "line 2", "expected 2 cells", "found 3");
  refuses(DataError, "1,2\n\n3,4\n", {}, "line 2", "empty line");
  refuses(DataError, "a,b\n1,2\n3,\n", {}, "line 3", '"b"', "empty cell");
  refuses(DataError, "a,b\n1,2\n3,NaN\n", {}, "line 3", '"b"', '"NaN"');
  refuses(DataError, "a,b\nx,2\n,3\n", {}, "line 3", '"a"', "empty cell");
  for (const cell of ["nan", "-inf", "Infinity", "  "]) refuses(DataError, `1\n${cell}\n2`, {}, "line 2", JSON.stringify(cell));
  refuses(DataError, "1\n1e39", {}, "line 2", "f32", '"1e39"');
  refuses(DataError, "1,2\n3,x\n4,5", {}, "line 2", '"1"', "expected a number", 'found "x"', "categorical");
  refuses(DataError, "1,x\n3,7\n4,y", {}, "line 2", '"1"', "expected a text", 'found "7"', "categorical");
  for (const cell of ["0x10", "1_000", "1e", ".", "1 2", "١"]) refuses(DataError, `1\n2\n${cell}`, {}, "line 3", JSON.stringify(cell));
  refuses(DataError, 'a,b\n"1\n\n",2\n3,4\n5,x', { columns: ["b"] }, "line 6");
  refuses(DataError, "a,a\n1,2", {}, '"a" twice');
  refuses(DataError, "", {}, "at least one row");
  refuses(DataError, "\n\n", {}, "at least one row");
  refuses(DataError, "a,b\n", { header: true }, "only a header");
});

test("long cells take linear time", () => {
  const digits = "1".repeat(300_000);
  const began = performance.now();
  refuses(DataError, `1\n2\n${digits}x`, {}, "line 3");
  refuses(DataError, `1\n2\n${" ".repeat(300_000)}x`, {}, "line 3");
  assert.ok(performance.now() - began < 2000);
});

const tables = join(process.env.LOCKSTEP_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url)), "data/tables");

test("missing: kept where that is asked for, as NaN among numbers, as an empty text among texts", () => {
  const text = "a,b,c,d\n1,x,,NA\n , ,y,NA\nNaN,n/a,z,7\n";
  const { values, categories } = parseCsv(text, { missing: "keep" });
  assert.equal([...values.filter((_, i) => i % 4 === 0)], [1, NaN, NaN]);
  assert.equal([...values.filter((_, i) => i % 4 === 3)], [NaN, NaN, 7]);
  assert.equal(categories, { b: ["", "n/a", "x"], c: ["", "y", "z"] });
  assert.throws(() => parseCsv(text), /line 3, column "a": expected a value/);
  assert.throws(() => parseCsv(text, { missing: "drop" }), /missing must be one of "error", "keep", got "drop"/);
  const words = ["nan", "NA", "#N/A", "n/a", "<NA>", "null", "None", "?", " "];
  assert.equal([...parseCsv(`a\n1\n${words.map((w) => `"${w}"`).join("\n")}\n`, { missing: "keep" }).values], [1, ...words.map(() => NaN)]);
  // What is not there says nothing; infinity is no number of a table.
  assert.equal([...parseCsv("a,b\n,1\n,2\n", { missing: "keep", columns: ["a"] }).values], [NaN, NaN]);
  assert.throws(() => parseCsv("a\n1\ninf\n2\n", { missing: "keep" }), /line 3, column "a": expected a number like most/);
});

if (existsSync(tables)) {
  const read = (name, options) => parseCsv(readFileSync(join(tables, name), "utf8"), options);

  test("data: pima-indians-diabetes", () => {
    const table = read("pima-indians-diabetes.csv");
    assert.equal([table.rows, table.columns.length, Object.keys(table.categories).length], [768, 9, 0]);
    assert.equal(Array.from(table.values.slice(0, 9)), Array.from(Float32Array.of(6, 148, 72, 35, 0, 33.6, 0.627, 50, 1)));
    assert.is(
      Array.from({ length: 768 }, (_, i) => table.values[i * 9 + 8]).reduce((a, b) => a + b),
      268,
    );
  });

  test("data: iris", () => {
    const table = read("iris.csv");
    assert.equal([table.rows, table.columns.length], [150, 5]);
    assert.equal(table.categories, { 4: ["Iris-setosa", "Iris-versicolor", "Iris-virginica"] });
    assert.equal(
      [0, 50, 149].map((row) => table.values[row * 5 + 4]),
      [0, 1, 2],
    );
  });

  test("data: airline passengers", () => {
    const table = read("airline-passengers.csv");
    assert.equal([table.rows, ...table.columns], [144, "Month", "Passengers"]);
    assert.is(table.categories.Month.length, 144);
    const series = read("airline-passengers.csv", { columns: ["Passengers"] }).values;
    assert.equal([series.length, series[0], series[143]], [144, 112, 432]);
  });

  test("data: wine quality", () => {
    const table = read("winequality-red.csv");
    assert.equal([table.rows, table.columns.length, Object.keys(table.categories).length], [1599, 12, 0]);
    assert.equal(read("winequality-red.csv", { columns: [11], categorical: [11] }).categories, { 11: ["3", "4", "5", "6", "7", "8"] });
  });
}

test.run();
