/** @file A call of a layer as Keras makes it, made of a layer of Lockstep. */
import { cut } from "../io/safetensors.ts";
import { FileError, Tensor } from "../index.ts";
import type { CallOptions, Layer, lstm, Model } from "../index.ts";
import { show } from "./fields.ts";
import type { Call } from "./calls.ts";
import type { Dialect } from "./fields.ts";

/** A layer or model, with what its options say of its calls. */
export interface Callee {
  readonly who: string;
  readonly layer: Layer | Model;
  readonly returnState: boolean;
  readonly dialect: Dialect;
}

const RECURRENT = ["lstm", "gru", "simpleRnn", "convLstm1d", "convLstm2d", "convLstm3d", "bidirectional"];
const HEADS = ["multiHeadAttention", "groupedQueryAttention"];

/** Keyword arguments that mean something, by kind of layer. */
function keywordsOf(kind: string): readonly string[] {
  if (RECURRENT.includes(kind)) return ["sequences", "inputs", "initial_state", "mask"];
  if (HEADS.includes(kind)) return ["query", "value", "key", "attention_mask", "use_causal_mask"];
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
  const most = RECURRENT.includes(kind) ? 3 : HEADS.includes(kind) ? 3 : kind === "categoryEncoding" ? 2 : kind === "model" ? Infinity : 1;
  if (args.slice(most).some((a) => a !== null && a !== false))
    throw new FileError(`${callee.who}: it is called with ${args.length} arguments, ${most} are known`);
}

/** Tensors in a value, in order. */
function tensorsIn(value: unknown): readonly Tensor[] {
  if (value instanceof Tensor) return [value];
  return Array.isArray(value) ? value.flatMap(tensorsIn) : [];
}

/** What the call gives. `args` and `kwargs` have tensors in the place of refs. */
export function invoke(callee: Callee, args: readonly unknown[], kwargs: { readonly [name: string]: unknown }): readonly Tensor[] {
  const { layer, who, returnState, dialect } = callee;
  // Keras 3 goes by what the model is called with; before, a layer that was told to train did so for ever.
  const options: CallOptions[] = dialect !== "keras3" && kwargs.training === true ? [{ training: true }] : [];
  if ("asLayer" in layer) {
    const outputs = layer.call(...([...tensorsIn([...args, kwargs.inputs]), ...options] as unknown as [Tensor])) as unknown;
    return outputs instanceof Tensor ? [outputs] : (Object.values(outputs as object) as Tensor[]);
  }
  const call = (...given: readonly unknown[]): readonly Tensor[] => [layer.call(...([...given, ...options] as unknown as [Tensor]))];
  const first = args[0] ?? kwargs.inputs ?? kwargs.x ?? kwargs.sequences ?? kwargs.query;
  if (HEADS.includes(layer.kind)) {
    const [query, value, key] = [first, args[1] ?? kwargs.value ?? null, args[2] ?? kwargs.key ?? null];
    const { attention_mask: mask = null, use_causal_mask: causal } = kwargs;
    return call(query, value, key, { mask, ...(causal === true && { useCausalMask: true }), ...options[0] });
  }
  const tensors = tensorsIn(first);
  if (tensors.length === 0) throw new FileError(`${who}: it is called without a tensor`);
  if (layer.kind === "attention")
    return call(...tensors, { ...(kwargs.use_causal_mask === true && { useCausalMask: true }), ...options[0] });
  if (layer.kind === "categoryEncoding") return call(...tensors, args[1] ?? kwargs.count_weights ?? null);
  if (!RECURRENT.includes(layer.kind)) return call(...tensors);
  const { stateCount = 0 } = (layer.kind === "bidirectional" ? layer.layers?.[0] : layer) as ReturnType<typeof lstm>;
  const count = layer.kind === "bidirectional" ? 2 * stateCount : stateCount;
  const states = [...tensors.slice(1), ...tensorsIn(args[1] ?? kwargs.initial_state)];
  if (states.length !== 0 && states.length !== count)
    throw new FileError(`${who}: it is called with ${states.length} initial states, it has ${count}`);
  const mask = (args[2] ?? kwargs.mask ?? null) as Tensor | null;
  const given = [tensors[0], ...Array.from({ length: count }, (_, i) => states[i] ?? null), mask];
  if (!returnState) return call(...given);
  const { output, states: last } = (layer as ReturnType<typeof lstm>).callWithStates(...([...given, ...options] as [Tensor]));
  return [output, ...last];
}
