/**
 * @file Marks for engines in what is shipped. V8 looks over a function in order to find its end, and parses it again when it is first called, unless parentheses
 * around it say that this will be soon; and a module's arrow functions it parses in full at once, other functions not. So what the first prediction of a
 * model of dense layers calls comes in parentheses, and arrow functions that it does not call become others.
 */
import { Session } from "node:inspector/promises";
import { parseAst } from "rollup/parseAst";
import { children, edited } from "./transform.js";

/** Shorter functions are not worth their bytes: declarations, which become variables, and arrow functions that are not called. Parentheses alone are, and applications' bundlers drop them. */
const SHORTEST_DECLARATION = 200;
const SHORTEST_OTHER = 160;

/** The functions of the module at `url`, as `start:end`, that run while it is imported, reads `model` and predicts for the first time. */
export async function called(url, model) {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
  await firstPrediction(url, model);
  const { result } = await session.post("Profiler.takePreciseCoverage");
  session.disconnect();
  const { functions } = result.find((script) => script.url === url);
  return new Set(functions.map(({ ranges: [range] }) => range).filter((r) => r.count > 0).map((r) => `${r.startOffset}:${r.endOffset}`));
}

/** What an application that answers a request does first. */
export async function firstPrediction(url, model) {
  const { loadModel } = await import(url);
  const [[p]] = await (await (await loadModel(model)).predict([[0.5, 0.25]])).array();
  if (!Number.isFinite(p)) throw new Error(`${url}: the first prediction is ${p}`);
}

/** A model file for `called`, made by the module at `url`. */
export async function smallModel(url) {
  const { adam, dense, sequential } = await import(url);
  const model = sequential([dense(4, { activation: "relu" }), dense(1, { activation: "sigmoid" })], { inputShape: [2] });
  await model.compile({ loss: "binaryCrossentropy", optimizer: adam() });
  return model.toBytes();
}

const isFunction = (node) => /Function/.test(node.type);

/** A module, and its map with decoded mappings, whose functions in `ran` are compiled at once. @throws where it has none of these. */
export function eager(code, ran, map) {
  const edits = eagerEdits(code, ran);
  if (!edits.some(({ put }) => put === "(")) throw new Error("no function of the module is among those that ran: scripts/eager.js does not fit what the engine tells of them");
  // Of edits at one position the last comes first, so that they end up in their order.
  return edited(code, edits.map((edit, i) => ({ ...edit, i })).sort((a, b) => b.at - a.at || b.i - a.i), map);
}

/** The edits, in the order of what they put. */
function eagerEdits(code, ran) {
  const edits = [];
  const insert = (at, put) => edits.push({ at, old: "", put });
  const visit = (node, parent, inside) => {
    const inner = () => {
      for (const child of children(node)) visit(child, node, inside || isFunction(node));
    };
    const { start, end } = node;
    const runs = isFunction(node) && ran.has(`${start}:${end}`);
    const arrow = node.type === "ArrowFunctionExpression";
    const length = end - start;
    if (runs && node.type === "FunctionDeclaration" && parent.type === "Program" && length >= SHORTEST_DECLARATION) {
      const head = code.slice(start, node.id.end);
      edits.push({ at: start, old: head, put: `var ${node.id.name}=(${head.slice(0, -node.id.name.length).trimEnd()}` });
      inner();
      insert(end, ");");
    } else if (runs && (arrow || node.type === "FunctionExpression") && !(parent.type === "CallExpression" && parent.callee === node && code[start - 1] === "(")) {
      insert(start, "(");
      inner();
      insert(end, ")");
    } else if (arrow && !runs && !inside && length >= SHORTEST_OTHER && parent.type !== "PropertyDefinition") asFunction(node, parent, inner);
    else inner();
  };

  /** An arrow function at module level, where it has no `this`, as a method of its object or a function of the other kind. */
  const asFunction = (node, parent, inner) => {
    const { start, end, params, body, async, expression } = node;
    const method = parent.type === "Property" && parent.value === node && !parent.computed;
    if (method) {
      if (async) insert(parent.start, "async ");
      edits.push({ at: parent.key.end, old: ":", put: "" });
    }
    if (async) edits.push({ at: start, old: "async", put: method ? "" : "async function" });
    else if (!method) insert(start, "function");
    const bare = params.length === 1 && code[start + (async ? 5 : 0)] !== "(";
    if (bare) insert(params[0].start, "(");
    // The arrow comes behind the parameters, the body behind the arrow.
    const at = code.indexOf("=>", params.at(-1)?.end ?? start);
    edits.push({ at, old: "=>", put: `${bare ? ")" : ""}${expression ? "{return " : ""}` });
    inner();
    if (expression) insert(end, "}");
    if (body.start < at) throw new Error(`no arrow in ${code.slice(start, end)}`);
  };

  visit(parseAst(code), null, false);
  return edits;
}
