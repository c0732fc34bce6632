/** @file What the build does to modules that tsc wrote before they are bundled. */
import MagicString from "magic-string";
import { parseAst } from "rollup/parseAst";

/** The children of a node. */
function* children(node) {
  for (const [key, value] of Object.entries(node)) {
    if (key === "parent") continue;
    for (const child of Array.isArray(value) ? value : [value]) if (typeof child?.type === "string") yield child;
  }
}

function walk(node, visit) {
  if (visit(node) === false) return;
  for (const child of children(node)) walk(child, visit);
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
 * tsc puts names of imports that it does not know through a helper, for those of .ts files. Bundlers must see the comments beside the name.
 */
const HELPER = "__rewriteRelativeImportExtension(";

/**
 * A module as bundlers of applications take it best: what runs when it is imported is marked as pure, since none of it does anything but
 * give a value, so that what nobody uses is dropped. They know no mark for spreading, which they take for an effect.
 */
export function forBundlers(code) {
  const edits = new MagicString(code);
  for (const { type, start, end } of evaluated(parseAst(code))) {
    if (type === "SpreadElement")
      throw new Error(`a spread at module level, where Object.assign or concat can stand: ${code.slice(start, end)}`);
    if (type === "CallExpression" || type === "NewExpression") edits.appendLeft(start, "/*#__PURE__*/");
  }
  edits.replaceAll(HELPER, "(");
  return { code: edits.toString(), map: edits.generateMap({ hires: "boundary" }) };
}
