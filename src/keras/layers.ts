/** @file Layers from what files say of them: what the table of rules does not say is here. */
import { cut } from "../io/safetensors.ts";
import { ArgumentError, bidirectional, FileError, normalization, rnn, sequential, stackedRnnCells, timeDistributed } from "../index.ts";
import type { Config, Layer, LayerLike, lstm, Model, RnnCell } from "../index.ts";
import { asFirst, canBeFirst, checkFirst, rankOf } from "./channels.ts";
import { AXES, hardSigmoidOfKeras2 } from "./codecs.ts";
import { described, Fields, isObject, show } from "./fields.ts";
import type { Described, Dialect, Json } from "./fields.ts";
import { cellName, groupsIn, KNOWN } from "./place.ts";
import type { Place } from "./place.ts";
import type { Groups, Rule } from "./rule.ts";
import { BY_CLASS, optionOf, OTHERS } from "./rules.ts";
import { withVocabulary } from "./text.ts";
import type { Vocabularies } from "./text.ts";

/** See operations.ts, which is loaded where there are some. */
export type Operations = Pick<typeof import("./operations.ts"), "operationOf" | "readOperation">;

/** What a file is read with. */
export interface Reading {
  readonly who: string;
  readonly dialect: Dialect;
  /** Makes layers of one's own, by class or name. */
  readonly own: { readonly [classOrName: string]: (config: Config) => LayerLike };
  /** Places by layer, which each made layer is put into. */
  readonly places: Map<Layer, Place>;
  /** Layers whose channels are first in the file, with the rank of what they take. */
  readonly first: Map<Layer | Model, number | null>;
  /** Layers of files that have several models with one layer, by what the file calls them. */
  readonly shared: Map<unknown, Layer | Model>;
  /** Whether a call with training: true or false is so, whatever the model around it does. */
  readonly obeys: boolean;
  /** What the file has of vocabularies besides the options of their layers. */
  readonly vocabularies: Vocabularies | null;
  /** Dtypes of computation other than float32, which is told once. */
  readonly dtypes: Set<string>;
  /** What knows functions between layers; null for a model that has none. */
  readonly operations: Operations | null;
  /** Makes a model that is a layer. */
  readonly model: (reading: Reading, layer: Described, name: string, group: string, outer: readonly string[]) => Model;
}

/** Classes that are models. */
export const MODELS = ["Sequential", "Functional", "Model"];

/** Whether there is a layer of this class. */
export const isLayerClass = (className: string): boolean => Object.hasOwn(BY_CLASS, className) || SPECIAL.includes(className);

/** Classes that compute with fractions, which integers would cut off. */
const FRACTIONS = ["Rescaling", "Resizing", "Normalization", "Average"];

/** Dtypes that a layer may compute in; f32 is what it is computed in. */
const FLOATS = ["float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"];

/** Looks at options that all layers have. */
function common(f: Fields, reading: Reading, className = ""): { readonly name: string; readonly trainable: boolean } {
  const dtype = f.get("dtype");
  const policy = isObject(dtype) ? described(f.who, dtype) : null;
  const named = policy === null ? dtype : policy.config.name;
  if (policy !== null && !["DTypePolicy", "FloatDTypePolicy", "Policy", "PolicyV1"].includes(policy.className))
    throw new FileError(`${f.who}: weights kept by ${cut(policy.className)} are not read; save the model before it is quantized`);
  if (named !== null && named !== undefined && named !== "float32") {
    if (typeof named !== "string" || !(FLOATS.includes(named) || /^(u?int(8|16|32|64)|bool|string)$/.test(named)))
      throw new FileError(`${f.who}: dtype ${show(named)} is not computed; float32 and what it can stand for are`);
    if (FLOATS.includes(named)) reading.dtypes.add(named);
    else if (FRACTIONS.includes(className)) throw new FileError(`${f.who}: it computes in ${named}; numbers with fractions are computed`);
  }
  f.ignore("batch_input_shape", "batch_shape", "input_dtype", "build_input_shape", "autocast");
  return { name: f.text("name", ""), trainable: f.flag("trainable", true) };
}

