/**
 * @file GPU encoder of scan: the dispatches of the body again and again. They are the same at each step: rows of what moves are copied to
 * and from buffers of one row (kernels/scan.wgsl), the row by a counter in a buffer, since buffers are bound at multiples of 256 bytes.
 */
import type { ScanAttrs } from "../../plan/kernels.ts";
import type { Call, Operand, Place, Plan } from "../../plan/plan.ts";
import type { Bound, DispatchWriter, GpuEncoder } from "../dispatch.ts";
import { read, write } from "../dispatch.ts";

/** Invocations of a workgroup. */
const THREADS = 256;

/** One row of what moves: where the body has it, and where all rows are. */
interface Row {
  readonly all: Operand;
  readonly bytes: number;
  readonly row: ReturnType<DispatchWriter["temporary"]>;
}

/** `scan(operands...) -> carried..., collected..., slots...` */
export const scan: GpuEncoder = (call, out) => {
  const { length, reverse } = call.attrs as unknown as ScanAttrs;
  if (length === 0) return;
  const { places, given, made } = placesIn(call, out);
  const inside = (o: Operand | null): Operand | null => o && { ...o, place: at(places[o.place.space][o.place.index], o.place.offset) };
  const counter = length > 1 ? out.temporary(4) : null;
  const move = (entry: string, { bytes }: Row, to: Bound | null, from: Bound | null): void => {
    const words = bytes / 4;
    const constants = { STEPS: length, WORDS: words, REVERSE: reverse };
    if (words > 0) out.dispatch({ file: "scan", entry, constants }, [to, from, counter && counter.read], Math.ceil(words / THREADS));
  };
  if (counter !== null) out.dispatch({ file: "scan", entry: "begin", constants: {} }, [counter.write], 1);
  out.loop(length, () => {
    for (const g of given) move("read_row", g, g.row.write, read(g.all));
    for (const c of (call.body as Plan).calls) out.call({ ...c, inputs: c.inputs.map(inside), outputs: c.outputs.map(inside) });
    for (const m of made) move("write_row", m, write(m.all), m.row.read);
    if (counter !== null) out.dispatch({ file: "scan", entry: "next", constants: {} }, [counter.update], 1);
  });
};

const at = (place: Place, offset: number): Place => (offset === 0 ? place : { ...place, offset: place.offset + offset });

/** Where the bindings and slots of the body are, and rows that are copied from operands before each step and to outputs behind it. */
function placesIn(
  { inputs, outputs, attrs, body }: Call,
  out: DispatchWriter,
): { places: { readonly [space in Place["space"]]: readonly Place[] }; given: readonly Row[]; made: readonly Row[] } {
  const { length, moves } = attrs as unknown as ScanAttrs;
  const { bindings, slots } = body as Plan;
  const [given, made]: [Row[], Row[]] = [[], []];
  let [operand, carried, collected] = [0, 0, bindings.filter((b) => b.kind === "capture" && b.written).length];
  const rowOf = (rows: Row[], all: Operand, bytes: number): Place => {
    // The one row of one step is where it is.
    if (length === 1) return all.place;
    const row = out.temporary(bytes);
    rows.push({ all, bytes, row });
    // A place of this backend alone, which only it looks into.
    return row.read.place as Place;
  };
  const binding = bindings.map(({ kind, written, bytes }) => {
    if (kind === "output") return rowOf(made, outputs[collected++] as Operand, bytes);
    if (written) return (outputs[carried++] as Operand).place;
    const o = inputs[operand] as Operand;
    return moves[operand++] ? rowOf(given, o, bytes) : o.place;
  });
  return { places: { binding, slot: slots.map((_, i) => (outputs[collected + i] as Operand).place) }, given, made };
}
