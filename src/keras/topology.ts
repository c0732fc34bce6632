/** @file Models from what files say of their layers: in a row, or as a graph of calls. */
import { cut } from "../io/safetensors.ts";
import { FileError, model, sequential, tensor } from "../index.ts";
import type { Layer, Model, NestedArray, OpenShape, Tensor } from "../index.ts";
import { Channels, rowOfLast } from "./channels.ts";
import { callsOf, Constant, endsOf, Ref, refsIn, refsOfEnds } from "./calls.ts";
import type { Call, Ends } from "./calls.ts";
import { described, isObject, show, unwrapped } from "./fields.ts";
import type { Described, Json } from "./fields.ts";
import { checkCall, invoke, told } from "./invoke.ts";
import type { Callee } from "./invoke.ts";
import { isLayerClass, readLayer } from "./layers.ts";
import type { Reading } from "./layers.ts";
import type { Compute } from "./operations.ts";
import { groupsIn } from "./place.ts";
import { encodedShape, readsText } from "./text.ts";

/** A model whose weights are not made yet. */
export interface Structure {
  readonly model: Model;
  /** Of one sample of each input; null where the file does not say. */
  readonly inputShapes: readonly OpenShape[] | null;
  /** Its layers and models, without inputs, in Keras' order. */
  readonly layers: readonly (Layer | Model)[];
  /** What it takes, by name where Keras does; null for a row. */
  readonly inputs: Ends | null;
  /** For each input whether it is of texts. */
  readonly texts: readonly boolean[];
}

/** The layers of models that are layers, in Keras' order. */
const structures = new WeakMap<Model, Structure>();

/** The layers of a model in Keras' order, those of models within it in their place. */
export const layersInOrder = (layers: readonly (Layer | Model)[]): readonly Layer[] =>
  layers.flatMap((l) => ("asLayer" in l ? layersInOrder(structures.get(l)?.layers ?? l.layers) : [l]));

/** A shape with its batch, as a shape of one sample; null for what is none. */
export function sampleShape(who: string, given: unknown): OpenShape | null {
  const value = unwrapped(given);
  if (value === null || value === undefined) return null;
  const fits = (d: unknown): boolean => d === null || (Number.isInteger(d) && (d as number) >= 0 && (d as number) < 2 ** 31);
  if (!Array.isArray(value) || value.length === 0 || value.length > 16)
    throw new FileError(`${who}: expected a shape, found ${show(value)}`);
  if (!value.every(fits)) return null;
  return value.slice(1) as (number | null)[];
}

const shapeIn = (who: string, config: Json): OpenShape | null => sampleShape(who, config.batch_shape ?? config.batch_input_shape);

/** @throws FileError for inputs that are not dense */
function checkInput(who: string, { config }: Described): void {
  if (config.sparse === true || config.ragged === true)
    throw new FileError(`${who}: input ${show(config.name)} is not dense, which models do not take`);
}

/** An input, by what it is given to: of texts once they are encoded. */
interface Input {
  readonly shape: OpenShape | null;
  readonly text: boolean;
}

/**
 * What an input of this shape is to a layer or model that is given it as its input `index`. @throws FileError for texts that it does not
 * read
 */
function inputOf(who: string, to: Layer | Model | undefined, index: number, shape: OpenShape | null, dtype: unknown): Input {
  if (to !== undefined && "asLayer" in to) {
    const inner = structures.get(to);
    if (inner?.texts[index] === true) return { shape: inner.inputShapes?.[index] ?? null, text: true };
  } else if (to !== undefined && readsText(to)) return { shape: encodedShape(to, shape), text: true };
  if (dtype === "string") throw new FileError(`${who}: its input is text, which no layer reads that is called with it`);
  return { shape, text: false };
}

/** A model by its class. @throws FileError naming what is wrong or not known */
export function readStructure(
  reading: Reading,
  described: Described,
  name: string,
  group: string,
  outer: readonly string[] = [],
): Structure {
  const who = `${reading.who}: ${described.className} ${show(name)}`;
  const prefix = group === "" ? "" : `${group}/`;
  const found = (Array.isArray(described.config) || described.className === "Sequential" ? readSequence : readGraph)(
    reading,
    who,
    described,
    name,
    prefix,
    outer,
  );
  structures.set(found.model, found);
  if (described.config.trainable === false) found.model.trainable = false;
  return found;
}

