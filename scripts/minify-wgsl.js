/**
 * @file Makes the GPU kernels small: WGSL without comments, white space, and what the loader (src/webgpu/shader.ts) always puts in: hooks,
 * and default bodies, of which the lines that say where they go stay. No name is changed, since the loader joins files by names.
 */

const BODY = "// body\n// end body";
const COMMENT = /\/\/.*|\/\*[^]*?\*\//g;

/** Two characters between which space must stay: words would be joined, and operators become another one. */
const JOINED = /[\w.]{2}|[^\w\s(){}[\],;:.@]{2}/;

/**
 * WGSL without marks of the loader, which tells names of variables by the space before them. `vec4<f32>` is `vec4f`, by aliases that WGSL
 * has.
 */
function squeezed(text) {
  const needed = (space, at, all) => (JOINED.test(all[at - 1] + all[at + space.length]) ? " " : "");
  const small = text.replace(COMMENT, " ").trim().replace(/\s+/g, needed);
  return small.replace(/\b(vec\d|mat\dx\d)<([fiu])32>/g, "$1$2").replace(/\bvar<[^>]*>/g, "$& ");
}

/** @param {string} text a file of kernels/ */
export function minifyWgsl(text) {
  const parts = text.replace(/^\/\/ hooks$[^]*^\/\/ end hooks$/m, "").split(/^\/\/ body$[^]*^\/\/ end body$/m);
  return parts.map(squeezed).join(`\n${BODY}\n`);
}
