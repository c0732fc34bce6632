/** @file Opening a checkpoint: what it is, whether all of it is there and fits, and then its weights, one tensor after another. */
import { checkCount, checkOneOf, checkOptions } from "../check.ts";
import { inOrder } from "../io/in-order.ts";
import type { Line } from "../io/in-order.ts";
import { cut, show } from "../io/safetensors.ts";
import type { RangeSource, Signal } from "../io/ranges.ts";
import { ArgumentError, BackendError, emptyOn, FileError, LockstepError, resolveBackend } from "../index.ts";
import type { Backend, BackendName, Layer, Model, Outputs, Shape, Tensor } from "../index.ts";
import { sizeOf } from "../shape.ts";
import { openFolder } from "./checkpoint.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { Config } from "./config.ts";
import type { Architecture, Design, Opener, Wanted } from "./design.ts";
import type { Encoder } from "./encoder.ts";
import { openSource } from "./files.ts";
import type { BlobLike, Folder, NamedFiles, Opened } from "./files.ts";
import type { ImageClassifier } from "./image-classifier.ts";
import { LanguageModel } from "./language-model.ts";
import { part } from "./part.ts";
import { PARTS, VALUES } from "./scratch.ts";
import type { Scratch } from "./scratch.ts";
import { stopIfAborted } from "./pages.ts";
import type { Reading } from "./pages.ts";
import { TASKS } from "./task.ts";
import type { Task } from "./task.ts";
import { tokenizerOf } from "./tokenizer.ts";
import type { JinjaModule, TokenizersModule } from "./tokenizer.ts";
import { WEIGHT_FORMATS } from "./packed.ts";
import type { WeightFormat } from "./packed.ts";
import { bytesOfWeight, checkStored, readWeights } from "./weights.ts";

/** How far a checkpoint has been read. */
export interface LoadProgress {
  /** Bytes of weights that have been read, and of all. */
  readonly loaded: number;
  readonly total: number;
  /** The tensor that was read last. */
  readonly tensor: string;
}

/** Options of `loadPretrained`. */
export interface LoadPretrainedOptions {
  /** What the model is expected to be for; another one is refused. TypeScript then knows what comes. Default: whatever it is. */
  readonly task?: Task;
  /**
   * How matrices of weights are kept. Default `"stored"`: as the file has them, in 16, 8 or 4 bits where they are so there. `"f32"`,
   * `"f16"`, `"bf16"`, `"q8"`, `"q4"`, `"q4m"`: all in this format (rows of no whole blocks of 32 in 16 bits); see docs/packed.md. Only f32
   * can be trained.
   */
  readonly weights?: WeightFormat;
  /** Where the model runs. Default: the backend opened last. */
  readonly backend?: BackendName | Backend;
  /** The most tokens of a text, at most what the model was made for, which is the default. */
  readonly contextLength?: number;
  /** Told of bytes that were read. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** An `AbortSignal`: ends loading, with its reason as the error; what was read is freed. */
  readonly signal?: Signal;
  /**
   * Keep copies of what comes over the network: true in the cache of the page (Cache API), or where there are files, in a folder
   * `lockstep` of the user's cache; a path for another folder. Default false.
   */
  readonly cache?: boolean | string;
  /**
   * Sent with each request for an address, such as `{ authorization: "Bearer hf_..." }` for models that need one. `authorization` does not
   * leave the origin of the address, where that redirects to another.
   */
  readonly headers?: { readonly [name: string]: string };
  /** The module @huggingface/tokenizers, for applications that are bundled. Default: it is imported where there is a tokenizer. */
  readonly tokenizers?: TokenizersModule;
  /** The module @huggingface/jinja, likewise. */
  readonly jinja?: JinjaModule;
}

/** What `loadPretrained` reads a model from. */
export type PretrainedSource = string | URL | NamedFiles | RangeSource | BlobLike;

const decoders = (): Promise<typeof import("./parts/decoders.ts")> => part(import("./parts/decoders.ts"));

/** Architectures by `model_type`, each of which is loaded when a checkpoint has it. */
const ARCHITECTURES: { readonly [type: string]: () => Promise<Architecture> } = {
  llama: async () => (await decoders()).llama,
  mistral: async () => (await decoders()).mistral,
  qwen2: async () => (await decoders()).qwen2,
  qwen3: async () => (await decoders()).qwen3,
  gpt2: async () => (await part(import("./parts/gpt2.ts"))).default,
  bert: async () => (await part(import("./parts/bert.ts"))).default,
  vit: async () => (await part(import("./parts/vit.ts"))).default,
};