const named = (name: string): { name?: string } => (name === "" ? {} : { name });

type Names = readonly string[];

function readSequence(reading: Reading, who: string, { config }: Described, name: string, prefix: string, outer: Names): Structure {
  if (!Array.isArray(config.layers)) throw new FileError(`${who}: expected its layers, found ${show(config.layers)}`);
  const groupOf = groupsIn(prefix);
  let inputShape = null;
  let dtype: unknown = null;
  const layers: (Layer | Model)[] = [];
  for (const [i, entry] of config.layers.entries()) {
    const layer = described(who, entry);
    if (i === 0) inputShape = shapeIn(who, layer.config);
    if (layer.className === "InputLayer") {
      checkInput(who, layer);
      dtype = layer.config.dtype;
      if (i > 0) throw new FileError(`${who}: an InputLayer stands behind other layers`);
      continue;
    }
    if (layer.config.return_state === true)
      throw new FileError(`${who}: ${show(layer.config.name)} gives its states, which none takes in a row`);
    layers.push(readLayer(reading, entry, groupOf(layer.className), outer));
  }
  if (layers.length === 0) throw new FileError(`${who}: it has no layers`);
  const [begin] = layers;
  inputShape ??=
    sampleShape(who, config.build_input_shape) ?? ("asLayer" in begin ? (structures.get(begin)?.inputShapes?.[0] ?? null) : null);
  const input = inputOf(who, begin, 0, inputShape, dtype);
  const row = rowOfLast(who, layers, reading.first, inputShape === null ? null : inputShape.length + 1);
  return {
    model: sequential(row as Layer[], named(name)),
    inputShapes: input.shape && [input.shape],
    layers,
    inputs: null,
    texts: [input.text],
  };
}

/** A layer of a graph and its calls. */
interface Member {
  readonly name: string;
  readonly className: string;
  /** Null for an input, and for a function. */
  readonly callee: Callee | null;
  /** Of a function. */
  readonly compute: Compute | null;
  readonly calls: readonly Call[];
  /** Of an input. */
  readonly shape: OpenShape | null;
  readonly dtype?: unknown;
}

function readMember(reading: Reading, who: string, entry: unknown, groupOf: (className: string) => string, outer: Names): Member {
  const layer = described(who, entry);
  const { name: given, inbound_nodes: nodes } = entry as Json;
  const name = typeof given === "string" ? given : layer.config.name;
  if (typeof name !== "string") throw new FileError(`${who}: a layer without a name`);
  const { className } = layer;
  if (className === "InputLayer") {
    checkInput(who, layer);
    return { name, className, callee: null, compute: null, calls: [], shape: shapeIn(who, layer.config), dtype: layer.config.dtype };
  }
  const own = `${reading.who}: ${className} ${show(name)}`;
  const calls = callsOf(own, nodes ?? []);
  const isOwn = Object.hasOwn(reading.own, name) || Object.hasOwn(reading.own, className);
  const { operations } = reading;
  const operation = isOwn || operations === null ? null : operations.operationOf(layer, calls, reading.dialect, isLayerClass);
  const common = { who: own, dialect: reading.dialect, obeys: reading.obeys };
  if (operations !== null && operation !== null) {
    const read = operations.readOperation(own, operation, layer, reading.dialect, name, calls);
    if ("compute" in read) return { name, className, callee: null, compute: read.compute, calls, shape: null };
    const callee = { ...common, layer: read.layer, returnState: false, inputs: null, isFirst: false };
    return { name, className, callee, compute: null, calls: [read.call], shape: null };
  }
  const made = readLayer(reading, entry, groupOf(className), outer);
  const inputs = "asLayer" in made ? (structures.get(made)?.inputs ?? null) : null;
  const isFirst = reading.first.has(made);
  const callee = { ...common, layer: made, returnState: layer.config.return_state === true, inputs, isFirst };
  if (callee.returnState && !("callWithStates" in made))
    throw new FileError(`${own}: it gives its states, which Lockstep's layer does not`);
  for (const call of calls) checkCall(callee, call);
  return { name, className, callee, compute: null, calls, shape: null };
}

