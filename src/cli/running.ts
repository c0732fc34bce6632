/** @file What a model of any format computes of files. */
import { Tensor } from "../index.ts";
import { Failure, UsageError } from "./command.ts";
import { dtypeOf } from "./formats.ts";
import type { Net, Opened } from "./formats.ts";
import { readInput } from "./inputs.ts";
import type { Named, Wanted } from "./inputs.ts";
import type { Scaling } from "./pictures.ts";

/** What comes in, by name where inputs have names, with what is read of a file for it. */
export type Slot = Wanted & { readonly name: string };

/** What a graph takes. The first size is that of the batch, as far as the file says any. */
const slotsOfNet = (net: Net): Slot[] =>
  net.inputs.map(({ name, dtype, shape }) => ({
    name,
    dtype: dtypeOf(dtype),
    shape: shape === null || shape.length === 0 ? null : shape.slice(1),
  }));

/** What a model takes, in order; layers know no names of inputs. @throws Failure for a model that does not say it */
export function slotsOf(opened: Opened): readonly Slot[] {
  if (opened.kind === "net") return slotsOfNet(opened.net);
  const { inputShapes } = opened.model;
  if (inputShapes === null) throw new Failure("the model does not say what it takes");
  return inputShapes.map((shape) => ({ name: "", dtype: null, shape }));
}

/** `NAME=value` where an input has the name, else the whole as the value. */
function split(text: string, slots: readonly Slot[]): readonly [name: string | null, value: string] {
  const name = slots.find((slot) => slot.name !== "" && text.startsWith(`${slot.name}=`))?.name;
  return name === undefined ? [null, text] : [name, text.slice(name.length + 1)];
}

/**
 * What an option says for each input, by name or in their order; undefined for those that it does not name. @throws UsageError for too
 * many, and two for one input
 */
export function byInput(option: string, given: readonly string[], slots: readonly Slot[]): (string | undefined)[] {
  const values: (string | undefined)[] = slots.map(() => undefined);
  const names = slots.map((s) => s.name).filter((n) => n !== "");
  const what = `${slots.length} input${slots.length === 1 ? "" : "s"}${names.length > 0 ? ` (${names.join(", ")})` : ""}`;
  for (const text of given) {
    const [name, value] = split(text, slots);
    const place = name === null ? values.indexOf(undefined) : slots.findIndex((s) => s.name === name);
    if (place < 0) throw new UsageError(`the model takes ${what}, got ${given.length} of --${option}`);
    if (values[place] !== undefined) throw new UsageError(`--${option} is given twice for ${name}`);
    values[place] = value;
  }
  return values;
}

/** Files as what a model takes, in its order. @throws UsageError where some are missing, otherwise as `readInput` */
export async function readInputs(opened: Opened, inputs: readonly string[], scaling?: Scaling): Promise<Tensor[]> {
  const slots = slotsOf(opened);
  const paths = byInput("input", inputs, slots);
  const missing = slots.filter((_, i) => paths[i] === undefined).map((s) => ` --input ${s.name === "" ? "FILE" : `${s.name}=FILE`}`);
  if (missing.length > 0)
    throw new UsageError(`the model takes ${slots.length} inputs, got ${inputs.length} of --input; missing:${missing.join("")}`);
  return Promise.all(slots.map((slot, i) => readInput(paths[i] as string, slot, scaling)));
}

/** What a model gives, by name. `batchSize`: samples that a model of layers computes together. */
export async function compute(opened: Opened, inputs: readonly Tensor[], batchSize?: number): Promise<Named> {
  if (opened.kind === "net")
    return Object.entries(await opened.net.run(Object.fromEntries(opened.net.inputs.map(({ name }, i) => [name, inputs[i]]))));
  const { model } = opened;
  const output: unknown = await model.predict(inputs.length === 1 ? inputs[0] : inputs, batchSize === undefined ? {} : { batchSize });
  if (output instanceof Tensor) return [["output", output]];
  return Object.entries(output as { readonly [name: string]: Tensor }).map(([key, t], i) => [model.outputNames[i] || key, t]);
}