/** Classes of Transformers whose weights mean what is computed here. */
const CLASSES = /^(Llama|Mistral|Qwen2|Qwen3)ForCausalLM$|^GPT2(LMHeadModel|Model)$|^Bert(Model|For\w+)$|^ViTForImageClassification$/;

/** The architecture that a configuration names. @throws FileError for one that is not known */
async function architectureOf(config: Config): Promise<Architecture> {
  const load = config.oneOf("model_type", ARCHITECTURES);
  const names = config.has("architectures") ? config.list<string>("architectures", "names of classes", (v) => typeof v === "string") : [];
  if (names.length > 0 && !CLASSES.test(names[0]))
    throw config.fault(
      "architectures",
      "those of text generation (llama, mistral, qwen2, qwen3, gpt2), encoding (bert) or image classification (vit)",
    );
  if (config.has("quantization_config"))
    throw config.fault(
      "quantization_config",
      "absent: weights quantized by other programs are not read; take the unquantized checkpoint or a GGUF file",
    );
  return load();
}

/** Some of many names. */
const some = (names: readonly string[]): string =>
  `${names
    .slice(0, 6)
    .map((n) => `"${cut(n)}"`)
    .join(", ")}${names.length > 6 ? ` and ${names.length - 6} more` : ""}`;

const keyOf = (layer: Layer, name: string): string => `${layer.name}/${name}`;

/** A tensor under the name that the architecture knows, with the file's own name. */
type ByName = ReadonlyMap<string, { readonly name: string; readonly stored: StoredTensor }>;

/**
 * The weights that the model needs, found by building it without any. Tables are made while it is built, so that sizes are compared with
 * the checkpoint's as they come. @throws FileError for what does not fit
 */
function wantedBy(who: string, design: Design, byName: ByName): Wanted[] {
  const wanted: Wanted[] = [];
  const most = [...byName.values()].reduce((sum, { stored }) => sum + sizeOf(stored.shape), 0);
  let fault: FileError | null = null;
  const weights = (layer: Layer, name: string, shape: Shape): null => {
    const w = { key: keyOf(layer, name), shape, source: design.source(layer.name, name, shape) };
    wanted.push(w);
    const stored = byName.get(w.source.name)?.stored;
    try {
      if (stored !== undefined) checkStored(who, stored, w);
      else if (sizeOf(shape) > most) throw new FileError(`${who}: no tensor "${cut(w.source.name)}"`);
    } catch (error) {
      fault = error as FileError;
      // Errors of layers are told who they come from.
      throw new FileError("it does not fit", { cause: error });
    }
    return null;
  };
  try {
    design.make().build(design.inputShapes, { weights });
  } catch (error) {
    if (fault === null && error instanceof LockstepError)
      throw new FileError(`${who}: the configuration makes no model: ${error.message}`, { cause: error });
    throw fault ?? error;
  }
  return wanted;
}

/** Tensors with the weights that are made of each. */
type Groups = ReadonlyMap<StoredTensor, { readonly name: string; readonly wanted: Wanted[] }>;

/** Tensors of the file with the weights that are made of each. @throws FileError for tensors that are missing, unknown or do not fit */
function matched({ who: where, tensors }: Checkpoint, design: Design): Groups {
  const who = cut(where, 120);
  const byName = new Map<string, { readonly name: string; readonly stored: StoredTensor }>();
  for (const [name, stored] of tensors) {
    const canonical = design.canonical(name);
    if (canonical === null) continue;
    const other = byName.get(canonical);
    if (other !== undefined) throw new FileError(`${who}: "${cut(name)}" and "${cut(other.name)}" are the same weight`);
    byName.set(canonical, { name, stored });
  }
  const wanted = wantedBy(who, design, byName);
  const needed = new Set(wanted.map(({ source }) => source.name));
  const missing = [...needed].filter((name) => !byName.has(name));
  const extra = [...byName].filter(([name]) => !needed.has(name)).map(([, { name }]) => name);
  if (missing.length > 0)
    throw new FileError(`${who}: no tensor ${some(missing)}${extra.length > 0 ? `; there are besides ${some(extra)}` : ""}`);
  if (extra.length > 0)
    throw new FileError(`${who}: the model has no use for ${some(extra)}: it is of another architecture or configuration`);
  const found = new Map<StoredTensor, { readonly name: string; readonly wanted: Wanted[] }>();
  for (const w of wanted) {
    const { name, stored } = byName.get(w.source.name) as { readonly name: string; readonly stored: StoredTensor };
    const group = found.get(stored) ?? { name, wanted: [] };
    found.set(stored, group);
    group.wanted.push(w);
  }
  return found;
}

/**
 * Looks whether there is room for the weights. A memory that grows does so here, by as much as they take: step by step it would have a
 * quarter more in the end.
 * @throws BackendError with the numbers where they do not fit `backend`
 */
