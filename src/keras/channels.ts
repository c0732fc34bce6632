/**
 * @file Layers with their channels first (data_format="channels_first"), as the same ones with channels last between two changes of order:
 * kernels are the same in both. Changes that undo each other are left out.
 */
import { FileError, permute, sequential } from "../index.ts";
import type { Layer, Model, Tensor } from "../index.ts";
import { cut } from "../io/safetensors.ts";
import { show } from "./fields.ts";

/** Dimensions of a sample in the other order, as `permute` counts them. */
const toLast = (rank: number): readonly number[] => [...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1];
const toFirst = (rank: number): readonly number[] => [rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)];

/** Whether a class of layers with this option is read with its channels first; in films time is before them, which is not turned. */
export const canBeFirst = (className: string): boolean => !className.startsWith("ConvLSTM");

/** @throws FileError for an activation along the last dimension, which Keras takes to be the width where channels are first */
export function checkFirst(who: string, { config }: Layer): void {
  if (isAlongLast(config.activation))
    throw new FileError(
      `${who}: activation ${show(config.activation)} with data_format "channels_first" is along the last dimension, not along that of ` +
        "channels, which is not computed; put it into a layer of its own and save the model again",
    );
}

/** The rank of what a class of layers takes, by the number in its name; null where that may be any. */
export const rankOf = (className: string): number | null => {
  const [, dims] = /([123])D/.exec(className) ?? [];
  return dims !== undefined ? Number(dims) + 2 : className === "Flatten" ? null : 4;
};

/** Layers that compute each element by itself, wherever the channels are. */
const ELEMENTWISE = ["relu", "leakyRelu", "elu", "dropout", "gaussianNoise", "gaussianDropout", "alphaDropout", "identity"];

const isAlongLast = (activation: unknown): boolean => typeof activation === "string" && /softmax/i.test(activation);

const isElementwise = ({ kind, config }: Layer): boolean =>
  ELEMENTWISE.includes(kind) || (kind === "activation" && typeof config.activation === "string" && !isAlongLast(config.activation));

/** Others that give what has the rank of what they take. */
const KEEPING = ["batchNorm", "layerNorm", "groupNorm", "rmsNorm", "unitNormalization", "normalization", "prelu", "softmax"];

/** Layers whose output has no channels apart. */
const endsImages = ({ kind, config }: Layer): boolean => kind === "flatten" || (/^global/.test(kind) && config.keepDims !== true);

/** Layers that have their channels first, with the rank of what they take. */
export type First = ReadonlyMap<Layer | Model, number | null>;

/**
 * A row of layers with channels last where some have them first. `rank`: of the input, where it is known.
 * @throws FileError where the rank of what flatten() takes is not known
 */
export function rowOfLast(who: string, layers: readonly (Layer | Model)[], first: First, rank: number | null): readonly (Layer | Model)[] {
  if (!layers.some((l) => first.has(l))) return layers;
  const row: (Layer | Model)[] = [];
  // Null while channels are first.
  let held: number | null = null;
  let known = rank;
  const turn = (dims: readonly number[], what: string): number => row.push(permute(dims, { name: `${what}_${row.length}` }));
  for (const layer of layers) {
    if ("asLayer" in layer || !first.has(layer)) {
      if (held !== null && ("asLayer" in layer || !isElementwise(layer))) {
        turn(toFirst(held), "channels_first");
        held = null;
      }
      row.push(layer);
      if ("asLayer" in layer || !(isElementwise(layer) || KEEPING.includes(layer.kind))) known = null;
      continue;
    }
    const own: number | null = first.get(layer) ?? held ?? known;
    if (own === null)
      throw new FileError(
        `${who}: of which rank the input of flatten "${cut(layer.name)}" is, whose channels are first, is not known; give layers: ` +
          `{ ${cut(layer.name)}: (config) => ... }`,
      );
    if (held === null && own > 2) turn(toLast(own), "channels_last");
    row.push(layer);
    held = endsImages(layer) || own <= 2 ? null : own;
    known = endsImages(layer) ? 2 : own;
  }
  if (held !== null) turn(toFirst(held), "channels_first");
  return row;
}

/** One layer as a model that takes and gives channels first. */
export const asFirst = (who: string, layer: Layer, first: First): Layer =>
  sequential(rowOfLast(who, [layer], first, null) as Layer[]).asLayer;

/** Changes of order within a graph. */
export class Channels {
  readonly #layers = new Map<string, Layer>();
  /** What was made channels first, as it was before. */
  readonly #before = new WeakMap<Tensor, Tensor>();

  #turned(x: Tensor, dims: readonly number[], what: string): Tensor {
    const name = `${what}_${x.rank}`;
    const made = this.#layers.get(name) ?? permute(dims, { name });
    this.#layers.set(name, made);
    return made.call(x);
  }

  /** The layer's output for x, both with channels first. */
  call(layer: Layer, x: Tensor, run: (x: Tensor) => Tensor): Tensor {
    if (x.rank <= 2) return run(x);
    const y = run(this.#before.get(x) ?? this.#turned(x, toLast(x.rank), "channels_last"));
    if (endsImages(layer)) return y;
    const turned = this.#turned(y, toFirst(y.rank), "channels_first");
    this.#before.set(turned, y);
    return turned;
  }
}
