/** @file A model as a file of ONNX: what it computes is traced, and each op of the graph becomes nodes. */
import { checkCount, checkOptions } from "../../check.ts";
import { ArgumentError, tracedPrediction } from "../../index.ts";
import { fits, sameShape } from "../../shape.ts";
import type { OpenShape, Tensor } from "../../index.ts";
import { TYPES, dimsOf, shapeInput } from "./context.ts";
import type { Batches, Node, WriteNode } from "./context.ts";
import { SCAN, readersOf, writeNodes } from "./nodes.ts";
import type { Written } from "./nodes.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { NETWORKS } from "./networks.ts";
import { SEQUENCES } from "./sequences.ts";
import type { AnyModel, SaveOnnxOptions } from "./options.ts";
import { GraphWriter } from "./writer.ts";
import type { WrittenValue } from "./writer.ts";

const WRITERS: { readonly [op: string]: WriteNode } = Object.assign(Object.create(null), ELEMENTWISE, NETWORKS, SEQUENCES, SCAN);

/** Sizes of the batch that a model is traced with where it may be any. */
const SIZES = [6, 7] as const;

/** Shapes of all inputs. */
function shapesOf(model: AnyModel, { inputShape, inputShapes }: SaveOnnxOptions): readonly (readonly number[])[] {
  const given = inputShapes ?? (inputShape === undefined ? null : [inputShape]);
  const known = model.inputShapes;
  const open = given !== null && known?.length === given.length && known.every((shape, i) => fits(given[i], shape));
  if (given !== null && !open) model.build(given);
  const shapes: readonly OpenShape[] | null = open ? given : model.inputShapes;
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

/** An input that nothing but an embedding reads holds integers: those that it is cast to. */
function typeOfInput(input: Tensor, readers: ReadonlyMap<Tensor, readonly Node[]>): "float32" | "int32" {
  const of = readers.get(input) ?? [];
  const isIndex = of.length > 0 && of.every(({ op, attrs }) => op.name === "cast" && attrs.dtype === "i32");
  return isIndex ? "int32" : "float32";
}

/** What `saveOnnx` does. */
export async function writeModel(model: AnyModel, options: SaveOnnxOptions): Promise<Uint8Array> {
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
  const readers = readersOf(nodes, traced.outputs);
  const writer = new GraphWriter();
  const names = new Map<Tensor, string>();
  const inputs: WrittenValue[] = traced.graph.inputs.slice(0, shapes.length).map((t, i) => {
    const name = writer.name(shapes.length === 1 ? "input" : `input_${i}`);
    names.set(t, name);
    return { name, type: typeOfInput(t, readers), shape: [o.batch ?? "batch", ...shapes[i]] };
  });
  let batch: string | null = null;
  const size = (): string => (batch ??= writer.node("Slice", [writer.node("Shape", [inputs[0].name]), writer.ints([0]), writer.ints([1])]));
  const batches: Batches = { sizes: [sizes[0], sizes[1]], size };
  await writeWeights(
    model,
    [traced, other].map(({ graph }) => [...graph.captures]),
    { writer, names, readers, batches },
  );
  writeNodes({ nodes, others, names, writer, batches, outputs: traced.outputs, writers: WRITERS });
  const outputs = traced.outputs.map((t, i): WrittenValue => {
    const wanted = model.outputNames[i] || (traced.outputs.length === 1 ? "output" : `output_${i}`);
    const shape = t.shape.map((d, k) => (d === other.outputs[i].shape[k] ? d : k === 0 ? "batch" : `dim_${k}`));
    return { name: writer.output(names.get(t) as string, wanted), type: TYPES[t.dtype], shape };
  });
  return writer.finish(model.name || "model", inputs, outputs);
}

/** Tensors that the graph captures, by the names of weights. Those that depend on the batch are states to begin with, of one number. */
async function writeWeights(
  model: AnyModel,
  [captures, others]: readonly (readonly (readonly [Tensor, Tensor])[])[],
  around: Pick<Written, "writer" | "names" | "batches"> & { readonly readers: ReadonlyMap<Tensor, readonly Node[]> },
): Promise<void> {
  const { writer, names, readers, batches } = around;
  const known = new Map(model.layers.flatMap((l) => l.weights.map((w) => [w.tensor, `${l.name}/${w.name}`] as const)));
  for (const [i, [concrete, symbol]] of captures.entries()) {
    if (!readers.has(symbol)) continue;
    const values = await concrete.data();
    const { dtype, shape } = concrete;
    if (sameShape(shape, others[i][0].shape)) {
      names.set(symbol, writer.tensor(known.get(concrete) ?? "tensor", TYPES[dtype], shape, values));
      continue;
    }
    if (values.some((v) => v !== values[0])) throw new ArgumentError(`saveOnnx: ${concrete} is of one batch; give { batch }`);
    const dims = dimsOf(shape, others[i][0].shape, batches.sizes);
    if (dims === null) throw new ArgumentError(`saveOnnx: the shape of ${concrete} depends on the batch in a way that ONNX cannot say`);
    names.set(symbol, writer.node("Expand", [writer.scalar(values[0], TYPES[dtype]), shapeInput(writer, dims, batches)]));
  }
}