/** A layer by its rule. */
function byRule(rule: Rule, f: Fields, name: string): Layer {
  rule.check?.(f);
  f.ignore(...Object.keys(rule.ignored));
  for (const [option, values] of Object.entries(rule.must)) f.must(option, ...values);
  const options: { [option: string]: unknown } = {};
  for (const [field, codec] of Object.entries(rule.fields)) {
    const older = Object.hasOwn(rule.older, field) ? rule.older[field] : field;
    const stands = f.has(field) ? field : f.has(older) ? older : null;
    f.ignore(field, older);
    const option = optionOf(rule, field);
    // A null activation is none, which need not be the default.
    const none = codec.nulls === true && Object.hasOwn(f.values, field);
    if (stands !== null || none || rule.args.includes(option)) {
      const value = codec.read(f, stands ?? field);
      if (value !== undefined) options[option] = value;
    }
  }
  // Files before Keras 2.3 do not have the option, and mean the form that there was.
  if (rule.kind.startsWith("gru")) options.resetAfter ??= f.dialect === "keras3";
  // The default of TensorFlow.js, as of Keras until 2.2, is not what Keras has since.
  if (f.dialect === "tfjs" && "recurrent_activation" in rule.fields) options.recurrentActivation ??= hardSigmoidOfKeras2;
  f.done();
  const args = rule.args.map((arg) => options[arg]);
  for (const arg of rule.args) delete options[arg];
  const made = makeBy(rule, f, [...args, { ...options, name }]);
  if (f.dialect === "tfjs" && rule.inTfjs !== undefined) guard(made, f.who, rule.inTfjs);
  return made;
}

/** The layer of a rule. @throws FileError for options that go together in no way */
function makeBy(rule: Rule, f: Fields, args: readonly unknown[]): Layer {
  try {
    return rule.make(...(args as never[]));
  } catch (cause) {
    if (cause instanceof ArgumentError) throw new FileError(`${f.who}: ${cut(cause.message, 500)}`, { cause });
    throw cause;
  }
}

/** Refuses inputs of which TensorFlow.js computes something else. */
function guard(layer: Layer, who: string, inTfjs: NonNullable<Rule["inTfjs"]>): void {
  const { call } = layer;
  layer.call = (x, ...more) => {
    const why = inTfjs(x.shape, layer.config);
    if (why !== null) throw new FileError(`${who}: TensorFlow.js computes something else of ${x}: ${why}`);
    return call.call(layer, x, ...more);
  };
}

/** A layer that a file describes. `group`: of its weights. @throws FileError naming the layer, and what of it is not known */
export function readLayer(reading: Reading, layer: unknown, group: string, outer: readonly string[] = []): Layer | Model {
  const id = isObject(layer) ? layer.shared_object_id : undefined;
  const known = id === undefined || id === null ? undefined : reading.shared.get(id);
  if (known !== undefined) return known;
  const made = makeLayer(reading, layer, group, outer);
  if (id !== undefined && id !== null) reading.shared.set(id, made);
  return made;
}

function makeLayer(reading: Reading, layer: unknown, group: string, outer: readonly string[]): Layer | Model {
  const found = described(`${reading.who}: a layer`, layer);
  const { className, config, module } = found;
  const named = typeof config.name === "string" ? config.name : "";
  const who = `${reading.who}: ${className} ${show(named)}`;
  const optionsIn = (optional: boolean): Json => withVocabulary(who, { className, config }, group, reading.vocabularies, optional);
  const own = ownOf(reading, className, named);
  if (own !== undefined)
    return placed(reading, layerOf(own(optionsIn(true) as Config), named), { group, groups: "", names: [...outer, named], className });
  if (/\.ops\b/.test(module))
    throw new FileError(`${who}: a function between layers (${cut(module)}.${cut(className)}) is not read; give layers: { ${cut(named)} }`);
  if (found.foreign)
    throw new FileError(
      `${who}: a layer of one's own (${module === "" ? "without a module" : cut(module)}), whose code is not in the file; give layers: ` +
        `{ ${cut(named || className)}: (config) => ... }`,
    );
  const f = new Fields(who, reading.dialect, optionsIn(false));
  if (MODELS.includes(className)) return reading.model(reading, found, named, group, [...outer, named]);
  const { name, trainable } = common(f, reading, className);
  const place = (groups: Groups): Place => ({ group, groups, names: [...outer, name], className });
  const made = special(reading, className, f, name, group, place) ?? byTable(reading, className, f, name, place);
  if (!trainable) made.trainable = false;
  return made;
}

function ownOf({ own, who }: Reading, className: string, name: string): ((config: Config) => LayerLike) | undefined {
  const key = [name, className].find((k) => Object.hasOwn(own, k));
  if (key === undefined) return undefined;
  if (typeof own[key] !== "function")
    throw new ArgumentError(`${who}: layers.${cut(key)} must be a function of the layer's config; Lockstep's own layers are known without`);
  return own[key];
}

