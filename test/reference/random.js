/**
 * @file random: the Philox4x32-10 stream (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) as bits,
 * uniforms and normals; permutation: a Feistel network on the smallest power of two that holds the size, walked along its
 * cycle until it lands below the size (Mitchell et al., "Bandwidth-Optimal Random Shuffling for GPUs", 2021).
 */
const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57];
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85];

/** High and low word of a 32 x 32 bit product. */
function multiply(a, b) {
  const product = BigInt(a) * BigInt(b);
  return { high: Number(product >> 32n), low: Number(product & 0xffffffffn) };
}

/** Four words of the stream for a counter of four words and a key of two. */
export function philox(counter, key) {
  let c = counter;
  let k = key;
  for (let round = 0; round < 10; round++) {
    const p0 = multiply(MULTIPLIERS[0], c[0]);
    const p1 = multiply(MULTIPLIERS[1], c[2]);
    c = [(p1.high ^ c[1] ^ k[0]) >>> 0, p1.low, (p0.high ^ c[3] ^ k[1]) >>> 0, p0.low];
    k = [(k[0] + KEY_STEPS[0]) >>> 0, (k[1] + KEY_STEPS[1]) >>> 0];
  }
  return c;
}

const toUniform = (bits) => (bits >>> 8) * 2 ** -24;

/** Box-Muller: the radius from u + 2^-24 in (0, 1], so that its logarithm is finite; the angle is 2 pi v. */
function toNormals([u, v]) {
  const radius = Math.sqrt(-2 * Math.log(u + 2 ** -24));
  return [radius * Math.cos(2 * Math.PI * v), radius * Math.sin(2 * Math.PI * v)];
}

/** The four elements that four words of the stream become. */
function elementsOf(words, kind) {
  if (kind === "bits") return words;
  const uniforms = words.map(toUniform);
  return kind === "uniform" ? uniforms : [...toNormals(uniforms.slice(0, 2)), ...toNormals(uniforms.slice(2))];
}

export function random({ kind, stream, count }, [key], [y]) {
  for (let i = 0; 4 * i < count; i++) {
    const words = philox([i, stream, key[2], key[3]], [key[0], key[1]]);
    y.set(elementsOf(words, kind).slice(0, count - 4 * i), 4 * i);
  }
}

const FEISTEL_ROUNDS = 24;
/** Philox blocks from here on give the round keys: `random` never reaches them. */
const ROUND_KEY_BLOCK = 0x80000000;

function mix(value, roundKey) {
  const { high, low } = multiply((value ^ roundKey) >>> 0, MULTIPLIERS[0]);
  return Math.imul(high ^ low, MULTIPLIERS[1]) >>> 0;
}

/** The `count` highest bits of a word as a number. */
const leadingBits = (word, count) => Math.floor(word / 2 ** (32 - count));

/** The bijection of [0, 2^(low + high)): each part in turn is xor-ed with the leading bits of the other's mix. */
function feistel(value, low, high, roundKeys) {
  let left = Math.floor(value / 2 ** low);
  let right = value % 2 ** low;
  roundKeys.forEach((roundKey, round) => {
    if (round % 2 === 0) left ^= leadingBits(mix(right, roundKey), high);
    else right ^= leadingBits(mix(left, roundKey), low);
  });
  return left * 2 ** low + right;
}

/** Bits of the smallest power of two that is at least `size`, but at least 1. */
function bitsFor(size) {
  let bits = 1;
  while (2 ** bits < size) bits++;
  return bits;
}

export function permutation({ size, stream, count }, [key, [start]], [y]) {
  const blocks = Array.from({ length: FEISTEL_ROUNDS / 4 }, (_, i) =>
    philox([ROUND_KEY_BLOCK + i, stream, key[2], key[3]], [key[0], key[1]]),
  );
  const roundKeys = blocks.flat();
  const bits = bitsFor(size);
  const high = Math.floor(bits / 2);
  for (let j = 0; j < count; j++) {
    let value = (start + j) % size;
    do value = feistel(value, bits - high, high, roundKeys);
    while (value >= size);
    y[j] = value;
  }
}