async function makeRoom(
  who: string,
  backend: Backend,
  format: WeightFormat,
  all: Iterable<[StoredTensor, { readonly wanted: readonly Wanted[] }]>,
): Promise<void> {
  let sum = 0;
  let spans = 0;
  const { maxBytes, hostMemory } = backend.limits;
  for (const [stored, { wanted }] of all) {
    for (const w of wanted) {
      const bytes = bytesOfWeight(w, stored, format);
      if (bytes > maxBytes)
        throw new BackendError(
          `${who}: "${cut(w.source.name)}" takes ${bytes} bytes in ${format}, the backend ${backend.name} has at most ${maxBytes} for one`,
        );
      sum += bytes;
      // What lies between one and the next.
      spans += bytes + 2 * backend.limits.alignment;
    }
  }
  if (!hostMemory) return;
  if (sum > maxBytes)
    throw new BackendError(`${who}: the weights take ${sum} bytes in ${format}, the backend ${backend.name} has at most ${maxBytes}`);
  if (spans < 4 * (2 ** 30 - 1)) (await emptyOn(backend, [Math.ceil(spans / 4)])).dispose();
}

/** Reads weights in the order in which files hold them, and builds the model of them. */
async function built(
  checkpoint: Checkpoint,
  design: Design,
  groups: Groups,
  backend: Backend,
  o: LoadPretrainedOptions,
): Promise<Model<Outputs>> {
  const format = o.weights ?? "stored";
  await makeRoom(cut(checkpoint.who, 120), backend, format, groups);
  const order = [...groups].sort(([{ place: a }], [{ place: b }]) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.offset - b.offset));
  const total = order.reduce((sum, [{ byteLength }]) => sum + byteLength, 0);
  const made = new Map<string, Tensor>();
  const windows: Scratch[] = [];
  let loaded = 0;
  try {
    for (const [stored, { name, wanted }] of order) {
      const tensors = await readWeights(backend, format, stored, wanted, total, windows, (bytes) => {
        stopIfAborted(o.signal);
        loaded += bytes;
        o.onProgress?.({ loaded, total, tensor: name });
      });
      tensors.forEach((t, i) => made.set(wanted[i].key, t));
    }
    const model = design.make();
    model.build(design.inputShapes, { weights: (layer, name) => made.get(keyOf(layer, name)) ?? null });
    model.moveTo(backend);
    // What adapters and their files call its kernels.
    model.modules = (layer, weight, shape) => {
      const source = design.source(layer, weight, shape);
      const name = source.name.replace(/\.weight$/, "");
      return source.columns === undefined
        ? { name }
        : { name, part: { begin: source.columns[0], of: source.shape[source.shape.length - 1] } };
    };
    return model;
  } catch (error) {
    for (const t of made.values()) t.dispose();
    throw error;
  } finally {
    for (const memory of [VALUES, PARTS]) memory.release();
  }
}

/** Ids that end texts: generation_config.json knows more of them. */
async function eosOf(config: Config, folder: Folder | null): Promise<readonly number[]> {
  const end = config.count("vocab_size");
  const values = await folder?.json("generation_config.json");
  const generation = values ? new Config(`${config.who}: generation_config.json`, values) : config;
  return (generation.has("eos_token_id") ? generation : config).tokens("eos_token_id", end);
}

/** What checkpoints are opened as, where the architecture does not say. */
const languageModel: Opener = async ({ config, folder, contextLength }) => {
  const eos = await eosOf(config, folder);
  const bos = config.tokens("bos_token_id")[0] ?? null;
  return (model, tokenizer) => new LanguageModel(model as Model, tokenizer, config.values, { eos, bos, contextLength });
};

const OPTIONS: readonly (keyof LoadPretrainedOptions)[] = [
  "task",
  "weights",
  "backend",
  "contextLength",
  "onProgress",
  "signal",
  "cache",
  "headers",
  "tokenizers",
  "jinja",
];

function checkGiven(options: LoadPretrainedOptions): LoadPretrainedOptions {
  const who = "loadPretrained";
  const o = checkOptions(who, options, OPTIONS);
  if (o.task !== undefined) checkOneOf(who, "task", o.task, TASKS);
  if (o.weights !== undefined) checkOneOf(who, "weights", o.weights, WEIGHT_FORMATS);
  if (o.contextLength !== undefined) checkCount(who, "contextLength", o.contextLength);
  if (o.onProgress !== undefined && typeof o.onProgress !== "function")
    throw new ArgumentError(`${who}: onProgress must be a function, got ${show(o.onProgress)}`);
  if (o.cache !== undefined && typeof o.cache !== "boolean" && typeof o.cache !== "string")
    throw new ArgumentError(`${who}: cache must be true, false or the path of a folder, got ${show(o.cache)}`);
  if (o.headers !== undefined)
    for (const [name, value] of Object.entries(checkOptions(`${who}: headers`, o.headers)))
      if (typeof value !== "string") throw new ArgumentError(`${who}: headers: ${cut(name)} must be a text, got ${show(value)}`);
  return o;
}

