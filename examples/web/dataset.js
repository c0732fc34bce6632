/** @file The data, made or read in the worker: digits drawn from strokes, or the IDX files of MNIST. */
import { oneHot, readIdx } from "lockstep/data";
import { digits } from "../data.js";

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const CLASSES = 10;
const SEED = 1;

/** What `fit` takes: pixels from 0 to 1 as [count, 28, 28, 1] and labels as rows of ten with a single 1. */
function samples(x, labels) {
  const count = labels.length;
  return {
    count,
    labels,
    x: { data: x, shape: [count, SIDE, SIDE, 1] },
    y: { data: oneHot(labels, CLASSES), shape: [count, CLASSES] },
  };
}

const part = (x, labels, from, to) => samples(x.slice(from * PIXELS, to * PIXELS), labels.slice(from, to));

/** `count` digits to train on and a tenth as many, at least 200, that the network never trains on. */
export function drawnDigits(count) {
  const held = Math.max(200, Math.round(count / 10));
  const { x, y } = digits(count + held, SEED);
  return { name: "drawn digits", train: part(x, y, 0, count), validation: part(x, y, count, count + held) };
}

/**
 * MNIST from the files that somebody dropped, gzipped or not, in any order: images and labels find each other by their
 * number. Two pairs are training and test set; of a single pair the last tenth is held back.
 * @param {File[]} files
 */
export async function mnist(files) {
  const images = [];
  const labels = [];
  for (const file of files) {
    const { shape, data } = await readIdx(new Uint8Array(await file.arrayBuffer()), file.name);
    if (shape.length === 3 && shape[1] === SIDE && shape[2] === SIDE) images.push({ count: shape[0], data });
    else if (shape.length === 1 && data.every((label) => label < CLASSES)) labels.push({ count: shape[0], data });
    else throw new Error(`${file.name}: expected images of 28 x 28 pixels or labels from 0 to 9, found the shape [${shape.join(", ")}]`);
  }
  const pairs = images.flatMap((image) => {
    const label = labels.find((l) => l.count === image.count);
    return label === undefined ? [] : [{ count: image.count, x: Float32Array.from(image.data, (v) => v / 255), labels: label.data }];
  });
  pairs.sort((a, b) => b.count - a.count);
  if (pairs.length === 0)
    throw new Error(`${files.map((f) => f.name).join(", ")}: drop a file of images together with the file of their labels`);
  const [first, second] = pairs;
  const cut = second === undefined ? Math.floor(first.count * 0.9) : first.count;
  return {
    name: "MNIST",
    train: part(first.x, first.labels, 0, cut),
    validation: second === undefined ? part(first.x, first.labels, cut, first.count) : samples(second.x, second.labels),
  };
}

/** The first `count` samples. */
export function head({ x, labels, count }, most) {
  return count <= most ? { x, y: { data: oneHot(labels, CLASSES), shape: [count, CLASSES] } } : part(x.data, labels, 0, most);
}

/** One sample's pixels. */
export const pixelsOf = ({ x }, index) => x.data.slice(index * PIXELS, (index + 1) * PIXELS);
