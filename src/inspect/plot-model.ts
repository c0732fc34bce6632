/** @file The graph of a model as a drawing, and as text for Mermaid (https://mermaid.js.org/syntax/flowchart.html). */
import type { InferenceModel, OpenShape, Outputs } from "../index.ts";
import { checkOptions } from "../check.ts";
import { Drawing, textWidth } from "./drawing.ts";
import type { Mark } from "./drawing.ts";
import { showCount, showSizes } from "./table.ts";
import { topology } from "./topology.ts";
import type { GraphNode, Topology } from "./topology.ts";

/** Options of `plotModel` and `modelToMermaid`. */
export interface PlotModelOptions {
  /** Shapes of what layers give, without the batch. Default true. */
  readonly showShapes?: boolean;
  /** Elements of their weights. Default true. */
  readonly showParameters?: boolean;
  /** Mermaid alone: `TB` from top to bottom, `LR` from left to right. Default `TB`. */
  readonly rankdir?: "TB" | "LR";
}

const KNOWN = ["showShapes", "showParameters", "rankdir"];

const shown = (shape: OpenShape): string => showSizes(shape, "scalar");

/** Lines of a box: its name, and what options ask for. */
function labelOf(node: GraphNode, { showShapes = true, showParameters = true }: PlotModelOptions): string[] {
  const kind = node.type === "layer" && node.name !== node.kind ? `${node.name} (${node.kind})` : node.name;
  const facts = [
    ...(showShapes && node.type !== "function" ? [shown(node.shape)] : []),
    ...(showParameters && node.parameters > 0 ? [`${showCount(node.parameters)} parameters`] : []),
  ];
  return facts.length === 0 ? [kind] : [kind, facts.join(", ")];
}

