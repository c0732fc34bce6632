/** @file Every `layer` case of `train/`: outputs, gradients of inputs and parameters, and states after a training call. */
import * as assert from "uvu/assert";
import { compile } from "../../build/esm/compile.js";
import { valueAndGrad } from "../../build/esm/grad.js";
import { Graph, trace } from "../../build/esm/graph.js";
import { withContext } from "../../build/esm/nn/layer.js";
import { add, mul } from "../../build/esm/ops/map.js";
import { sum } from "../../build/esm/ops/reduce.js";
import { tensor } from "../../build/esm/tensor.js";
import { slackOf } from "./backends.js";
import { assertClose, cases, tensorOf } from "./case.js";
import { camel, make } from "./factories.js";

/** Cases that are not run, with the reason. */
export const LATER = {};

function run(layer, xs, { use_causal_mask: useCausalMask }) {
  if (layer.callWithStates === undefined) return [layer.call(...xs, ...(useCausalMask === undefined ? [] : [{ useCausalMask }]))];
  const { output, states } = layer.callWithStates(...xs);
  return [output, ...states];
}

/** The case's inputs in the order of `call`: a mask comes after the initial states. */
function argumentsOf(testCase, layer, inputs) {
  if (!testCase.inputs.includes("mask") && !("in/mask" in testCase.tensors)) return inputs;
  const states = Array.from({ length: layer.stateCount }, () => null);
  return [inputs[0], ...states, inputs[1]];
}

async function check(testCase, backend) {
  const layer = make(testCase.layer);
  const { training = false } = testCase.call;
  const context = { seed: 0, nextStream: () => 0, called: () => {} };
  const names = Object.keys(testCase.tensors).filter((n) => n.startsWith("in/"));
  const inputs = names.map((name) => {
    const { data, shape } = tensorOf(testCase, name);
    return tensor(data, shape);
  });
  const graph = new Graph();
  const built = trace(graph, () =>
    withContext(context, () =>
      run(
        layer,
        argumentsOf(
          testCase,
          layer,
          inputs.map((t) => graph.input(t)),
        ),
        testCase.call,
      ),
    ),
  );
  assert.ok(built.length >= testCase.outputs.length);

  const weight = (name) => {
    const found = layer.weights.find((w) => w.name === camel(name));
    if (found === undefined) throw new Error(`no weight ${camel(name)}; there are ${layer.weights.map((w) => w.name).join(", ")}`);
    return found.tensor;
  };
  assert.equal(layer.weights.length, testCase.params.length + testCase.states.length);
  for (const kind of ["param", "state"]) {
    for (const name of testCase[`${kind}s`]) {
      const { data, shape } = tensorOf(testCase, `${kind}/${name}`);
      assert.equal(weight(name).shape, shape);
      weight(name).set(data);
    }
  }

  const differentiable = names.filter((_, i) => inputs[i].dtype === "f32");
  const step = compile(
    (xs) =>
      withContext(context, () => {
        let outputs;
        const wanted = [...xs.filter((t) => t.dtype === "f32"), ...testCase.params.map(weight)];
        const { grads } = valueAndGrad(() => {
          outputs = run(layer, argumentsOf(testCase, layer, xs), testCase.call).slice(0, testCase.outputs.length);
          return outputs
            .map((y, i) => {
              const { data, shape } = tensorOf(testCase, `cotangent/${testCase.outputs[i]}`);
              return sum(mul(y, tensor(data, shape)));
            })
            .reduce((a, b) => add(a, b));
        }, wanted)();
        return { outputs, grads };
      }),
    { backend, training },
  );
  const { outputs, grads } = await step(inputs);
  const compare = async (t, name) => {
    const expected = tensorOf(testCase, name);
    assert.equal(t.shape, expected.shape, `${name}: shape`);
    assertClose(await t.data(), expected, `${testCase.name} on ${backend.name}: ${name}`, slackOf(backend));
  };
  for (const [i, name] of testCase.outputs.entries()) await compare(outputs[i], `out/${name}`);
  const gradNames = [...differentiable.map((n) => `grad/${n}`), ...testCase.params.map((n) => `grad/param/${n}`)];
  for (const [i, name] of gradNames.entries()) await compare(grads[i], name);
  if (training) for (const name of testCase.states) await compare(weight(name), `state_after/${name}`);
  step.close();
}

export const all = cases("layer");

export function layerTests(test, label, backend, chosen = all) {
  for (const testCase of chosen.filter((c) => !(c.name in LATER))) test(`${testCase.name} (${label})`, () => check(testCase, backend));
}
