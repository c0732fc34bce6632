/** @file Layers that change images in training, and those of classes, as Keras and TensorFlow.js write them, also by other names. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { loadKeras, loadTfjs, saveKeras, saveTfjs } from "../../build/esm/keras/index.js";
import { readHdf5 } from "../../build/esm/keras/hdf5.js";
import { writeHdf5 } from "../../build/esm/keras/hdf5-write.js";
import { readZip, writeZip } from "../../build/esm/keras/zip.js";
import { refused } from "./files.js";

await L.open("wasm", { threads: 1 });

const encode = (value) => new TextEncoder().encode(JSON.stringify(value));
const decode = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
const configOf = async (file) => decode(await readZip("", file).read("config.json"));
/** A row of these layers as Keras 3 writes it. */
const archive = (layers, shape, variables = new Map()) =>
  writeZip([
    [
      "config.json",
      encode({
        module: "keras",
        class_name: "Sequential",
        registered_name: null,
        config: {
          name: "sequential",
          trainable: true,
          dtype: "float32",
          layers: [
            {
              module: "keras.layers",
              class_name: "InputLayer",
              registered_name: null,
              config: { batch_shape: [null, ...shape], dtype: "float32", sparse: false, name: "input" },
            },
            ...layers.map(([class_name, config], i) => ({
              module: "keras.layers",
              class_name,
              registered_name: null,
              config: {
                name: `l${i}`,
                trainable: true,
                dtype: { module: "keras", class_name: "DTypePolicy", config: { name: "float32" }, registered_name: null },
                ...config,
              },
              build_config: { input_shape: [null, ...shape] },
            })),
          ],
        },
      }),
    ],
    ["model.weights.h5", writeHdf5(variables)],
  ]);

/** What get_config() of Keras 3.16 gives. */
const image = { data_format: "channels_last", seed: null };
const placed = { ...image, fill_mode: "reflect", fill_value: 0, interpolation: "bilinear" };

test("configurations of Keras are read, and written again", async () => {
  const seed = { shape: [2], data: Uint32Array.of(7, 9) };
  const file = archive(
    [
      ["RandomFlip", { ...image, mode: "horizontal_and_vertical" }],
      ["RandomRotation", { ...placed, factor: [-0.2, 0.2] }],
      ["RandomTranslation", { ...placed, height_factor: 0.1, width_factor: [-0.1, 0.2], fill_mode: "wrap" }],
      ["RandomZoom", { ...placed, height_factor: [-0.2, 0.3], width_factor: null, fill_mode: "constant", fill_value: 0.5, seed: 3 }],
      ["RandomContrast", { ...image, factor: [0, 0.2], value_range: [0, 255] }],
      ["RandomBrightness", { ...image, factor: [-0.2, 0.2], value_range: [0, 1], bounding_box_format: "xyxy" }],
      ["RandomCrop", { ...image, height: 5, width: 4 }],
      [
        "Resizing",
        {
          data_format: "channels_last",
          height: 4,
          width: 6,
          interpolation: "nearest",
          crop_to_aspect_ratio: false,
          pad_to_aspect_ratio: true,
          fill_mode: "constant",
          fill_value: 0.25,
          antialias: true,
        },
      ],
      ["CenterCrop", { data_format: "channels_last", height: 9, width: 9 }],
    ],
    [7, 8, 3],
    new Map(
      ["random_flip", "random_rotation", "random_translation", "random_zoom", "random_contrast", "random_brightness", "random_crop"].map(
        (group) => [`layers/${group}/generator/vars/0`, seed],
      ),
    ),
  );
  const model = await loadKeras(file);
  const options = model.layers.map(({ kind, config: { name: _, ...rest } }) => [kind, rest]);
  const place = { fillMode: "reflect", interpolation: "bilinear", fillValue: 0 };
  assert.equal(options, [
    ["randomFlip", { mode: "horizontalAndVertical" }],
    ["randomRotation", { factor: [-0.2, 0.2], ...place }],
    ["randomTranslation", { heightFactor: 0.1, widthFactor: [-0.1, 0.2], ...place, fillMode: "wrap" }],
    ["randomZoom", { heightFactor: [-0.2, 0.3], ...place, fillMode: "constant", fillValue: 0.5, widthFactor: null }],
    ["randomContrast", { factor: [0, 0.2], valueRange: [0, 255] }],
    ["randomBrightness", { factor: [-0.2, 0.2], valueRange: [0, 1] }],
    ["randomCrop", { height: 5, width: 4 }],
    [
      "resizing",
      {
        height: 4,
        width: 6,
        interpolation: "nearest",
        cropToAspectRatio: false,
        padToAspectRatio: true,
        fillValue: 0.25,
        antialias: true,
      },
    ],
    ["centerCrop", { height: 9, width: 9 }],
  ]);
  const again = await saveKeras(model);
  const read = await loadKeras(again);
  assert.equal(
    read.layers.map(({ kind, config: { name: _, ...rest } }) => [kind, rest]),
    options,
  );
  const { layers } = (await configOf(again)).config;
  assert.equal(layers[2].class_name, "RandomRotation");
  assert.equal(layers[2].config.factor, [-0.2, 0.2]);
  assert.equal(layers[4].config.fill_value, 0.5);
  // Where Keras looks for the states of its generators.
  const paths = [...readHdf5("", await readZip("", again).read("model.weights.h5")).keys()].filter((p) => p.endsWith("/vars/0"));
  assert.equal(paths.length, 7);
  for (const path of paths) assert.match(path, /^\/layers\/random_\w+\/generator\/vars\/0$/);
});

