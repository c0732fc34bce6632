/** @file What the build does to modules that tsc wrote before they are bundled. */
import { basename } from "node:path";
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

/** Spaces over [from, to), which keep every other position, with `text` at its beginning. */
function blank(code, from, to, text = "") {
  return code.slice(0, from) + text + code.slice(from + text.length, to).replace(/[^\n]/g, " ") + code.slice(to);
}

/** A member of an object literal with the comma behind it. */
function memberEnd(code, node) {
  return node.end + /^\s*,?/.exec(code.slice(node.end))[0].length;
}

/** Other code that only training runs: the module, which nodes, which part of each goes, and what stands in its place. */
const TRAINING_CODE = [
  // Layers are told whether they train.
  { file: "nn/dropout.js", is: (n) => n.type === "CallExpression" && n.callee.name === "isTraining", put: "false" },
  { file: "nn/recurrent.js", is: (n) => n.type === "CallExpression" && /^(dropoutFactors|withForgetBias)$/.test(n.callee.name), put: "null" },
  { file: "nn/normalization.js", is: (n) => n.type === "CallExpression" && n.callee.name === "isTraining", put: "false" },
  // How weights begin: without elements, which a file or setWeights() brings.
  { file: "nn/layer.js", is: (n) => n.type === "VariableDeclarator" && n.id.name === "data", part: (n) => n.init, put: "null" },
  { file: "nn/options.js", is: (n) => n.type === "CallExpression" && /^(initializer|regularizer|checkBeginnings|checkPlaces)$/.test(n.callee.name), put: "null" },
  { file: "nn/options.js", is: (n) => n.type === "Property" && n.key.name === "init", part: (n) => n.value, put: "null" },
  // What a regularizer adds to a loss.
  { file: "nn/regularizers.js", is: (n) => n.type === "VariableDeclarator" && n.id.name === "penalty", part: (n) => n.init.body, put: "{}" },
  // Tensors that get a new value in a run, or go on after the loss of a device.
  { file: "graph.js", is: (n) => n.type === "MethodDefinition" && n.key.name === "assign", put: "" },
  { file: "plan/build.js", is: (n) => n.type === "ForOfStatement" && n.right.property?.name === "assigns", put: ";" },
  { file: "plan/build.js", is: (n) => n.type === "VariableDeclarator" && n.id.name === "inPlace", part: (n) => n.init, put: "null" },
  { file: "tensor.js", is: (n) => n.type === "MethodDefinition" && /^(recover|markDeviceNewer)$/.test(n.key.name), put: "" },
  { file: "run.js", is: (n) => n.type === "ForOfStatement" && n.right.property?.name === "assigned", put: ";" },
  { file: "run.js", is: (n) => n.type === "ExpressionStatement" && n.expression.left?.property?.name === "assigned", put: ";" },
  // conv2dInputGrad is a transposed convolution's forward pass too, which strides mostly, so that tiles are of no use.
  { file: "wasm/encode/conv.js", is: (n) => n.type === "IfStatement" && n.test.callee?.name === "encodeWinogradInputGrad", put: "" },
  // The optimizer's steps as one.
  { file: "wasm/encode/fused.js", is: (n) => n.type === "VariableDeclarator" && n.id.name === "adam", part: (n) => n.init, put: "null" },
];

/**
 * A module without what only training needs: `vjp` of op records, gradient rules in the rows of ops/map, and `TRAINING_CODE`. Backward kernels and their encoders go with the rules that call them.
 * @throws where a module that must have such has none: it was renamed, and this with it must be.
 */
export function forInference(file, code) {
  const cuts = [];
  let rows = 0;
  const others = TRAINING_CODE.filter((c) => file.endsWith(`/${c.file}`));
  const found = new Set();
  walk(parseAst(code), (node) => {
    for (const other of others.filter((c) => c.is(node))) {
      const { start, end } = other.part?.(node) ?? node;
      cuts.push([start, end, other.put]);
      found.add(other);
    }
    if (node.type === "Property" && node.key.name === "vjp" && !node.computed) {
      cuts.push([node.start, memberEnd(code, node)]);
      return false;
    }
    if (node.type === "CallExpression" && node.callee.name === "row" && basename(file) === "map.js") {
      const rule = node.arguments[2];
      cuts.push([rule.start, rule.end, "null"]);
      rows++;
    }
    return true;
  });
  const missing = found.size < others.length || (file.endsWith("ops/map.js") && rows === 0) || (/ops\/(conv|matmul|pool|softmax)\.js$/.test(file) && cuts.length === 0);
  if (missing) throw new Error(`${file}: found ${rows} rows and ${cuts.length} cuts; scripts/transform.js does not fit the sources any more`);
  return cuts.reduce((text, [from, to, put]) => blank(text, from, to, put), code);
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

/** tsc puts names of imports that it does not know through a helper, for those of .ts files. Bundlers must see the comments beside the name. */
const HELPER = "__rewriteRelativeImportExtension(";

/**
 * A module as bundlers of applications take it best: what runs when it is imported is marked as pure, since none of it does anything but give
 * a value, so that what nobody uses is dropped. They know no mark for spreading, which they take for an effect.
 */
export function forBundlers(code) {
  const edits = new MagicString(code);
  for (const { type, start, end } of evaluated(parseAst(code))) {
    if (type === "SpreadElement") throw new Error(`a spread at module level, where Object.assign or concat can stand: ${code.slice(start, end)}`);
    if (type === "CallExpression" || type === "NewExpression") edits.appendLeft(start, "/*#__PURE__*/");
  }
  edits.replaceAll(HELPER, "(");
  return { code: edits.toString(), map: edits.generateMap({ hires: "boundary" }) };
}
