/** @file A call of a layer as Keras makes it, made of a layer of Lockstep. */
import { cut } from "../io/safetensors.ts";
import { adapting, and, cast, concat, FileError, ones, Tensor } from "../index.ts";
import type { CallOptions, Layer, lstm, Model } from "../index.ts";
import { Ref, refsOfEnds, sortedKeys } from "./calls.ts";
import type { Call, Ends } from "./calls.ts";
import type { Channels } from "./channels.ts";
import { isObject, show } from "./fields.ts";
import type { Dialect, Json } from "./fields.ts";
import { HEADS, MERGING, RECURRENT } from "./kinds.ts";

/** A layer or model, with what its options say of its calls. */
export interface Callee {
  readonly who: string;
  readonly layer: Layer | Model;
  readonly returnState: boolean;
  readonly dialect: Dialect;
  /** Whether a call with training: true or false is so, whatever the model around it does. */
  readonly obeys: boolean;
  /** What a model takes; null for a layer. */
  readonly inputs: Ends | null;
  /** Whether it has its channels first. */
  readonly isFirst: boolean;
}

/** Keyword arguments that mean something, by kind of layer. */
function keywordsOf(kind: string): readonly string[] {
  if (RECURRENT.includes(kind)) return ["sequences", "inputs", "initial_state", "mask"];
  if (HEADS.includes(kind)) return ["query", "value", "key", "attention_mask", "use_causal_mask"];
  if (kind === "softmax") return ["inputs", "mask"];
  if (kind === "categoryEncoding") return ["inputs", "count_weights"];
  return kind === "attention" ? ["inputs", "use_causal_mask"] : ["inputs", "x"];
}

const kindOf = ({ layer }: Callee): string => ("asLayer" in layer ? "model" : layer.kind);

/** @throws FileError for arguments that would be passed over */
export function checkCall(callee: Callee, { args, kwargs }: Call): void {
  const kind = kindOf(callee);
  const known = keywordsOf(kind);
  for (const [name, value] of Object.entries(kwargs)) {
    if (known.includes(name) || name === "training" || value === null || value === false) continue;
    throw new FileError(`${callee.who}: it is called with ${cut(name)} = ${show(value)}, which is not known`);
  }
  const one = kind === "softmax" || kind === "categoryEncoding" ? 2 : 1;
  const most = RECURRENT.includes(kind) || HEADS.includes(kind) ? 3 : kind === "model" ? Infinity : one;
  if (args.slice(most).some((a) => a !== null && a !== false))
    throw new FileError(`${callee.who}: it is called with ${args.length} arguments, ${most} are known`);
}

/** Tensors in a value, in order. @throws FileError for what is neither */
function tensorsIn(who: string, value: unknown): readonly Tensor[] {
  if (value instanceof Tensor) return [value];
  if (value === null || value === undefined || value === false) return [];
  if (Array.isArray(value)) return value.flatMap((v: unknown) => tensorsIn(who, v));
  throw new FileError(`${who}: it is called with ${show(value)}, which is no tensor`);
}

/** What a model is called with, in the order of its inputs: in a list, or by name. @throws FileError */
function inputsOf({ who, inputs }: Callee, value: unknown): readonly Tensor[] {
  if (!isObject(value) || value instanceof Tensor) return tensorsIn(who, value);
  const byName = inputs !== null && !(inputs instanceof Ref) && !Array.isArray(inputs);
  const names = byName ? sortedKeys(inputs) : refsOfEnds(inputs as Ends).map(({ layer }) => layer);
  const missing = names.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined || Object.keys(value).length !== names.length)
    throw new FileError(
      `${who}: it is called with ${sortedKeys(value).map(show).join(", ")}; its inputs are ${names.map(show).join(", ")}`,
    );
  return names.flatMap((name) => tensorsIn(who, value[name]));
}

/** Whether a call says itself if it is one of training. */
export const told = ({ obeys }: Callee, kwargs: Json): boolean => obeys && typeof kwargs.training === "boolean";

