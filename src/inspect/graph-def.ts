/**
 * @file A model's graph as TensorBoard's graph tab shows it: a GraphDef (tensorflow/core/framework/graph.proto, node_def.proto,
 * attr_value.proto), whose nodes are inputs, layers, functions between them and outputs.
 */
import { concatBytes } from "../io/bytes.ts";
import { bytesField, int64, message, text } from "./events.ts";
import type { Topology } from "./topology.ts";

/** What names of nodes may have; a slash would be a folder. */
const nameOf = (name: string): string => {
  const plain = name.replace(/[^A-Za-z0-9_.-]/g, "_");
  return /^[A-Za-z0-9.]/.test(plain) ? plain : `node${plain}`;
};

/** Names of nodes, each once. */
function namesOf({ nodes }: Topology): Map<string, string> {
  const taken = new Set<string>();
  return new Map(
    nodes.map(({ id, name }) => {
      const plain = nameOf(name);
      let own = plain;
      for (let i = 1; taken.has(own); i++) own = `${plain}_${i}`;
      taken.add(own);
      return [id, own];
    }),
  );
}

/** Sizes of any number are -1; the batch is one. */
const shapeOf = (shape: readonly (number | null)[]): Uint8Array => concatBytes([null, ...shape].map((d) => message(2, signed(1, d ?? -1))));

/** An int64 that may be -1, which has all bits. */
const signed = (field: number, value: number): Uint8Array =>
  value < 0
    ? concatBytes([int64(field, 0).subarray(0, -1), Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 255, 1)])
    : int64(field, value);

const attribute = (name: string, value: Uint8Array): Uint8Array => message(5, text(1, name), bytesField(2, value));

/** A graph as the bytes of a GraphDef. */
export function graphDef(graph: Topology): Uint8Array {
  const names = namesOf(graph);
  const nodes = graph.nodes.map(({ id, kind, type, shape, parameters }) => {
    const inputs = graph.edges.filter(([from, to]) => to === id && from !== id).map(([from]) => text(3, names.get(from) as string));
    return message(
      1,
      text(1, names.get(id) as string),
      text(2, kind),
      ...inputs,
      // A list of one shape, as TensorFlow notes shapes of outputs; a function's shape has the batch already.
      ...(type === "function" ? [] : [attribute("_output_shapes", message(1, message(7, shapeOf(shape))))]),
      ...(parameters > 0 ? [attribute("parameters", int64(3, parameters))] : []),
    );
  });
  // The version of GraphDefs since TensorFlow 1.0 (versions { producer: 22 }).
  return concatBytes([...nodes, message(4, int64(1, 22))]);
}
