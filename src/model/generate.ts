/**
 * @file Text, token by token, of models that map tokens [batch, time] to logits [batch, time, vocabulary] and attend causally. Keys and
 * values of tokens that were read are kept in caches of a fixed capacity, so that a token, or several, cost one run of one program whatever
 * came before them: nothing is compiled, allocated or copied for it.
 */
import type { Backend } from "../backend.ts";
import { once } from "../cache.ts";
import { checkCount, checkOptions, kindOf } from "../check.ts";
import { ArgumentError, LockstepError, ShapeError } from "../errors.ts";
import type { Layer } from "../nn/layer.ts";
import { isMade } from "../nn/options.ts";
import { showShape } from "../shape.ts";
import { tensor } from "../tensor.ts";
import type { Tensor } from "../tensor.ts";
import { TRAINING } from "../training.ts";
import { checkDecodable } from "./decodable.ts";
import { Decoder } from "./decoder.ts";
import type { CacheType } from "./decoder.ts";
import type { InferenceModel } from "./inference.ts";
import type { Outputs } from "./outputs.ts";
import { checkCache, isPrompts, isTokens, MOST_TOKENS, optionsFor, Session } from "./session.ts";
import type { GenerateOptions, Tokens } from "./session.ts";

export type { GenerateOptions, Session, Tokens } from "./session.ts";

/** Options of `generator`. */
export interface GeneratorOptions {
  /** Most tokens of a sequence: prompts, and all that is generated but the last. Memory for them is taken at once. */
  readonly capacity: number;
  /** Sequences that are generated together. Default 1. */
  readonly batch?: number;
  /** How keys and values are kept: see `GenerateOptions`. Default "f32". */
  readonly cache?: CacheType;
}

/** `generate` takes room for a multiple of so many tokens, so that prompts of similar lengths share programs. */
const ROOM = 64;

type AnyModel = InferenceModel<Outputs>;

/** The least of what layers with positions and the model's input say; Infinity: any. */
function mostTokens(model: AnyModel): number {
  const ofLayers = (layers: readonly Layer[]): number[] =>
    layers.flatMap((l) => [...(typeof l.config.sequenceLength === "number" ? [l.config.sequenceLength] : []), ...ofLayers(l.layers ?? [])]);
  return Math.min(Infinity, ...ofLayers(model.layers));
}

/** Programs of each model, by backend, batch and capacity. */
const decoders = new WeakMap<AnyModel, Map<string, Decoder>>();

/** Tokens that are read both ways, and how far logits may then be apart, as a part of the largest. */
const TRIED = 4;
const SLACK = 1e-3;
const tried = new WeakSet<AnyModel>();

/**
 * Functions and layers of one's own say nothing of themselves: a few tokens are read at once and, again, in two runs.
 * @throws LockstepError where the logits are not the same
 */
async function tryApart(who: string, model: AnyModel, backend: Backend, vocabulary: number): Promise<void> {
  const own = model.layers.filter((l) => l.kind !== "model" && !isMade(l));
  if (tried.has(model) || (model.isSequential && own.length === 0)) return;
  const time = Math.min(TRIED, mostTokens(model));
  const decoder = new Decoder(model, backend, 1, time, vocabulary);
  const tokens = Array.from({ length: time }, (_, i) => (7 * i + 1) % vocabulary);
  const apart = async (weights: ReadonlyMap<Tensor, Tensor>): Promise<boolean> => {
    const whole = await new Session(decoder).logits(tokens, time, weights);
    const parts = await new Session(decoder).logits(tokens, 1, weights);
    const most = whole.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
    return parts.some((v, i) => Math.abs(v - whole[i]) > SLACK * most);
  };
  /** The same with copies of the weights: a training may have changed them between the runs. */
  const apartAtRest = async (): Promise<boolean> => {
    const copies = new Map<Tensor, Tensor>();
    try {
      for (const { tensor: t } of model.weights) if (t.dtype === "f32") copies.set(t, tensor(await t.data(), t.shape));
      return await apart(copies);
    } finally {
      for (const t of copies.values()) t.dispose();
    }
  };
  try {
    if ((await apart(new Map())) && (!TRAINING || (await apartAtRest()))) {
      const names = own.map((l) => ` "${l.name || l.kind}"`).join(",");
      throw new LockstepError(
        `${who}: model "${model.name}" gives other logits when it reads tokens a few at a time: its function` +
          `${names === "" ? "" : `, or one of the layers${names},`} takes several steps together; what it does to a token may not depend ` +
          "on others, but by layers that attend causally",
      );
    }
  } finally {
    decoder.close();
  }
  tried.add(model);
}

async function decoderOf(who: string, model: AnyModel, batch: number, capacity: number, cache: CacheType): Promise<Decoder> {
  model.checkThere(who);
  if (model.inputShapes === null) model.build([[null]]);
  await model.follow();
  const backend = model.backend as Backend;
  const shapes = model.outputShapes;
  const vocabulary = shapes[0][shapes[0].length - 1];
  if (shapes.length !== 1 || shapes[0].length !== 2 || vocabulary === null || (model.inputShapes as readonly unknown[]).length !== 1) {
    throw new ShapeError(
      `${who}: expected a model from tokens [batch, time] to logits [batch, time, vocabulary], model "${model.name}" gives ` +
        shapes.map((s) => showShape([null, ...s])).join(", "),
    );
  }
  checkDecodable(model.layers);
  await tryApart(who, model, backend, vocabulary);
  const all = once(decoders, model, () => new Map<string, Decoder>());
  for (const [key, d] of all) if (d.backend !== backend) all.delete(key);
  return once(all, `${batch} ${capacity} ${cache}`, () => new Decoder(model, backend, batch, capacity, vocabulary, cache));
}

