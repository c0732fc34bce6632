/** @file LoRA: fine-tuning by low-rank adapters beside weights that stay as they are. */
import { checkCount, checkNumber, checkOptions, checkPart, kindOf } from "../check.ts";
import { adapting, ArgumentError, FileError, LockstepError } from "../index.ts";
import type { Model, Outputs, Tensor } from "../index.ts";
import { checkShape } from "../elements.ts";
import { cut } from "../io/safetensors.ts";
import { optionsOf } from "../options.ts";
import type { Given } from "../options.ts";
import { addAdapters, freeze, mergeAdapters, removeAdapters } from "./adapters.ts";
import type { Adapter, AdapterOptions } from "./adapters.ts";
import { CONFIG_FILE, describe, encodeAdapters, fill, readAdapters, WEIGHTS_FILE, writeFolder } from "./files.ts";
import type { AdapterConfig, AdapterFile, AdapterSource } from "./files.ts";
import { listed, projectionsOf, targeted, whole } from "./projections.ts";
import type { AnyModel, LoraTarget, Projection } from "./projections.ts";

/** Options of `lora`. */
export interface LoraOptions {
  /** Columns of the first, rows of the second matrix of each adapter. Default 8. */
  readonly rank?: number;
  /** Adapters count alpha / rank. Default null: as rank, so that they count 1. */
  readonly alpha?: number | null;
  /**
   * Which kernels get adapters: names of weights (`queryKernel`, or `layer/queryKernel` for one), names of modules or their ends as PEFT's
   * target_modules (`q_proj`) for models that come from a checkpoint, regular expressions over these names, functions of a `LoraModule`, or
   * a list of such. Default `all-linear`: all kernels of dense, attention and gated feed-forward layers, but that of a last layer that is
   * dense, the head. Embeddings have none.
   */
  readonly targets?: LoraTarget | readonly LoraTarget[];
  /** Part of the elements that adapters read which training drops, in [0, 1). Default 0. */
  readonly dropout?: number;
  /** Adapters count alpha / sqrt(rank), for large ranks (Kalajdzievski 2023, arXiv 2312.03732). Default false. */
  readonly useRslora?: boolean;
  /** Of the first values. The same seed gives the same values everywhere. Default 0. */
  readonly seed?: number;
}

/** Options of `loadLora`. */
export interface LoadLoraOptions {
  /** As for `lora`, for training that goes on. Default: what the file says. */
  readonly dropout?: number;
}

const DEFAULTS: Required<LoraOptions> = { rank: 8, alpha: null, targets: "all-linear", dropout: 0, useRslora: false, seed: 0 };

/** The adapters of a model: what `lora` and `loadLora` make. */
export class Lora {
  readonly model: AnyModel;
  readonly rank: number;
  readonly dropout: number;
  readonly useRslora: boolean;
  /** Names of the modules that have adapters: `layer.weight`, or those of the checkpoint that the model comes from. */
  readonly modules: readonly string[];
  readonly #adapters: readonly Adapter[];
  readonly #options: AdapterOptions;
  readonly #undo: () => void;
  #alpha: number;
  /** What became of the adapters; "" while they are there. */
  #gone = "";

  /** Use `lora()`. */
  constructor(model: AnyModel, projections: readonly Projection[], config: AdapterConfig, seed: number) {
    const { rank, alpha, dropout, useRslora } = config;
    for (const size of projections.flatMap(({ inputs, units }) => [inputs, units])) checkShape("lora", [size, rank]);
    this.model = model;
    this.rank = rank;
    this.dropout = dropout;
    this.useRslora = useRslora;
    this.modules = [...new Set(projections.map(({ module }) => module))];
    this.#alpha = alpha;
    this.#options = { rank, dropout, seed, scale: scaleOf(config) };
    this.#undo = freeze(model, new Set(projections.map(({ owner }) => owner)));
    this.#adapters = addAdapters(projections, this.#options);
    const targets = projections.map(({ layer, weight }) => `${layer}/${weight}`);
    model.adapters = { rank, alpha, dropout, useRslora, seed, targets };
  }

  /** What the adapters count, by rank: see `LoraOptions`. That of the file after `load`. */
  get alpha(): number {
    return this.#alpha;
  }

