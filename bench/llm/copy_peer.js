/**
 * @file The bound of a token: how fast this machine reads and writes memory, as a copy of as many bytes as the weights have, under the
 * contract of `../peers/worker.js`. A byte that is copied counts once.
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
          return bytes / 1e9;
        },
      };
    },
  };
}
