/**
 * @file What one core can do, measured in the same run as the kernels: a loop of multiply-adds on registers alone and a
 * loop that copies memory. Both are tiny WebAssembly modules assembled here, so that nothing of the library takes part.
 */
const ACCUMULATORS = 12;
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

/** (func (param i32)): the parameter's number of rounds of ACCUMULATORS multiply-adds of vectors. */
function fmaModule(relaxed) {
  // Locals: 0 counter, 1 and 2 factors, then the sums. The results are stored, so that the loop is not dead.
  const first = 3;
  const round = Array.from({ length: ACCUMULATORS }, (_, i) =>
    relaxed
      ? [...get(1), ...get(2), ...get(first + i), ...RELAXED_MADD, ...set(first + i)]
      : [...get(1), ...get(2), ...MUL, ...get(first + i), ...ADD, ...set(first + i)],
  ).flat();
  const store = Array.from({ length: ACCUMULATORS }, (_, i) => [0x41, ...signed(16 * i), ...get(first + i), 0xfd, 0x0b, 4, 0]).flat();
  const load = Array.from({ length: 2 + ACCUMULATORS }, (_, i) => [0x41, ...signed(16 * i), 0xfd, 0x00, 4, 0, ...set(1 + i)]).flat();
  const loop = [0x03, 0x40, ...round, ...round, ...round, ...round, ...get(0), 0x41, ...signed(4), 0x6b, 0x22, 0, 0x0d, 0, END];
  const body = [1, 2 + ACCUMULATORS, V128, ...load, ...loop, ...store, END];
  return Uint8Array.from([
    ...MAGIC,
    ...section(1, [1, 0x60, 1, I32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [1, 1, 102, 0, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ]);
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

/** A function that runs the register loop for about a millisecond, and its floating-point operations a call. */
export function fmaLoop(simd) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(fmaModule(simd === "relaxed")));
  const rounds = 400_000;
  return { run: () => exports.f(rounds), flops: rounds * ACCUMULATORS * 4 * 2 };
}

/** A function that copies `bytes` from one place to another, and the bytes it reads and writes a call. */
export function copyLoop(bytes) {
  const pages = Math.ceil((2 * bytes) / 65536) + 1;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(copyModule(pages)));
  return { run: () => exports.f(bytes, 0, bytes), bytes: 2 * bytes };
}
