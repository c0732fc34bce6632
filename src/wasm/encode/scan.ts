/** @file Encoder of scan: a loop command around the commands of the body's calls (assembly/run.ts). */
import { assert } from "../../assert.ts";
import type { ScanAttrs } from "../../plan/kernels.ts";
import type { Call, Operand, Place, Plan } from "../../plan/plan.ts";
import { encodeCall } from "../commands.ts";
import { LOOPS } from "../loops.ts";
import { LOOP } from "../opcodes.ts";
import type { BodyPlace, Command, CommandWriter, Encoder, Loop, Move, Ref, Word } from "../writer.ts";

/** `scan(operands...) -> carried..., collected..., slots...` */
export const scan: Encoder = (call, out) => {
  const { length, reverse } = call.attrs as unknown as ScanAttrs;
  const body = call.body as Plan;
  const places = placesIn(call, body);
  const inside = (o: Operand | null): Operand | null => o && { ...o, place: inBody(o.place, places) };
  const writer = new BodyWriter(body, out);
  for (const c of body.calls) encodeCall({ ...c, inputs: c.inputs.map(inside), outputs: c.outputs.map(inside) }, writer, [writer.commands]);
  // The number of pieces says whether several threads have work; a loop has none itself.
  const pieces = Math.max(0, ...writer.commands.map((c) => c.pieces));
  out.command(LOOP, pieces, [], { steps: length, reverse, commands: writer.commands, support: LOOPS });
};

type Places = { readonly [space in Place["space"]]: readonly BodyPlace[] };

/** Where the bindings and slots of the body are. */
function placesIn({ inputs, outputs, attrs }: Call, { bindings, slots }: Plan): Places {
  const { length, moves } = attrs as unknown as ScanAttrs;
  const carriedCount = bindings.filter((b) => b.kind === "capture" && b.written).length;
  let [operand, carried, collected] = [0, 0, carriedCount];
  const at = (o: Operand | null | undefined, step: number, constant: boolean): BodyPlace => {
    assert(o !== null && o !== undefined, () => "scan: an operand is missing");
    const around: readonly Move[] = "moves" in o.place ? (o.place as BodyPlace).moves : [];
    return { ...o.place, moves: [...around, { bytes: step, steps: length }], constant: constant ? o.place : null };
  };
  const binding = bindings.map(({ kind, written, bytes }) => {
    if (kind === "output") return at(outputs[collected++], bytes, false);
    if (written) return at(outputs[carried++], 0, false);
    const moving = moves[operand];
    return at(inputs[operand++], moving ? bytes : 0, !moving);
  });
  return { binding, slot: slots.map((_, i) => at(outputs[collected + i], 0, false)) };
}

function inBody({ space, index, offset }: Place, places: Places): BodyPlace {
  const place = places[space][index];
  return { ...place, offset: place.offset + offset };
}

/** Collects the commands of a body. What is made of operands that stay the same is made once, before the loop. */
class BodyWriter implements CommandWriter {
  readonly plan: Plan;
  readonly commands: Command[] = [];
  readonly #around: CommandWriter;

  constructor(plan: Plan, around: CommandWriter) {
    this.plan = plan;
    this.#around = around;
  }

  command(opcode: number, pieces: number, words: readonly Word[], loop?: Loop): void {
    if (pieces > 0) this.commands.push({ opcode, pieces, words, loop });
  }

  shared(bytes: number): { read: Ref; write: Ref } {
    // Each call has bytes of its own: what is made before the loop lasts as long as it.
    return this.#around.shared(bytes);
  }

  keeps(source: Word, bytes: number): boolean {
    const constant = outside(source);
    return constant !== null && this.#around.keeps(constant, bytes);
  }

  prepare(opcode: number, pieces: number, source: Word, bytes: number, words: readonly number[]): Ref {
    const constant = outside(source);
    if (constant !== null) return this.#around.prepare(opcode, pieces, constant, bytes, words);
    const { read, write } = this.shared(bytes);
    this.command(opcode, pieces, [source, write, ...words]);
    return read;
  }
}

/** The word by which what is around the loop names the same bytes, or null where the loop moves or writes them. */
function outside(source: Word): Word | null {
  if (typeof source === "number" || !("constant" in source.place) || source.place.constant === null) return null;
  return { ...source, place: { ...source.place.constant, offset: source.place.offset } };
}
