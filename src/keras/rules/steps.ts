/** @file Rules of layers of sequences: embeddings, recurrent layers, attention. */
import * as lockstep from "../../index.ts";
import type { Layer } from "../../index.ts";
import { ACTIVATION, AXES, COUNT, FLAG, NUMBER, optional, TEXT } from "../codecs.ts";
import { joined, PLAIN, rule, weighted } from "../rule.ts";
import type { Groups, Part, Rules } from "../rule.ts";

const recurrent: Part = joined(weighted("kernel", "recurrent", "bias"), {
  args: ["units"],
  groups: "cell",
  fields: {
    units: COUNT,
    activation: ACTIVATION,
    use_bias: FLAG,
    dropout: NUMBER,
    recurrent_dropout: NUMBER,
    return_sequences: FLAG,
    go_backwards: FLAG,
  },
  must: { stateful: [false], time_major: [false], zero_output_for_mask: [false] },
  ignored: { return_state: false, unroll: false, implementation: undefined, seed: null, use_cudnn: undefined },
});
const gated: Part = { fields: { recurrent_activation: ACTIVATION } };
const attending: Part = joined(weighted("kernel", "bias"), {
  fields: { dropout: NUMBER, use_bias: FLAG },
  must: { flash_attention: [false, true], attention_axes: [[1]] },
  ignored: { seed: null },
});
const heads = (prefix: string): Groups =>
  Object.fromEntries(
    [
      ["query", "query_dense"],
      ["key", "key_dense"],
      ["value", "value_dense"],
      ["attentionOutput", "output_dense"],
    ]
      .flatMap(([name, group]): [string, [string, number]][] => [
        [`${name}Kernel`, [prefix + group, 0]],
        [`${name}Bias`, [prefix + group, 1]],
      ])
      .concat([
        ["gateKernel", ["_gate_dense", 0]],
        ["gateBias", ["_gate_dense", 1]],
      ]),
  );
const GATE: Part = { fields: { use_gate: FLAG, sliding_window: COUNT } };

export const STEPS: Rules = {
  masking: rule("Masking", lockstep.masking, { fields: { mask_value: NUMBER } }),
  embedding: rule("Embedding", lockstep.embedding, weighted("embeddings"), PLAIN, {
    args: ["inputDim", "outputDim"],
    fields: { input_dim: COUNT, output_dim: COUNT, mask_zero: FLAG },
    ignored: { input_length: undefined, sparse: undefined },
  }),
  lstm: rule("LSTM LSTMV2", lockstep.lstm, recurrent, gated, { fields: { unit_forget_bias: FLAG } }),
  // Before it had the option there was one form.
  gru: rule("GRU GRUV2", lockstep.gru, recurrent, gated, { fields: { reset_after: optional(FLAG, false) } }),
  simpleRnn: rule("SimpleRNN", lockstep.simpleRnn, recurrent),
  attention: rule("Attention", lockstep.attention as (...args: never[]) => Layer, {
    fields: { use_scale: FLAG, score_mode: TEXT, dropout: NUMBER, causal: { read: (f, name) => f.flag(name), write: () => undefined } },
    names: { causal: "useCausalMask" },
    ignored: { seed: null },
  }),
  multiHeadAttention: rule("MultiHeadAttention", lockstep.multiHeadAttention, attending, GATE, {
    args: ["numHeads", "keyDim"],
    fields: { num_heads: COUNT, key_dim: COUNT, value_dim: COUNT, output_shape: AXES },
    ignored: { query_shape: undefined, key_shape: undefined, value_shape: undefined },
    groups: heads(""),
  }),
  groupedQueryAttention: rule("GroupQueryAttention GroupedQueryAttention", lockstep.groupedQueryAttention, attending, GATE, {
    args: ["headDim", "numQueryHeads", "numKeyValueHeads"],
    fields: { head_dim: COUNT, num_query_heads: COUNT, num_key_value_heads: COUNT },
    ignored: { query_shape: undefined, key_shape: undefined, value_shape: undefined },
    groups: heads("_"),
  }),
};
