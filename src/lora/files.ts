/**
 * @file Adapters as files of PEFT's form (https://huggingface.co/docs/peft/developer_guides/checkpoint): adapter_config.json and
 * adapter_model.safetensors, whose tensors are base_model.model.<module>.lora_A.weight [rank, inputs] and .lora_B.weight [outputs, rank].
 */
import { kindOf } from "../check.ts";
import { ArgumentError, FileError } from "../index.ts";
import type { ModelSource, Shape } from "../index.ts";
import { cut, parseObject, show } from "../io/safetensors.ts";
import { bytesOf } from "../io/source.ts";
import { fault, fileSystem } from "../node/files.ts";
import { readSafetensors, writeSafetensors } from "../safetensors/index.ts";
import type { Safetensors, SafeTensor } from "../safetensors/index.ts";
import { showShape } from "../shape.ts";
import type { Adapter } from "./adapters.ts";

/**
 * What adapters are read from: the path or address of a folder as PEFT writes it; its two files by name, or in a list; or one safetensors
 * file alone, by path (ending with .safetensors), address or bytes, if its metadata holds the configuration, as `toBytes()` writes it.
 */
export type AdapterSource = ModelSource | { readonly [name: string]: ModelSource } | readonly File[];

/** What adapter_config.json says. */
export interface AdapterConfig {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly useRslora: boolean;
}

/** A file's matrices of one module. */
export interface Matrices {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly inputs: number;
  readonly outputs: number;
}

/** Adapters of a file, by module. */
export interface AdapterFile {
  readonly who: string;
  readonly config: AdapterConfig;
  readonly modules: ReadonlyMap<string, Matrices>;
}

export const CONFIG_FILE = "adapter_config.json";
export const WEIGHTS_FILE = "adapter_model.safetensors";
/** Where one file holds the configuration, too. */
const METADATA = "adapter_config";
const PREFIX = "base_model.model.";

/** The matrix with rows and columns exchanged. */
function turned(data: ArrayLike<number>, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c];
  return out;
}

/** What PEFT reads besides the matrices. */
export const describe = (
  { rank, alpha, dropout, useRslora }: AdapterConfig,
  targets: readonly string[],
): { readonly [key: string]: unknown } => ({
  peft_type: "LORA",
  auto_mapping: null,
  base_model_name_or_path: null,
  revision: null,
  task_type: null,
  inference_mode: true,
  r: rank,
  lora_alpha: alpha,
  lora_dropout: dropout,
  use_rslora: useRslora,
  target_modules: targets,
  bias: "none",
  fan_in_fan_out: false,
  init_lora_weights: true,
  modules_to_save: null,
  layers_to_transform: null,
  layers_pattern: null,
  rank_pattern: {},
  alpha_pattern: {},
});

/** The adapters as one file; kernels that are one module side by side in it. Where some of its columns have no adapter these are 0. */
export async function encodeAdapters(
  adapters: readonly Adapter[],
  rank: number,
  config: { readonly [key: string]: unknown },
): Promise<Uint8Array> {
  const data = await Promise.all(adapters.flatMap(({ a, b }) => [a.data(), b.data()]));
  const tensors = new Map<string, { readonly shape: Shape; readonly data: Float32Array }>();
  adapters.forEach(({ projection: { module, inputs, units, part } }, i) => {
    const [a, b] = [data[2 * i], data[2 * i + 1]];
    tensors.set(`${PREFIX}${module}.lora_A.weight`, { shape: [rank, inputs], data: turned(a, inputs, rank) });
    const name = `${PREFIX}${module}.lora_B.weight`;
    const whole = tensors.get(name) ?? { shape: [part.of, rank], data: new Float32Array(part.of * rank) };
    whole.data.set(turned(b, rank, units), part.begin * rank);
    tensors.set(name, whole);
  });
  return writeSafetensors(tensors, { format: "pt", [METADATA]: JSON.stringify(config) });
}

/** Writes a folder as PEFT does. @throws FileError */
export async function writeFolder(folder: string | URL, files: { readonly [name: string]: Uint8Array }): Promise<void> {
  const fs = fileSystem("write", folder);
  const base = String(folder).replace(/\/$/, "");
  const { writeBytesAtomic } = await import("../node/write.ts").catch((cause: Error) => {
    throw fault("write", folder, cause.message, cause);
  });
  try {
    await fs.promises.mkdir(/^file:/i.test(base) ? new URL(base) : base, { recursive: true });
  } catch (cause) {
    throw fault("write", folder, (cause as Error).message, cause);
  }
  for (const [name, bytes] of Object.entries(files)) await writeBytesAtomic(`${base}/${name}`, bytes);
}

