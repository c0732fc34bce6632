/** @file Pictures: PNG, and as what a model reads. */
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readInput } from "../../build/esm/cli/inputs.js";
import { pictureAs } from "../../build/esm/cli/pictures.js";
import { readPng } from "../../build/esm/cli/png.js";
import { cleanUp, file, folder, png } from "./helpers.js";

test.after(cleanUp);
const by = (scale) => ({ mean: [0], scale: [scale] });

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
  assert.throws(() => readPng("x", png(1, 1, 3, [0], { depth: 16 })), /of a kind that there is none of: color type 3, 16 bits/);
  const flipped = Buffer.from(whole);
  flipped[19] ^= 1; // the width
  assert.throws(() => readPng("x", flipped), /damaged: its part IHDR has another checksum/);
});

/** Samples in so few bits, or in 16, as the rows of a PNG have them. */
function packed(rows, depth) {
  return rows.flatMap((row) => {
    if (depth === 16) return row.flatMap((v) => [v >> 8, v & 255]);
    const bytes = new Array(Math.ceil((row.length * depth) / 8)).fill(0);
    row.forEach((v, i) => (bytes[(i * depth) >> 3] |= v << (8 - depth - ((i * depth) & 7))));
    return bytes;
  });
}

test("pictures: grays and numbers of colors in 1, 2 and 4 bits, samples of 16 bits", () => {
  for (const depth of [1, 2, 4]) {
    const most = 2 ** depth - 1;
    const rows = [0, 1, 2].map((y) => Array.from({ length: 5 }, (_, x) => (3 * y + 5 * x) & most));
    const { width, height, data } = readPng("x", png(5, 3, 0, packed(rows, depth), { depth }));
    assert.equal([width, height, [...data]], [5, 3, rows.flat().map((v) => (v * 255) / most)], `${depth} bits`);
    const palette = Array.from({ length: 3 * 16 }, (_, i) => 5 * i);
    const colors = readPng("x", png(5, 3, 3, packed(rows, depth), { depth, palette }));
    assert.equal(
      [...colors.data],
      rows.flat().flatMap((c) => palette.slice(3 * c, 3 * c + 3)),
    );
  }
  for (let filter = 0; filter < 5; filter++) {
    const row = [0, 257, 65535, 1000, 40000, 12345];
    const { channels, data } = readPng("x", png(2, 1, 2, packed([row], 16), { depth: 16, filter }));
    assert.is(channels, 3);
    row.forEach((v, i) => assert.ok(Math.abs(data[i] - v / 257) < 1e-4));
  }
});

// Which pass of Adam7 has a pixel, by its place in squares of 8 (the picture in the specification, 8.1).
const PASSES = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"];

test("pictures: interlaced ones, also smaller than a square of passes, in every depth", () => {
  for (const [width, height] of [[1, 1], [2, 3], [5, 9], [13, 10]])
    for (const [color, depth, samples] of [[0, 1, 1], [0, 4, 1], [0, 8, 1], [2, 8, 3], [6, 16, 4]]) {
      const most = 2 ** depth - 1;
      const pixels = Array.from({ length: height }, (_, y) =>
        Array.from({ length: width }, (_, x) => Array.from({ length: samples }, (_, c) => (31 * y + 7 * x + 101 * c) & most)),
      );
      const raw = [1, 2, 3, 4, 5, 6, 7].flatMap((pass) =>
        pixels.flatMap((row, y) => {
          const own = row.filter((_, x) => PASSES[y % 8][x % 8] === String(pass));
          return own.length === 0 ? [] : [0, ...packed([own.flat()], depth)];
        }),
      );
      const { data } = readPng("x", png(width, height, color, null, { depth, raw }));
      pixels
        .flat(2)
        .forEach((v, i) => assert.ok(Math.abs(data[i] - (v * 255) / most) < 1e-4, `${width} x ${height}, color ${color}, ${depth} bits`));
    }
});

test("pictures: of another size by their neighbours, gray of colors and colors of gray", () => {
  const gray = { width: 2, height: 2, channels: 1, data: Uint8Array.of(0, 100, 200, 255) };
  assert.equal([...pictureAs(gray, 2, 2, 1, by(1))], [0, 100, 200, 255]);
  assert.equal([...pictureAs(gray, 1, 1, 1, by(1))], [138.75]);
  assert.equal([...pictureAs(gray, 1, 4, 1, by(1))].map(Math.round), [100, 119, 158, 178]);
  assert.equal([...pictureAs(gray, 1, 1, 3, by(1))], [138.75, 138.75, 138.75]);
  const red = { width: 1, height: 1, channels: 4, data: Uint8Array.of(255, 0, 0, 7) };
  assert.equal([...pictureAs(red, 1, 1, 3, by(255))], [1, 0, 0]);
  for (const [c, part] of [0.299, 0.587, 0.114].entries()) {
    const pure = { width: 1, height: 1, channels: 3, data: Uint8Array.from([0, 1, 2], (i) => 255 * Number(i === c)) };
    assert.ok(Math.abs(pictureAs(pure, 1, 1, 1, by(255))[0] - part) < 1e-6);
  }
});

test("pictures: less a mean and divided, by channel", () => {
  const colors = { width: 1, height: 1, channels: 3, data: Uint8Array.of(255, 100, 0) };
  assert.equal(
    [...pictureAs(colors, 1, 1, 3, { mean: [127.5], scale: [127.5] })].map((v) => Number(v.toFixed(4))),
    [1, -0.2157, -1],
  );
  assert.equal([...pictureAs(colors, 1, 1, 3, { mean: [55, 100, 10], scale: [2, 3, 4] })], [100, 0, -2.5]);
});

test("inputs: pictures for models with channels last and first, alone and in the size that the model has", async () => {
  const { readInput } = await import("../../build/esm/cli/inputs.js");
  const path = join(folder, file("colors.png", png(2, 1, 2, [255, 0, 51, 0, 102, 255])));
  const read = async (shape) => {
    const t = await readInput(path, { shape, dtype: null });
    return [t.shape, Array.from(await t.data(), (v) => Number(v.toFixed(3)))];
  };
  assert.equal(await read([1, 2, 3]), [[1, 1, 2, 3], [1, 0, 0.2, 0, 0.4, 1]]);
  assert.equal(await read([3, 1, 2]), [[1, 3, 1, 2], [1, 0, 0, 0.4, 0.2, 1]]);
  assert.equal(await read([null, null, 3]), [[1, 1, 2, 3], [1, 0, 0.2, 0, 0.4, 1]]);
  assert.equal((await read(null))[0], [1, 1, 2, 3]);
  assert.equal((await read([4, 4, 1]))[0], [1, 4, 4, 1]);
  // A model of integers takes samples as they are, between pixels rounded.
  const whole = await readInput(path, { shape: [1, 4, 3], dtype: "i32" });
  assert.equal([whole.dtype, ...(await whole.data()).slice(0, 6)], ["i32", 255, 0, 51, 191, 26, 102]);
  const colors = { mean: [1, 2, 3], scale: [255] };
  assert.equal([...(await (await readInput(path, { shape: [1, 2, 3], dtype: null }, colors)).data()).slice(0, 2)].map(Math.sign), [1, -1]);
  const gray = await readInput(path, { shape: [1, 2, 1], dtype: null }, colors).catch((e) => e);
  assert.match(gray.message, /colors\.png has one channel for the model, for which --mean and --scale are one number each, got 3/);
  for (const shape of [[5], [4, 4, 2]]) {
    const error = await readInput(path, { shape, dtype: null }).catch((e) => e);
    assert.match(error.message, /is a picture, and the model takes samples of/);
  }
});

test.run();
