/** @file Operators by domain and name: those of most graphs, and parts that are loaded when a graph has one of theirs. */
import { LockstepError } from "../index.ts";
import { tableOf } from "./call.ts";
import type { Domains, Operator } from "./call.ts";
import { ACTIVATIONS, MICROSOFT_ACTIVATIONS } from "./ops/activations.ts";
import { ARITHMETIC } from "./ops/arithmetic.ts";
import { PRODUCTS, PRODUCTS_MICROSOFT } from "./ops/products.ts";
import { REDUCTIONS } from "./ops/reductions.ts";
import { SHAPES, SHAPES_MICROSOFT } from "./ops/shapes.ts";
import type { NodeProto } from "./proto.ts";

const COMMON: Domains = {
  "": tableOf(ARITHMETIC, SHAPES, PRODUCTS, ACTIVATIONS, REDUCTIONS),
  "com.microsoft": tableOf(PRODUCTS_MICROSOFT, MICROSOFT_ACTIVATIONS, SHAPES_MICROSOFT),
};

/** @internal A part, and what it has: names of operators by domain. */
export interface Part {
  readonly load: () => Promise<{ readonly operators: Domains }>;
  readonly names: { readonly [domain: string]: string };
}

/** @internal All parts. What is named here is what they have. */
export const PARTS: readonly Part[] = [
  {
    load: () => import("./parts/images.ts"),
    names: {
      "": `
        Conv ConvTranspose CausalConvWithState MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool
        GlobalLpPool MaxUnpool Resize Upsample
      `,
      "com.microsoft": "FusedConv CausalConvWithState NhwcMaxPool",
    },
  },
  {
    load: () => import("./parts/normalization.ts"),
    names: {
      "": `
        BatchNormalization InstanceNormalization LayerNormalization SimplifiedLayerNormalization
        RMSNormalization GroupNormalization LRN MeanVarianceNormalization LpNormalization
      `,
      "com.microsoft": "SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization",
    },
  },
  {
    load: () => import("./parts/indexing.ts"),
    names: {
      "": `
        Gather GatherElements GatherND Scatter ScatterElements ScatterND OneHot Split Pad Tile Trilu
        ReverseSequence CenterCropPad ConstantOfShape Range EyeLike NonZero Compress Unique NonMaxSuppression
        TopK CumSum CumProd
      `,
      "com.microsoft": "Trilu",
    },
  },
  {
    load: () => import("./parts/language.ts"),
    names: {
      "": "Attention RotaryEmbedding TensorScatter LinearAttention Einsum",
      "com.microsoft": `
        GroupQueryAttention MultiHeadAttention Attention RotaryEmbedding LinearAttention MatMulNBits
        EmbedLayerNormalization FusedGemm BiasSoftmax BiasAdd BiasSplitGelu GroupNorm SkipGroupNorm
        GatherBlockQuantized
      `,
      "ai.onnx.preview": "FlexAttention",
    },
  },
  {
    load: () => import("./parts/quantized.ts"),
    names: {
      "": `
        QuantizeLinear DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearMatMul ConvInteger
        QLinearConv
      `,
      "com.microsoft": `
        QuantizeLinear DequantizeLinear QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearConcat
        QLinearSoftmax QLinearGlobalAveragePool QGemm MatMulIntegerToFloat DynamicQuantizeMatMul
        DynamicQuantizeLSTM QLinearAveragePool
      `,
    },
  },
  { load: () => import("./parts/recurrent.ts"), names: { "": "LSTM GRU RNN" } },
  {
    load: () => import("./parts/sampling.ts"),
    names: { "": "GridSample AffineGrid DeformConv RoiAlign MaxRoiPool DepthToSpace SpaceToDepth Col2Im", "com.microsoft": "GridSample" },
  },
  {
    load: () => import("./parts/control.ts"),
    names: {
      "": `
        If Loop Scan SequenceConstruct SequenceEmpty SequenceInsert SequenceErase SequenceAt SequenceLength
        SequenceMap SplitToSequence ConcatFromSequence Optional OptionalHasElement OptionalGetElement
      `,
    },
  },
  {
    load: () => import("./parts/rare.ts"),
    names: {
      "": `
        BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift BitCast IsInf IsNaN Sin Cos Tan Asin Acos Atan
        Sinh Cosh Asinh Acosh Atanh RandomNormal RandomNormalLike RandomUniform RandomUniformLike Bernoulli
        Multinomial Dropout NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss HannWindow HammingWindow
        BlackmanWindow MelWeightMatrix DFT STFT TfIdfVectorizer Det
      `,
    },
  },
];

/** Null where there is none of the name. */
export type OperatorOf = (domain: string, name: string) => Operator | null;

const find = (tables: Domains, domain: string, name: string): Operator | null =>
  Object.hasOwn(tables, domain) && Object.hasOwn(tables[domain], name) ? tables[domain][name] : null;

/** Loads what nodes need of `all`. @throws LockstepError where that cannot be loaded */
export async function operatorsFor(nodes: readonly Pick<NodeProto, "domain" | "op">[], all = PARTS): Promise<OperatorOf> {
  const wanted = new Map<string, Set<string>>();
  for (const { domain, op } of nodes) {
    const names = wanted.get(domain) ?? new Set();
    wanted.set(domain, names.add(op));
  }
  const isWanted = ({ names }: Part): boolean =>
    Object.entries(names).some(([domain, list]) =>
      list
        .trim()
        .split(/\s+/)
        .some((name) => wanted.get(domain)?.has(name)),
    );
  const parts = await Promise.all(all.filter(isWanted).map((part) => part.load())).catch((cause: unknown) => {
    throw new LockstepError(`loadOnnx: cannot load operators: ${(cause as Error).message}; they are in files beside onnx.js`, { cause });
  });
  const tables = [COMMON, ...parts.map(({ operators }) => operators)];
  return (domain, name) => {
    for (const table of tables) {
      const operator = find(table, domain, name);
      if (operator !== null) return operator;
    }
    return null;
  };
}