test("bins and classes are read with what was learned, and written as Keras takes them", async () => {
  const file = archive(
    [
      ["Discretization", { bin_boundaries: [0.5, 2], num_bins: 3, epsilon: 0.01, output_mode: "one_hot", sparse: false }],
      ["Flatten", { data_format: "channels_last" }],
      ["CategoryEncoding", { num_tokens: 2, output_mode: "binary", sparse: false }],
    ],
    [3],
  );
  const model = await loadKeras(file);
  const y = await model.layers[0].call(L.tensor([[0, 1, 2]]));
  assert.equal([...(await y.data())], [1, 0, 0, 0, 1, 0, 0, 0, 1]);
  assert.equal([...(await (await model.predict(L.tensor([[0, 1, 2]]))).data())], [1, 1]);
  await model.layers[0].adapt([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const { layers } = (await configOf(await saveKeras(model))).config;
  // Its class takes no such option.
  assert.not("trainable" in layers[1].config);
  assert.equal(layers[1].config.num_bins, 3);
  assert.equal(layers[1].config.bin_boundaries, model.layers[0].config.binBoundaries);
  assert.is(layers[3].config.output_mode, "multi_hot");
});

test("a number is another factor of contrast for Keras, which is written as what it means", async () => {
  const written = async (factor) => {
    const model = L.sequential([L.randomContrast(factor)], { inputShape: [2, 2, 1] });
    return (await configOf(await saveKeras(model))).config.layers[1].config.factor;
  };
  assert.equal(await written(0.3), [0.3, 0.3]);
  assert.equal(await written([0.1, 0.3]), [0.1, 0.3]);
  await refused(written([0.3, 0.1]), L.ArgumentError, /Keras would take its factor \[0.3, 0.1\] as \[0.1, 0.3\]/);
});

test("TensorFlow.js computes something else of some images, which is refused", async () => {
  const save = (layer, shape) => saveTfjs(L.sequential([L.reshape(shape), layer], { inputShape: shape }));
  await refused(save(L.centerCrop(4, 4), [3, 9, 1]), L.ArgumentError, /"centerCrop": it resizes smaller images/);
  await refused(save(L.centerCrop(3, 4), [4, 5, 1]), L.ArgumentError, /of one column that is too many it leaves out the first/);
  await refused(save(L.resizing(4, 4, { interpolation: "nearest" }), [3, 9, 1]), L.ArgumentError, /from the corners/);
  await refused(save(L.randomZoom(0.1), [3, 9, 1]), L.ArgumentError, /TensorFlow.js has no such layer/);

  for (const [layer, shape] of [
    [L.categoryEncoding(4), [3]],
    [L.centerCrop(2, 2), [4, 4, 1]],
  ])
    await refused(
      saveTfjs(L.sequential([L.rescaling(1), layer], { inputShape: shape })),
      L.ArgumentError,
      /takes the shape of what .* gives for that of the input.*put a reshape layer/,
    );

  const files = await save(L.centerCrop(3, 4), [4, 6, 1]);
  const changed = async (change) => {
    const json = decode(files["model.json"]);
    change(json.modelTopology.model_config.config.layers);
    return loadTfjs({ ...files, "model.json": encode(json) });
  };
  await refused(
    changed((layers) => (layers[2].config.width = 5)),
    L.FileError,
    /CenterCrop "centerCrop": TensorFlow.js computes something else of f32\[.*4, 6, 1\]/,
  );
  await refused(
    changed((layers) => Object.assign(layers[2], { class_name: "Resizing" })),
    L.FileError,
    /Resizing "centerCrop": TensorFlow.js measures from the corners/,
  );
  assert.is((await changed(() => {})).layers[1].kind, "centerCrop");
});

test.run();
