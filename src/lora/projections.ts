/** @file The kernels of a model's linear projections: what adapters can be added to, and how they are named. */
import { hint, kindOf } from "../check.ts";
import { adapting, ArgumentError, LockstepError } from "../index.ts";
import type { Layer, Model, Outputs, Shape, Tensor } from "../index.ts";
import { showShape } from "../shape.ts";

/** A model of any outputs. */
export type AnyModel = Model<Outputs>;

/** A kernel as `targets` see it. */
export interface LoraModule {
  /** The name of the model's layer that it is in. */
  readonly layer: string;
  /** Its name there, as in `layer.weights`. */
  readonly weight: string;
  /** Its name in a checkpoint of Hugging Face's form, or `layer.weight` for a model that comes from none. */
  readonly module: string;
  /** Of the kernel. */
  readonly shape: Shape;
}

/** A kernel, and where it is. */
export interface Projection extends LoraModule {
  /** The layer that made it, perhaps within `layer`, and what it is called there. */
  readonly owner: Layer;
  readonly name: string;
  readonly tensor: Tensor;
  /** Features that it reads, and gives. */
  readonly inputs: number;
  readonly units: number;
  /** Which of its module's outputs it gives. */
  readonly part: { readonly begin: number; readonly of: number };
}

/** Which kernels get adapters: see `LoraOptions.targets`. */
export type LoraTarget = string | RegExp | ((module: LoraModule) => boolean);

/** What stands for the default. */
const ALL = "all-linear";

/** `l` and all layers within it. */
export const within = (l: Layer): Layer[] => [l, ...(l.layers ?? []).flatMap(within)];

/** The layer within `l` that made a weight of it, and what it calls it. */
function madeBy(l: Layer, tensor: Tensor): { readonly owner: Layer; readonly name: string } | null {
  for (const owner of within(l)) {
    const name = adapting.insideOf(owner)?.weights.find((w) => w.tensor === tensor)?.name;
    if (name !== undefined) return { owner, name };
  }
  return null;
}

/** All kernels that inputs are multiplied by, and those in a layerStack, which cannot have adapters. */
export function projectionsOf(model: AnyModel): Projection[] {
  const found: Projection[] = [];
  for (const l of model.layers) {
    for (const { name: weight, tensor } of l.weights) {
      const isKernel = adapting.products.has(tensor) || (adapting.isStacked(tensor) && /kernel$/i.test(weight));
      const made = isKernel && !found.some((p) => p.tensor === tensor) ? madeBy(l, tensor) : null;
      if (made === null) continue;
      const { shape, size } = tensor;
      const inputs = made.name === "attentionOutputKernel" ? shape[0] * shape[1] : shape[0];
      const units = size / inputs;
      const { name: module, part = { begin: 0, of: units } } = model.modules?.(l.name, weight, shape) ?? {
        name: `${l.name}.${weight}`.replaceAll("/", "."),
      };
      found.push({ layer: l.name, weight, module, shape, ...made, tensor, inputs, units, part });
    }
  }
  return found;
}

/** The last layer that has weights, if it is dense: the head of a model. */
function headOf(layers: readonly Layer[]): Layer | null {
  const last = layers.filter((l) => l.weights.length > 0).pop();
  return last?.kind === "model" ? headOf(last.layers ?? []) : last?.kind === "dense" ? last : null;
}

function matches(target: LoraTarget, p: Projection, head: Layer | null): boolean {
  const { layer, weight, module, shape, name } = p;
  const full = `${layer}/${weight}`;
  if (typeof target === "function") return target({ layer, weight, module, shape });
  // A RegExp that is global remembers where it was.
  if (target instanceof RegExp) return full.search(target) >= 0 || module.search(target) >= 0;
  if (target === ALL) return p.owner !== head;
  return [name, weight, full, module].includes(target) || module.endsWith(`.${target}`);
}

/** Names for an error, cut short: a model has hundreds. */
export function listed(all: readonly Projection[]): string {
  const own = [...new Set(all.map(({ name }) => name))];
  const modules = all.map(({ module }) => module);
  const more = modules.length > 12 ? ` and ${modules.length - 12} more` : "";
  return `${own.join(", ")}; of the modules ${modules.slice(0, 12).join(", ")}${more}`;
}

/**
 * The kernels that `targets` name, in the order of the model's weights.
 * @throws ArgumentError for a target that matches none, which lists what there is, and for kernels that are several layers' in one
 */
export function targeted(model: AnyModel, targets: LoraTarget | readonly LoraTarget[]): Projection[] {
  const who = "lora: targets";
  const all = projectionsOf(model);
  const head = headOf(model.layers);
  const list = (Array.isArray(targets) ? targets : [targets]) as readonly LoraTarget[];
  const isTarget = (t: unknown): boolean => typeof t === "string" || typeof t === "function" || t instanceof RegExp;
  const wrong = list.find((t) => !isTarget(t));
  if (wrong !== undefined || list.length === 0)
    throw new ArgumentError(`${who}: expected names, regular expressions or functions, got ${list.length === 0 ? "none" : kindOf(wrong)}`);
  for (const target of list) {
    if (all.some((p) => matches(target, p, head))) continue;
    if (all.length === 0)
      throw new ArgumentError(`${who}: model "${model.name}" has no kernels of dense, attention or gated feed-forward layers`);
    const known = [...new Set(all.flatMap(({ name, module }) => [name, module.slice(module.lastIndexOf(".") + 1)]))];
    const why = typeof target === "string" ? hint(target, known) : "";
    throw new ArgumentError(
      `${who}: ${typeof target === "function" ? "the function" : String(target)} matches no kernel of model "${model.name}"` +
        `${target === ALL ? " besides its last layer, which is taken for its head; name it" : ""}; ${why}there are ${listed(all)}`,
    );
  }
  return whole(all.filter((p) => list.some((target) => matches(target, p, head))));
}

/** `chosen`. @throws ArgumentError for kernels that are several layers' in one, LockstepError for those that have an adapter */
export function whole(chosen: Projection[]): Projection[] {
  const stacked = chosen.find(({ tensor }) => adapting.isStacked(tensor));
  if (stacked !== undefined) {
    throw new ArgumentError(
      `lora: layer "${stacked.layer}" stands for ${stacked.shape[0]} layers (layerStack), whose ${stacked.name} is one tensor ` +
        `${showShape(stacked.shape)}; make the layers one by one, or name targets elsewhere`,
    );
  }
  const taken = chosen.find(({ owner, name }) => adapting.insideOf(owner)?.weights.some((w) => w.name === `${name}LoraB`));
  if (taken !== undefined) {
    throw new LockstepError(
      `lora: ${taken.layer}/${taken.weight} has an adapter already, of another model with this layer; merge() or remove() it first`,
    );
  }
  return chosen;
}
