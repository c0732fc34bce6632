/**
 * @file What one core can do, measured in the same run as the kernels: loops of multiply-adds on registers alone and with the loads of a
 * product's tile, and a loop that copies memory. They are tiny WebAssembly modules assembled here, so that nothing of the library takes
 * part.
 */
const V128 = 0x7b;
const I32 = 0x7f;
const END = 0x0b;
const RELAXED_MADD = [0xfd, 0x85, 0x02];
const MUL = [0xfd, 0xe6, 0x01];
const ADD = [0xfd, 0xe4, 0x01];
const get = (i) => [0x20, i];
const set = (i) => [0x21, i];

function leb(n) {
  const bytes = [];
  for (; n > 127; n >>>= 7) bytes.push((n & 127) | 128);
  return [...bytes, n];
}
const signed = (n) => {
  const bytes = [];
  for (;;) {
    const low = n & 127;
    n >>= 7;
    if ((n === 0 && low < 64) || (n === -1 && low >= 64)) return [...bytes, low];
    bytes.push(low | 128);
  }
};
const section = (id, body) => [id, ...leb(body.length), ...body];
const MAGIC = [0, 97, 115, 109, 1, 0, 0, 0];

/** (func (param i32)): as many rounds as the parameter says, four at a time; `round(i)` is the code of one, on `locals` vectors. */
function loopModule(locals, round) {
  // Local 0 is the counter. Vectors come from memory, which is zeros, and go back there, so that the loop is not dead.
  const store = Array.from({ length: locals }, (_, i) => [0x41, ...signed(16 * i), ...get(1 + i), 0xfd, 0x0b, 4, 0]).flat();
  const load = Array.from({ length: locals }, (_, i) => [0x41, ...signed(16 * i), 0xfd, 0x00, 4, 0, ...set(1 + i)]).flat();
  const rounds = [0, 1, 2, 3].flatMap(round);
  const loop = [0x03, 0x40, ...rounds, ...get(0), 0x41, ...signed(4), 0x6b, 0x22, 0, 0x0d, 0, END];
  const body = [1, locals, V128, ...load, ...loop, ...store, END];
  return Uint8Array.from([
    ...MAGIC,
    ...section(1, [1, 0x60, 1, I32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [1, 1, 102, 0, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ]);
}

/** sum = a * b + sum, of locals. */
const madd = (a, b, sum, relaxed) =>
  relaxed
    ? [...get(a), ...get(b), ...get(sum), ...RELAXED_MADD, ...set(sum)]
    : [...get(a), ...get(b), ...MUL, ...get(sum), ...ADD, ...set(sum)];

/**
 * Multiply-adds on registers alone. Without fused ones the sums themselves are factors, since V8 moves products of what does not change out
 * of the loop, which then would only add; and there is one sum more, since a product's time adds to each.
 */
function fmaModule(relaxed, sums) {
  return loopModule(1 + sums, () => Array.from({ length: sums }, (_, i) => madd(1, relaxed ? 1 : 2 + i, 2 + i, relaxed)).flat());
}

/** Those of a tile of `rows` by two vectors with its loads, all from L1, and with nothing else: what a tile can do at most. */
function tileModule(relaxed, rows) {
  const [b, a, first] = [1, 3, 4];
  const load = (local, at) => [0x41, 0, 0xfd, 0x00, 4, ...leb(at), ...set(local)];
  return loopModule(3 + 2 * rows, (round) => {
    const from = 1024 + round * 256;
    const row = (i) => [
      ...load(a, from + 32 + i * 16),
      ...madd(a, b, first + 2 * i, relaxed),
      ...madd(a, b + 1, first + 2 * i + 1, relaxed),
    ];
    return [...load(b, from), ...load(b + 1, from + 16), ...Array.from({ length: rows }, (_, i) => row(i)).flat()];
  });
}

/** (func (param to from end)): copies 64 bytes a round while from < end. Memory is given in pages. */
function copyModule(pages) {
  const round = [0, 16, 32, 48].flatMap((o) => [...get(0), ...get(1), 0xfd, 0x00, 4, o, 0xfd, 0x0b, 4, o]);
  const step = [...get(0), 0x41, ...signed(64), 0x6a, ...set(0), ...get(1), 0x41, ...signed(64), 0x6a, 0x22, 1];
  const body = [0, 0x03, 0x40, ...round, ...step, ...get(2), 0x49, 0x0d, 0, END, END];
  return Uint8Array.from([
    ...MAGIC,
    ...section(1, [1, 0x60, 3, I32, I32, I32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, ...leb(pages)]),
    ...section(7, [1, 1, 102, 0, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ]);
}

/** Runs of a loop for about a millisecond, and the floating-point operations of one. */
function timed(module, sums) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module));
  const rounds = Math.ceil(1_200_000 / sums) * 4;
  return { run: () => exports.f(rounds), flops: rounds * sums * 4 * 2 };
}

/** A function that runs the register loop, and its floating-point operations a call. */
export function fmaLoop(simd) {
  const sums = simd === "relaxed" ? 12 : 13;
  return timed(fmaModule(simd === "relaxed", sums), sums);
}

/** The same of the loop that also loads what a tile of 6x8, without fused multiply-adds of 4x8, loads. */
export function tileLoop(simd) {
  const rows = simd === "relaxed" ? 6 : 4;
  return timed(tileModule(simd === "relaxed", rows), 2 * rows);
}

/** A function that copies `bytes` from one place to another, and the bytes it reads and writes a call. */
export function copyLoop(bytes) {
  const pages = Math.ceil((2 * bytes) / 65536) + 1;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(copyModule(pages)));
  return { run: () => exports.f(bytes, 0, bytes), bytes: 2 * bytes };
}
