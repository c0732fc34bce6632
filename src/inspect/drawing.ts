/** @file Drawings: shapes that become SVG as text, or are drawn on a canvas. */
import { kindOf } from "../check.ts";
import { ArgumentError } from "../index.ts";
import { placesOf } from "./table.ts";

/** What drawings are made of. Lengths are in pixels, colors as in CSS. */
export type Mark =
  | {
      readonly type: "rect";
      readonly x: number;
      readonly y: number;
      readonly width: number;
      readonly height: number;
      readonly fill: string;
      readonly stroke?: string;
    }
  | {
      readonly type: "line";
      readonly points: readonly (readonly [x: number, y: number])[];
      readonly stroke: string;
      readonly width?: number;
      readonly dashed?: boolean;
      /** An arrow at its end. */
      readonly arrow?: boolean;
    }
  | { readonly type: "dot"; readonly x: number; readonly y: number; readonly fill: string }
  | {
      readonly type: "text";
      readonly x: number;
      readonly y: number;
      readonly text: string;
      readonly anchor?: "start" | "middle" | "end";
      readonly fill?: string;
      readonly bold?: boolean;
      /** Read from below. */
      readonly upward?: boolean;
    };

/** What `draw` needs of a canvas: an HTMLCanvasElement, or an OffscreenCanvas. */
export interface CanvasLike {
  /** Set to that of the drawing. */
  width: number;
  /** Set to that of the drawing. */
  height: number;
  /** Gives the context that is drawn on. */
  getContext(type: "2d"): unknown;
}

/** What is used of a CanvasRenderingContext2D. */
interface Context {
  fillStyle: string;
  strokeStyle: string;
  lineWidth: number;
  font: string;
  textAlign: string;
  scale(x: number, y: number): void;
  fillRect(x: number, y: number, width: number, height: number): void;
  strokeRect(x: number, y: number, width: number, height: number): void;
  setLineDash(dashes: number[]): void;
  beginPath(): void;
  moveTo(x: number, y: number): void;
  lineTo(x: number, y: number): void;
  arc(x: number, y: number, radius: number, from: number, to: number): void;
  stroke(): void;
  fill(): void;
  fillText(text: string, x: number, y: number): void;
  save(): void;
  restore(): void;
  translate(x: number, y: number): void;
  rotate(angle: number): void;
}

const FONT = "sans-serif";
const FONT_SIZE = 12;
const INK = "#222";
const DASHES = [5, 4];
const ARROW = 6;
const DOT = 2.5;

/** About the pixels that a text takes. */
export const textWidth = (text: string): number => placesOf(text) * FONT_SIZE * 0.58;