/** What the call gives. `args` and `kwargs` have tensors in the place of refs. */
export function invoke(
  callee: Callee,
  args: readonly unknown[],
  kwargs: { readonly [name: string]: unknown },
  channels: Channels,
): readonly Tensor[] {
  const { layer, who, returnState, dialect, isFirst } = callee;
  const options: CallOptions[] = told(callee, kwargs) ? [{ training: kwargs.training as boolean }] : [];
  if ("asLayer" in layer) {
    const given = args.length === 0 ? inputsOf(callee, kwargs.inputs) : args.flatMap((arg) => inputsOf(callee, arg));
    const outputs = layer.call(...([...given, ...options] as unknown as [Tensor])) as unknown;
    if (outputs instanceof Tensor) return [outputs];
    if (Array.isArray(outputs)) return outputs as Tensor[];
    return sortedKeys(outputs as object).map((name) => (outputs as { readonly [name: string]: Tensor })[name]);
  }
  const call = (...given: readonly unknown[]): readonly Tensor[] => [layer.call(...([...given, ...options] as unknown as [Tensor]))];
  const first = args[0] ?? kwargs.inputs ?? kwargs.x ?? kwargs.sequences ?? kwargs.query;
  if (HEADS.includes(layer.kind)) {
    const [query, value, key] = [first, args[1] ?? kwargs.value ?? null, args[2] ?? kwargs.key ?? null];
    const { attention_mask: mask = null, use_causal_mask: causal } = kwargs;
    return call(query, value, key, { mask, ...(causal === true && { useCausalMask: true }), ...options[0] });
  }
  const tensors = tensorsIn(who, first);
  if (tensors.length === 0) throw new FileError(`${who}: it is called without a tensor`);
  if (layer.kind === "attention")
    return call(...tensors, { ...(kwargs.use_causal_mask === true && { useCausalMask: true }), ...options[0] });
  if (MERGING.includes(layer.kind)) {
    const [y] = call(...tensors);
    return [dialect === "keras3" ? y : adapting.masked(y, maskBefore3(layer, tensors))];
  }
  if (isFirst) return [channels.call(layer, tensors[0], (x) => call(x)[0])];
  if (layer.kind === "softmax") return call(...tensors, ...tensorsIn(who, args[1] ?? kwargs.mask));
  if (layer.kind === "categoryEncoding") return call(...tensors, args[1] ?? kwargs.count_weights ?? null);
  if (!RECURRENT.includes(layer.kind)) return call(...tensors);
  const { stateCount = 0 } = (layer.kind === "bidirectional" ? layer.layers?.[0] : layer) as ReturnType<typeof lstm>;
  const count = layer.kind === "bidirectional" ? 2 * stateCount : stateCount;
  const states = [...tensors.slice(1), ...tensorsIn(who, args[1] ?? kwargs.initial_state)];
  if (states.length !== 0 && states.length !== count)
    throw new FileError(`${who}: it is called with ${states.length} initial states, it has ${count}`);
  const mask = (args[2] ?? kwargs.mask ?? null) as Tensor | null;
  const given = [tensors[0], ...Array.from({ length: count }, (_, i) => states[i] ?? null), mask];
  if (!returnState) return call(...given);
  const { output, states: last } = (layer as ReturnType<typeof lstm>).callWithStates(...([...given, ...options] as [Tensor]));
  return [output, ...last];
}

/**
 * The mask of what a layer of several tensors gives in Keras 2 and TensorFlow.js: a step counts where all inputs that have a mask say so;
 * Keras 3 lets it count where one does.
 */
function maskBefore3({ kind, config }: Layer, tensors: readonly Tensor[]): Tensor | null {
  const masks = tensors.map(adapting.maskOf);
  const some = masks.filter((m) => m !== null);
  if (some.length === 0 || kind === "dot") return null;
  const { rank } = tensors[0];
  const axis = (config.axis as number | undefined) ?? -1;
  if (kind !== "concatenate" || axis === -1 || axis === rank - 1) return some.reduce((a, b) => and(a, b));
  if (axis !== 1 && axis !== 1 - rank) return null;
  return concat(
    masks.map((m, i) => m ?? cast(ones(tensors[i].shape.slice(0, 2)), "bool")),
    1,
  );
}
