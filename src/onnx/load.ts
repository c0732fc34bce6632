/** @file Opening a file. */
import { checkOptions } from "../check.ts";
import { bytesOf, cannotRead, pathOf } from "../io/source.ts";
import { FileError, resolveBackend, tensor } from "../index.ts";
import type { Backend, BackendName, ModelSource, Tensor } from "../index.ts";
import { prepare } from "./graph.ts";
import { OnnxModel } from "./model.ts";
import type { OnnxValue } from "./model.ts";
import { readModel } from "./proto.ts";
import type { ModelProto, TensorProto, ValueProto } from "./proto.ts";
import { wordsOf } from "./tensors.ts";
import type { Constant, External } from "./tensors.ts";
import { elementType, isFloat } from "./types.ts";
import { Value } from "./value.ts";

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

/** Elements that are both a tensor and known: sizes and scales are among them. */
const SMALL = 64;

const valueOf = (who: string, v: ValueProto): OnnxValue => ({
  name: v.name,
  dtype: v.type === 0 ? null : elementType(`${who}: "${v.name}"`, v.type),
  shape: v.shape?.map((d) => (typeof d === "number" && d >= 0 ? d : null)) ?? null,
});

/** Tensors of all graphs in `model` that lie in other files. */
function externals(model: ModelProto): Set<string> {
  const names = new Set<string>();
  const see = (t: TensorProto | null): void => {
    const location = t?.external?.get("location");
    if (location !== undefined) names.add(location);
  };
  const graphs = [model.graph];
  for (let g = graphs.pop(); g; g = graphs.pop()) {
    g.initializers.forEach(see);
    for (const { tensor: t, graph } of g.nodes.flatMap((n) => [...n.attributes.values()])) {
      see(t);
      if (graph) graphs.push(graph);
    }
  }
  return names;
}

/** @throws FileError for a name that leads out of the model's folder */
function checkInside(who: string, name: string): void {
  if (name === "" || /^[/\\]|^[a-z][a-z\d+.-]*:|\\/i.test(name) || name.split("/").includes(".."))
    throw new FileError(`${who}: external data must be in the model's folder, got "${name.slice(0, 80)}"`);
}

/** Files beside the model. */
async function readExternals(who: string, source: ModelSource, names: Set<string>, options: LoadOnnxOptions): Promise<External | null> {
  if (names.size === 0) return null;
  const files = new Map<string, Uint8Array>();
  for (const name of names) {
    checkInside(who, name);
    const given = options.external !== undefined && Object.hasOwn(options.external, name) ? options.external[name] : undefined;
    const beside = typeof source === "string" || source instanceof URL ? String(source).replace(/[^/]*$/, name) : null;
    if (given === undefined && beside === null)
      throw cannotRead(
        who,
        `elements are in "${name.slice(0, 80)}"; give it by loadOnnx(source, { external: { ${JSON.stringify(name.slice(0, 80))}: ... } })`,
      );
    if (given === undefined) pathOf(beside as string);
    files.set(name, (await bytesOf(name, given ?? (beside as string))).bytes);
  }
  return (owner, location, offset, length) => {
    const bytes = files.get(location) as Uint8Array;
    const end = length === null ? bytes.length : offset + length;
    if (end > bytes.length) throw new FileError(`${owner}: bytes ${offset} to ${end} of "${location}" are wanted, it has ${bytes.length}`);
    return bytes.subarray(offset, end);
  };
}

/**
 * Opens a model of ONNX (opsets 7 to 23): `const net = await loadOnnx("model.onnx"); const { y } = await net.run({ x })`.
 * @throws FileError for what is no such file, and naming an operator that is not supported with its node, before anything runs; ArgumentError
 * for what is no source, and bad options
 */
export async function loadOnnx(source: ModelSource, options: LoadOnnxOptions = {}): Promise<OnnxModel> {
  const o = checkOptions("loadOnnx", options, ["backend", "external"]);
  const given = await source;
  const { who, bytes } = await bytesOf("loadOnnx", given);
  const model = readModel(who, bytes);
  if (model.graph === null || model.opsets.size === 0)
    throw new FileError(`${who}: no ONNX model: it has no ${model.graph ? "opset" : "graph"}`);
  const external = await readExternals(who, given, externals(model), o);
  const graph = prepare({ who, opsets: model.opsets, functions: model.functions, external }, model.graph);
  const backend = await resolveBackend(o.backend);
  const weights = new Map<string, Tensor>();
  const constants = new Map<string, Value>();
  for (const [name, constant] of graph.constants) constants.set(name, kept(who, name, constant, weights));
  const inputs = model.graph.inputs.filter(({ name }) => graph.inputs.includes(name)).map((v) => valueOf(who, v));
  const outputs = model.graph.outputs.map((v) => valueOf(who, v));
  return new OnnxModel(graph, constants, weights, { inputs, outputs }, backend);
}

/** Floats are weights; what decides shapes is known. */
function kept(who: string, name: string, constant: Constant, weights: Map<string, Tensor>): Value {
  if (!isFloat(constant.type) || constant.shape.length === 0) return Value.known(constant);
  const t = tensor(wordsOf(`${who}: "${name}"`, constant), constant.shape);
  weights.set(name, t);
  return Value.weight(constant.type, t, constant.elements.length <= SMALL ? constant : null);
}
