/**
 * @file What a layer is: an object with a `call`, whose weights are made when the shape of its input is first seen.
 * `layer()` makes one from a description; models take plain functions and objects with a `call` as well.
 */
import { checkOptions, kindOf } from "../check.ts";
import { checkShape } from "../elements.ts";
import { ArgumentError } from "../errors.ts";
import { scope } from "../graph.ts";
import type { Graph } from "../graph.ts";
import { callOptions, withMode } from "../mode.ts";
import type { CallOptions } from "../mode.ts";
import type { Attr } from "../op.ts";
import { Random } from "../random.ts";
import type { OpenShape, Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { firstValues } from "./initializers.ts";
import type { Initializer, InitializerName } from "./initializers.ts";
import { maskOf, masked } from "./masks.ts";
import { TRAINING } from "../training.ts";

/** A layer's options as plain data: what `save` writes and `loadModel` reads. */
export type Config = { readonly [key: string]: Attr | undefined };

/** Adds a penalty to the loss. */
export interface Regularizer {
  (weight: Tensor): Tensor;
  /** What the `regularizer` options take to make it again; absent in one's own functions, which cannot be saved. */
  readonly config?: Config;
}

/** One tensor of a layer: trained, or state such as a moving average. Always f32. */
export interface Weight {
  /** Within its layer: kernel, bias, recurrentKernel … */
  readonly name: string;
  /** Its elements; `tensor.shape` is as the page of the layer says. */
  readonly tensor: Tensor;
  /** False for state that training does not descend on, such as moving averages, and while its layer is not `trainable`. */
  readonly trainable: boolean;
  /** A penalty of this weight that is added to the loss while it is trainable, or null. */
  readonly regularizer: Regularizer | null;
}

/** How a weight begins and what happens to it in training. */
export interface WeightOptions {
  /** A name of `initializers.ts` or a function. */
  readonly init: InitializerName | Initializer;
  /** Default true. */
  readonly trainable?: boolean;
  /** Default none. */
  readonly regularizer?: Regularizer | null;
}

const WEIGHT_OPTIONS: readonly (keyof WeightOptions)[] = ["init", "trainable", "regularizer"];

/** A model that is not built yet. */
export interface Building {
  /** As that of models. */
  build(inputShapes: readonly OpenShape[]): void;
}

/**
 * A part of a model with weights of its own. Functions such as `dense(10)` make one; `layer()` makes one from a description. Its weights
 * come into being with the first call, when the shape of the input is known.
 */
export interface Layer {
  /** What made it: dense, conv2d … */
  readonly kind: string;
  /** Unique within a model, which sets it where the options do not. */
  name: string;
  /** Its options, with defaults filled in. */
  readonly config: Config;
  /**
   * Default true. False freezes the layer: training leaves its weights as they are, and `batchNorm` works as in inference, as in Keras.
   * Takes effect with the next `compile`; kept in files that hold the training.
   */
  trainable: boolean;
  /** Empty until the first call. */
  readonly weights: readonly Weight[];
  /** True once it has its weights. */
  readonly built: boolean;
  /** @internal Builds a model that begins with it for what it is given first. */
  readonly begin?: (model: Building, x: unknown) => void;
  /** Those that it calls: the layers of a model that is one, and what `bidirectional` and its like hold. */
  readonly layers?: readonly Layer[];
  /**
   * Makes the weights for inputs of the first argument's shape if there are none yet, and computes the output. `x` has the batch as first
   * dimension. Behind the tensors may come `{ training }`: see `CallOptions`.
   * @throws ShapeError naming the layer where `x` does not fit, ArgumentError for what is no tensor.
   */
  call(x: Tensor, ...more: readonly (Tensor | CallOptions | null | undefined)[]): Tensor;
}

/** How a layer that reads an input of a model looks at what the model is given, on the host and before anything runs. */
export interface Reader {
  /** Looks through the elements of a batch. @throws DataError naming `who` */
  readonly check?: (who: string, input: Tensor) => Promise<void>;
  /**
   * `x`, all that the model is given, with what stands in programs for input `i`; `shapes`: of the inputs. @throws DataError naming `who`
   */
  readonly encode?: <X>(who: string, x: X, i: number, shapes: readonly OpenShape[]) => X;
}

/**
 * Where weights come from while a model is built: by the layer that has them, whose name is "" unless its options say one, and by their
 * names in it. Null: they have no elements until `loadWeights` or `setWeights` brings them.
 */
export type WeightsOf = (layer: Layer, name: string, shape: Shape) => Tensor | null;

/** What layers may ask of the model that is calling them. */
export interface Context {
  /** Seed of weight initialization. */
  readonly seed: number;
  /** A number for each initialized weight. */
  readonly nextStream: () => number;
  /** Told of each layer's call; output is null where another reads its weights. */
  called(layer: Layer, output: Tensor | null): void;
  /** Told, while a model is built, how a layer reads an input. False for what is none of the model; absent where no model reads data. */
  readonly reads?: (input: Tensor, reader: Reader) => boolean;
  /** Makes a weight: `weightFrom`, but where the elements come from elsewhere, and where one layer stands for several. */
  readonly makeWeight: MakeTensor;
  /** What calls of a layer compute with, for each of its weights. Absent: the weights. */
  readonly usedOf?: (weight: Tensor) => Tensor;
  /** The same where a model within is built, in a graph apart from that of a loop over layers: what the first of these computes with. */
  readonly firstOf?: (weight: Tensor) => Tensor;
  /** Told of the graph whose shapes a model was built from. */
  readonly traced?: (graph: Graph) => void;
}

/**
 * Makes the tensor of a weight, by the layer that has it and its name in it. `begin` gives its first elements, others each time; null where
 * models only predict.
 */
export type MakeTensor = (layer: Layer, name: string, shape: Shape, begin: () => Float32Array | null) => Tensor;

/** A weight with its first elements. @throws ShapeError for what is no shape */
const weightFrom: MakeTensor = (_layer, name, shape, begin) => {
  checkShape(`weight "${name}"`, shape);
  return new Tensor(shape, "f32", null, 0, begin());
};

/** Numbers from 0. */
export function counter(): () => number {
  let next = 0;
  return () => next++;
}

/** The layer that made each weight. */
const owners = new WeakMap<Tensor, Layer>();

/** The layer that made the weight `t` for itself; null for tensors that are no layer's. */
export const ownerOf = (t: Tensor): Layer | null => owners.get(t) ?? null;

/** From now on `t` is a weight of `layer`. */
export const setOwner = (t: Tensor, layer: Layer): void => void owners.set(t, layer);

/** What a layer made by `layerWith` holds itself, without its parts. */
export interface Inside {
  /** Its weights, apart from whether it is trainable; what is changed here is changed in `layer.weights`. */
  readonly weights: { -readonly [K in keyof Weight]: Weight[K] }[];
  /** What its call computes with. */
  readonly byName: { [name: string]: Tensor };
}

const insides = new WeakMap<Layer, Inside>();

/** What `layer` holds itself; undefined for layers that `layerWith` did not make. */
export const insideOf = (layer: Layer): Inside | undefined => insides.get(layer);

const silent = { called: (): void => {} };
let current: Context = Object.assign({ seed: 0, nextStream: counter(), makeWeight: weightFrom }, silent);

/** The context layers run in; outside of a model: seed 0. */
export function context(): Context {
  return current;
}

/** Runs `fn` with layers seeing `inner` in the place of what is so in the context around. */
export function withContext<R>(inner: Partial<Context>, fn: () => R): R {
  const outer = current;
  current = { ...outer, ...inner };
  try {
    return fn();
  } finally {
    current = outer;
  }
}

/** Inner layers by what their weights' names begin with. */
type PartsByName = { readonly [prefix: string]: Layer };

/** What `layer()` makes a layer of. */
export interface LayerDescription {
  /** What the layer is called in summaries, names and files. */
  readonly kind: string;
  /** Its options as plain data, for files. */
  readonly config: Config;
  /**
   * Makes the weights for an input shape; also the place to check it. `weight(name, shape, { init })` returns the new tensor. Behind it
   * come the shapes of further tensors of the first call.
   */
  readonly build?: (
    inputShape: Shape,
    weight: (name: string, shape: Shape, options: WeightOptions) => Tensor,
    ...more: readonly (Shape | null)[]
  ) => void;
  /**
   * Layers that `call` calls. Their weights count as this layer's, named with the key in front: `forward` makes kernel into forwardKernel.
   * A function makes them at the first call, of the shapes of its tensors.
   */
  readonly parts?: PartsByName | ((inputShape: Shape, ...more: readonly (Shape | null)[]) => PartsByName);
  /**
   * What becomes of the mask of its input (see masking.ts): the output's too, or used up by the layer itself. Default: lost, which a
   * warning says.
   */
  readonly mask?: "pass" | "use";
  /** The most tensors that `call` takes, with those that may be null; to give it more is an ArgumentError. Default: any number. */
  readonly inputs?: number;
  /** @internal Names of options that callers may give behind the tensors, besides `training`: see `givenOptions`. Default: none. */
  readonly options?: readonly string[];
  /** Computes the output; `weights` by name, without those of parts. */
  readonly call: (x: Tensor, weights: { readonly [name: string]: Tensor }, ...more: readonly (Tensor | null | undefined)[]) => Tensor;
}

/**
 * A layer from its description. `config.name` becomes its name.
 * @example const scale = layer({ kind: "scale", config: {},
 *   build: (shape, weight) => { weight("gamma", [shape.at(-1)], { init: "ones" }); },
 *   call: (x, { gamma }) => mul(x, gamma) });
 * @throws ArgumentError for what is no description
 */
export function layer(description: LayerDescription): Layer {
  const { kind, config, call } = Object(description) as LayerDescription;
  if (typeof kind !== "string" || typeof config !== "object" || config === null || typeof call !== "function") {
    throw new ArgumentError(`layer: expected { kind: "...", config: { ... }, call: (x, weights) => ... }, got ${kindOf(description)}`);
  }
  return layerFrom(description);
}

/** What `layer` does, for descriptions that are right. */
export function layerFrom(description: LayerDescription): Layer {
  const { parts = {} } = description;
  return layerWith(description, [], typeof parts === "function" ? [] : partsOf(parts));
}

const partsOf = (parts: PartsByName): Parts => Object.entries(parts).map(([prefix, part]) => [part, (name) => prefixed(prefix, name)]);

/** Inner layers, with what names their weights have in the outer one. */
export type Parts = (readonly [part: Layer, nameOf: (name: string) => string])[];

/** A layer that holds weights already, and layers, which may become more. */
export function layerWith(description: LayerDescription, held: readonly Weight[], parts: Parts): Layer {
  const { kind, config, build, call, mask: handling, inputs = Infinity, parts: later } = description;
  const own: Inside["weights"] = [];
  const byName: { [name: string]: Tensor } = {};
  let trainable = true;
  const self = {
    kind,
    get trainable(): boolean {
      return trainable;
    },
    // As in Keras, a layer within another is as the outer one.
    set trainable(value: boolean) {
      trainable = value;
      for (const [part] of parts) part.trainable = value;
    },
    name: typeof config.name === "string" ? config.name : "",
    config,
    get weights(): readonly Weight[] {
      return [
        ...own.map((w) => weightIn(self, w)),
        ...parts.flatMap(([part, nameOf]) => part.weights.map((w) => weightIn(self, w, nameOf(w.name)))),
      ];
    },
    get layers(): readonly Layer[] {
      return parts.map(([part]) => part);
    },
    built: false,
    call(x: Tensor, ...given: readonly (Tensor | CallOptions | null | undefined)[]): Tensor {
      const run = (): Tensor => {
        const options = callOptions(given, description.options);
        const more = (options === null ? given : given.slice(0, -1)) as readonly (Tensor | null | undefined)[];
        [x, ...more].forEach((t, i) => {
          if (i > 0 && (t === null || t === undefined)) return;
          const hint = Array.isArray(t) ? "; several are given one by one: call(a, b)" : "";
          if (!(t instanceof Tensor)) throw new ArgumentError(`expected a tensor, got ${kindOf(t)}${hint}`);
          if (i < inputs) return;
          const most = inputs === 1 ? "one tensor" : `at most ${inputs} tensors`;
          throw new ArgumentError(`expected ${most}, got ${more.length + 1}; join them first, as concatenate().call(a, b) does`);
        });
        const shapes = self.built ? [] : more.map((t) => t?.shape ?? null);
        if (typeof later === "function" && !self.built) {
          parts.splice(0, Infinity, ...partsOf(later(x.shape, ...shapes)));
          if (!trainable) self.trainable = false;
        }
        if (build && !self.built) {
          own.length = 0;
          const make: Parameters<typeof build>[1] = (name, shape, options) => {
            const who = `weight "${name}"`;
            const { init, trainable = true, regularizer = null } = checkOptions(who, options, WEIGHT_OPTIONS);
            const { seed, nextStream, makeWeight, usedOf } = context();
            const tensor = makeWeight(self, name, shape, () => {
              if (init === undefined)
                throw new ArgumentError(`${who}: expected options that say how it begins, such as { init: "glorotUniform" }, got none`);
              return TRAINING ? firstValues(name, init, shape, new Random(seed, nextStream())) : null;
            });
            // Programs do not write what is packed.
            own.push({ name, tensor, trainable: trainable && tensor.storage === undefined, regularizer });
            byName[name] = tensor;
            if (TRAINING) owners.set(tensor, self);
            return usedOf?.(tensor) ?? tensor;
          };
          build(x.shape, make, ...shapes);
        }
        self.built = true;
        // The model is told of this layer, not of its parts.
        const mode = { given: options ?? {}, ...(options?.training === undefined ? {} : { training: options.training }) };
        const { usedOf } = context();
        const weights = usedOf ? Object.fromEntries(Object.entries(byName).map(([name, t]) => [name, usedOf(t)])) : byName;
        return withMode(mode, () => withContext(parts.length === 0 ? {} : silent, () => call(x, weights, ...more)));
      };
      const known = self.built;
      const y = scope(self.name || kind, run);
      const mask = maskOf(x);
      if (mask !== null && maskOf(y) === null) {
        if (handling === "pass") masked(y, mask);
        else if (handling !== "use" && !known && mask.rank > 1)
          console.warn(`lockstep: layer "${self.name || kind}" does not hand on the mask: layers behind it take all steps`);
      }
      context().called(self, y);
      return y;
    },
  };
  own.push(...held.map((w) => ({ ...w })));
  if (TRAINING) insides.set(self, { weights: own, byName });
  return self;
}

/** `weight` as one of `owner`'s, which is trained only while the owner is. */
const weightIn = (owner: Pick<Layer, "trainable">, weight: Weight, name = weight.name): Weight => ({
  name,
  regularizer: weight.regularizer,
  get tensor() {
    return weight.tensor;
  },
  get trainable() {
    return owner.trainable && weight.trainable;
  },
});

const prefixed = (prefix: string, name: string): string => (prefix === "" ? name : prefix + name[0].toUpperCase() + name.slice(1));
