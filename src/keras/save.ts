/** @file Models as files of Keras 3. */
import { checkFlag, checkOptions } from "../check.ts";
import { ArgumentError } from "../index.ts";
import type { Layer, Model, OpenShape, Tensor } from "../index.ts";
import { isObject } from "./fields.ts";
import type { Json } from "./fields.ts";
import { writeHdf5 } from "./hdf5-write.ts";
import type { Written as WrittenData } from "./hdf5-write.ts";
import { HEADS, isRow, MERGING, RECURRENT } from "./kinds.ts";
import { checkCallInTfjs } from "./layers-tfjs.ts";
import { writeLayer } from "./layers-write.ts";
import type { SaveKerasOptions } from "./options.ts";
import { alive, layersOf } from "./order.ts";
import { placesOf } from "./places.ts";
import { record } from "./record.ts";
import type { Made, Recorded, Recording } from "./record.ts";
import { graphInput, rowInput, writtenWeights } from "./text.ts";
import type { InputType } from "./text.ts";
import { writeTraining } from "./training.ts";
import { writeZip } from "./zip.ts";

/** The version whose files these are as. */
const KERAS_VERSION = "3.16.0";
/** Layers that take what they attend to as an argument of its own: Keras cannot have them in a row. */
const ATTENDING = HEADS.concat("attention");

/** How a format writes a model. */
export interface Format {
  readonly dialect: "keras3" | "tfjs";
  readonly who: string;
  /** Of a layer; in TensorFlow.js all layers of all models within have names of their own. */
  readonly nameOf: (layer: Layer) => string;
}

/** A class and its options, in a format's form. */
const object = ({ dialect }: Format, module: string, className: string, config: Json): Json =>
  dialect === "tfjs" ? { class_name: className, config } : { module, class_name: className, config, registered_name: null };

const inputLayer = (format: Format, name: string, { shape, dtype }: InputType): Json =>
  object(format, "keras.layers", "InputLayer", {
    [format.dialect === "tfjs" ? "batch_input_shape" : "batch_shape"]: [null, ...shape],
    dtype,
    sparse: false,
    name,
  });

/** Whether Keras can have these layers in a row. */
const canBeRow = (layers: readonly Layer[]): boolean =>
  layers.every((l) => !ATTENDING.includes(l.kind) && (l.kind !== "model" || (isRow(l) && canBeRow(l.layers ?? []))));

/** What inputs are called. In TensorFlow.js those of models within others need names of their own. */
const inputName = ({ dialect }: Format, { within }: Recording): string =>
  dialect === "tfjs" && within !== null ? `${within.name}_input` : "input_layer";

/** A name that no layer has. */
function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 1; taken.has(free); i++) free = `${name}_${i}`;
  taken.add(free);
  return free;
}

/** The shape of a model within another, which TensorFlow.js must be told. */
function shapeWithin({ dialect }: Format, { inside }: Recording, layer: Layer): OpenShape | null {
  const shape = inside.get(layer)?.inputs[0];
  return dialect === "tfjs" && shape !== undefined ? shape.slice(1) : null;
}

function writeRow(format: Format, name: string, layers: readonly Layer[], shape: OpenShape | null, recording: Recording): Json {
  const taken = new Set(layers.map(format.nameOf));
  // Within another model TensorFlow.js takes the shape from the first layer alone.
  const within = format.dialect === "tfjs" && recording.within !== null;
  const inputs =
    shape === null || within ? [] : [inputLayer(format, freeName(inputName(format, recording), taken), rowInput(layers, shape))];
  const written = layers.map((l) => (l.kind === "model" ? rowWithin(format, recording, l) : oneLayer(format, l, recording)));
  if (within && shape !== null)
    written[0] = { ...written[0], config: { ...(written[0].config as Json), batch_input_shape: [null, ...shape] } };
  return object(format, "keras", "Sequential", {
    name,
    trainable: true,
    ...(format.dialect === "keras3" && { dtype: "float32" }),
    layers: [...inputs, ...written],
  });
}

/** A row that is a layer. */
const rowWithin = (format: Format, recording: Recording, layer: Layer): Json =>
  writeRow(
    format,
    format.nameOf(layer),
    layer.layers ?? [],
    shapeWithin(format, recording, layer),
    recording.inside.get(layer) ?? recording,
  );

