/** @file What the tests of the command line share: a process of its own in a folder of its own, tables, pictures, arrays. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";
import * as assert from "uvu/assert";
import { conv2d, dense, flatten, sequential } from "../../build/esm/index.js";
import { Random } from "../../build/esm/random.js";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const packageJson = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
export const folder = mkdtempSync(join(tmpdir(), "lockstep-"));
export const cleanUp = () => rmSync(folder, { recursive: true });

/** Calls the command in the folder. */
export function call(...args) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [join(root, "build/cli.js"), ...args], {
    cwd: folder,
    encoding: "utf8",
    timeout: 120_000,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** What it gives where it does what was asked for. */
export function done(...args) {
  const { status, stdout, stderr } = call(...args);
  assert.is(status, 0, `lockstep ${args.join(" ")}: ${stderr}`);
  return { stdout, stderr };
}

/** That it ends with this code, says this and nothing on standard output. */
export function refused(code, pattern, ...args) {
  const { status, stdout, stderr } = call(...args);
  assert.is(status, code, `lockstep ${args.join(" ")}: ${stdout}${stderr}`);
  assert.match(stderr, pattern);
  assert.not.match(stderr, /\n {4}at |mistake of Lockstep/, "a stack is nothing for users");
  assert.is(stdout, "");
}

export const file = (name, content) => {
  writeFileSync(join(folder, name), content);
  return name;
};

export const csvOf = (header, rows) => `${header}\n${rows.map((r) => r.map((v) => (/,/.test(v) ? `"${v}"` : v)).join(",")).join("\n")}\n`;

const random = new Random(7, 0);
export const numbers = random.uniform(2000);

/** Tables of what can be learned: flowers.csv, new.csv, houses.csv. */
export function writeTables() {
  const kinds = ["setosa", "versicolor", "virginica"];
  const flowers = Array.from({ length: 240 }, (_, i) => {
    const kind = i % 3;
    const [a, b, c] = numbers.slice(3 * i, 3 * i + 3);
    return [i, (5 + 1.5 * kind + a).toFixed(2), (1 + 2 * kind + b).toFixed(2), c > 0.5 ? "red" : "dark, blue", kinds[kind]];
  });
  file("flowers.csv", csvOf("id,sepal,petal,colour,species", flowers));
  file("new.csv", csvOf("colour,petal,sepal", [["red", "1.3", "5.4"], ["dark, blue", "5.4", "8.5"]]));
  const houses = Array.from({ length: 200 }, (_, i) => {
    const [rooms, north, noise] = [1 + Math.floor(6 * numbers[i]), numbers[300 + i] > 0.5, numbers[600 + i]];
    return [String(rooms), north ? "north" : "south", (50000 + 40000 * rooms + (north ? 30000 : 0) + 5000 * noise).toFixed(0)];
  });
  file("houses.csv", csvOf("rooms,town,price", houses));
}

/** The flowers' classifier as flowers.safetensors. */
export const trainFlowers = (...more) =>
  done("train", "flowers.csv", "--target", "species", "--exclude", "id", "-o", "flowers.safetensors", ...more);

/** A small classifier of pictures, as image.safetensors. */
export async function writeImageModel() {
  const image = sequential([conv2d(2, 3), flatten(), dense(3, { activation: "softmax" })], { inputShape: [6, 6, 1], seed: 3 });
  writeFileSync(join(folder, "image.safetensors"), await image.toBytes());
  return image;
}

/** A small PNG: `filter` of each row, color type, bytes of its pixels; `raw`: rows as an interlaced one has them. */
export function png(width, height, color, pixels, { filter = 0, depth = 8, palette, raw } = {}) {
  const chunk = (type, data) => {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(data.length);
    head.write(type, 4, "latin1");
    const tail = Buffer.alloc(4);
    tail.writeUInt32BE(crc32(Buffer.concat([head.subarray(4), data])));
    return Buffer.concat([head, data, tail]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = color;
  header[12] = raw ? 1 : 0;
  const stride = raw ? 0 : pixels.length / height;
  const samples = Math.max(1, Math.floor(stride / width));
  const rows = raw ? Buffer.from(raw) : Buffer.alloc(height * (stride + 1));
  for (let y = 0; y < (raw ? 0 : height); y++) {
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

/** An array as NumPy writes it. */
export function npy(descr, shape, bytes, { fortran = "False", version = 1 } = {}) {
  const header = `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }\n`;
  const head = Buffer.from([0x93, 78, 85, 77, 80, 89, version, 0, header.length & 255, header.length >> 8, ...(version > 1 ? [0, 0] : [])]);
  return Buffer.concat([head, Buffer.from(header, "latin1"), Buffer.from(bytes.buffer ?? bytes)]);
}
