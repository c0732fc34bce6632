/**
 * @file A Llama of random weights in q4 as a GGUF file that nobody wrote: its bytes are made when they are read. Weights are about as large
 * as those of trained models, so that activations stay so.
 */

/** Of GGUF: kinds of values, and types of tensors. */
const [U32, F32, STRING] = [4, 6, 8];
const [TENSOR_F32, TENSOR_Q4] = [0, 2];
/** Weights of a block of q4_0 and its bytes: a scale in f16, and a half byte for each. */
const [BLOCK, BLOCK_BYTES] = [32, 18];
const ALIGNMENT = 32;
/** 0.0048 in f16: numbers from -8 to 7 times this have a deviation of one over the root of 2048. */
const SCALE = 0x1cea;

/** Bytes that repeat: a whole number of blocks, with other numbers in each. */
function pattern(blocks) {
  const bytes = new Uint8Array(blocks * BLOCK_BYTES);
  let state = 2463534242;
  for (let i = 0; i < bytes.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 24;
  }
  for (let b = 0; b < blocks; b++) bytes.set([SCALE & 255, SCALE >> 8], b * BLOCK_BYTES);
  return bytes;
}

const text = (value) => {
  const bytes = new TextEncoder().encode(value);
  return [...u64(bytes.length), ...bytes];
};
const u32 = (value) => [...new Uint8Array(Uint32Array.of(value).buffer)];
const u64 = (value) => [...u32(value % 2 ** 32), ...u32(Math.floor(value / 2 ** 32))];
const f32 = (value) => [...new Uint8Array(Float32Array.of(value).buffer)];

/** @returns { source: what loadPretrained reads, weights: how many a token is multiplied by, bytes: of these } */
export function llama({ hidden, layers, heads, keyHeads, headDim, wide, vocabulary, positions, tokens }) {
  const metadata = [
    ["general.architecture", STRING, text("llama")],
    ["llama.embedding_length", U32, u32(hidden)],
    ["llama.block_count", U32, u32(layers)],
    ["llama.feed_forward_length", U32, u32(wide)],
    ["llama.attention.head_count", U32, u32(heads)],
    ["llama.attention.head_count_kv", U32, u32(keyHeads)],
    ["llama.attention.key_length", U32, u32(headDim)],
    ["llama.attention.value_length", U32, u32(headDim)],
    ["llama.rope.dimension_count", U32, u32(headDim)],
    ["llama.attention.layer_norm_rms_epsilon", F32, f32(1e-5)],
    ["llama.context_length", U32, u32(Math.max(...positions) + 2 * tokens)],
  ];
  const matrices = {
    attn_q: [heads * headDim, hidden],
    attn_k: [keyHeads * headDim, hidden],
    attn_v: [keyHeads * headDim, hidden],
    attn_output: [hidden, heads * headDim],
    ffn_gate: [wide, hidden],
    ffn_up: [wide, hidden],
    ffn_down: [hidden, wide],
  };
  const block = (i) => [
    ...Object.entries(matrices).map(([name, shape]) => [`blk.${i}.${name}.weight`, shape]),
    [`blk.${i}.attn_norm.weight`, [hidden]],
    [`blk.${i}.ffn_norm.weight`, [hidden]],
  ];
  const tensors = [
    ["token_embd.weight", [vocabulary, hidden]],
    ...Array.from({ length: layers }, (_, i) => block(i)).flat(),
    ["output_norm.weight", [hidden]],
  ];
  const bytesOf = (shape) => (shape.length === 1 ? 4 * shape[0] : ((shape[0] * shape[1]) / BLOCK) * BLOCK_BYTES);
  const head = [...new TextEncoder().encode("GGUF"), ...u32(3), ...u64(tensors.length), ...u64(metadata.length)];
  for (const [key, kind, value] of metadata) head.push(...text(key), ...u32(kind), ...value);
  let at = 0;
  const placed = tensors.map(([name, shape]) => {
    head.push(...text(name), ...u32(shape.length));
    for (const d of [...shape].reverse()) head.push(...u64(d));
    head.push(...u32(shape.length === 1 ? TENSOR_F32 : TENSOR_Q4), ...u64(at));
    const from = at;
    at += Math.ceil(bytesOf(shape) / ALIGNMENT) * ALIGNMENT;
    return { from, end: from + bytesOf(shape), ones: shape.length === 1 };
  });
  while (head.length % ALIGNMENT !== 0) head.push(0);
  const numbers = pattern(2 ** 16);
  const one = f32(1);
  const size = head.length + at;
  const read = (begin, end) => {
    const out = new Uint8Array(end - begin);
    if (begin < head.length) out.set(head.slice(begin, end));
    for (const { from, end: until, ones } of placed) {
      const [first, last] = [Math.max(begin, head.length + from), Math.min(end, head.length + until)];
      for (let i = first; i < last;) {
        const within = i - head.length - from;
        if (ones) {
          out[i - begin] = one[within % 4];
          i++;
          continue;
        }
        const start = within % numbers.length;
        const piece = numbers.subarray(start, Math.min(numbers.length, start + last - i));
        out.set(piece, i - begin);
        i += piece.length;
      }
    }
    return out;
  };
  const matrix = tensors.filter(([, shape]) => shape.length === 2);
  return {
    source: { name: "random.gguf", size, read },
    weights: matrix.reduce((sum, [, [rows, columns]]) => sum + rows * columns, 0),
    bytes: matrix.reduce((sum, [, shape]) => sum + bytesOf(shape), 0),
  };
}
