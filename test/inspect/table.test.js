/** @file Tables and numbers as text, and quantiles. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { quantile } from "../../build/esm/inspect/quantile.js";
import { placesOf, showMany, showMetric, showMs, showRate, showTable } from "../../build/esm/inspect/table.js";

test("tables: letters of double width, accents, line ends and what moves a cursor", () => {
  assert.equal(["cat", "猫", "小さい犬", "e\u0301", "한국", "👍", "", "\u200b"].map(placesOf), [3, 2, 8, 1, 4, 2, 0, 0]);
  assert.is(
    showTable([{ title: "Class" }, { title: "n", numbers: true }], [["猫", "1"], ["two\nlines", "10"], null, ["\x1b[31mred", "2"]]),
    `┌───────────┬────┐
│ Class     │  n │
├───────────┼────┤
│ 猫        │  1 │
│ two lines │ 10 │
├───────────┼────┤
│  [31mred  │  2 │
└───────────┴────┘`,
  );
});

test("numbers: three digits, all before the point, and never 0 for what is small", () => {
  assert.equal(
    [0, 0.4213, 7.128, 999, 1234, 5.67e9].map((v) => showMetric(v)),
    ["0", "0.421", "7.13", "999", "1.23 K", "5.67 G"],
  );
  assert.equal([0.01234, 1.2, 123.4, 12345.6].map(showRate), ["0.0123", "1.2", "123", "12,346"]);
  assert.equal([0, 0.0123456, 12.345, 1234.5].map(showMs), ["0", "0.0123", "12.3", "1235"]);
  assert.equal([showMany(1, "row"), showMany(1200, "row")], ["1 row", "1,200 rows"]);
});

test("quantiles: by the nearest rank", () => {
  const values = Array.from({ length: 20 }, (_, i) => 20 - i);
  assert.equal(
    [0, 0.5, 0.95, 1].map((part) => quantile(values, part)),
    [1, 10, 19, 20],
  );
  assert.equal([quantile([3], 0.95), quantile([5, 1, 9], 0.5), quantile([1, 2, 3, 4, 5, 6, 7], 0.95)], [3, 5, 7]);
});

test.run();
