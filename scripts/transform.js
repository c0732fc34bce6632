/**
 * @file What the build does to modules that tsc wrote before they are bundled. Changes are found in the syntax tree and keep source maps exact:
 * what is removed becomes blanks, what is inserted moves the mappings behind it.
 */
import { parseAst } from "rollup/parseAst";

const PURE = "/*#__PURE__*/";
/** The children of a node. */
export function* children(node) {
  for (const [key, value] of Object.entries(node)) {
    if (key === "parent") continue;
    for (const child of Array.isArray(value) ? value : [value]) if (typeof child?.type === "string") yield child;
  }
}

function walk(node, visit) {
  if (visit(node) === false) return;
  for (const child of children(node)) walk(child, visit);
}

/** Spaces over [from, to), which keep every other position, with `text` at its beginning. */
function blank(code, from, to, text = "") {
  return code.slice(0, from) + text + code.slice(from + text.length, to).replace(/[^\n]/g, " ") + code.slice(to);
}

/**
 * A module without calls of `assert` (src/assert.ts), which say what the tests have shown to hold, and without declarations of fields that begin as nothing: constructors
 * give them values, as they give them to fields that nobody declared.
 */
function withoutDeclarations(code) {
  const cuts = [];
  walk(parseAst(code), (node) => {
    if (node.type === "ExpressionStatement" && node.expression.type === "CallExpression" && node.expression.callee.name === "assert") cuts.push(node);
    if (node.type === "PropertyDefinition" && node.value === null && node.key.type === "Identifier" && !node.static) cuts.push(node);
    return true;
  });
  return cuts.reduce((text, { start, end }) => blank(text, start, end, ";"), code);
}

/** What is evaluated at module level: the statements that declare something, without the bodies of functions. */
function* evaluated(program) {
  for (const statement of program.body) {
    const declaration = statement.declaration ?? statement;
    if (declaration.type !== "VariableDeclaration" && declaration.type !== "ClassDeclaration") continue;
    const nodes = [];
    walk(declaration, (n) => {
      nodes.push(n);
      return !/Function|^MethodDefinition$/.test(n.type) && !(n.type === "PropertyDefinition" && !n.static);
    });
    yield* nodes;
  }
}

/**
 * Marks of calls that run when the module is imported: none of them does anything but give a value. Bundlers cannot tell that spreading does no more either, and know
 * no mark for it, so { ...a, b } becomes a marked Object.assign({}, a, { b }), and [...Object.keys(a), b] a marked [].concat(Object.keys(a), [b]).
 */
function pureEdits(code, program) {
  const edits = [];
  for (const node of evaluated(program)) {
    if (node.type === "CallExpression" || node.type === "NewExpression") edits.push({ at: node.start, old: "", put: PURE });
    const spreads = (node.properties ?? node.elements ?? []).filter((e) => e?.type === "SpreadElement");
    if (spreads.length === 0 || !/Expression$/.test(node.type)) continue;
    const object = node.type === "ObjectExpression";
    const [open, close] = object ? "{}" : "[]";
    edits.push({ at: node.start, old: open, put: object ? `${PURE}Object.assign({` : `${PURE}[].concat([` }, { at: node.end - 1, old: close, put: `${close})` });
    for (const { start, end, argument } of spreads) {
      if (!object && !(argument.type === "CallExpression" && argument.callee.object?.name === "Object")) throw new Error(`a spread at module level that is not of Object.keys: ${code.slice(start, end)}`);
      const comma = /^\s*,/.exec(code.slice(end))?.[0] ?? "";
      edits.push({ at: start, old: "...", put: `${close},` }, { at: end, old: comma, put: `,${open}` });
    }
  }
  return edits;
}

/** Edits of imports on demand: modules of Node by a function of Node's, and names that are computed without tsc's helper, which is for names of .ts files. */
function importEdits(program) {
  const found = [];
  walk(program, (node) => {
    if (node.type !== "ImportExpression") return true;
    const { source, start } = node;
    if (source.type === "Literal" && String(source.value).startsWith("node:")) found.push({ at: start, old: "import", put: "globalThis.process.getBuiltinModule" });
    if (source.type === "CallExpression" && source.callee.name === HELPER) found.push({ at: source.start, old: `${HELPER}(`, put: "" }, { at: source.end - 1, old: ")", put: "" });
    return true;
  });
  return found;
}

/** Edits that give constants of GPU kernels the names that they have in the kernels that are shipped. */
function constantEdits(program, names) {
  const found = [];
  walk(program, (node) => {
    const name = node.type === "Property" && !node.computed ? node.key.name : undefined;
    if (names.has(name)) found.push({ at: node.key.start, old: name, put: names.get(name) });
    return true;
  });
  return found;
}

const HELPER = "__rewriteRelativeImportExtension";

/**
 * A module as bundlers of applications take it best. What runs at module level is marked as pure, so that what nobody uses is dropped. Modules of Node come from
 * `process.getBuiltinModule`: bundlers for browsers refuse `import("node:...")` or want a substitute. Both give what is awaited, and fail where it is awaited.
 * Assertions and declarations of fields go, and constants of GPU kernels are renamed as `constants` says. `map.mappings` is decoded.
 */
export function forBundlers(source, constants, map) {
  const code = withoutDeclarations(source);
  const program = parseAst(code);
  const edits = [...pureEdits(code, program), ...importEdits(program), ...constantEdits(program, constants)];
  return edited(code, edits.sort((a, b) => b.at - a.at), map);
}

/** `code` with edits from its end to its beginning, so that positions before stay right, and its map. `map.mappings` is decoded. */
export function edited(code, edits, map) {
  const lines = [0];
  for (let i = 0; i < code.length; i++) if (code[i] === "\n") lines.push(i + 1);
  const mappings = map.mappings.map((line) => line.map((segment) => [...segment]));
  let text = code;
  for (const { at, old, put } of edits) {
    const line = lines.findLastIndex((start) => start <= at);
    text = text.slice(0, at) + put + text.slice(at + old.length);
    for (const segment of mappings[line] ?? []) if (segment[0] >= at - lines[line] + old.length) segment[0] += put.length - old.length;
  }
  return { code: text, map: { ...map, mappings } };
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The mappings of a source map as numbers: lines of segments [column, source, line, column, name]. https://tc39.es/ecma426 */
export function decodeMappings(mappings) {
  const state = [0, 0, 0, 0, 0];
  return mappings.split(";").map((line) => {
    state[0] = 0;
    return line === "" ? [] : line.split(",").map((segment) => {
      let field = 0;
      let value = 0;
      let shift = 0;
      for (const ch of segment) {
        const digit = BASE64.indexOf(ch);
        value |= (digit & 31) << shift;
        shift += 5;
        if (digit & 32) continue;
        state[field++] += value & 1 ? -(value >>> 1) : value >>> 1;
        value = 0;
        shift = 0;
      }
      return state.slice(0, field);
    });
  });
}

/** What `decodeMappings` takes. */
export function encodeMappings(mappings) {
  const state = [0, 0, 0, 0, 0];
  return mappings.map((line) => {
    state[0] = 0;
    return line.map((segment) => segment.map((value, field) => {
      const difference = value - state[field];
      state[field] = value;
      let rest = difference < 0 ? (-difference << 1) | 1 : difference << 1;
      let text = "";
      do {
        text += BASE64[(rest & 31) | (rest > 31 ? 32 : 0)];
        rest >>>= 5;
      } while (rest > 0);
      return text;
    }).join("")).join(",");
  }).join(";");
}
