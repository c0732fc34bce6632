/**
 * @file The kernels a backend must have: for each, the order of its operands and its attributes. This is the whole vocabulary between
 * lowering (src/ops) and the backends (src/wasm/encode, the test reference); `assembly/x.ts` and `test/reference/x.js` carry the same
 * names. Operands are contiguous row-major f32 unless said otherwise;
 * Operands are stored as words unless it says otherwise. "?" marks an input that may be absent (null) or an output that nobody may read
 * (null).
 *
 * Letters: N batch, H W input rows and columns, C input channels, P Q output rows and columns, F filters, R S kernel
 * rows and columns; T time steps, B batch of a sequence, U units, G gates; M K N as in C[M,N] = A[M,K] B[K,N].
 */
import type { MapBody } from "./plan.ts";

/**
 * `map(inputs...) -> outputs...`: the body over `body.space`; inputs read with strides, outputs contiguous. Any dtype. Inputs that are
 * contiguous too may be stored as u8. Integer division and modulo by 0 give 0; a cast from f32 to an integer saturates, NaN gives 0;
 * maximum, minimum and relu pass a NaN on.
 */
export interface MapAttrs {
  readonly body: MapBody;
}

export type ReduceOp = "sum" | "max" | "min" | "prod" | "argmax" | "argmin";

/**
 * `reduce(inputs...) -> y`: y[outer, inner] = op over `size` of x[outer, size, inner], x being the one contiguous input, or, with a
 * body (space.length product = outer*size*inner, one result), the body's value. f32 or i32 (sum, max, min, prod); argmax and argmin
 * give i32, the first of equals. size 0: sum 0, prod 1, others are refused earlier.
 */
export interface ReduceAttrs {
  readonly op: ReduceOp;
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  readonly body: MapBody | null;
}

/** Activations applied inside kernels, each with a derivative computable from its output alone. */
export const ACTIVATIONS = [
  "linear",
  "relu",
  "tanh",
  "sigmoid",
  "hardSigmoid",
  "softplus",
  "softsign",
  "elu",
  "selu",
  "leakyRelu",
  "exponential",
  "relu6",
] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/**
 * `matmul(a, b, bias?) -> y`: y[batch, M, N] = activation(op(a) op(b) + bias[N]). a is [batch or 1, M, K], or [.., K, M] with
 * transposeA; b is [batch or 1, K, N], or [.., N, K] with transposeB. batchA / batchB: matrices in a / b, 1 means shared.
 * K may be 0 (y = activation(bias)).
 */
export interface MatmulAttrs {
  readonly batch: number;
  readonly batchA: number;
  readonly batchB: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly activation: Activation;
}

/** Geometry of a 2-D window: output row p reads input rows p*strideH - padTop + r*dilationH. Outside is zero (or ignored by pooling). */
export interface WindowAttrs {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly p: number;
  readonly q: number;
  readonly r: number;
  readonly s: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly padTop: number;
  readonly padLeft: number;
}

/**
 * `conv2d(x[N,H,W,C], w[R,S,C/groups,F], bias[F]?) -> y[N,P,Q,F]` = activation(conv + bias)
 * `conv2dInputGrad(dy[N,P,Q,F], w) -> dx[N,H,W,C]` (activation is "linear")
 * `conv2dFilterGrad(x, dy) -> dw[R,S,C/groups,F]` (activation is "linear") Filter f belongs to group floor(f / (F/groups)), which reads
 * channels [group*C/groups, ...).
 */
export interface ConvAttrs extends WindowAttrs {
  readonly f: number;
  readonly groups: number;
  readonly activation: Activation;
}

/**
 * `maxPool(x[N,H,W,C]) -> y[N,P,Q,C], index?[N,P,Q,C] i32`: index is r*S + s of the first largest element inside the input.
 * `maxPoolGrad(dy[N,P,Q,C], index) -> dx[N,H,W,C]`
 * A NaN is passed over unless it comes first in its window; a window with nothing inside gives 0 and takes no gradient.
 * `avgPool(x) -> y`: the mean of the elements inside the input (Keras SAME semantics).  `avgPoolGrad(dy) -> dx`
 * dilation is 1.
 */
export type PoolAttrs = WindowAttrs;

/**
 * `softmax(x) -> y`, `logSoftmax(x) -> y` over the last axis of [rows, cols];
 * `softmaxGrad(dy, y) -> dx` = (dy - sum(dy*y)) * y;  `logSoftmaxGrad(dy, y) -> dx` = dy - exp(y) * sum(dy)
 */