/** Characters that mean something to Mermaid, as its entities. */
const entities = (text: string): string => text.replace(/["<>&#;]/g, (c) => `#${c.charCodeAt(0)};`);

/**
 * The graph of a model as a flowchart of Mermaid, which GitHub shows in a block ```mermaid: inputs, layers, functions between them,
 * outputs. A model within counts as one layer.
 * @throws LockstepError for a model that is not built yet, ArgumentError for what is none
 */
export async function modelToMermaid<O extends Outputs>(model: InferenceModel<O>, options?: PlotModelOptions): Promise<string> {
  const o = checkOptions("modelToMermaid", options, KNOWN);
  const { nodes, edges } = await topology("modelToMermaid", model as unknown as InferenceModel<Outputs>);
  const brackets = { input: ["([", "])"], output: ["([", "])"], layer: ["[", "]"], function: ["(", ")"] };
  return [
    `flowchart ${o.rankdir ?? "TB"}`,
    ...nodes.map((node) => {
      const [open, close] = brackets[node.type];
      return `  ${node.id}${open}"${labelOf(node, o).map(entities).join("<br>")}"${close}`;
    }),
    ...edges.map(([from, to]) => `  ${from} --> ${to}`),
    "",
  ].join("\n");
}

const BOX = { padding: 10, line: 16, gap: 28, between: 24, margin: 12 };
const FILLS = { input: "#e8f0fe", output: "#e8f0fe", layer: "#fff", function: "#f3f3f3" };
const STROKE = "#667";

/** A box, or a place that an edge over several ranks goes through. */
interface Place {
  readonly node: GraphNode | null;
  readonly lines: readonly string[];
  readonly width: number;
  readonly height: number;
  x: number;
}

/** Ranks of nodes: the longest way from an input. Edges that lead back (a layer that reads itself) do not count. */
function ranksOf({ nodes, edges }: Topology): { ranks: Map<string, number>; back: Set<string> } {
  const out = new Map<string, string[]>(nodes.map((n) => [n.id, []]));
  for (const [from, to] of edges) out.get(from)?.push(to);
  const state = new Map<string, "open" | "done">();
  const back = new Set<string>();
  const order: string[] = [];
  for (const { id: start } of nodes) {
    const stack = [{ id: start, next: 0 }];
    if (state.has(start)) continue;
    state.set(start, "open");
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const to = (out.get(top.id) as string[])[top.next++];
      if (to === undefined) {
        stack.pop();
        state.set(top.id, "done");
        order.push(top.id);
      } else if (state.get(to) === "open") back.add(`${top.id} ${to}`);
      else if (!state.has(to)) {
        state.set(to, "open");
        stack.push({ id: to, next: 0 });
      }
    }
  }
  const ranks = new Map<string, number>(nodes.map((n) => [n.id, 0]));
  for (const id of order.reverse())
    for (const to of out.get(id) as string[])
      if (!back.has(`${id} ${to}`)) ranks.set(to, Math.max(ranks.get(to) as number, (ranks.get(id) as number) + 1));
  return { ranks, back };
}

/**
 * The graph of a model as a drawing, as Keras' `plot_model`: inputs, layers, functions between them, outputs, from top to bottom. A model
 * within counts as one layer.
 * @throws LockstepError for a model that is not built yet, ArgumentError for what is none
 * @example writeFileSync("model.svg", (await plotModel(model)).toSvg());
 */
export async function plotModel<O extends Outputs>(model: InferenceModel<O>, options?: PlotModelOptions): Promise<Drawing> {
  const o = checkOptions("plotModel", options, KNOWN);
  const graph = await topology("plotModel", model as unknown as InferenceModel<Outputs>);
  const { ranks, back } = ranksOf(graph);
  const rows: Place[][] = Array.from({ length: Math.max(...ranks.values()) + 1 }, () => []);
  const places = new Map<string, Place>();
  for (const node of graph.nodes) {
    const lines = labelOf(node, o);
    const width = Math.max(...lines.map(textWidth)) + 2 * BOX.padding;
    const place: Place = { node, lines, width, height: lines.length * BOX.line + BOX.padding, x: 0 };
    places.set(node.id, place);
    rows[ranks.get(node.id) as number].push(place);
  }
  // Edges over several ranks go through places of their own between the boxes there.
  const ways = graph.edges.map(([from, to]) => {
    const way = [places.get(from) as Place];
    if (!back.has(`${from} ${to}`))
      for (let r = (ranks.get(from) as number) + 1; r < (ranks.get(to) as number); r++) {
        const through: Place = { node: null, lines: [], width: 8, height: 0, x: 0 };
        rows[r].push(through);
        way.push(through);
      }
    return { way: [...way, places.get(to) as Place], backward: back.has(`${from} ${to}`) };
  });
  const before = new Map<Place, Place[]>();
  for (const { way, backward } of ways)
    if (!backward) way.slice(1).forEach((place, i) => before.set(place, [...(before.get(place) ?? []), way[i]]));
  const rowWidth = (row: readonly Place[]): number => row.reduce((w, p) => w + p.width + BOX.between, -BOX.between);
  const width = Math.max(...rows.map(rowWidth)) + 2 * BOX.margin + (back.size > 0 ? 2 * BOX.between : 0);
  rows.forEach((row) => {
    // Under the middle of what they read.
    const middle = (p: Place): number => {
      const read = before.get(p) ?? [];
      return read.reduce((sum, b) => sum + b.x, 0) / (read.length || 1);
    };
    row.sort((a, b) => middle(a) - middle(b));
    let x = (width - rowWidth(row)) / 2;
    for (const place of row) {
      place.x = x + place.width / 2;
      x += place.width + BOX.between;
    }
  });
  const marks: Mark[] = [];
  const tops: number[] = [];
  let y = BOX.margin;
  for (const row of rows) {
    tops.push(y);
    y += Math.max(...row.map((p) => p.height)) + BOX.gap;
  }
  const rowOf = new Map(rows.flatMap((row, r) => row.map((p) => [p, r] as const)));
  const top = (p: Place): number => tops[rowOf.get(p) as number];
  const bottom = (p: Place): number => top(p) + p.height;
  for (const { way, backward } of ways) {
    const [from, to] = [way[0], way[way.length - 1]];
    if (backward) {
      // Through the gaps between rows and past all boxes, of which it would else seem to come.
      const right = width - BOX.margin;
      const [low, high] = [(tops[(rowOf.get(from) as number) + 1] ?? y) - (2 * BOX.gap) / 3, top(to) - BOX.gap / 3];
      const into = to.x + to.width / 4;
      const points = [[from.x, bottom(from)], [from.x, low], [right, low], [right, high], [into, high], [into, top(to)]] as const;
      marks.push({ type: "line", points, stroke: STROKE, arrow: true });
      continue;
    }
    const points = way.flatMap((p): (readonly [number, number])[] => {
      if (p === from) return [[p.x, bottom(p)]];
      if (p === to) return [[p.x, top(p)]];
      const rowHeight = (tops[(rowOf.get(p) as number) + 1] ?? y) - BOX.gap;
      return [[p.x, top(p)], [p.x, rowHeight]];
    });
    marks.push({ type: "line", points, stroke: STROKE, arrow: true });
  }
  for (const place of places.values()) {
    const { node, lines, x, width: w, height } = place;
    marks.push({ type: "rect", x: x - w / 2, y: top(place), width: w, height, fill: FILLS[(node as GraphNode).type], stroke: STROKE });
    lines.forEach((text, i) => {
      const baseline = top(place) + BOX.padding / 2 + BOX.line * (i + 0.75);
      marks.push({ type: "text", x, y: baseline, text, anchor: "middle", bold: i === 0, fill: i === 0 ? "#222" : "#555" });
    });
  }
  return new Drawing(`Model ${graph.name}`, width, y - BOX.gap + BOX.margin, marks);
}
