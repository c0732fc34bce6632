/** summary: a table of layers, shapes and parameters. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { model, sequential } from "../../build/esm/model/model.js";
import { pack } from "../../build/esm/packed/pack.js";
import { tensor, zeros } from "../../build/esm/tensor.js";
import { batchNorm, conv2d, dense, flatten, maxPool2d, merge } from "../../build/esm/nn/index.js";

/** The cells of the table's rows, without lines and head; then the last line. */
function read(m) {
  let printed = "";
  const text = m.summary((t) => (printed += t));
  assert.is(printed, text);
  const lines = text.split("\n");
  const cells = lines
    .filter((l) => l.startsWith("│"))
    .map((l) =>
      l
        .split("│")
        .slice(1, -1)
        .map((c) => c.trim()),
    );
  assert.is(new Set(lines.slice(1, -1).map((l) => l.length)).size, 1, "all lines of the table are equally long");
  return { title: lines[0], head: cells[0], rows: cells.slice(1), last: lines.at(-1) };
}

test("a sequential model", () => {
  const m = sequential([conv2d(8, 3, { padding: "same" }), batchNorm(), maxPool2d(2), flatten(), dense(1000, { name: "head" })], {
    inputShape: [8, 8, 1],
    name: "digits",
  });
  const { title, head, rows, last } = read(m);
  assert.is(title, 'Model: "digits"');
  assert.equal(head, ["Layer (type)", "Output shape", "Parameters"]);
  assert.equal(rows, [
    ["conv2d (conv2d)", "[batch, 8, 8, 8]", "80"],
    ["batchNorm (batchNorm)", "[batch, 8, 8, 8]", "32"],
    ["maxPool2d (maxPool2d)", "[batch, 4, 4, 8]", "0"],
    ["flatten (flatten)", "[batch, 128]", "0"],
    ["head (dense)", "[batch, 1000]", "129,000"],
  ]);
  assert.is(last, "Parameters: 129,112 (504.34 KB), trainable 129,096 (504.28 KB), other 16 (64 B)");
});

test("a model that is a function, with a layer called twice", () => {
  const shared = dense(3);
  const join = merge.add();
  const { rows, last } = read(model((a, b) => join.call(shared.call(a), shared.call(b)), { inputShape: [[2], [2]] }));
  assert.equal(rows, [["dense (dense)", "[batch, 3]", "9"], ["add (add)", "[batch, 3]", "0"]]);
  assert.match(last, /^Parameters: 9 \(36 B\)/);
});

test("weights in few bits count as what they take", async () => {
  const layer = dense(64, { name: "head" });
  const m = model((x) => layer.call(x));
  const kernel = await pack(tensor(new Float32Array(64 * 64), [64, 64]), "q8");
  m.build([[64]], { weights: (_, name) => (name === "kernel" ? kernel : zeros([64])) });
  // 64 x 64 bytes, 2 for each 32 of them, and 64 words.
  assert.is(read(m).last.split(",").slice(0, 2).join(","), "Parameters: 4,160 (4.50 KB)");
});

test("a model that is not built yet", () => {
  assert.equal(read(sequential([dense(3)])).rows, [["dense (dense)", "?", "? (not built)"]]);
});

test.run();