export interface SoftmaxAttrs {
  readonly rows: number;
  readonly cols: number;
}

/**
 * `softmaxCrossEntropy(logits[rows,cols], labels) -> loss[rows], probs?[rows,cols]`: loss = logsumexp(logits)*sum(labels) -
 * sum(labels*logits) with labels f32 [rows,cols], or, with sparse, i32 [rows]: loss = logsumexp(logits) - logits[label], labels clamped
 * into [0, cols). A label of 0 adds nothing, even where the logit is -infinity. probs = softmax(logits).
 */
export interface SoftmaxCrossEntropyAttrs extends SoftmaxAttrs {
  readonly sparse: boolean;
}

/**
 * `layerNorm(x[rows,cols], gamma?[cols], beta?[cols]) -> y[rows,cols], mean?[rows], rstd?[rows]`: y = (x - mean) * rstd * gamma + beta with
 * rstd = 1 / sqrt(mean((x - mean)^2) + epsilon); mean is 0 unless centered.
 * `layerNormGrad(dy, x, gamma?, mean, rstd) -> dx, dgamma?[cols], dbeta?[cols]`: dx = rstd * (g - mean(g) - z * mean(g*z)), g = dy * gamma,
 * z = (x - mean) * rstd, means of rows; mean(g) is 0 unless centered. dgamma and dbeta are the sums over rows of dy * z and dy.
 */
export interface LayerNormAttrs {
  readonly rows: number;
  readonly cols: number;
  readonly epsilon: number;
  readonly centered: boolean;
}

/**
 * `rotary(x[outer,time,heads,dim], cos[time,half], sin[time,half]) -> y`: pairs of features (a, b), which are (2i, 2i + 1) with neighbours,
 * else (i, i + half), become (a cos - b sin, b cos + a sin); features behind the first 2 half are copied. back: by the negative angle.
 */
export interface RotaryAttrs {
  readonly outer: number;
  readonly time: number;
  readonly heads: number;
  readonly dim: number;
  readonly half: number;
  readonly neighbours: boolean;
  readonly back: boolean;
}

/**
 * Scaled dot-product attention with online softmax (FlashAttention 2, Dao 2023): query i of head h reads the keys j of head
 * floor(h / (heads / kvHeads)). Position of query i: o + i, with o = offset[b], or the attribute where there is no such operand. It sees
 * key j where j < lengths[b]; j <= o + i if causal; and, unless window is 0, o + i - j < window and, if not causal, j - o - i < window.
 * Keys that nobody in a row of the batch sees by these three rules are not read, whatever they hold. offset and lengths may be any i32; o
 * counts as the nearest of [-2^29, 2^29].
 *
 * score = scale * (q . k) + mask, or without mask where it is bool: false hides the key. mask is read with maskStrides (elements, over
 * [b, heads, tq, tk]; 0: broadcast). What is hidden has the weight 0.
 *
 * `attention(q[b,tq,heads,dim], k[b,tk,kvHeads,dim], v[b,tk,kvHeads,valueDim], mask? f32 or bool, offset? i32 [b], lengths? i32 [b],
 * key? u32[4]) -> y[b,tq,heads,valueDim], lse?[b,heads,tq]`: y = sum over j of p v with p = exp(score - lse), lse = log sum exp(score). A
 * row that sees nothing, or only scores of -infinity, gives y = 0 and lse = +infinity (so that p is 0 there). A NaN or +infinity among the
 * scores makes y NaN.
 * `attentionGrad(dy, q, k, v, delta[b,tq,heads], lse[b,heads,tq], mask?, offset?, lengths?, key?) -> dq, dk, dv,
 * dscore?[b,heads,tq,tk]`: delta is the sum over features of dy * y, less the gradient of lse. dscore = p (f (dy . v) - delta), 0 where
 * hidden; dq = scale * sum of dscore k, dk = scale * sum of dscore q, dv = sum of f p dy. dk and dv of keys that are not read are 0.
 *
 * Dropout, where there is a key (rate is 0 else): p counts f p in y, f = 1 / (1 - rate) where kept, else 0; lse is without it. Kept is what
 * has (word >> 8) < round((1 - rate) 2^24), word being number j mod 4 of the Philox4x32-10 block with key (w0, w1) and counter
 * (floor(j / 4), (b heads + h) tq + i, w2, w3); w0..w3 is the block with key (key0, key1) and counter (2^31 + 8, stream, key2, key3).
 */
