/** @file Layers with their channels first: the same numbers as with channels last, worked out here. */
import { test } from "uvu";
import * as L from "../../build/esm/index.js";
import { loadKeras } from "../../build/esm/keras/index.js";
import { archive, call, from, functional, input, layer, near, predict, refused, row } from "./files.js";

await L.open("wasm", { threads: 1 });

test("channels first: the same numbers as with channels last", async () => {
  const conv = (name, calls, more = {}) =>
    layer("Conv2D", name, { filters: 2, kernel_size: [2, 2], padding: "same", data_format: "channels_first", ...more }, calls);
  const graph = functional(
    [
      input("x", [2, 3, 4]),
      conv("a", [call([from("x")])]),
      layer("BatchNormalization", "n", { axis: 1 }, [call([from("a")])]),
      conv("b", [call([from("n")])], { strides: 2 }),
      layer("MaxPooling2D", "p", { pool_size: 2, data_format: "channels_first", padding: "same" }, [call([from("b")])]),
      layer("Flatten", "f", { data_format: "channels_first" }, [call([from("p")])]),
      layer("Flatten", "g", { data_format: "channels_last" }, [call([from("b")])]),
      layer("Concatenate", "c", {}, [call([[from("f"), from("g")]])]),
    ],
    [["x", 0, 0]],
    [["c", 0, 0]],
  );
  const kernel = (k) => Array.from({ length: 2 }, (_, i) => Array.from({ length: 2 }, (_, j) => [[i - j + k, 2], [j, i + k]]));
  const weights = {
    "layers/conv2d/vars/0": kernel(1),
    "layers/conv2d/vars/1": [1, 2],
    "layers/conv2d_1/vars/0": kernel(2),
    "layers/conv2d_1/vars/1": [0, 1],
  };
  [[1, 2], [0, 1], [0.5, 1], [1, 2]].forEach((v, i) => (weights[`layers/batch_normalization/vars/${i}`] = v));
  const got = await predict(
    await loadKeras(archive(graph, weights)),
    L.tensor(
      Float32Array.from({ length: 24 }, (_, i) => (i % 7) - 3),
      [1, 2, 3, 4],
    ),
  );
  // The same in order, one loop after another.
  const x = (c, i, j) => ((c * 12 + i * 4 + j) % 7) - 3;
  const convolve = (at, k, bias, rows, columns, step) => (o, r, s) => {
    // Padding behind: kernels of 2.
    let sum = bias[o];
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 2; j++)
        for (let c = 0; c < 2; c++) {
          const [u, v] = [r * step + i, s * step + j];
          if (u < rows && v < columns) sum += at(c, u, v) * k[i][j][c][o];
        }
    return sum;
  };
  const a = convolve(x, kernel(1), [1, 2], 3, 4, 1);
  const n = (c, i, j) => ((a(c, i, j) - [0.5, 1][c]) / Math.sqrt([1, 2][c] + 1e-3)) * [1, 2][c] + [0, 1][c];
  const b = convolve(n, kernel(2), [0, 1], 3, 4, 2);
  const all = (c) => [b(c, 0, 0), b(c, 0, 1), b(c, 1, 0), b(c, 1, 1)];
  near(got, [Math.max(...all(0)), Math.max(...all(1)), ...all(0), ...all(1)]);
});

test("channels first in a row: elements as they are, and flat ones in the order of channels last", async () => {
  const rowed = row([
    input("x", [2, 5]),
    layer("Conv1D", "a", { filters: 1, kernel_size: 1, data_format: "channels_first" }),
    layer("Activation", "t", { activation: "relu" }),
    layer("UpSampling1D", "u", { size: 2 }),
  ]);
  const file = archive(rowed, { "layers/conv1d/vars/0": [[[1], [2]]], "layers/conv1d/vars/1": [0] });
  near(await predict(await loadKeras(file), L.tensor([[[1, 2, 3, 4, 5], [0, 0, 0, 0, -9]]])), [1, 2, 3, 4, 0, 1, 2, 3, 4, 0]);
  // Behind a layer that has its channels by axis the rank is still known.
  const flat = row([
    input("x", [2, 3]),
    layer("Conv1D", "a", { filters: 2, kernel_size: 1, data_format: "channels_first" }),
    layer("BatchNormalization", "n", { axis: 1, epsilon: 0 }),
    layer("ReLU", "r"),
    layer("Flatten", "f", { data_format: "channels_first" }),
  ]);
  const weights = { "layers/conv1d/vars/0": [[[1, 2], [2, 3]]], "layers/conv1d/vars/1": [0, 0] };
  [[1, 2], [0, 1], [1, 1], [1, 4]].forEach((v, i) => (weights[`layers/batch_normalization/vars/${i}`] = v));
  near(await predict(await loadKeras(archive(flat, weights)), L.tensor([[[0, 1, 2], [3, 4, 5]]])), [5, 9, 8, 14, 11, 19]);
});

test("what Keras computes along another dimension than that of channels is refused", async () => {
  const films = { filters: 1, kernel_size: 1, data_format: "channels_first", return_sequences: true };
  const graph = functional(
    [input("x", [2, 2, 3]), layer("ConvLSTM1D", "c", films, [call([from("x")])]), layer("Add", "y", {}, [call([[from("c"), from("c")]])])],
    [["x", 0, 0]],
    [["y", 0, 0]],
  );
  const gates = "layers/conv_lstm1d/cell/vars";
  const weights = { [`${gates}/0`]: [[[1, 1, 1, 1], [2, 2, 2, 2]]], [`${gates}/1`]: [[[1, 1, 1, 1]]], [`${gates}/2`]: [0, 0, 0, 0] };
  await refused(loadKeras(archive(graph, weights)), L.FileError, /ConvLSTM1D "c": data_format must be "channels_last"/);
  const conv = row([
    input("x", [2, 3]),
    layer("Conv1D", "c", { filters: 2, kernel_size: 1, data_format: "channels_first", activation: "softmax" }),
  ]);
  const kernels = { "layers/conv1d/vars/0": [[[1, 2], [2, 3]]], "layers/conv1d/vars/1": [0, 0] };
  await refused(loadKeras(archive(conv, kernels)), L.FileError, /Conv1D "c": activation "softmax" with data_format "channels_first"/);
  const unknown = row([
    input("x", [2, 3]),
    layer("Reshape", "s", { target_shape: [3, 2] }),
    layer("Flatten", "f", { data_format: "channels_first" }),
  ]);
  await refused(loadKeras(archive(unknown, {})), L.FileError, /of which rank the input of flatten "f" is.*give layers/);
});

test.run();
