/**
 * @file The bound of a token: how fast this machine reads and writes memory, as a copy of as many bytes as the weights have, under the
 * contract of `../peers/worker.js`. Counted are the bytes that are read and those that are written.
 */
export async function start() {
  return {
    version: `copy within a Uint8Array, Node ${process.versions.node}`,
    prepare(_kind, _of, { bytes }) {
      const from = new Uint8Array(bytes).fill(1);
      const to = new Uint8Array(bytes);
      return {
        values: [],
        unit() {
          to.set(from);
          return (2 * bytes) / 1e9;
        },
      };
    },
  };
}
