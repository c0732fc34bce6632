/** @file Opening a file. */
import { checkOptions } from "../check.ts";
import { rangesOf } from "../io/ranges.ts";
import type { Ranges } from "../io/ranges.ts";
import { cannotRead } from "../io/source.ts";
import { FileError, resolveBackend } from "../index.ts";
import type { Backend, BackendName, ModelSource } from "../index.ts";
import { prepare } from "./graph.ts";
import type { Prepared } from "./graph.ts";
import { OnnxModel } from "./model.ts";
import type { OnnxValue } from "./model.ts";
import { readModel } from "./proto.ts";
import type { FunctionProto, GraphProto, NodeProto, TensorProto, ValueProto } from "./proto.ts";
import { operatorsFor } from "./operators.ts";
import { outlineOf } from "./outline.ts";
import type { Files } from "./tensors.ts";
import { elementType } from "./types.ts";
import { readConstants } from "./weights.ts";

/** Options of `loadOnnx`. */
export interface LoadOnnxOptions {
  /** Where it runs. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
  /**
   * Files with elements that lie beside the model, by the names that it calls them. Default: they are read from the folder, or below the
   * address, that the model came from.
   */
  readonly external?: { readonly [name: string]: ModelSource };
}

function valueOf(who: string, v: ValueProto): OnnxValue {
  const name = `"${v.name.slice(0, 80)}"`;
  if (v.other) throw new FileError(`${who}: ${name} is a sequence, a map or an optional value; a graph takes and gives tensors`);
  return {
    name: v.name,
    dtype: v.type === 0 ? null : elementType(`${who}: ${name}`, v.type),
    shape: v.shape?.map((d) => (typeof d === "number" && d >= 0 ? d : null)) ?? null,
  };
}

/** All nodes of a model, those of graphs inside and of functions too, and tensors of graphs and nodes. */
function contentsOf(graph: GraphProto, functions: readonly FunctionProto[]): { nodes: NodeProto[]; tensors: TensorProto[] } {
  const nodes = [graph.nodes, ...functions.map((f) => f.nodes)].flat();
  const tensors = [...graph.initializers];
  for (const node of nodes) {
    for (const { tensor: t, graph: inside } of node.attributes.values()) {
      if (t !== null) tensors.push(t);
      for (const inner of inside?.nodes ?? []) nodes.push(inner);
      for (const inner of inside?.initializers ?? []) tensors.push(inner);
    }
  }
  return { nodes, tensors };
}

/** Names of files in which tensors lie. */
const externals = (tensors: readonly TensorProto[]): Set<string> => new Set(tensors.flatMap((t) => t.external?.get("location") ?? []));

/** @throws FileError for a name that leads out of the model's folder */
function checkInside(who: string, name: string): void {
  if (name === "" || /^[/\\]|^[a-z][a-z\d+.-]*:|\\/i.test(name) || name.split("/").includes(".."))
    throw new FileError(`${who}: external data must be in the model's folder, got "${name.slice(0, 80)}"`);
}

/** Opens files beside the model. */
async function openExternals(who: string, source: ModelSource, names: Set<string>, options: LoadOnnxOptions): Promise<Files> {
  const files = new Map<string, Ranges>();
  for (const name of names) {
    checkInside(who, name);
    const given = options.external !== undefined && Object.hasOwn(options.external, name) ? options.external[name] : undefined;
    const beside = typeof source === "string" || source instanceof URL ? String(source).replace(/[^/\\]*$/, name) : null;
    if (given === undefined && beside === null) {
      const shown = JSON.stringify(name.slice(0, 80));
      throw cannotRead(who, `elements are in ${shown}; give it by loadOnnx(source, { external: { ${shown}: ... } })`);
    }
    files.set(name, await rangesOf(name, given ?? (beside as string)));
  }
  return files;
}

/**
 * Opens a model of ONNX (opsets 7 to 28): `const net = await loadOnnx("model.onnx"); const { y } = await net.run({ x })`. Of a file or
 * address that can be read in parts, large tensors go straight to the backend.
 * @throws FileError for what is no such file, and naming an operator that is not supported with its node, before anything runs;
 * BackendError where weights do not fit; ArgumentError for what is no source, and bad options
 */
export async function loadOnnx(source: ModelSource, options: LoadOnnxOptions = {}): Promise<OnnxModel> {
  const o = checkOptions("loadOnnx", options, ["backend", "external"]);
  const given = await source;
  const file = await rangesOf("loadOnnx", given);
  const { who } = file;
  const model = readModel(who, await outlineOf(file));
  if (model.graph === null || model.opsets.size === 0)
    throw new FileError(`${who}: no ONNX model: it has no ${model.graph ? "opset" : "graph"}`);
  const { nodes, tensors } = contentsOf(model.graph, model.functions);
  const files = await openExternals(who, given, externals(tensors), o);
  const operatorOf = await operatorsFor(nodes);
  const graphs: Prepared[] = [];
  const graph = prepare({ who, opsets: model.opsets, functions: model.functions, files, operatorOf, graphs }, model.graph);
  const inputs = model.graph.inputs.filter(({ name }) => graph.inputs.includes(name)).map((v) => valueOf(who, v));
  const outputs = model.graph.outputs.map((v) => valueOf(who, v));
  const backend = await resolveBackend(o.backend);
  const weights = await readConstants(graphs.reverse(), backend);
  return new OnnxModel(graph, weights, { inputs, outputs }, backend);
}
