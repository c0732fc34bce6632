/**
 * @file f32 bindings, and tiles in workgroup memory, that hold f16. What kernels write for f32 is kept, but for the declarations of such
 * variables and what stands where they are indexed: `x[i]` becomes a call of kernels/half.wgsl. Elements are read one by one or in vectors
 * of four and written in vectors only, since invocations that write halves of one word would undo each other's work. Tiles are vectors of
 * the type f16 itself, which only adapters with `shader-f16` have.
 */
import { internal } from "../errors.ts";
import { assert } from "../assert.ts";

interface Variable {
  readonly name: string;
  readonly vector: boolean;
  /** In workgroup memory, as vec4<f16>. */
  readonly tile: boolean;
}

/** Tiles of operands in kernels/gemm.wgsl. */
const TILES = ["tile_a", "tile_b"];

const VECTOR = "vec4<f32>|vec4f";

/** The position behind the bracket that closes the one at `open`. */
function closing(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === "[" || text[i] === "(") depth++;
    else if ((text[i] === "]" || text[i] === ")") && --depth === 0) return i + 1;
  }
  throw internal(`no end of ${text.slice(open, open + 40)}`);
}

/** `text` with every `name[...]` of a variable as f16. */
function access(text: string, variable: Variable): string {
  const { name, vector, tile } = variable;
  const found = new RegExp(`(?<![.\\w])${name}\\[`).exec(text);
  if (found === null) return text;
  const open = found.index + name.length;
  const end = closing(text, open);
  const index = access(text.slice(open + 1, end - 1), variable);
  const assigned = /^\s*=(?!=)/.exec(text.slice(end));
  const before = text.slice(0, found.index);
  if (assigned === null) {
    assert(
      () => !/^\s*(?:[-+*/%&|^]|<<|>>)=/.test(text.slice(end)),
      () => `${name} is stored as f16 and changed in place`,
    );
    const read = vector ? `${tile ? "vec4<f32>" : "half_vector"}(${name}[${index}])` : `half_of_${name}(${index})`;
    return `${before}${read}${access(text.slice(end), variable)}`;
  }
  assert(vector, () => `${name} is stored as f16 and written element by element`);
  const from = end + assigned[0].length;
  const stop = text.indexOf(";", from);
  return (
    `${before}${name}[${index}] = ` +
    `${tile ? "vec4<f16>" : "half_words"}(${access(text.slice(from, stop), variable).trim()})${access(text.slice(stop), variable)}`
  );
}

/**
 * Declares the bindings of `halves` among `declarations` as f16, with a function for each whose elements are read one by one, and returns
 * what other declarations must be put through.
 * @param tiles whether tiles of products are f16 too
 * @throws Error (internal) for bindings that hold no f32, and where one is written element by element.
 */
export function storeHalves(
  declarations: Map<string, string>,
  halves: ReadonlySet<number>,
  tiles: boolean,
): (declaration: string) => string {
  const variables: Variable[] = [];
  for (const name of tiles ? TILES : []) {
    const text = declarations.get(name);
    assert(text !== undefined && new RegExp(`array<(${VECTOR}),`).test(text), () => `${name} is no tile of vectors`);
    declarations.set(name, text.replace(new RegExp(VECTOR), "vec4<f16>"));
    variables.push({ name, vector: true, tile: true });
  }
  for (const [name, text] of [...declarations]) {
    const binding = /@binding\((\d+)\)/.exec(text);
    if (binding === null || !halves.has(Number(binding[1]))) continue;
    const type = new RegExp(`array<\\s*(${VECTOR}|f32)\\s*>\\s*;$`).exec(text);
    // (The build shortens vec4<f32> to vec4f.) Several variables may stand for one binding; kernels that hold f16 reach those of f32.
    if (type === null) continue;
    const vector = type[1] !== "f32";
    variables.push({ name, vector, tile: false });
    declarations.set(name, text.replace(/array<[^]*$/, `array<${vector ? "vec2<u32>" : "u32"}>;`));
    if (!vector) declarations.set(`half_of_${name}`, `fn half_of_${name}(i: u32) -> f32 { return half_lane(${name}[i / 2u], i); }`);
  }
  return (declaration) => (/^fn half_of_/.test(declaration) ? declaration : variables.reduce(access, declaration));
}
