/** @file What an architecture says of itself: its layers, and where a checkpoint has their weights. */
import { sizeOf } from "../shape.ts";
import type { Model, Outputs, OpenShape, Shape } from "../index.ts";
import type { Config } from "./config.ts";
import type { Folder } from "./files.ts";
import type { Pretrained } from "./pretrained.ts";
import type { Task } from "./task.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Where a weight's elements are in a checkpoint. */
export interface Source {
  /** The tensor, by the name that Hugging Face's model gives it. */
  readonly name: string;
  /** Shape of that tensor. */
  readonly shape: Shape;
  /** Its first dimension is outputs, as in PyTorch's linear layers; the weight is the transpose of that matrix. */
  readonly transposed?: boolean;
  /**
   * Products read it, so that it may be packed: as a kernel [...inputs, ...outputs], which sums over inputs, or as rows [tokens, features]
   * of embeddings, each of which is read whole.
   */
  readonly matrix?: "kernel" | "rows";
  /** Only these columns, [begin, end), are the weight. */
  readonly columns?: readonly [number, number];
}

/** A weight of the model: what it needs, and where that is. */
export interface Wanted {
  /** Unique. */
  readonly key: string;
  readonly shape: Shape;
  readonly source: Source;
}

/** A linear layer's kernel [...inputs, ...outputs] from [outputs, inputs]; `inputs` of its dimensions are of the input. */
export const linear = (name: string, shape: Shape, inputs = 1): Source => ({
  name,
  shape: [sizeOf(shape.slice(inputs)), sizeOf(shape.slice(0, inputs))],
  transposed: true,
  matrix: "kernel",
});

/** A kernel [inputs, outputs] that a checkpoint has as it is. */
export const kernel = (name: string, shape: Shape): Source => ({ name, shape, matrix: "kernel" });

/** Embeddings of tokens [tokens, features]. */
export const table = (name: string, shape: Shape): Source => ({ name, shape, matrix: "rows" });

/** A weight that a checkpoint has as it is, in one dimension where it has several here. */
export const vector = (name: string, shape: Shape): Source => ({ name, shape: [sizeOf(shape)] });

/** A weight that a checkpoint has as it is. */
export const same = (name: string, shape: Shape): Source => ({ name, shape });

/** What a checkpoint is opened as, with what that takes besides the weights, which is read and checked before them. */
export type Opener = (given: {
  readonly config: Config;
  /** Files of the checkpoint; null where it is one file. */
  readonly folder: Folder | null;
  readonly contextLength: number | null;
}) => Promise<(model: Model<Outputs>, tokenizer: Tokenizer) => Pretrained>;

/** How many labels a classifier gives logits of: as many as have names, else `num_labels`, else 2, as in Transformers. */
export function labelCount(config: Config): number {
  if (!config.has("id2label")) return config.count("num_labels", 2);
  const count = Object.keys(config.within("id2label").values).length;
  if (count === 0) throw config.fault("id2label", "an object of at least one label");
  return count;
}

/** A model of an architecture, as a configuration describes it. */
export interface Design {
  /** What can be asked of it. */
  readonly task: Task;
  /** A new model of it, not built yet. Layers have the names of Hugging Face's modules. */
  make(): Model<Outputs>;
  /** Shapes of one sample of its inputs. */
  readonly inputShapes: readonly OpenShape[];
  /** Where the weight `name` of the layer `layer` is. */
  source(layer: string, name: string, shape: Shape): Source;
  /** The name that `source` knows for a tensor of a checkpoint; null for what the model does not need. */
  canonical(name: string): string | null;
  /** The most tokens that it reads; null: any number. */
  readonly contextLength: number | null;
  /** What it is opened as. Default: a language model. */
  readonly opener?: Opener;
}

/** What besides the configuration tells of a model. */
export interface Given {
  /** What rotary frequencies are divided by, where the checkpoint holds that as a tensor. */
  readonly scaling: readonly number[] | null;
  /** Tensors of the checkpoint. */
  readonly names: readonly string[];
}

/** Reads a configuration. @throws FileError naming what is not known */
export type Architecture = (config: Config, given: Given) => Design;

/** The number of layers, of which lists are made. @throws FileError for more than the checkpoint can have, each with a tensor at least */
export function layersIn(config: Config, field: string, names: readonly string[]): number {
  const layers = config.count(field);
  if (layers > names.length) throw config.fault(field, `at most the number of tensors, ${names.length}`);
  return layers;
}

/** `source` from a table of what each weight's name is; the key is that of the weight. */
export type Sources = { readonly [weight: string]: (layer: string, shape: Shape) => Source };

/** A source by the weight's name. @throws Error for one that no table knows: a bug of the architecture. */
export function fromTable(table: Sources, layer: string, weight: string, shape: Shape): Source {
  if (!Object.hasOwn(table, weight)) throw new Error(`internal: layer ${layer} has the weight ${weight}, which no checkpoint has`);
  return table[weight](layer, shape);
}