/** Calls in an order in which each one's inputs are there. @throws FileError for circles and what is not there */
function orderOf(who: string, members: ReadonlyMap<string, Member>, ends: Ends, inputs: ReadonlySet<string>): readonly Ref[] {
  const state = new Map<string, "open" | "done">([...inputs].map((key) => [key, "done"]));
  const order: Ref[] = [];
  const callOf = (ref: Ref): Call => {
    const call = members.get(ref.layer)?.calls[ref.node];
    if (call === undefined) throw new FileError(`${who}: there is no call ${ref.node} of a layer ${show(ref.layer)}`);
    return call;
  };
  const waiting: { readonly ref: Ref; readonly rest: Ref[] }[] = [];
  const visit = (ref: Ref): void => {
    const known = state.get(ref.key);
    if (known === "open") throw new FileError(`${who}: layer ${show(ref.layer)} waits for itself`);
    if (known === "done") return;
    state.set(ref.key, "open");
    const { args, kwargs } = callOf(ref);
    waiting.push({ ref, rest: [...refsIn(args), ...refsIn(kwargs)].reverse() });
  };
  for (const end of refsOfEnds(ends)) {
    visit(end);
    while (waiting.length > 0) {
      const { ref, rest } = waiting[waiting.length - 1];
      const next = rest.pop();
      if (next !== undefined) {
        visit(next);
        continue;
      }
      waiting.pop();
      state.set(ref.key, "done");
      order.push(ref);
    }
  }
  return order;
}

/** The layers of a graph that is a row: each called once, with the output of the one before alone, and told nothing. Null for others. */
function rowOf(members: ReadonlyMap<string, Member>, order: readonly Ref[], inputs: readonly Ref[], outputs: Ends): Layer[] | null {
  if (inputs.length !== 1 || (Array.isArray(outputs) ? outputs.length !== 1 : !(outputs instanceof Ref))) return null;
  let last = inputs[0];
  const row: Layer[] = [];
  for (const ref of order) {
    const { callee, calls, className } = members.get(ref.layer) as Member;
    const { args, kwargs } = calls[ref.node];
    const [input] = args;
    const alone = input instanceof Ref && args.length === 1 && input.key === last.key && input.index === 0;
    const plain = Object.values(kwargs).every((v) => v === null || v === false);
    if (
      !alone ||
      !plain ||
      calls.length !== 1 ||
      callee === null ||
      callee.returnState ||
      told(callee, kwargs) ||
      className === "Functional" ||
      className === "Model"
    )
      return null;
    row.push(callee.layer as Layer);
    last = ref;
  }
  const [end] = refsOfEnds(outputs);
  return row.length > 0 && end.key === last.key && end.index === 0 ? row : null;
}

/**
 * Models that are layers count how their own inputs lead to their outputs as call 0: in files of Keras 2 and TensorFlow.js everywhere, in
 * those of Keras 3 where functional ones are outputs. In one form from here on.
 */
function renumbered(members: Map<string, Member>, ends: Ends, dialect: Reading["dialect"]): Ends {
  const models = [...members.values()].filter(({ callee }) => callee !== null && "asLayer" in callee.layer);
  const moving =
    (names: ReadonlySet<string>) =>
    (leaf: Ref | Constant): Ref | Constant =>
      leaf instanceof Ref && names.has(leaf.layer) && leaf.node > 0 ? new Ref(leaf.layer, leaf.node - 1, leaf.index) : leaf;
  if (dialect === "keras3") {
    const functional = new Set(models.filter(({ className }) => className !== "Sequential").map(({ name }) => name));
    return replaced(ends, moving(functional)) as Ends;
  }
  const moved = moving(new Set(models.map(({ name }) => name)));
  for (const [name, member] of members)
    members.set(name, {
      ...member,
      calls: member.calls.map(({ args, kwargs }) => ({
        args: replaced(args, moved) as unknown[],
        kwargs: replaced(kwargs, moved) as Json,
      })),
    });
  return replaced(ends, moved) as Ends;
}