/**
 * Opens a checkpoint of Hugging Face's form (config.json, model.safetensors or its parts by model.safetensors.index.json, tokenizer.json
 * where there is one) or a GGUF file. Architectures: llama, mistral, qwen2, qwen3, gpt2, bert, vit. Weights are read tensor by tensor, of
 * files and servers that give ranges in pieces, straight to the backend: what is held besides is a small part of them.
 * @param source a folder's path (Node, Deno, Bun), the address that files lie below, files by name (an object, a Map or a list of `File`s,
 * of paths, blobs or bytes), or a GGUF file
 * @throws FileError naming what is missing, unknown or of another shape, before weights are read; BackendError with the numbers where they
 * do not fit; ArgumentError for bad options and what is no source; the signal's reason
 * @example const lm = await loadPretrained("models/tinyllama", { task: "text-generation" });
 * for await (const { text } of lm.generate("Once upon a time", { maxTokens: 100 })) write(text);
 */
export async function loadPretrained(
  source: PretrainedSource,
  options: LoadPretrainedOptions & { readonly task: "text-generation" },
): Promise<LanguageModel>;
export async function loadPretrained(
  source: PretrainedSource,
  options: LoadPretrainedOptions & { readonly task: "feature-extraction" },
): Promise<Encoder>;
export async function loadPretrained(
  source: PretrainedSource,
  options: LoadPretrainedOptions & { readonly task: "image-classification" },
): Promise<ImageClassifier>;
export async function loadPretrained(
  source: PretrainedSource,
  options?: LoadPretrainedOptions,
): Promise<LanguageModel | Encoder | ImageClassifier>;
export async function loadPretrained(
  source: PretrainedSource,
  options: LoadPretrainedOptions = {},
): Promise<LanguageModel | Encoder | ImageClassifier> {
  const o = checkGiven(options);
  try {
    stopIfAborted(o.signal);
    return await opened(source, o);
  } catch (error) {
    // What was under way then fails in its own way.
    stopIfAborted(o.signal);
    throw error;
  }
}

async function opened(source: PretrainedSource, o: LoadPretrainedOptions): Promise<LanguageModel | Encoder | ImageClassifier> {
  const line: Line = { close: () => {} };
  const reading: Reading = {
    signal: o.signal,
    cache: o.cache ?? false,
    headers: o.headers,
    streamed: (who, response, first) => inOrder(who, response, first, line, reading),
  };
  try {
    return await read(await openSource(source, reading), o);
  } finally {
    line.close();
  }
}

async function read(source: Opened, o: LoadPretrainedOptions): Promise<LanguageModel | Encoder | ImageClassifier> {
  const folder = "folder" in source ? source.folder : null;
  const checkpoint = folder !== null ? await openFolder(folder) : await openGgufFile(source as { readonly file: RangeSource });
  const { config, tensors, scaling } = checkpoint;
  const architecture = await architectureOf(config);
  const design = architecture(config, { scaling, names: [...tensors.keys()] });
  if (o.task !== undefined && o.task !== design.task)
    throw new ArgumentError(`loadPretrained: task: ${cut(checkpoint.who, 120)} is a model for ${design.task}, expected one for ${o.task}`);
  const most = design.contextLength;
  if (o.contextLength !== undefined && (most === null ? design.task === "image-classification" : o.contextLength > most))
    throw new ArgumentError(
      `loadPretrained: contextLength: the model reads ${most === null ? "images" : `at most ${most} tokens`}, got ${o.contextLength}`,
    );
  const groups = matched(checkpoint, design);
  const opened = await (design.opener ?? languageModel)({ config, folder, contextLength: o.contextLength ?? most });
  const modules = { tokenizers: o.tokenizers, jinja: o.jinja };
  const tokenizer = await tokenizerOf(design.task === "image-classification" ? null : await checkpoint.tokenizer(), modules);
  const model = await built(checkpoint, design, groups, await resolveBackend(o.backend), o);
  return opened(model, tokenizer) as LanguageModel | Encoder | ImageClassifier;
}

/** A GGUF file; what reads it is loaded here. */
async function openGgufFile({ file }: { readonly file: RangeSource }): Promise<Checkpoint> {
  const { openGgufCheckpoint } = await part(import("./parts/gguf.ts"));
  return openGgufCheckpoint(file);
}
