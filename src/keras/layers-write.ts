/** @file Layers as files of Keras 3 and TensorFlow.js hold them. */
import { ArgumentError } from "../index.ts";
import type { Layer } from "../index.ts";
import { groupName, show } from "./fields.ts";
import type { Json } from "./fields.ts";
import { isRow } from "./kinds.ts";
import { checkTfjs } from "./layers-tfjs.ts";
import { KINDS, optionOf, writtenRule } from "./rules.ts";
import { checkVocabulary } from "./text.ts";

/** A layer as a file of Keras 3 has it. */
export interface Written {
  readonly className: string;
  readonly config: Json;
}

const inFile = (dialect: "keras3" | "tfjs", { className, config }: Written): Json =>
  dialect === "tfjs" ? { class_name: className, config } : { module: "keras.layers", class_name: className, config, registered_name: null };

/** A model within a wrapper. @throws ArgumentError for one that is no row, and where TensorFlow.js must know of its input */
function rowIn(who: string, layer: Layer, dialect: "keras3" | "tfjs", write: (layer: Layer) => Json): Json {
  if (!isRow(layer) || dialect === "tfjs")
    throw new ArgumentError(
      `${who}: a model within it is not written${dialect === "tfjs" ? "" : " unless it is sequential"}; name its layers`,
    );
  const { name, trainable, layers = [] } = layer;
  const options = { name: name || "sequential", trainable, layers: layers.map((l) => write(l)) };
  return { module: "keras", class_name: "Sequential", config: options, registered_name: null };
}

/** A layer as Keras takes it, in files by `name`. @throws ArgumentError for what Keras, or TensorFlow.js, has not */
export function writeLayer(layer: Layer, dialect: "keras3" | "tfjs", name = layer.name): Written {
  const who = `saving ${layer.kind} "${layer.name}"`;
  // Keras' class takes no such option.
  const fixed = layer.kind.startsWith("spatialDropout") || layer.kind === "discretization";
  const base = { name, ...(!fixed && { trainable: layer.trainable }), ...(dialect === "keras3" && { dtype: "float32" }) };
  if (dialect === "tfjs") checkTfjs(who, layer);
  checkVocabulary(who, layer);
  const nested = (part: Layer, own = part.name): Json => {
    if (part.kind === "model") return rowIn(who, part, dialect, nested);
    const written = writeLayer(part, dialect);
    return inFile(dialect, { ...written, config: { ...written.config, name: own || groupName(written.className) } });
  };
  if (layer.kind === "normalization") {
    const { axis = -1 } = layer.config;
    return { className: "Normalization", config: { ...base, axis: axis ?? null, invert: false, mean: null, variance: null } };
  }
  if (layer.kind === "bidirectional") {
    const [forward, backward] = layer.layers as readonly Layer[];
    // TensorFlow.js puts the direction before the name itself.
    const first = nested(forward, dialect === "tfjs" ? forward.kind : `forward_${name}`);
    const second = nested(backward, `backward_${name}`);
    const config = { ...base, merge_mode: layer.config.mergeMode ?? "concat", layer: first };
    return { className: "Bidirectional", config: dialect === "tfjs" ? config : { ...config, backward_layer: second } };
  }
  if (layer.kind === "timeDistributed")
    return { className: "TimeDistributed", config: { ...base, layer: nested((layer.layers as readonly Layer[])[0]) } };
  if (layer.kind === "rnn") {
    const { returnSequences = false, goBackwards = false } = layer.config;
    const fixed = { return_state: false, stateful: false, unroll: false, ...(dialect === "keras3" && { zero_output_for_mask: false }) };
    const cell = nested((layer.layers as readonly Layer[])[0]);
    return { className: "RNN", config: { ...base, return_sequences: returnSequences, go_backwards: goBackwards, ...fixed, cell } };
  }
  if (layer.kind === "stackedRnnCells")
    return { className: "StackedRNNCells", config: { ...base, cells: (layer.layers ?? []).map((cell) => nested(cell)) } };
  const rule = writtenRule(layer.kind);
  if (rule === null) throw new ArgumentError(`${who}: Keras has no such layer; written are ${KINDS.join(", ")}`);
  const options: { readonly [option: string]: unknown } = layer.config;
  const config: { [option: string]: unknown } = { ...base };
  // Its default is a setting of Keras'.
  if ("data_format" in rule.must) config.data_format = "channels_last";
  // An argument of the call in Keras.
  const written = new Set(["name", "useCausalMask"]);
  for (const [field, codec] of Object.entries(rule.fields)) {
    const option = optionOf(rule, field);
    written.add(option);
    const value = options[option];
    // What is null is Keras' default, such as the stride that is the pool's size.
    if (value === undefined || (value === null && codec.nulls !== true)) continue;
    const given = codec.write(value, who, dialect);
    const key = dialect === "tfjs" && Object.hasOwn(rule.older, field) ? rule.older[field] : field;
    if (given !== undefined) config[key] = given;
  }
  for (const [option, value] of Object.entries(options)) {
    if (written.has(option) || value === null || value === undefined || value === false) continue;
    throw new ArgumentError(`${who}: Keras' ${rule.classes[0]} has no option ${option}, which is ${show(value)}`);
  }
  return { className: rule.classes[0], config };
}