/** Files of a folder by name; null: `source` is one file. */
function filesOf(who: string, source: AdapterSource): { readonly [name: string]: ModelSource } | null {
  if (typeof source === "string" || source instanceof URL) {
    const base = String(source);
    if (/\.safetensors([?#]|$)/i.test(base) || /^(blob|data):/i.test(base)) return null;
    const at = base.replace(/\/$/, "");
    return { [CONFIG_FILE]: `${at}/${CONFIG_FILE}`, [WEIGHTS_FILE]: `${at}/${WEIGHTS_FILE}` };
  }
  if (Array.isArray(source)) return Object.fromEntries((source as readonly File[]).map((file) => [file.name, file]));
  if (source === null || typeof source !== "object")
    throw new ArgumentError(`${who}: expected a folder, files by name or a safetensors file, got ${kindOf(source)}`);
  return Object.getPrototypeOf(source) === Object.prototype ? (source as { readonly [name: string]: ModelSource }) : null;
}

/** Options of PEFT that make another computation of the matrices, or of the model. */
const OTHERS = [
  "use_dora",
  "lora_bias",
  "use_qalora",
  "use_bdlora",
  "alora_invocation_tokens",
  "layer_replication",
  "arrow_config",
  "kasa_config",
  "monteclora_config",
  "modules_to_save",
  "trainable_token_indices",
  "target_parameters",
  "rank_pattern",
  "alpha_pattern",
];
/** Beginnings that leave the weights of the model as they are. */
const BEGINNINGS: readonly unknown[] = [undefined, null, true, false, "gaussian", "eva", "orthogonal"];

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === false || (typeof value === "object" && Object.keys(value).length === 0);

/** @throws FileError for what is no LoRA, or another kind of it */
function configOf(who: string, text: string): AdapterConfig {
  const json = parseObject(who, text) as { readonly [key: string]: unknown };
  const wrong = (key: string, expected: string): FileError =>
    new FileError(`${who}: "${key}" must be ${expected}, found ${show(json[key])}`);
  if (json.peft_type !== "LORA") throw wrong("peft_type", "LORA");
  for (const key of OTHERS) if (!isEmpty(json[key])) throw wrong(key, "absent or empty: adapters are plain LoRA of one rank");
  if (!isEmpty(json.bias) && json.bias !== "none") throw wrong("bias", '"none"');
  if (!BEGINNINGS.includes(json.init_lora_weights))
    throw wrong("init_lora_weights", "one that leaves the model as it is; convert it to LoRA");
  const { r = 8, lora_alpha: alpha = 8, lora_dropout: dropout = 0, use_rslora: useRslora = false } = json;
  if (!Number.isSafeInteger(r) || (r as number) < 1) throw wrong("r", "an integer of at least 1");
  if (!Number.isFinite(alpha)) throw wrong("lora_alpha", "a number");
  if (!(typeof dropout === "number" && dropout >= 0 && dropout < 1)) throw wrong("lora_dropout", "a number in [0, 1)");
  if (typeof useRslora !== "boolean") throw wrong("use_rslora", "true or false");
  return { rank: r as number, alpha: alpha as number, dropout, useRslora };
}

/** A matrix of the file as f32. */
function matrix(who: string, name: string, { tensors }: Safetensors<SafeTensor>): { readonly shape: Shape; readonly values: Float32Array } {
  const { dtype, shape, data } = tensors.get(name) as SafeTensor;
  if (!(data instanceof Float32Array)) throw new FileError(`${who}: "${cut(name)}" holds ${dtype}, expected floats`);
  if (shape.length !== 2) throw new FileError(`${who}: "${cut(name)}" must be a matrix, found the shape ${cut(showShape(shape))}`);
  return { shape, values: data };
}

/** Reads adapters. @throws FileError for what cannot be read or is no plain LoRA, ArgumentError for what is no source */
export async function readAdapters(caller: string, given: AdapterSource): Promise<AdapterFile> {
  const whole = (await given) as AdapterSource;
  const files = filesOf(caller, whole);
  const weights = files === null ? (whole as ModelSource) : files[WEIGHTS_FILE];
  const described = files?.[CONFIG_FILE];
  if (files !== null && (weights === undefined || described === undefined)) {
    const names = Object.keys(files).join(", ");
    throw new FileError(`${caller}: expected the files ${CONFIG_FILE} and ${WEIGHTS_FILE}, got ${cut(names) || "none"}`);
  }
  const text = described === undefined ? null : await bytesOf(CONFIG_FILE, described);
  const source = (await weights) as string | URL | Partial<File>;
  const who = typeof source === "string" || source instanceof URL ? String(source) : (source.name ?? WEIGHTS_FILE);
  const file = await readSafetensors(source as ModelSource);
  if (text === null && file.metadata[METADATA] === undefined) {
    throw new FileError(
      `${who}: its metadata has no "${METADATA}", and without it nobody knows alpha; give the folder, or ${CONFIG_FILE} with it: ` +
        `{ "${CONFIG_FILE}": ..., "${WEIGHTS_FILE}": ... }`,
    );
  }
  const config =
    text === null ? configOf(`${who}: ${METADATA}`, file.metadata[METADATA]) : configOf(text.who, new TextDecoder().decode(text.bytes));
  const modules = new Map<string, Matrices>();
  const other = [...file.tensors.keys()].find((name) => !/^base_model\.model\..+\.lora_[AB]\.weight$/.test(name));
  if (other !== undefined)
    throw new FileError(`${who}: expected tensors ${PREFIX}<module>.lora_A.weight and .lora_B.weight alone, found "${cut(other)}"`);
  for (const name of file.tensors.keys()) {
    const module = name.slice(PREFIX.length, -".lora_A.weight".length);
    const [nameA, nameB] = ["A", "B"].map((m) => `${PREFIX}${module}.lora_${m}.weight`);
    const missing = [nameA, nameB].find((n) => !file.tensors.has(n));
    if (missing !== undefined) throw new FileError(`${who}: no tensor "${cut(missing)}", but its other matrix`);
    if (modules.has(module)) continue;
    const [a, b] = [matrix(who, nameA, file), matrix(who, nameB, file)];
    const { rank } = config;
    if (a.shape[0] !== rank || b.shape[1] !== rank) {
      throw new FileError(
        `${who}: "${cut(module)}" has matrices ${showShape(a.shape)} and ${showShape(b.shape)}, expected [${rank}, inputs] and ` +
          `[outputs, ${rank}], as r says`,
      );
    }
    const [inputs, outputs] = [a.shape[1], b.shape[0]];
    modules.set(module, { a: turned(a.values, rank, inputs), b: b.values, inputs, outputs });
  }
  if (modules.size === 0) throw new FileError(`${who}: no adapters in it`);
  return { who, config, modules };
}

/**
 * Gives adapters the values of a file. Nothing changes where it does not fit. @throws FileError
 */
export function fill({ who, config: { rank }, modules }: AdapterFile, adapters: readonly Adapter[]): void {
  const own = new Set(adapters.map(({ projection }) => projection.module));
  const some = (names: Iterable<string>): string => cut([...names].join(", "), 400);
  const [lacks] = [...own].filter((module) => !modules.has(module));
  if (lacks !== undefined) throw new FileError(`${who}: no adapter of "${cut(lacks)}"; it has those of ${some(modules.keys())}`);
  const [besides] = [...modules.keys()].filter((module) => !own.has(module));
  if (besides !== undefined) throw new FileError(`${who}: it has an adapter of "${cut(besides)}", here there are those of ${some(own)}`);
  const values = adapters.map(({ projection: { module, inputs, units, part }, a, b }) => {
    const { a: fileA, b: fileB, inputs: fileInputs, outputs } = modules.get(module) as Matrices;
    if (fileInputs !== inputs || outputs !== part.of || a.shape[1] !== rank) {
      throw new FileError(
        `${who}: "${cut(module)}" is of ${fileInputs} features, ${outputs} outputs and rank ${rank}, here of ${inputs}, ${part.of} and ` +
          `${a.shape[1]}`,
      );
    }
    return { a, b, fileA, valueB: turned(fileB.subarray(part.begin * rank, (part.begin + units) * rank), units, rank) };
  });
  // Of a module that has adapters in some of its columns alone, the others must have nothing to add.
  for (const [module, { b }] of modules) {
    const parts = adapters.filter(({ projection }) => projection.module === module).map(({ projection: p }) => p);
    const rest = b.findIndex(
      (v, i) => v !== 0 && !parts.some(({ part, units }) => i >= part.begin * rank && i < (part.begin + units) * rank),
    );
    if (rest >= 0) throw new FileError(`${who}: "${cut(module)}" changes output ${Math.floor(rest / rank)}, which has no adapter here`);
  }
  for (const { a, b, fileA, valueB } of values) {
    a.set(fileA);
    b.set(valueB);
  }
}