export interface AttentionAttrs {
  readonly b: number;
  readonly tq: number;
  readonly tk: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly causal: boolean;
  /** 0: none; at most 2^30. */
  readonly window: number;
  /** Where there is no operand `offset`. */
  readonly offset: number;
  /** Zeros where there is no mask. */
  readonly maskStrides: readonly number[];
  readonly rate: number;
  readonly stream: number;
  /** Of `attention` alone: k and v are u32, of half as many features, as scatterUpdate keeps them. Default: false. */
  readonly halves?: boolean;
}

/**
 * `gather(x[outer,size,inner], index[count] i32) -> y[outer,count,inner]`: any dtype, x also stored as u8; an index outside [0,size) is
 * clamped.
 * `scatterAdd(updates[outer,count,inner], index[count] i32) -> y[outer,size,inner]`: f32, zero where nothing is added, added in the order
 * of `index`, which is clamped as by gather.
 */
export interface GatherAttrs {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
  readonly count: number;
}

/**
 * Kernels that read a packed matrix (docs/packed.md): `rows` stored rows of `k` elements.
 *
 * `packedMatmul(a[m,k], b packed [n,k], bias[n]?) -> y[m,n]`: activation(a b^T + bias). Numbers of a may be rounded to 16 bits, or to 7, of
 * the greatest of each 32; a row with NaN or infinity gives what is not finite.
 * `packedRows(x packed [rows,k], index[count] i32) -> y[count,k]`: rows as f32, the index clamped.
 * `unpack(x packed) -> y`: all as f32, [rows, k], or transposed [k, rows].
 */
export interface PackedMatmulAttrs {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly format: string;
  readonly activation: Activation;
}

/** Attributes of `packedRows`: see `PackedMatmulAttrs`. */
export interface PackedRowsAttrs {
  readonly rows: number;
  readonly k: number;
  readonly count: number;
  readonly format: string;
}

/** Attributes of `unpack`: see `PackedMatmulAttrs`. */
export interface UnpackAttrs {
  readonly rows: number;
  readonly k: number;
  readonly format: string;
  readonly transposed: boolean;
}

/**
 * `scatterUpdate(index[count] i32, updates[count,inner]) -> y[size,inner]`: row index[j] of y becomes row j of updates, of equal indices
 * the last; an index outside [0,size) writes nothing. Any dtype. y counts as updated: it has its other rows already.
 * With `halves` y is u32 and updates f32 [count,2 inner], of which two are in a word as f16, the first in its lower half: rounded to the
 * nearest, beyond 65504 infinity. Numbers below 2^-14 may become 0.
 */
export interface ScatterUpdateAttrs {
  readonly size: number;
  readonly inner: number;
  readonly count: number;
  /** Even inner only. Default: false. */
  readonly halves?: boolean;
}

/**
 * `massThreshold(x[rows,cols], weights?[rows,cols], mass) -> y[rows]`: y is the greatest element t of a row such that the weights of all
 * elements >= t add up to at least its mass, or the row's least element where no t is. Without weights each element counts 1. mass is [1]
 * where it is shared, else [rows]. A NaN of x counts as -infinity, a weight that is negative or NaN as 0.
 */
export interface MassThresholdAttrs {
  readonly rows: number;
  readonly cols: number;
  readonly shared: boolean;
}

/**
 * `copy(x) -> y`: y[yOffset + sum i_d*yStrides_d] = x[xOffset + sum i_d*xStrides_d] for every i in `shape` (rank <= 6, elements, strides
 * may be negative or, for x, 0). Any dtype. With `fill` not null, every element of y is first set to `fill` (padding). Several copies may
 * write parts of one y (concat): those after the first have `partial` true and y counts as updated.
 */
export interface CopyAttrs {
  readonly shape: readonly number[];
  readonly xOffset: number;
  readonly xStrides: readonly number[];
  readonly yOffset: number;
  readonly yStrides: readonly number[];
  readonly fill: number | null;
  readonly partial: boolean;
}

/** `fill() -> y`: every element is `value` in y's dtype. */
export interface FillAttrs {
  readonly value: number;
}
/** `iota() -> y`: y viewed as [outer, size, inner] holds its index along size, in y's dtype. */
export interface IotaAttrs {
  readonly size: number;
  readonly inner: number;
}

