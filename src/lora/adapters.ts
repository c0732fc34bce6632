/** @file Low-rank adapters as weights of layers: what `lora` adds to a model, and takes away again. */
import { add, adapting, assign, compile, LockstepError, matmul, mul, ops, Packer, Tensor, zeros } from "../index.ts";
import type { Backend, Layer, PackedFormat, Shape } from "../index.ts";
import { packedIn } from "../dtype.ts";
import type { Inside } from "../nn/layer.ts";
import type { Product } from "../nn/projection.ts";
import { sizeOf } from "../shape.ts";
import { within } from "./projections.ts";
import type { AnyModel, Projection } from "./projections.ts";

const { context, dropoutFactors, insideOf, KERNEL_ACTIVATIONS, products, Random, setOwner, traceAnew } = adapting;

/** What all adapters of a model have in common. `scale`: what products with them are multiplied by; setting it counts when traced anew. */
export interface AdapterOptions {
  readonly rank: number;
  scale: number;
  readonly dropout: number;
  readonly seed: number;
}

/** What one kernel has: y = x kernel + scale (x a) b. */
export interface Adapter {
  readonly projection: Projection;
  /** [inputs, rank]; of several kernels that are one module elsewhere the same. */
  readonly a: Tensor;
  /** [rank, units] */
  readonly b: Tensor;
  /** How the kernel was multiplied by before. */
  readonly plain: Product;
}

const insideOfOwner = ({ owner }: Projection): Inside => insideOf(owner) as Inside;

/** A new weight of the layer that `p` is in, behind those that it has. */
function weightBeside(p: Projection, suffix: string, shape: Shape, begin: (size: number) => Float32Array): Tensor {
  const name = `${p.name}${suffix}`;
  const tensor = context().makeWeight(p.owner, name, shape, () => begin(sizeOf(shape)));
  insideOfOwner(p).weights.push({ name, tensor, trainable: true, regularizer: null });
  setOwner(tensor, p.owner);
  return tensor;
}

/** What a layer computes with a kernel that has an adapter. */
const productWith =
  ({ a, b, plain }: Adapter, options: AdapterOptions): Product =>
  (x, kernel, bias, { activation = "linear" }) => {
    const factors = dropoutFactors(options.dropout, x.shape, x);
    const low = matmul(factors === null ? x : mul(x, factors), a);
    const scaled = options.scale === 1 ? low : mul(low, options.scale);
    return KERNEL_ACTIVATIONS[activation](add(plain(x, kernel, bias, {}), matmul(scaled, b)));
  };

/** Adds adapters that change nothing yet: a is uniform in +-1 / sqrt(inputs), b is 0 (PEFT's and loralib's beginning). */
export function addAdapters(projections: readonly Projection[], options: AdapterOptions): Adapter[] {
  const modules = new Map<string, Tensor>();
  const adapters = projections.map((projection): Adapter => {
    const { module, inputs, units, tensor } = projection;
    const random = new Random(options.seed, modules.size);
    const limit = 1 / Math.sqrt(inputs);
    const a =
      modules.get(module) ??
      weightBeside(projection, "LoraA", [inputs, options.rank], (size) => random.uniform(size).map((u) => (2 * u - 1) * limit));
    modules.set(module, a);
    return {
      projection,
      a,
      b: weightBeside(projection, "LoraB", [options.rank, units], (size) => new Float32Array(size)),
      plain: products.get(tensor) as Product,
    };
  });
  for (const adapter of adapters) products.set(adapter.projection.tensor, productWith(adapter, options));
  traceAnew();
  return adapters;
}

/** The tensor of the kernel, which a merge may have replaced. */
const kernelOf = (p: Projection): Inside["weights"][number] =>
  insideOfOwner(p).weights.find(({ name }) => name === p.name) as Inside["weights"][number];

/** Takes the adapters away. */
export function removeAdapters(adapters: readonly Adapter[]): void {
  for (const { projection, a, b, plain } of adapters) {
    products.set(kernelOf(projection).tensor, plain);
    const { weights } = insideOfOwner(projection);
    for (const t of [a, b]) {
      const at = weights.findIndex(({ tensor }) => tensor === t);
      if (at >= 0) weights.splice(at, 1);
    }
  }
  traceAnew();
}

/**
 * Freezes all but the adapters of `owners`: layers without any are not `trainable`, and of layers that have some in them all weights are
 * not. Gives what undoes it.
 */
export function freeze(model: AnyModel, owners: ReadonlySet<Layer>): () => void {
  const layers = [model.asLayer, ...model.layers].flatMap(within).map((l) => [l, l.trainable] as const);
  const weights: { readonly weight: Inside["weights"][number]; readonly trainable: boolean }[] = [];
  const freezeIn = (list: readonly Layer[]): void => {
    for (const l of list) {
      const all = within(l);
      if (!all.some((inner) => owners.has(inner))) l.trainable = false;
      else if (l.kind === "model") freezeIn(l.layers ?? []);
      else {
        for (const inner of all) {
          if (!within(inner).some((part) => owners.has(part))) inner.trainable = false;
          for (const weight of insideOf(inner)?.weights ?? []) {
            weights.push({ weight, trainable: weight.trainable });
            weight.trainable = false;
          }
        }
      }
    }
  };
  // A file has no place for adapters of a model within the one that is saved.
  const { config, name } = model.asLayer;
  const described = Object.getOwnPropertyDescriptor(config, "model") as PropertyDescriptor;
  const refuse = (): never => {
    throw new LockstepError(`save: the model within, "${name}", has adapters; merge() them first`);
  };
  Object.defineProperty(config, "model", { ...described, get: refuse });
  // What the model was frozen by must not freeze adapters.
  model.trainable = true;
  freezeIn(model.layers);
  return () => {
    // Backwards: a layer may be within two.
    for (const { weight, trainable } of weights.reverse()) weight.trainable = trainable;
    for (const [l, trainable] of layers) l.trainable = trainable;
    Object.defineProperty(config, "model", described);
  };
}

/** Kernels become kernel + scale a b, one after another; at any moment the model computes the same. */
export async function mergeAdapters(adapters: readonly Adapter[], scale: number, backend: Backend | null): Promise<void> {
  for (const { projection, a, b, plain } of adapters) {
    const kernel = kernelOf(projection);
    const whole = kernel.tensor;
    // Packed before something else failed.
    if (products.get(whole) === plain) continue;
    const storage = packedIn(whole.storage);
    if (storage === null) {
      const nothing = zeros(b.shape);
      const fold = compile(
        () => {
          assign(whole, add(whole, ops.reshape(mul(matmul(a, b), scale), whole.shape)));
          assign(b, nothing);
        },
        { backend: backend ?? undefined },
      );
      await fold();
      fold.close();
      continue;
    }
    const { format, rows, k, transposed } = storage;
    const sum = (await whole.data()) as Float32Array;
    const change = await mul(matmul(a, b), scale).data();
    for (let i = 0; i < sum.length; i++) sum[i] += change[i];
    const packer = new Packer(format as PackedFormat, rows, k, {}, "merge");
    const row = new Float32Array(k);
    for (let r = 0; r < rows; r++) {
      if (transposed) for (let i = 0; i < k; i++) row[i] = sum[i * rows + r];
      packer.row(r, transposed ? row : sum.subarray(r * k, (r + 1) * k));
    }
    kernel.tensor = packer.tensor({ transposed, shape: whole.shape });
    insideOfOwner(projection).byName[projection.name] = kernel.tensor;
    setOwner(kernel.tensor, projection.owner);
    products.set(kernel.tensor, plain);
    traceAnew();
  }
}
