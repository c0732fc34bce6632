/**
 * @file Counts the calls of the kernels on this thread: `run` runs a list of commands, `piece` one piece of a command. To be imported
 * before a backend is opened.
 */
export const calls = { run: 0, piece: 0 };

const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (...args) => {
  const { exports } = await instantiate.apply(WebAssembly, args);
  // A part of the kernels, which the core calls.
  if (exports.run === undefined) return { exports };
  const counted =
    (name) =>
    (...operands) => {
      calls[name]++;
      return exports[name](...operands);
    };
  return { exports: { ...exports, run: counted("run"), piece: counted("piece") } };
};