/** What was given for a layer as one, with the name that it has in the file. */
function layerOf(given: LayerLike, name: string): Layer {
  if ("asLayer" in given) return given as unknown as Layer;
  const [made] = sequential([given]).layers;
  if (typeof given === "function" || !("kind" in given) || made.name === made.kind) made.name = name === "" ? made.name : name;
  return made;
}

/** Notes where a layer's weights are. */
function placed(reading: Reading, made: LayerLike, place: Place): Layer {
  const layer = made as Layer;
  reading.places.set(layer, place);
  return layer;
}

function byTable(reading: Reading, className: string, f: Fields, name: string, place: (groups: Groups) => Place): Layer {
  if (!Object.hasOwn(BY_CLASS, className)) {
    const lambda = className === "Lambda" ? "; it holds code, which a file of others must not run" : "";
    throw new FileError(
      `${f.who}: this class of layers is not known${lambda}; give layers: { ${cut(name || className)}: (config) => ... }, or use ` +
        `one of ${[...Object.keys(BY_CLASS), ...SPECIAL].join(", ")}`,
    );
  }
  const rule = BY_CLASS[className];
  const isFirst = "data_format" in rule.must && canBeFirst(className) && f.get("data_format") === "channels_first";
  const made = placed(reading, byRule(rule, isFirst ? f.without("data_format") : f, name), place(rule.groups));
  if (!isFirst) return made;
  checkFirst(f.who, made);
  reading.first.set(made, rankOf(className));
  return made;
}

/** Classes that the table does not have. */
const SPECIAL = Object.values(OTHERS).concat("InputLayer", MODELS);
const CELLS: { readonly [cell: string]: string } = { LSTMCell: "LSTM", GRUCell: "GRU", SimpleRNNCell: "SimpleRNN" };

function special(
  reading: Reading,
  className: string,
  f: Fields,
  name: string,
  group: string,
  place: (groups: Groups) => Place,
): Layer | null {
  if (className === "Normalization") {
    f.must("invert", false);
    const axis = f.has("axis") || Object.hasOwn(f.values, "axis") ? (f.get("axis") === null ? null : AXES.read(f, "axis")) : -1;
    const [mean, variance] = ["mean", "variance"].map((key) => (f.has(key) ? numbersOf(f, key) : null));
    f.done();
    // What it has learned comes with the weights.
    const known = mean !== null && variance !== null;
    const made = normalization({ name, axis: axis as number | null, mean: mean ?? 0, variance: variance ?? 1 });
    return placed(reading, made, { ...place(""), className: known ? KNOWN : className });
  }
  if (className === "Bidirectional") return twoWays(reading, f, name, group, place);
  if (className === "TimeDistributed") {
    const inner = readLayer(reading, f.get("layer"), `${group}/layer`, place("").names);
    f.done();
    const layer = "asLayer" in inner ? inner.asLayer : inner;
    // Files name the weights by the outer layer.
    const own = reading.places.get(layer);
    if (own !== undefined) reading.places.set(layer, { ...own, names: place("").names });
    return placed(reading, timeDistributed(reading.first.has(layer) ? asFirst(f.who, layer, reading.first) : layer, { name }), place(""));
  }
  if (className === "RNN") return ofCell(reading, f, name, group, place);
  if (className === "StackedRNNCells") {
    const groupOf = groupsIn(`${group}/`, "cells");
    // Files name the weights by the layer that the cells are of.
    const outer = place("").names.slice(0, -1);
    const cells = f.list("cells").map((entry, i) => {
      const { className: cell, config } = described(f.who, entry);
      const inner = f.dialect === "tfjs" ? cellName(i) : String(config.name);
      return readCell(reading, f, entry, groupOf(cell), [...outer, inner]);
    });
    f.done();
    return placed(reading, stackedRnnCells(cells, { name }), place(""));
  }
  return null;
}

/** A layer that computes one step, whose weights files know by `names`. */
function readCell(reading: Reading, f: Fields, cell: unknown, group: string, names: readonly string[]): RnnCell {
  const made = readLayer(reading, cell, group, names);
  const own = reading.places.get(made as Layer);
  if (own !== undefined) reading.places.set(made as Layer, { ...own, names });
  if (!("stateSizes" in made)) throw new FileError(`${f.who}: ${show(made.name)} is no cell; make those of one's own by rnnCell`);
  return made as RnnCell;
}

