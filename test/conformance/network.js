/** @file Models of the `model` and `fit` cases: built from their layers, with their weights, through the public functions. */
import { model, sequential } from "../../build/esm/model/model.js";
import { tensor } from "../../build/esm/tensor.js";
import * as losses from "../../build/esm/train/losses.js";
import { tensorOf } from "./case.js";
import { camel, make } from "./factories.js";

/** A stored tensor as ours. */
export function load(testCase, name) {
  const { data, shape } = tensorOf(testCase, name);
  return tensor(data, shape);
}

/** The case's loss. */
export function lossOf({ loss: { class_name: name, config } }) {
  return losses[name[0].toLowerCase() + name.slice(1)](
    Object.fromEntries(Object.entries(config).map(([key, value]) => [camel(key), value])),
  );
}

/** The function that the topology describes, over `layers` by name. */
function functionOf(testCase, layers) {
  return (...inputs) => {
    const values = new Map(testCase.inputs.map((name, i) => [name, inputs[i]]));
    for (const { name, shared, inbound } of testCase.layers)
      values.set(name, layers.get(shared ?? name).call(...inbound.map((from) => values.get(from))));
    return values.get(testCase.output);
  };
}

/**
 * The case's model with its weights.
 * @returns the model, `call`, the same function of the inputs over the same layers, and `weightOf("layer/name")`, a weight's tensor
 */
export function networkOf(testCase) {
  const layers = new Map(testCase.layers.filter((l) => l.shared === undefined).map((l) => [l.name, make(l, { name: l.name })]));
  const inputShape = testCase.inputs.map((name) => tensorOf(testCase, `in/${name}`).shape.slice(1));
  const call = functionOf(testCase, layers);
  const network = testCase.topology === "sequential" ? sequential([...layers.values()], { inputShape }) : model(call, { inputShape });
  const names = network.layers.flatMap((l) => l.weights.map((w) => `${l.name}/${w.name}`));
  const stored = new Map(
    [...testCase.params.map((n) => [n, `param/${n}`]), ...testCase.states.map((n) => [n, `state/${n}`])].map(([n, key]) => [ours(n), key]),
  );
  if (stored.size !== names.length || !names.every((n) => stored.has(n)))
    throw new Error(`${testCase.name}: expected weights ${[...stored.keys()]}, the model has ${names}`);
  network.setWeights(names.map((n) => load(testCase, stored.get(n))));
  return { network, call, weightOf: (name) => network.weights[names.indexOf(ours(name))].tensor };
}

/** `0_lstm/recurrent_kernel` as `0_lstm/recurrentKernel`. */
const ours = (name) => name.replace(/[^/]+$/, camel);
