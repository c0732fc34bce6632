/** @file Rules of layers of sequences: embeddings, recurrent layers, attention. */
import * as lockstep from "../../index.ts";
import type { Layer } from "../../index.ts";
import { ACTIVATION, AXES, COUNT, FLAG, NUMBER, optional, sizes, TEXT } from "../codecs.ts";
import { CHANNELS_LAST, joined, PLAIN, rule, weighted } from "../rule.ts";
import type { Groups, Part, Rules } from "../rule.ts";

/** What layers and their cells have. */
const gates: Part = joined(weighted("kernel", "recurrent", "bias"), {
  fields: { activation: ACTIVATION, use_bias: FLAG, dropout: NUMBER, recurrent_dropout: NUMBER },
  ignored: { implementation: undefined, seed: null },
});
const steps: Part = joined(gates, {
  groups: "cell",
  fields: { return_sequences: FLAG, go_backwards: FLAG },
  must: { stateful: [false], time_major: [false], zero_output_for_mask: [false] },
  ignored: { return_state: false, unroll: false, use_cudnn: undefined },
});
const UNITS: Part = { args: ["units"], fields: { units: COUNT } };
const gated: Part = { fields: { recurrent_activation: ACTIVATION } };
const FORGET: Part = { fields: { unit_forget_bias: FLAG } };
const images = (rank: number): Part =>
  joined(steps, gated, FORGET, CHANNELS_LAST, {
    args: ["filters", "kernelSize"],
    fields: { filters: COUNT, kernel_size: sizes(rank), strides: sizes(rank), padding: TEXT, dilation_rate: sizes(rank) },
  });
/** Before it was an option there was one form. */
const RESET: Part = { fields: { reset_after: optional(FLAG, false) } };
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
  lstm: rule("LSTM LSTMV2", lockstep.lstm, UNITS, steps, gated, FORGET),
  gru: rule("GRU GRUV2", lockstep.gru, UNITS, steps, gated, RESET),
  lstmCell: rule("LSTMCell", lockstep.lstmCell, UNITS, gates, gated, FORGET),
  gruCell: rule("GRUCell", lockstep.gruCell, UNITS, gates, gated, RESET),
  simpleRnnCell: rule("SimpleRNNCell", lockstep.simpleRnnCell, UNITS, gates),
  convLstm1d: rule("ConvLSTM1D", lockstep.convLstm1d, images(1)),
  convLstm2d: rule("ConvLSTM2D", lockstep.convLstm2d, images(2)),
  convLstm3d: rule("ConvLSTM3D", lockstep.convLstm3d, images(3)),
  simpleRnn: rule("SimpleRNN", lockstep.simpleRnn, UNITS, steps),
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