/** A layer of a cell; of a cell of Lockstep's alone the layer of its name, which computes the same. */
function ofCell(reading: Reading, f: Fields, name: string, group: string, place: (groups: Groups) => Place): Layer {
  const { className: cell, config } = described(f.who, f.get("cell"));
  const own = ownOf(reading, cell, typeof config.name === "string" ? config.name : "") !== undefined;
  if (own || !Object.hasOwn(CELLS, cell)) {
    for (const option of ["stateful", "zero_output_for_mask", "time_major", "return_state"]) f.must(option, false);
    // TensorFlow.js writes the cell's options a second time.
    f.ignore("unroll", "activity_regularizer", ...(f.dialect === "tfjs" ? Object.keys(config) : []));
    const options = { returnSequences: f.flag("return_sequences", false), goBackwards: f.flag("go_backwards", false) };
    f.done();
    const made = readCell(reading, f, f.get("cell"), `${group}/cell`, place("").names);
    return placed(reading, rnn(made, { ...options, name }), place(""));
  }
  const { cell: _, ...rest } = f.values;
  const { name: __, trainable: ___, dtype: ____, ...inside } = config;
  const whole = new Fields(f.who, f.dialect, { ...rest, ...inside });
  common(whole, reading);
  const rule = BY_CLASS[CELLS[cell]];
  return placed(reading, byRule(rule, whole, name), place(rule.groups));
}

/** Numbers in nested lists, as one list. */
function numbersOf(f: Fields, key: string): readonly number[] {
  const value = f.get(key);
  const list: unknown[] = Array.isArray(value) ? (value.flat(16) as unknown[]) : [value];
  if (!list.every((v) => Number.isFinite(v))) throw f.fault(key, "a number or a list of them");
  return list as number[];
}

/** Options of a layer that must be the same in both directions. */
const optionsOf = (layer: Described): string =>
  JSON.stringify(
    Object.entries(layer.config)
      .filter(([key]) => !["name", "go_backwards", "dtype", "zero_output_for_mask", "seed", "trainable"].includes(key))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
    (key, value: unknown) => (key === "shared_object_id" ? undefined : value),
  );

function twoWays(reading: Reading, f: Fields, name: string, group: string, place: (groups: Groups) => Place): Layer {
  const forward = described(f.who, f.get("layer"));
  const backward = f.has("backward_layer") ? described(f.who, f.get("backward_layer")) : null;
  if (backward !== null && (backward.className !== forward.className || optionsOf(backward) !== optionsOf(forward)))
    throw new FileError(`${f.who}: its two layers have different options, which Lockstep's bidirectional has not`);
  if (Object.hasOwn(f.values, "merge_mode") && f.get("merge_mode") === null)
    throw f.fault("merge_mode", "concat, sum, ave or mul: a list of two outputs is not computed");
  if (backward !== null && (backward.config.go_backwards === true) === (forward.config.go_backwards === true))
    throw new FileError(`${f.who}: both of its layers read in one direction`);
  const mergeMode = f.text("merge_mode", "concat") as "concat";
  f.done();
  // Steps that do not count are 0 in both directions, as Keras writes it of them.
  const { zero_output_for_mask: _, ...config } = forward.config;
  const layer = readLayer(reading, { ...(f.get("layer") as Json), config }, `${group}/forward_layer`);
  const inner = layer as ReturnType<typeof lstm>;
  if (typeof inner.backwards !== "function") throw new FileError(`${f.who}: its layer must be LSTM, GRU or SimpleRNN`);
  const made = bidirectional(inner, { name, mergeMode });
  const [first, second] = made.layers as readonly Layer[];
  const { groups } = reading.places.get(first) as Place;
  for (const [part, way] of [
    [first, "forward"],
    [second, "backward"],
  ] as const)
    placed(reading, part, { group: `${group}/${way}_layer`, groups, names: [...place("").names, way], className: forward.className });
  // What the second layer has within is where the first one has it.
  const again = (from: Layer, to: Layer): void => {
    for (const [i, part] of (from.layers ?? []).entries()) {
      const [own, other] = [reading.places.get(part) as Place, (to.layers ?? [])[i]];
      const backwards = (list: readonly string[]): string[] => [...place("").names, "backward", ...list.slice(place("").names.length)];
      const at = own.group.replace(`${group}/forward_layer`, `${group}/backward_layer`);
      placed(reading, other, { ...own, group: at, names: backwards(own.names) });
      again(part, other);
    }
  };
  again(first, second);
  return placed(reading, made, place(""));
}