function oneLayer(format: Format, layer: Layer, recording: Recording): Json {
  const { className, config } = writeLayer(layer, format.dialect, format.nameOf(layer));
  const target = config.target_shape as readonly number[] | undefined;
  const given = recording.calls.get(layer)?.[0].tensors[0];
  const from = given?.shape;
  if (format.dialect === "tfjs" && given) checkCallInTfjs(format.who, layer, given, recording);
  if (format.dialect !== "tfjs" || target === undefined || from === undefined) return object(format, "keras.layers", className, config);
  // TensorFlow.js does not work out what is left before it runs.
  const left = from.slice(1).reduce((a, b) => a * b, 1) / target.reduce((a, d) => (d < 0 ? a : a * d), 1);
  return object(format, "keras.layers", className, { ...config, target_shape: target.map((d) => (d < 0 ? left : d)) });
}

/** What a call's tensors are as arguments of Keras: positional ones, and others by name. */
function argumentsOf(
  format: Format,
  layer: Layer,
  { tensors, options }: Recorded,
): { readonly args: readonly unknown[]; readonly kwargs: Json } {
  const training = typeof options.training === "boolean" ? { training: options.training } : {};
  if (format.dialect === "tfjs" && "training" in training)
    throw new ArgumentError(
      `${format.who}: layer "${layer.name}" is called with training: ${String(training.training)}; TensorFlow.js calls all layers alike`,
    );
  const others = Object.keys(options).filter(
    (o) => !["training", "useCausalMask"].includes(o) && options[o] !== null && options[o] !== undefined,
  );
  if (others.length > 0)
    throw new ArgumentError(`${format.who}: layer "${layer.name}" is called with ${others.join(", ")}, which is not written`);
  if (ATTENDING.includes(layer.kind)) {
    const [query, value = null, key = null] = tensors;
    const all = [query, value ?? query, ...(key === null ? [] : [key])];
    const causal = options.useCausalMask ?? layer.config.useCausalMask;
    const kwargs = { ...(causal === true && { use_causal_mask: true }), ...training };
    return { args: layer.kind === "attention" ? [all] : all, kwargs };
  }
  if (MERGING.includes(layer.kind)) return { args: [tensors], kwargs: training };
  if (RECURRENT.includes(layer.kind)) {
    const states = tensors.slice(1);
    if (states.every((t) => t === null)) return { args: [tensors[0]], kwargs: training };
    if (states.includes(null) && states.slice(0, -1).includes(null))
      throw new ArgumentError(`${format.who}: layer "${layer.name}" is called with some of its states, Keras takes all or none`);
    return { args: [tensors[0]], kwargs: { initial_state: states.filter((t) => t !== null), ...training } };
  }
  if (layer.kind === "model") return { args: [tensors.length === 1 ? tensors[0] : tensors], kwargs: training };
  if (layer.kind === "categoryEncoding" && tensors[1] && format.dialect === "keras3")
    return { args: [tensors[0]], kwargs: { count_weights: tensors[1] } };
  if (tensors.slice(1).some((t) => t !== null))
    throw new ArgumentError(`${format.who}: layer "${layer.name}" is called with several tensors, which is not written`);
  return { args: [tensors[0]], kwargs: training };
}

/** Calls of models count from 1 where these count that of their own inputs as 0; `end`: for an output. */
function ownCalls({ dialect }: Format, layer: Layer, end: boolean): number {
  if (layer.kind !== "model") return 0;
  return dialect === "tfjs" || (end && !(isRow(layer) && canBeRow(layer.layers ?? []))) ? 1 : 0;
}

