/**
 * @file The layers of a model and how they call each other, found by tracing it: a file of Keras holds layers and no code. What is computed
 * between layers is refused.
 */
import { ArgumentError, LockstepError, model as trace, Tensor } from "../index.ts";
import type { Layer, Model } from "../index.ts";

/** A tensor as what made it: output `index` of call `node` of a layer; layer null: input number `node`. */
export interface Made {
  readonly layer: Layer | null;
  readonly node: number;
  readonly index: number;
  readonly shape: readonly number[];
}

/** One call of a layer. */
export interface Recorded {
  readonly tensors: readonly (Made | null)[];
  readonly options: { readonly [option: string]: unknown };
}

/** Layers in the order of their first call, with all calls. */
export interface Recording {
  /** The layer that the model is within another; null for the model itself. */
  readonly within: Layer | null;
  readonly inputs: readonly (readonly number[])[];
  readonly calls: ReadonlyMap<Layer, readonly Recorded[]>;
  readonly outputs: readonly Made[];
  /** Names of the outputs where the model gives them by name. */
  readonly names: readonly string[] | null;
  /** What models within it do, in their first call. */
  readonly inside: ReadonlyMap<Layer, Recording>;
  /** Layers whose states are read. */
  readonly stateful: ReadonlySet<Layer>;
}

interface Frame {
  readonly made: Map<Tensor, Made>;
  readonly calls: Map<Layer, Recorded[]>;
  readonly inside: Map<Layer, Recording>;
  readonly stateful: Set<Layer>;
}

type Call = Layer["call"];
interface Stateful {
  callWithStates?: (...args: readonly unknown[]) => { output: Tensor; states: readonly Tensor[] };
}

const frame = (): Frame => ({ made: new Map(), calls: new Map(), inside: new Map(), stateful: new Set() });

const isOptions = (value: unknown): value is { readonly [option: string]: unknown } =>
  typeof value === "object" && value !== null && !(value instanceof Tensor);

/** Layers of a model, and those of models within it. */
const allLayers = (layers: readonly Layer[]): readonly Layer[] =>
  layers.flatMap((l) => (l.kind === "model" ? [l, ...allLayers(l.layers ?? [])] : [l]));

/** @throws ArgumentError for a model that computes something between its layers; LockstepError for one that is not built */
export function record(who: string, model: Model): Recording {
  if (model.inputShapes === null)
    throw new LockstepError(`${who}: model "${model.name}" is not built yet: give inputShape, or call fit() first`);
  const frames: Frame[] = [];
  const top = (): Frame => frames[frames.length - 1];
  const find = (t: Tensor, by: string): Made => {
    const found = top().made.get(t);
    if (found !== undefined) return found;
    throw new ArgumentError(
      `${who}: ${by} is given something that no layer made; what a model computes between its layers is code, which no file holds: use ` +
        "layers, such as add(), concatenate(), activation() and reshape()",
    );
  };
  const patched = new Map<Layer, { readonly call: Call; readonly withStates: Stateful["callWithStates"] }>();
  const seen = (layer: Layer, args: readonly unknown[], run: () => readonly Tensor[]): readonly Tensor[] => {
    const by = `layer "${layer.name}"`;
    const last = args.at(-1);
    const options = isOptions(last) ? last : {};
    const given = isOptions(last) ? args.slice(0, -1) : args;
    const tensors = given.map((t) => (t instanceof Tensor ? find(t, by) : null));
    const calls = top().calls.get(layer) ?? [];
    const outer = top();
    if (layer.kind === "model") {
      frames.push(frame());
      given.forEach((t, i) => top().made.set(t as Tensor, { layer: null, node: i, index: 0, shape: (t as Tensor).shape }));
    }
    const outputs = run();
    if (layer.kind === "model") {
      const own = frames.pop() as Frame;
      const of = (t: Tensor): Made => own.made.get(t) as Made;
      if (outputs.some((t) => !own.made.has(t)))
        throw new ArgumentError(`${who}: model "${layer.name}" gives something that no layer made`);
      if (!outer.inside.has(layer))
        outer.inside.set(layer, {
          ...own,
          within: layer,
          inputs: given.map((t) => (t as Tensor).shape),
          outputs: outputs.map(of),
          names: null,
        });
    }
    outputs.forEach((t, index) => outer.made.set(t, { layer, node: calls.length, index, shape: t.shape }));
    outer.calls.set(layer, [...calls, { tensors, options }]);
    return outputs;
  };
  try {
    for (const layer of new Set(allLayers(model.layers))) {
      const call = layer.call;
      const stateful = layer as Layer & Stateful;
      const withStates = stateful.callWithStates;
      patched.set(layer, { call, withStates });
      layer.call = (...args) => seen(layer, args, () => [call.apply(layer, args)])[0];
      if (withStates !== undefined)
        stateful.callWithStates = (...args) => {
          let states: readonly Tensor[] = [];
          const [output] = seen(layer, args, () => {
            layer.call = call;
            const result = withStates.apply(layer, args as never);
            states = result.states;
            return [result.output, ...states];
          });
          top().stateful.add(layer);
          return { output, states };
        };
    }
    frames.push(frame());
    let outputs: readonly Made[] = [];
    let names: readonly string[] | null = null;
    const shapes: (readonly number[])[] = [];
    trace(
      (...inputs: Tensor[]) => {
        // Dimensions of any size are traced twice; the last one counts.
        frames.splice(0, Infinity, frame());
        shapes.splice(0, Infinity, ...inputs.map((t) => t.shape));
        inputs.forEach((t, i) => top().made.set(t, { layer: null, node: i, index: 0, shape: t.shape }));
        const given = model.forward(inputs) as unknown;
        names = given instanceof Tensor || Array.isArray(given) ? null : Object.keys(given as object);
        const list = given instanceof Tensor ? [given] : (Object.values(given as object) as Tensor[]);
        outputs = list.map((t) => find(t, "an output"));
        return list;
      },
      { inputShape: model.inputShapes, name: model.name },
    );
    return { ...top(), within: null, inputs: shapes, outputs, names };
  } finally {
    for (const [layer, { call, withStates }] of patched) {
      layer.call = call;
      if (withStates !== undefined) (layer as Layer & Stateful).callWithStates = withStates;
    }
  }
}