/**
 * `random(key u32[4]) -> y[count]`: Philox4x32-10 with key (key0, key1) and counter (i, stream, key2, key3) gives elements 4i..4i+3. bits:
 * u32 as they are; uniform: f32 (bits >> 8) * 2^-24 in [0, 1); normal: f32 Box-Muller of pairs of the four: radius from ((bits >> 8) + 1) *
 * 2^-24, angle 2 pi times the other uniform.
 */
export interface RandomAttrs {
  readonly kind: "bits" | "uniform" | "normal";
  readonly stream: number;
  readonly count: number;
}

/**
 * `permutation(key u32[4], start i32[1]) -> y i32[count]`: y[j] = pi((start + j) mod size), pi the pseudo-random bijection of [0, size)
 * chosen by key and stream.
 */
export interface PermutationAttrs {
  readonly size: number;
  readonly stream: number;
  readonly count: number;
}

/**
 * Recurrent sequences, batch-major. xw[B,T,G*U] = x Wx + bias is computed before by one matmul; wr[U,G*U]; h0 c0 [B,U] (absent: zeros).
 * Gate order i f c o (lstm), z r h (gru). `activation` is for the candidate (and the LSTM's cell output), `recurrentActivation` for gates.
 * `reverse`: from the last step to the first; h[b,t] is always the state after reading x[b,t]. mask? i32 [B,T]: where 0 the state is kept
 * (h and c copied from the previous step) and gates are 0. factors? [B,U] multiplies what each step reads of h (recurrent dropout): h_prev
 * below stands for h_prev * factors, but not in the gru's last sum.
 *
 * `lstm(xw, wr, h0?, c0?, mask?, factors?) -> h[B,T,U], c[B,T,U], gates?[B,T,4U]`: gates are i f c~ o after their activations.
 *    h = o * activation(c), c = f*c_prev + i*c~.
 * `lstmGrad(dh[B,T,U]?, dcLast[B,U]?, wr, c, gates, h0?, c0?, mask?, factors?) -> dgates[B,T,4U], dh0?[B,U], dc0?[B,U]`: dgates = d loss
 * / d(pre-activations) = d xw;
 *    zero at masked steps. dcLast adds to the cell gradient at the last computed step. (The weight gradient is a matmul of shifted h and
 *    dgates, in the graph.)
 * `gru(xw, wr, bias2?[3U], h0?, mask?, factors?) -> h[B,T,U], gates?[B,T,4U]`: gates are z, r, h~ after activations and, with resetAfter,
 * the recurrent candidate part
 *    (h_prev Wr_h + bias2_h) before r is applied; without resetAfter, r*h_prev. bias2 is the recurrent bias, only with resetAfter.
 *    h = z*h_prev + (1-z)*h~.
 * `gruGrad(dh[B,T,U]?, wr, h, gates, h0?, mask?, factors?) -> dxw[B,T,3U], dhw?[B,T,3U], dh0?[B,U]`: dhw is the gradient of h_prev Wr +
 * bias2 (differs from dxw only in
 *    the candidate part, and only with resetAfter; without resetAfter dhw's candidate part multiplies r*h_prev).
 * `simpleRnn(xw[B,T,U], wr[U,U], h0?, mask?, factors?) -> h[B,T,U]`, `simpleRnnGrad(dh?, wr, h, h0?, mask?, factors?) -> dxw[B,T,U],
 * dh0?[B,U]`
 */
export interface RecurrentAttrs {
  readonly b: number;
  readonly t: number;
  readonly u: number;
  readonly activation: Activation;
  readonly recurrentActivation: Activation;
  readonly reverse: boolean;
  readonly resetAfter: boolean;
}

/**
 * `scan(operands...) -> carried..., collected..., slots...`: runs the call's `body`, a plan, `length` times, with `reverse` from the last
 * step to the first. The bindings of the body are, in their order: inputs, then captures that it does not write, which are the operands;
 * captures that it writes, which are the outputs `carried`, updated step by step, and what they hold before the call is what the first step
 * reads; its outputs, of which `collected` is one [length, ...] each, at step t in row t. Of an operand with `moves` [length, ...] the body
 * reads row t. The slots of the body are outputs of which nobody reads the elements. Any dtype.
 */
export interface ScanAttrs {
  readonly length: number;
  readonly reverse: boolean;
  /** By operand. */
  readonly moves: readonly boolean[];
}