/** @throws ArgumentError for what is no model */
function checkModel(who: string, model: unknown): void {
  if (typeof (model as Partial<AnyModel> | null)?.follow !== "function")
    throw new ArgumentError(`${who}: expected a model that sequential(), model() or loadModel() made, got ${kindOf(model)}`);
}

/**
 * A session with a model that maps tokens i32 [batch, time] to logits [batch, time, vocabulary], whose layers attend causally: text is read
 * by `prefill`, written by `generate`, `fork` goes several ways from one beginning.
 * @throws ArgumentError for bad options, ShapeError for a model of other shapes
 * @example const session = await generator(model, { capacity: 1024 });
 * await session.prefill(instructions);
 * for await (const token of session.generate(question, { temperature: 0.7, stop: [0] })) write(token);
 */
export async function generator<O extends Outputs>(model: InferenceModel<O>, options: GeneratorOptions): Promise<Session> {
  const { capacity, batch = 1, cache = "f32" } = checkOptions("generator", options, ["capacity", "batch", "cache"]);
  checkModel("generator", model);
  checkCount("generator", "capacity", capacity);
  checkCount("generator", "batch", batch);
  checkCache("generator", cache);
  const of = model as unknown as AnyModel;
  of.checkThere("generator");
  if (of.inputShapes === null) of.build([[null]]);
  const most = mostTokens(of);
  if (capacity > most)
    throw new ArgumentError(
      `generator: a capacity of ${capacity} is more than the ${most} positions of model "${model.name}"; give at most capacity: ${most}`,
    );
  return new Session(await decoderOf("generator", of, batch, capacity, cache));
}

/**
 * Generates what comes behind a prompt: an async iterator of tokens, each of which is drawn when it is asked for. Several prompts, a list
 * of lists, are generated together, and give a list of tokens at each step, null for sequences that are complete. Ends after `maxTokens`,
 * behind a stop, or when the loop is left, and gives all memory back. Keys and values of earlier tokens are kept, so that a token costs the
 * same run whatever its place, but for the reads of what is kept. For conversations, and beginnings that are read once for many texts, see
 * `generator`.
 * @param model maps tokens i32 [batch, time] to logits (or softmax of them) [batch, time, vocabulary] and attends causally
 * @throws ArgumentError for bad options, and where prompt and `maxTokens` are more than the model has positions for; DataError for tokens
 * outside of the vocabulary; LockstepError naming a layer that needs later steps; NonFiniteError for logits that are not finite
 * @example for await (const token of generate(model, encode("Once upon a time"), { temperature: 0.8, topP: 0.9 })) write(token);
 */
export function generate<O extends Outputs>(
  model: InferenceModel<O>,
  prompt: Tokens,
  options?: GenerateOptions,
): AsyncGenerator<number, void, void>;
export function generate<O extends Outputs>(
  model: InferenceModel<O>,
  prompts: readonly Tokens[],
  options?: GenerateOptions,
): AsyncGenerator<(number | null)[], void, void>;
export async function* generate<O extends Outputs>(
  model: InferenceModel<O>,
  prompt: Tokens | readonly Tokens[],
  options?: GenerateOptions,
): AsyncGenerator<number | (number | null)[], void, void> {
  const who = "generate";
  checkModel(who, model);
  const { maxTokens, cache } = optionsFor(who, options);
  const prompts = isPrompts(prompt) ? prompt : [prompt];
  const longest = Math.max(...prompts.map((p) => (isTokens(p) ? p.length : 0)));
  const of = model as unknown as AnyModel;
  of.checkThere(who);
  if (of.inputShapes === null) of.build([[null]]);
  const most = mostTokens(of);
  if (longest > most)
    throw new ArgumentError(
      `${who}: a prompt of ${longest} tokens is longer than the ${most} positions of model "${model.name}"; give the end of it, as ` +
        `prompt.slice(-${Math.ceil(most / 2)}), which leaves room for what is written`,
    );
  const wanted = longest + (maxTokens ?? MOST_TOKENS) - 1;
  const capacity = Math.min(Math.ceil(Math.max(wanted, 1) / ROOM) * ROOM, most);
  if (maxTokens !== null && wanted > capacity) {
    throw new ArgumentError(
      `${who}: ${longest} tokens and ${maxTokens} to be generated are more than the ${most} positions of model "${model.name}"; ` +
        "give a shorter prompt or a smaller maxTokens",
    );
  }
  const session = new Session(await decoderOf(who, of, prompts.length, capacity, cache ?? "f32"));
  try {
    yield* isPrompts(prompt) ? session.generate(prompt, options) : session.generate(prompt, options);
  } finally {
    session.close();
  }
}