function writeGraph(format: Format, name: string, recording: Recording, inputShapes: readonly OpenShape[]): Json {
  const taken = new Set([...recording.calls.keys()].map(format.nameOf));
  const base = inputName(format, recording);
  const inputs = recording.inputs.map((_, i) => freeName(i === 0 ? base : `${base}_${i}`, taken));
  const place = ({ layer, node, index }: Made, end = false): readonly [string, number, number] =>
    layer === null ? [inputs[node], 0, 0] : [format.nameOf(layer), node + ownCalls(format, layer, end), index];
  const open = inputShapes.flat().includes(null);
  const types = inputShapes.map((shape, i) => graphInput(recording, i, shape));
  const tensorOf = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(tensorOf);
    const made = value as Made;
    const type = made.layer === null ? types[made.node] : null;
    const shape = [null, ...(type?.dtype === "string" ? type.shape : made.shape.slice(1).map((d) => (open ? null : d)))];
    return { class_name: "__keras_tensor__", config: { shape, dtype: type?.dtype ?? "float32", keras_history: place(made) } };
  };
  const nodeOf = ({ args, kwargs }: ReturnType<typeof argumentsOf>): unknown => {
    if (format.dialect === "tfjs") {
      const plain = { ...kwargs };
      const states = (plain.initial_state ?? []) as Made[];
      delete plain.initial_state;
      return [...args.flat(), ...states].map((made, i) => [...place(made as Made), i === 0 ? plain : {}]);
    }
    const named = Object.entries(kwargs).map(([key, value]) => [key, typeof value === "object" ? tensorOf(value) : value] as const);
    return { args: args.map(tensorOf), kwargs: Object.fromEntries(named) };
  };
  const layers = layersOf(recording).map((layer) => {
    const calls = recording.calls.get(layer) ?? [];
    const written =
      layer.kind !== "model"
        ? oneLayer(format, layer, recording)
        : isRow(layer) && canBeRow(layer.layers ?? [])
          ? rowWithin(format, recording, layer)
          : writeGraph(
              format,
              layer.name,
              recording.inside.get(layer) as Recording,
              (recording.inside.get(layer) as Recording).inputs.map((s) => s.slice(1)),
            );
    const config = recording.stateful.has(layer) ? { ...written, config: { ...(written.config as Json), return_state: true } } : written;
    return { ...config, name: format.nameOf(layer), inbound_nodes: calls.map((call) => nodeOf(argumentsOf(format, layer, call))) };
  });
  const ends = inputs.map((input, i) => ({ ...inputLayer(format, input, types[i]), name: input, inbound_nodes: [] }));
  return object(format, "keras.src.models.functional", format.dialect === "tfjs" ? "Model" : "Functional", {
    name,
    trainable: true,
    layers: [...ends, ...layers],
    input_layers: inputs.map((input) => [input, 0, 0]),
    output_layers: endsOf(format, recording, (made) => place(made, true)),
  });
}

/** Outputs in order, or by name, which TensorFlow.js has not. */
const endsOf = ({ dialect }: Format, { outputs, names }: Recording, place: (made: Made) => unknown): unknown =>
  names === null || dialect === "tfjs" ? outputs.map(place) : Object.fromEntries(outputs.map((made, i) => [names[i], place(made)]));

/** A model as a format describes it. */
interface Description {
  readonly json: Json;
  /** In Keras' order. */
  readonly layers: readonly Layer[];
  /** Those of a model within it, in Keras' order. */
  readonly inside: (model: Layer) => readonly Layer[];
}

/** Notes the layers of the models within a recorded one. @throws ArgumentError for a layer that is in two of them */
function noteInside(
  who: string,
  layers: readonly Layer[],
  { inside }: Recording,
  into: Map<Layer, readonly Layer[]>,
  seen: Set<Layer>,
): void {
  for (const layer of layers) {
    if (seen.has(layer))
      throw new ArgumentError(
        `${who}: layer "${layer.name}" is in two models at once, which Keras cannot open again; give each one its own`,
      );
    seen.add(layer);
    const within = inside.get(layer);
    if (within === undefined) continue;
    const own = isRow(layer) && canBeRow(layer.layers ?? []) ? (layer.layers ?? []) : layersOf(within);
    into.set(layer, own);
    noteInside(who, own, within, into, seen);
  }
}

/** A model that has been traced, with its layers in Keras' order. */
interface Ordered extends Omit<Description, "json"> {
  readonly recording: Recording;
  readonly isRow: boolean;
}

/** The layers of a model, in Keras' order. @throws ArgumentError for what is computed between them */
export function inOrder(who: string, model: Model): Ordered {
  const recording = alive(record(who, model));
  const isRow = model.isSequential && canBeRow(model.layers);
  const layers = isRow ? model.layers : layersOf(recording);
  const within = new Map<Layer, readonly Layer[]>();
  noteInside(who, layers, recording, within, new Set());
  return { recording, isRow, layers, inside: (inner) => within.get(inner) ?? inner.layers ?? [] };
}