function readGraph(reading: Reading, who: string, { config, className }: Described, name: string, prefix: string, outer: Names): Structure {
  if (!Array.isArray(config.layers) || config.input_layers === undefined)
    throw new FileError(`${who}: a model of class ${cut(className)} must have layers, input_layers and output_layers`);
  const groupOf = groupsIn(prefix);
  const members = new Map<string, Member>();
  for (const entry of config.layers) {
    const member = readMember(reading, who, entry, groupOf, outer);
    if (members.has(member.name)) throw new FileError(`${who}: two layers are named ${show(member.name)}`);
    members.set(member.name, member);
  }
  const taken = endsOf(who, config.input_layers);
  const inputs = refsOfEnds(taken);
  const outputs = renumbered(members, endsOf(who, config.output_layers), reading.dialect);
  const given = inputs.map((ref): Input => {
    const member = members.get(ref.layer);
    if (member === undefined || member.className !== "InputLayer") throw new FileError(`${who}: ${show(ref.layer)} is no input`);
    const { shape, dtype } = member;
    const found = [...members.values()].flatMap(({ callee, calls }) =>
      calls.flatMap(({ args, kwargs }) => {
        const index = [...refsIn(args), ...refsIn(kwargs)].findIndex((r) => r.key === ref.key);
        return callee === null || index < 0 ? [] : [inputOf(`${who}: ${show(ref.layer)}`, callee.layer, index, shape, null)];
      }),
    );
    return found.find(({ text }) => text) ?? inputOf(`${who}: ${show(ref.layer)}`, undefined, 0, shape, dtype);
  });
  const shapes = given.map(({ shape }) => shape);
  const texts = given.map(({ text }) => text);
  const order = orderOf(who, members, outputs, new Set(inputs.map((ref) => ref.key)));
  const layers = [...members.values()].flatMap(({ callee }) => (callee === null ? [] : [callee.layer]));
  const inputShapes = shapes.every((s) => s !== null) ? (shapes as OpenShape[]) : null;
  const row = rowOf(members, order, inputs, outputs);
  if (row !== null) {
    const last = rowOfLast(who, row, reading.first, shapes[0] === null ? null : shapes[0].length + 1);
    return { model: sequential(last as Layer[], named(name)), inputShapes, layers, inputs: taken, texts };
  }
  const channels = new Channels();
  const made = model((...tensors: Tensor[]) => {
    const values = new Map<string, readonly Tensor[]>(inputs.map((ref, i) => [ref.key, [tensors[i]]]));
    const valueOf = (ref: Ref): Tensor => {
      const found = values.get(ref.key)?.[ref.index];
      if (found === undefined) throw new FileError(`${who}: layer ${show(ref.layer)} gives no output ${ref.index}`);
      return found;
    };
    const tensorOf = (leaf: Ref | Constant): Tensor =>
      leaf instanceof Ref ? valueOf(leaf) : tensor(leaf.value as NestedArray, undefined, leaf.dtype);
    for (const ref of order) {
      const { callee, compute, calls } = members.get(ref.layer) as Member;
      const [args, kwargs] = [calls[ref.node].args, calls[ref.node].kwargs].map((v) => replaced(v, tensorOf)) as [unknown[], Json];
      values.set(ref.key, compute === null ? invoke(callee as Callee, args, kwargs, channels) : computed(who, ref, compute, args, kwargs));
    }
    if (outputs instanceof Ref) return valueOf(outputs);
    if (!Array.isArray(outputs)) return Object.fromEntries(Object.entries(outputs).map(([key, ref]) => [key, valueOf(ref as Ref)]));
    const list = (outputs as readonly Ref[]).map(valueOf);
    return list.length === 1 ? list[0] : list;
  }, named(name));
  return { model: made as unknown as Model, inputShapes, layers, inputs: taken, texts };
}

/** What a function gives, with its name in errors, as that of layers is. */
function computed(who: string, { layer }: Ref, compute: Compute, args: readonly unknown[], kwargs: Json): readonly Tensor[] {
  try {
    return compute(args, kwargs);
  } catch (cause) {
    throw new FileError(`${who}: ${show(layer)}: ${cut((cause as Error).message, 400)}`, { cause });
  }
}

/** `value` with something else in the place of refs and constants. */
function replaced(value: unknown, by: (leaf: Ref | Constant) => unknown): unknown {
  if (value instanceof Ref || value instanceof Constant) return by(value);
  if (Array.isArray(value)) return value.map((v) => replaced(v, by));
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, v]) => [key, replaced(v, by)])) : value;
}
