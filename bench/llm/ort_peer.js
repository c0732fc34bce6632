/**
 * @file ONNX Runtime Web (WASM execution provider) running the checkpoints of `checkpoint.js` under the contract of `../peers/worker.js`:
 * the same graph with its operators spelled out, keys and values handed on from run to run, f32.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { OnnxGraph } from "../peers/onnx.js";
import { readCheckpoint } from "./checkpoint.js";

const ort = createRequire(new URL("../peers/package.json", import.meta.url))("onnxruntime-web");

const int64 = (...values) => BigInt64Array.from(values, BigInt);

/** ids [t], cos and sin [t, size], mask [t, all], past keys and values [heads, p, size] -> logits of the last token, keys and values. */
function graphOf({ layers, heads, dim, vocabulary, weights }) {
  const size = dim / heads;
  const g = new OnnxGraph();
  const numbers = (...values) => g.constant(int64(...values), [values.length]);
  const scalar = (value) => g.constant(Float32Array.of(value), []);
  const constant = (name) => g.constant(weights[name].data, weights[name].shape);
  const linear = (x, name) => g.node("Gemm", [x, constant(name)], { transB: 1 });
  const [epsilon, scale, split, join] = [scalar(1e-5), scalar(1 / Math.sqrt(size)), numbers(-1, heads, size), numbers(-1, dim)];
  const [zero, half, end, last] = [numbers(0), numbers(size / 2), numbers(size), numbers(-1)];
  const norm = (x, name) => {
    const mean = g.node("ReduceMean", [g.node("Mul", [x, x])], { axes: [-1], keepdims: 1 });
    return g.node("Mul", [g.node("Div", [x, g.node("Sqrt", [g.node("Add", [mean, epsilon])])]), constant(name)]);
  };
  const headsOf = (x) => g.node("Transpose", [g.node("Reshape", [x, split])], { perm: [1, 0, 2] });
  const turned = (x) => {
    const [low, high] = [
      [zero, half],
      [half, end],
    ].map(([from, to]) => g.node("Slice", [x, from, to, last]));
    const other = g.node("Concat", [g.node("Neg", [high]), low], { axis: -1 });
    return g.node("Add", [g.node("Mul", [x, "cos"]), g.node("Mul", [other, "sin"])]);
  };
  const embedding = constant("model.embed_tokens.weight");
  let x = g.node("Gather", [embedding, "ids"], { axis: 0 });
  const inputs = { ids: ["t"], cos: ["t", size], sin: ["t", size], mask: ["t", "all"] };
  const present = [];
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}.`;
    const h = norm(x, `${at}input_layernorm.weight`);
    const [q, k, v] = ["q", "k", "v"].map((n) => headsOf(linear(h, `${at}self_attn.${n}_proj.weight`)));
    const [keys, values] = [turned(k), v].map((t, j) => {
      inputs[`past${2 * i + j}`] = [heads, "p", size];
      present.push(g.node("Concat", [`past${2 * i + j}`, t], { axis: 1 }));
      return present.at(-1);
    });
    const scores = g.node("Mul", [g.node("MatMul", [turned(q), g.node("Transpose", [keys], { perm: [0, 2, 1] })]), scale]);
    const y = g.node("MatMul", [g.node("Softmax", [g.node("Add", [scores, "mask"])], { axis: -1 }), values]);
    const joined = g.node("Reshape", [g.node("Transpose", [y], { perm: [1, 0, 2] }), join]);
    x = g.node("Add", [x, linear(joined, `${at}self_attn.o_proj.weight`)]);
    const f = norm(x, `${at}post_attention_layernorm.weight`);
    const gate = linear(f, `${at}mlp.gate_proj.weight`);
    const silu = g.node("Mul", [gate, g.node("Sigmoid", [gate])]);
    x = g.node("Add", [x, linear(g.node("Mul", [silu, linear(f, `${at}mlp.up_proj.weight`)]), `${at}mlp.down_proj.weight`)]);
  }
  const end64 = g.constant(int64(2n ** 62n), [1]);
  const final = norm(g.node("Slice", [x, last, end64, zero]), "model.norm.weight");
  const logits = g.node("Gemm", [final, embedding], { transB: 1 });
  const outputs = Object.fromEntries([[logits, [1, vocabulary]], ...present.map((name) => [name, [heads, "all", size]])]);
  return { model: g.buildMany(inputs, outputs), logits, present };
}

export async function start({ threads = 1 }) {
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return { version: `onnxruntime-web ${ort.env.versions.web}, WASM, ${threads} thread${threads > 1 ? "s" : ""}`, prepare };

  async function prepare(kind, _of, { folder, prompt, position }) {
    const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
    const { hidden_size: dim, num_attention_heads: heads, num_hidden_layers: layers, vocab_size: vocabulary } = config;
    const size = dim / heads;
    const { model, logits, present } = graphOf({ layers, heads, dim, vocabulary, weights: readCheckpoint(folder) });
    const session = await ort.InferenceSession.create(model, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all",
      intraOpNumThreads: threads,
    });
    const empty = () => present.map(() => new ort.Tensor("float32", new Float32Array(0), [heads, 0, size]));
    const run = async (ids, past) => {
      const [t, p] = [ids.length, past[0].dims[1]];
      const angles = (f) =>
        Float32Array.from({ length: t * size }, (_, i) =>
          f((p + Math.floor(i / size)) * 10000 ** (-(2 * ((i % size) % (size / 2))) / size)),
        );
      const mask = Float32Array.from({ length: t * (p + t) }, (_, i) => (i % (p + t) > p + Math.floor(i / (p + t)) ? -Infinity : 0));
      const out = await session.run({
        ids: new ort.Tensor("int64", int64(...ids), [t]),
        cos: new ort.Tensor("float32", angles(Math.cos), [t, size]),
        sin: new ort.Tensor("float32", angles(Math.sin), [t, size]),
        mask: new ort.Tensor("float32", mask, [t, p + t]),
        ...Object.fromEntries(past.map((tensor, i) => [`past${i}`, tensor])),
      });
      return { logits: out[logits].data, past: present.map((name) => out[name]) };
    };
    const first = await run(prompt, empty());
    let past =
      kind === "prefill"
        ? null
        : (
            await run(
              Array.from({ length: position }, (_, i) => (7 * i) % vocabulary),
              empty(),
            )
          ).past;
    const begin = past;
    return {
      values: first.logits,
      async unit() {
        if (kind === "prefill") {
          await run(prompt, empty());
          return prompt.length;
        }
        const at = past[0].dims[1];
        const next = await run([(7 * at) % vocabulary], past);
        let best = 0;
        for (let i = 1; i < vocabulary; i++) if (next.logits[i] > next.logits[best]) best = i;
        past = at + 1 >= position + 64 ? begin : next.past;
        return 1;
      },
      close: () => session.release(),
    };
  }
}