/** @throws ArgumentError for what the format has not, by its name */
export function describeModel(format: Format, model: Model): Description {
  const { recording, isRow, layers, inside } = inOrder(format.who, model);
  const shapes = model.inputShapes as readonly OpenShape[];
  const json = isRow ? writeRow(format, model.name, layers, shapes[0], recording) : writeGraph(format, model.name, recording, shapes);
  return { json, layers, inside };
}

/** Layers that Keras has with a generator of random numbers, whose state some versions of it keep. */
const seedsOf = (layer: Layer, group: string): readonly string[] => {
  const { rate, dropout = 0, recurrentDropout = 0 } = layer.config as { rate?: number; dropout?: number; recurrentDropout?: number };
  if (/ropout/.test(layer.kind)) return (rate ?? 0) > 0 ? [`${group}/seed_generator`] : [];
  // Those that change images call it otherwise.
  if (layer.kind.startsWith("random")) return [`${group}/generator`];
  if (layer.kind === "gaussianNoise") return layer.config.stddev === 0 ? [] : [`${group}/seed_generator`];
  if (/^(lstm|gru|simpleRnn|convLstm.d)(Cell)?$/.test(layer.kind)) {
    const cell = layer.kind.endsWith("Cell") ? group : `${group}/cell`;
    return dropout > 0 || recurrentDropout > 0 ? [`${cell}/seed_generator`] : [];
  }
  if (layer.kind === "multiHeadAttention" || layer.kind === "groupedQueryAttention")
    return dropout > 0 ? [`${group}/_dropout_layer/seed_generator`] : [];
  if (layer.kind === "attention") return dropout > 0 ? [`${group}/seed_generator`] : [];
  return [];
};

/** What `saveKeras` does. */
export async function writeKeras(model: Model, options: SaveKerasOptions): Promise<Uint8Array> {
  const { optimizer = model.training !== null } = checkOptions("saveKeras", options, ["optimizer"]);
  checkFlag("saveKeras", "optimizer", optimizer);
  if (optimizer && model.training === null) throw new ArgumentError("saveKeras: optimizer: true needs a model that has been compiled");
  const { json, layers, inside } = describeModel({ dialect: "keras3", who: "saveKeras", nameOf: (l) => l.name }, model);
  const places = placesOf("saveKeras", layers, "", [], new Map(), inside);
  const training = optimizer
    ? writeTraining(model, [...places.keys()], isObject(json.config) && isObject(json.config.output_layers))
    : null;
  const data = new Map<string, WrittenData>();
  const tensors: [string, Tensor][] = [];
  for (const [layer, { group, groups }] of places) {
    for (const [path, written] of writtenWeights(layer, group)) data.set(path, written);
    for (const seed of seedsOf(layer, group)) data.set(`${seed}/vars/0`, { shape: [2], data: new Uint32Array(2) });
    if ((layer.layers ?? []).length > 0) continue;
    for (const [i, { name, tensor }] of layer.weights.entries()) {
      const [inner, index] = typeof groups === "string" ? [groups, i] : groups[name];
      tensors.push([`${inner === "" ? group : `${group}/${inner}`}/vars/${index}`, tensor]);
    }
    if (layer.kind === "normalization") data.set(`${group}/vars/2`, { shape: [], data: new Int32Array(1) });
  }
  for (const [i, tensor] of (training?.state ?? []).entries()) tensors.push([`optimizer/vars/${i}`, tensor]);
  // All reads are asked for at once: a training that goes on meanwhile must not leave a weight of one step beside that of the next.
  const read = await Promise.all(tensors.map(async ([, t]) => t.data()));
  for (const [i, [path, { shape }]] of tensors.entries()) data.set(path, { shape, data: read[i] as Float32Array });
  const encoder = new TextEncoder();
  const config = { ...json, ...(training !== null && { compile_config: training.config }) };
  return writeZip([
    ["metadata.json", encoder.encode(JSON.stringify({ keras_version: KERAS_VERSION, date_saved: "1980-01-01@00:00:00" }))],
    ["config.json", encoder.encode(JSON.stringify(config))],
    ["model.weights.h5", writeHdf5(data)],
  ]);
}
