/**
 * @file Networks as exporters write them (channels first, batch normalization folded into the filters), with random weights:
 * MobileNetV2 (Sandler et al. 2018), ResNet-50 (He et al. 2015) and a U-Net (Ronneberger et al. 2015).
 */
import { OnnxGraph } from "../peers/onnx.js";

let state = 1;
/** Numbers around 0, the same in each run. */
const random = (size, scale) =>
  Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 2 * scale;
  });

class Network {
  graph = new OnnxGraph();

  constant(shape, scale) {
    return this.graph.constant(
      random(
        shape.reduce((n, d) => n * d, 1),
        scale,
      ),
      shape,
    );
  }

  conv(x, from, to, size, { stride = 1, group = 1, pad = size >> 1 } = {}) {
    const fan = (from / group) * size * size;
    return this.graph.node("Conv", [x, this.constant([to, from / group, size, size], Math.sqrt(3 / fan)), this.constant([to], 0.1)], {
      kernel_shape: [size, size],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      dilations: [1, 1],
      group,
    });
  }

  relu(x) {
    return this.graph.node("Relu", [x]);
  }

  relu6(x) {
    this.bounds ??= [0, 6].map((v) => this.graph.constant(Float32Array.of(v), []));
    return this.graph.node("Clip", [x, ...this.bounds]);
  }

  head(x, from, to) {
    const flat = this.graph.node("Flatten", [this.graph.node("GlobalAveragePool", [x])], { axis: 1 });
    return this.graph.node("Gemm", [flat, this.constant([to, from], Math.sqrt(3 / from)), this.constant([to], 0.1)], { transB: 1 });
  }
}

function mobileNet() {
  const n = new Network();
  let x = n.relu6(n.conv("input", 3, 32, 3, { stride: 2 }));
  let from = 32;
  const stages = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ];
  for (const [expansion, to, count, first] of stages) {
    for (let i = 0; i < count; i++) {
      const [stride, hidden] = [i === 0 ? first : 1, from * expansion];
      let y = expansion === 1 ? x : n.relu6(n.conv(x, from, hidden, 1));
      y = n.conv(n.relu6(n.conv(y, hidden, hidden, 3, { stride, group: hidden })), hidden, to, 1);
      x = stride === 1 && from === to ? n.graph.node("Add", [x, y]) : y;
      from = to;
    }
  }
  const y = n.head(n.relu6(n.conv(x, 320, 1280, 1)), 1280, 1000);
  return n.graph.build({ input: [1, 3, 224, 224] }, y, [1, 1000]);
}

function resNet50() {
  const n = new Network();
  let x = n.relu(n.conv("input", 3, 64, 7, { stride: 2 }));
  x = n.graph.node("MaxPool", [x], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  let from = 64;
  [3, 4, 6, 3].forEach((count, stage) => {
    const width = 64 << stage;
    for (let i = 0; i < count; i++) {
      const stride = i === 0 && stage > 0 ? 2 : 1;
      const y = n.conv(n.relu(n.conv(n.relu(n.conv(x, from, width, 1)), width, width, 3, { stride })), width, 4 * width, 1);
      const shortcut = i === 0 ? n.conv(x, from, 4 * width, 1, { stride }) : x;
      x = n.relu(n.graph.node("Add", [y, shortcut]));
      from = 4 * width;
    }
  });
  return n.graph.build({ input: [1, 3, 224, 224] }, n.head(x, 2048, 1000), [1, 1000]);
}

function uNet() {
  const n = new Network();
  const twice = (x, from, to) => n.relu(n.conv(n.relu(n.conv(x, from, to, 3)), to, to, 3));
  const widths = [24, 48, 96, 192];
  const kept = [];
  let [x, from] = ["input", 3];
  for (const to of widths) {
    x = twice(x, from, to);
    from = to;
    if (to === widths.at(-1)) break;
    kept.push([x, to]);
    x = n.graph.node("MaxPool", [x], { kernel_shape: [2, 2], strides: [2, 2] });
  }
  for (const [other, to] of kept.reverse()) {
    const filters = n.constant([from, to, 2, 2], Math.sqrt(3 / from));
    x = n.graph.node("ConvTranspose", [x, filters, n.constant([to], 0.1)], { kernel_shape: [2, 2], strides: [2, 2] });
    x = twice(n.graph.node("Concat", [other, x], { axis: 1 }), 2 * to, to);
    from = to;
  }
  const y = n.graph.node("Sigmoid", [n.conv(x, from, 1, 1)]);
  return n.graph.build({ input: [1, 3, 128, 128] }, y, [1, 1, 128, 128]);
}

/** Name: the file's bytes. */
export const GRAPHS = { MobileNetV2: mobileNet, "ResNet-50": resNet50, "U-Net": uNet };