  /** The matrices that are trained: those of `model.parameters`, unless layers beside them are trained, too. */
  get parameters(): readonly Tensor[] {
    return [...new Set(this.#adapters.flatMap(({ a, b }) => [a, b]))];
  }

  /** What adapter_config.json of PEFT's form says. */
  get config(): { readonly [key: string]: unknown } {
    const { rank, alpha, dropout, useRslora, modules } = this;
    // PEFT takes ends of names; where they would match other kernels, too, it gets whole ones.
    const ends = [...new Set(modules.map((name) => name.slice(name.lastIndexOf(".") + 1)))];
    const others = projectionsOf(this.model).filter(({ module }) => !modules.includes(module));
    const exact = !others.some(({ module }) => ends.some((end) => module === end || module.endsWith(`.${end}`)));
    return describe({ rank, alpha, dropout, useRslora }, exact ? ends : modules);
  }

  /**
   * The adapters as the bytes of adapter_model.safetensors, which holds `config` as well, so that `load` and `loadLora` read it alone.
   * @throws LockstepError after merge() and remove()
   */
  async toBytes(): Promise<Uint8Array> {
    this.#check("toBytes");
    return encodeAdapters(this.#adapters, this.rank, this.config);
  }

  /**
   * Writes adapter_config.json and adapter_model.safetensors into a folder, which is made where there is none, as PEFT's
   * `save_pretrained`. Needs a file system; elsewhere use `toBytes()`. Weights of the model itself are not in it; `model.save` writes all.
   * @throws LockstepError after merge() and remove(), FileError where writing fails
   */
  async save(folder: string | URL): Promise<void> {
    this.#check("save");
    const config = new TextEncoder().encode(`${JSON.stringify(this.config, null, 2)}\n`);
    await writeFolder(folder, { [WEIGHTS_FILE]: await this.toBytes(), [CONFIG_FILE]: config });
  }

  /**
   * Puts the values and alpha of other adapters in the place of these, which must be of the same modules and rank: a model goes from task
   * to task without its weights being read again. Nothing changes where they do not fit. An optimizer that has trained the old ones keeps
   * their moments: compile the model again to train on.
   * @throws FileError for what cannot be read, is no LoRA or does not fit, ArgumentError for what is no source, LockstepError after merge()
   * and remove()
   */
  async load(source: AdapterSource): Promise<void> {
    this.#check("load");
    const file = await readAdapters("load", source);
    this.#check("load");
    const { alpha, useRslora } = file.config;
    if (useRslora !== this.useRslora)
      throw new FileError(`${file.who}: "use_rslora" is ${String(useRslora)}, that of these adapters ${String(this.useRslora)}`);
    this.take(file);
    if (alpha === this.#alpha) return;
    this.#alpha = alpha;
    this.#options.scale = scaleOf(file.config);
    this.model.adapters = { ...this.model.adapters, alpha };
    adapting.traceAnew();
  }

  /**
   * Adds the adapters to the weights that they are of, and removes them: the model computes what it did, as fast as without them. Packed
   * weights are packed again in their format, which rounds them a second time: a change of less than half a step of a block is lost, so
   * that the adapters beside weights in q8 or q4 are more exact than the sum. Weights are again trainable as they were before `lora`.
   * @throws LockstepError after merge() and remove(), DataError where a sum is beyond the format of packed weights
   */
  async merge(): Promise<void> {
    this.#check("merge");
    this.#gone = "merged";
    try {
      await mergeAdapters(this.#adapters, this.#options.scale, this.model.backend);
    } catch (error) {
      this.#gone = "";
      throw error;
    }
    this.#leave();
  }

  /** Takes the adapters away: the model is as it was before. @throws LockstepError after merge() and remove() */
  remove(): void {
    this.#check("remove");
    this.#gone = "removed";
    this.#leave();
  }

  /** @internal Takes over what a file holds. @throws FileError where it does not fit */
  take(file: AdapterFile): void {
    fill(file, this.#adapters);
  }

  #check(who: string): void {
    if (this.#gone !== "")
      throw new LockstepError(`${who}: the adapters of model "${this.model.name}" were ${this.#gone}; call lora() again`);
  }

  #leave(): void {
    removeAdapters(this.#adapters);
    this.#undo();
    this.model.adapters = undefined;
  }
}

/** What products with adapters are multiplied by. */
const scaleOf = ({ rank, alpha, useRslora }: AdapterConfig): number => alpha / (useRslora ? Math.sqrt(rank) : rank);

/** @throws ArgumentError for what is no model, LockstepError for one that is not built or has adapters */
function checkModel(who: string, given: unknown): void {
  const isModel = (value: unknown): boolean => typeof (value as Partial<AnyModel> | null)?.fit === "function";
  if (!isModel(given)) {
    const inner = isModel((Object(given) as { readonly model?: unknown }).model) ? "; give its model" : "";
    throw new ArgumentError(
      `${who}: expected a model that sequential(), model() or loadModel() of lockstep made, got ${kindOf(given)}${inner}`,
    );
  }
  const model = given as AnyModel;
  if (model.inputShapes === null)
    throw new LockstepError(`${who}: model "${model.name}" is not built yet: give inputShape, or call build() first`);
  if (model.adapters !== undefined)
    throw new LockstepError(
      `${who}: model "${model.name}" has adapters already; merge() or remove() them, or load() others in their place`,
    );
}

/**
 * Adds low-rank adapters to kernels of a model and freezes everything else (Hu et al. 2021, arXiv 2106.09685): x kernel becomes x kernel +
 * (alpha / rank) dropout(x) A B, with A [inputs, rank] uniform in +-1 / sqrt(inputs) and B [rank, outputs] 0, so that the model computes
 * what it did until it is trained. `model.parameters` are the adapters alone, for `fit` after another `compile`, and for a loop of one's
 * own. The weights of the model may be packed (`pack`): they are read as they are. In `model.weights` the adapters of `queryKernel` are
 * `queryKernelLoraA` and `queryKernelLoraB`, and `model.save` writes them; `loadModel` then needs `{ lora }`. Layers without adapters
 * become not `trainable`; what is to be trained beside the adapters, such as a new head, is made so again behind `lora`. A GPT-2's
 * queryKernel, keyKernel and valueKernel, which are one module of its checkpoint, share A, as there.
 * @throws ArgumentError for bad options, targets that match nothing (it lists what there is), and kernels in a layerStack; LockstepError
 * for a model that is not built yet or has adapters
 * @example const adapters = lora(model, { rank: 4, targets: ["queryKernel", "valueKernel"] });
 * await model.compile({ loss: "mse", optimizer: adam({ learningRate: 1e-3 }) });
 * await model.fit(x, y);
 * await adapters.save("adapters");
 */
export function lora<O extends Outputs>(model: Model<O>, options: LoraOptions = {}): Lora {
  const o = optionsOf("lora", DEFAULTS, options as Given<Required<LoraOptions>>);
  const { rank, targets, dropout, useRslora, seed } = o;
  const alpha = o.alpha ?? rank;
  checkCount("lora", "rank", rank);
  checkNumber("lora", "alpha", alpha, -Infinity);
  checkPart("lora", "dropout", dropout);
  checkCount("lora", "seed", seed, 0);
  checkModel("lora", model);
  const of = model as unknown as AnyModel;
  return new Lora(of, targeted(of, targets), { rank, alpha, dropout, useRslora }, seed);
}

/**
 * Adds the adapters of files of PEFT's form to a model: `lora` with the modules, rank and alpha that the files have, and their values.
 * @param source a folder's path or address, its files by name, or what `toBytes()` of other adapters gave: see `AdapterSource`
 * @throws FileError for what cannot be read, is no plain LoRA (DoRA, ranks that differ, weights besides), or names modules or shapes that
 * the model does not have; otherwise as `lora`
 * @example const adapters = await loadLora(model, "adapters");
 */
export async function loadLora<O extends Outputs>(model: Model<O>, source: AdapterSource, options: LoadLoraOptions = {}): Promise<Lora> {
  const { dropout: given } = checkOptions("loadLora", options, ["dropout"]);
  if (given !== undefined) checkPart("loadLora", "dropout", given);
  checkModel("loadLora", model);
  const file = await readAdapters("loadLora", source);
  checkModel("loadLora", model);
  const { who, config, modules } = file;
  const of = model as unknown as AnyModel;
  const all = projectionsOf(of);
  const unknown = [...modules.keys()].find((name) => !all.some(({ module }) => module === name));
  if (unknown !== undefined)
    throw new FileError(`${who}: it has an adapter of "${cut(unknown)}"; model "${model.name}" has ${listed(all)}`);
  const chosen = whole(all.filter(({ module }) => modules.has(module)));
  const adapters = new Lora(of, chosen, { ...config, dropout: given ?? config.dropout }, 0);
  try {
    adapters.take(file);
  } catch (error) {
    adapters.remove();
    throw error;
  }
  return adapters;
}