const escaped = (text: string): string =>
  text.replace(/\p{Cc}/gu, " ").replace(/[&<>"]/g, (c) => `&${{ "&": "amp", "<": "lt", ">": "gt", '"': "quot" }[c]};`);
const at = (n: number): string => String(Math.round(n * 100) / 100);

/** The corners of the arrow at the end of a line. */
function arrowAt(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  const [x, y] = points[points.length - 1];
  const [fromX, fromY] = points[points.length - 2];
  const length = Math.hypot(x - fromX, y - fromY) || 1;
  const [dx, dy] = [((x - fromX) / length) * ARROW, ((y - fromY) / length) * ARROW];
  return [
    [x, y],
    [x - dx - dy / 2, y - dy + dx / 2],
    [x - dx + dy / 2, y - dy - dx / 2],
  ];
}

function svgOf(mark: Mark): string {
  switch (mark.type) {
    case "rect": {
      const stroke = mark.stroke === undefined ? "" : ` stroke="${mark.stroke}"`;
      const place = `x="${at(mark.x)}" y="${at(mark.y)}" width="${at(mark.width)}" height="${at(mark.height)}"`;
      return `<rect ${place} fill="${mark.fill}"${stroke}/>`;
    }
    case "line": {
      const points = mark.points.map(([x, y]) => `${at(x)},${at(y)}`).join(" ");
      const dashes = mark.dashed ? ` stroke-dasharray="${DASHES.join(" ")}"` : "";
      const line = `<polyline points="${points}" fill="none" stroke="${mark.stroke}" stroke-width="${mark.width ?? 1}"${dashes}/>`;
      if (!mark.arrow) return line;
      const corners = arrowAt(mark.points).map(([x, y]) => `${at(x)},${at(y)}`);
      return `${line}<polygon points="${corners.join(" ")}" fill="${mark.stroke}"/>`;
    }
    case "dot":
      return `<circle cx="${at(mark.x)}" cy="${at(mark.y)}" r="${DOT}" fill="${mark.fill}"/>`;
    case "text": {
      const { x, y, text, anchor = "start", fill = INK, bold, upward } = mark;
      const turned = upward ? ` transform="rotate(-90 ${at(x)} ${at(y)})"` : "";
      const weight = bold ? ' font-weight="bold"' : "";
      return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}" fill="${fill}"${weight}${turned}>${escaped(text)}</text>`;
    }
  }
}

function trace(context: Context, points: readonly (readonly [number, number])[]): void {
  context.beginPath();
  points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
}

function drawMark(context: Context, mark: Mark): void {
  switch (mark.type) {
    case "rect":
      context.fillStyle = mark.fill;
      context.fillRect(mark.x, mark.y, mark.width, mark.height);
      if (mark.stroke === undefined) return;
      context.strokeStyle = mark.stroke;
      context.lineWidth = 1;
      context.strokeRect(mark.x, mark.y, mark.width, mark.height);
      return;
    case "line":
      context.strokeStyle = mark.stroke;
      context.lineWidth = mark.width ?? 1;
      context.setLineDash(mark.dashed ? DASHES : []);
      trace(context, mark.points);
      context.stroke();
      context.setLineDash([]);
      if (!mark.arrow) return;
      context.fillStyle = mark.stroke;
      trace(context, arrowAt(mark.points));
      context.fill();
      return;
    case "dot":
      context.fillStyle = mark.fill;
      context.beginPath();
      context.arc(mark.x, mark.y, DOT, 0, 2 * Math.PI);
      context.fill();
      return;
    case "text":
      context.save();
      context.translate(mark.x, mark.y);
      if (mark.upward) context.rotate(-Math.PI / 2);
      context.fillStyle = mark.fill ?? INK;
      context.font = `${mark.bold ? "bold " : ""}${FONT_SIZE}px ${FONT}`;
      context.textAlign = { start: "left", middle: "center", end: "right" }[mark.anchor ?? "start"];
      context.fillText(mark.text, 0, 0);
      context.restore();
  }
}

/** A drawing: `toSvg()` gives a file, `draw(canvas)` shows it on a page. */
export class Drawing {
  /** In pixels. */
  readonly width: number;
  /** In pixels. */
  readonly height: number;
  /** What it shows, for those who cannot see it. */
  readonly title: string;
  /** What it is made of, from the back to the front. */
  readonly marks: readonly Mark[];

  /** @internal */
  constructor(title: string, width: number, height: number, marks: readonly Mark[]) {
    this.title = title;
    this.width = Math.ceil(width);
    this.height = Math.ceil(height);
    this.marks = [{ type: "rect", x: 0, y: 0, width: this.width, height: this.height, fill: "#fff" }, ...marks];
  }

  /** The drawing as the text of an SVG file. */
  toSvg(): string {
    const { width, height, title, marks } = this;
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" ` +
        `font-family="${FONT}" font-size="${FONT_SIZE}">`,
      `<title>${escaped(title)}</title>`,
      ...marks.map(svgOf),
      "</svg>",
      "",
    ].join("\n");
  }

  /**
   * Draws it on a canvas, which takes its size.
   * @param scale pixels of the canvas for one of the drawing, such as `devicePixelRatio`. Default 1.
   * @throws ArgumentError for what is no canvas
   */
  draw(canvas: CanvasLike, scale = 1): void {
    const context = (canvas as Partial<CanvasLike> | null)?.getContext?.("2d") as Context | null | undefined;
    if (!context) throw new ArgumentError(`draw: expected a canvas that gives a 2d context, got ${kindOf(canvas)}`);
    canvas.width = Math.ceil(this.width * scale);
    canvas.height = Math.ceil(this.height * scale);
    context.scale(scale, scale);
    for (const mark of this.marks) drawMark(context, mark);
  }
}
