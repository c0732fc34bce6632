/** @file A model as a file of ONNX: what it computes is traced, and each op of the graph becomes nodes. */
import { checkCount, checkOptions } from "../check.ts";
import { ArgumentError, LockstepError, tracedPrediction } from "../index.ts";
import type { InferenceModel, Model, OpenShape, Outputs, Tensor } from "../index.ts";
import { TYPES, Writing } from "./export/context.ts";
import type { Batches, Node, WriteNode } from "./export/context.ts";
import { ELEMENTWISE } from "./export/elementwise.ts";
import { NETWORKS } from "./export/networks.ts";
import { SEQUENCES } from "./export/sequences.ts";
import { GraphWriter } from "./export/writer.ts";
import type { WrittenValue } from "./export/writer.ts";

/** Options of `saveOnnx`. */
export interface SaveOnnxOptions {
  /** One input's shape without the batch, for models that are not built. Default: what the model was built for. */
  readonly inputShape?: readonly number[];
  /** For several inputs. */
  readonly inputShapes?: readonly (readonly number[])[];
  /** A fixed batch. Default: any. */
  readonly batch?: number;
}

const WRITERS: { readonly [op: string]: WriteNode } = Object.assign(Object.create(null), ELEMENTWISE, NETWORKS, SEQUENCES);

/** Sizes of the batch that a model is traced with where it may be any. */
const SIZES = [6, 7] as const;

type AnyModel = Model<Outputs> | InferenceModel<Outputs>;

/** Shapes of all inputs. */
function shapesOf(model: AnyModel, { inputShape, inputShapes }: SaveOnnxOptions): readonly (readonly number[])[] {
  const given = inputShapes ?? (inputShape === undefined ? null : [inputShape]);
  if (given !== null) model.build(given);
  const shapes: readonly OpenShape[] | null = model.inputShapes;
  if (shapes === null)
    throw new ArgumentError(`saveOnnx: model "${model.name}" is not built yet: give inputShape, its input's shape without the batch`);
  return shapes.map((shape) =>
    shape.map((d) => {
      if (d === null)
        throw new ArgumentError(
          `saveOnnx: the input [${shape.join()}] of model "${model.name}" has a dimension of any size; give inputShape`,
        );
      return d;
    }),
  );
}

/** Readers of each tensor of a graph. */
function readersOf(nodes: readonly Node[]): Map<Tensor, Node[]> {
  const readers = new Map<Tensor, Node[]>();
  for (const node of nodes) {
    for (const t of node.inputs) {
      if (t === null) continue;
      const list = readers.get(t) ?? [];
      list.push(node);
      readers.set(t, list);
    }
  }
  return readers;
}

/** An input that nothing but an embedding reads holds integers: those that it is cast to. */
function typeOfInput(input: Tensor, readers: ReadonlyMap<Tensor, readonly Node[]>): "float32" | "int32" {
  const of = readers.get(input) ?? [];
  const isIndex = of.length > 0 && of.every(({ op, attrs }) => op.name === "cast" && attrs.dtype === "i32");
  return isIndex ? "int32" : "float32";
}

/**
 * `model` as a file of ONNX (opset 18): what it predicts, with its weights in f32. Inputs and outputs have the shapes of `predict`, images
 * with channels last; an input that goes into an embedding alone is int32.
 * @returns the bytes of the file
 * @throws ArgumentError naming the layer whose computation ONNX's operators cannot say, or for a model that is not built
 * @example await writeFile("model.onnx", await saveOnnx(net));
 */
export async function saveOnnx(model: AnyModel, options: SaveOnnxOptions = {}): Promise<Uint8Array> {
  const o = checkOptions("saveOnnx", options, ["inputShape", "inputShapes", "batch"]);
  if (o.batch !== undefined) checkCount("saveOnnx", "batch", o.batch);
  const shapes = shapesOf(model, o);
  const sizes = o.batch === undefined ? SIZES : ([o.batch, o.batch] as const);
  const [traced, other] = sizes.map((size) =>
    tracedPrediction(
      model,
      shapes.map((shape) => ({ shape: [size, ...shape], dtype: "f32" })),
    ),
  );
  const [nodes, others] = [traced.graph.nodes, other.graph.nodes];
  if (nodes.length !== others.length || nodes.some((n, i) => n.op !== others[i].op))
    throw new ArgumentError(`saveOnnx: what model "${model.name}" computes depends on the batch; give { batch }`);
  const live = liveNodes(nodes, traced.outputs);
  const readers = readersOf(nodes.filter((n) => live.has(n)));
  const writer = new GraphWriter();
  const names = new Map<Tensor, string>();
  const inputs: WrittenValue[] = traced.graph.inputs.slice(0, shapes.length).map((t, i) => {
    const name = writer.name(shapes.length === 1 ? "input" : `input_${i}`);
    names.set(t, name);
    return { name, type: typeOfInput(t, readers), shape: [o.batch ?? "batch", ...shapes[i]] };
  });
  await writeWeights(model, traced.graph.captures, writer, names, readers);
  let batch: string | null = null;
  const size = (): string => (batch ??= writer.node("Slice", [writer.node("Shape", [inputs[0].name]), writer.ints([0]), writer.ints([1])]));
  const batches: Batches = { sizes: [sizes[0], sizes[1]], size };
  nodes.forEach((node, i) => {
    if (!live.has(node) || node.outputs.some((t) => names.has(t))) return;
    const write = WRITERS[node.op.name];
    const given = node.inputs.map((t) => (t === null ? "" : (names.get(t) as string)));
    const writing = new Writing([node, others[i]], given, writer, batches, (output) => readers.get(node.outputs[output]) ?? []);
    if (write === undefined) throw writing.fault("ONNX has no operator for what it computes");
    const written = write(writing);
    (typeof written === "string" ? [written] : written).forEach((name, k) => names.set(node.outputs[k], name));
  });
  const outputs = traced.outputs.map((t, i): WrittenValue => {
    const wanted = model.outputNames[i] || (traced.outputs.length === 1 ? "output" : `output_${i}`);
    const shape = t.shape.map((d, k) => (d === other.outputs[i].shape[k] ? d : k === 0 ? "batch" : `dim_${k}`));
    return { name: writer.output(names.get(t) as string, wanted), type: TYPES[t.dtype], shape };
  });
  return writer.finish(model.name || "model", inputs, outputs);
}

/** Nodes that outputs depend on. */
function liveNodes(nodes: readonly Node[], outputs: readonly Tensor[]): Set<Node> {
  const live = new Set<Node>();
  const wanted = new Set(outputs.map((t) => t.node));
  for (const node of [...nodes].reverse()) {
    if (!wanted.has(node)) continue;
    live.add(node);
    for (const t of node.inputs) if (t !== null) wanted.add(t.node);
  }
  return live;
}

/** Tensors that the graph captures, by the names of weights. */
async function writeWeights(
  model: AnyModel,
  captures: ReadonlyMap<Tensor, Tensor>,
  writer: GraphWriter,
  names: Map<Tensor, string>,
  readers: ReadonlyMap<Tensor, readonly Node[]>,
): Promise<void> {
  const known = new Map(model.layers.flatMap((l) => l.weights.map((w) => [w.tensor, `${l.name}/${w.name}`] as const)));
  for (const [concrete, symbol] of captures) {
    if (!readers.has(symbol)) continue;
    const values = await concrete.data();
    if (concrete.dtype === "u32") throw new LockstepError(`saveOnnx: ${concrete} of u32 cannot be written`);
    names.set(symbol, writer.tensor(known.get(concrete) ?? "tensor", TYPES[concrete.dtype], concrete.shape, values));
  }
}
