/** @file What weights are read from: tensors by name, of which rows can be read, whatever the file is. */
import { MODEL_DTYPES, cut, elements, halfBits, show } from "../io/safetensors.ts";
import type { Entry } from "../io/safetensors.ts";
import { FileError, LockstepError } from "../index.ts";
import { opened } from "../safetensors/header.ts";
import type { Shape } from "../index.ts";
import type { Opened } from "../safetensors/header.ts";
import { Config } from "./config.ts";
import type { Folder } from "./files.ts";

/** A tensor as a file has it. */
export interface StoredTensor {
  /** F32, F16, BF16, Q8_0 …: the file format's own name. */
  readonly dtype: string;
  /** In elements, outermost dimension first. All dimensions but the last are rows. */
  readonly shape: Shape;
  readonly byteLength: number;
  /** The file that it is in, and where: tensors are read in this order. */
  readonly place: { readonly file: string; readonly offset: number };
  /** Bytes of rows [from, to). */
  rows(from: number, to: number): Promise<Uint8Array>;
  /** Elements that bytes of whole rows are, as f32, written to `out`, which has as many. */
  floats(bytes: Uint8Array, out: Float32Array): void;
}

/** Files of a tokenizer. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: object;
  /** tokenizer_config.json */
  readonly config: object;
}

/** A model as files have it. */
export interface Checkpoint {
  /** What errors call it. */
  readonly who: string;
  /** config.json, or what another format says in its place. */
  readonly config: Config;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** What rotary frequencies are divided by, where that is a tensor. */
  readonly scaling: readonly number[] | null;
  /** Null where there are none; an error for what is not known. */
  tokenizer(): Promise<TokenizerFiles | LockstepError | null>;
}

/** Elements by their dtype as f32. */
const WIDENED: { readonly [dtype: string]: (bytes: Uint8Array, out: Float32Array) => void } = {
  F32: (bytes, out) => out.set(elements(Float32Array, 4, bytes)),
  F64: (bytes, out) => out.set(MODEL_DTYPES.F64(bytes)),
  F16: (bytes, out) => {
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    const halves = elements(Uint16Array, 2, bytes);
    for (let i = 0; i < bits.length; i++) bits[i] = halfBits(halves[i]);
  },
  BF16: (bytes, out) => {
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    const halves = elements(Uint16Array, 2, bytes);
    for (let i = 0; i < bits.length; i++) bits[i] = halves[i] << 16;
  },
};

function storedOf({ dtype, shape, begin, end }: Entry, file: Opened, fileName: string, offset: number): StoredTensor {
  const byteLength = end - begin;
  const rowBytes = shape.includes(0) ? 0 : byteLength / shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return {
    dtype,
    shape,
    byteLength,
    place: { file: fileName, offset },
    rows: async (from, to) => (to > from ? file.read(begin + from * rowBytes, begin + to * rowBytes) : new Uint8Array(0)),
    floats: (bytes, out) => WIDENED[dtype](bytes, out),
  };
}

const INDEX = "model.safetensors.index.json";
const SINGLE = "model.safetensors";

/** The files that hold weights, with the tensors that an index says are in each; null: all that it has. */
async function shardsOf(folder: Folder): Promise<Map<string, Set<string> | null>> {
  const index = await folder.json(INDEX);
  if (index === null) {
    if (!(await folder.has(SINGLE))) {
      const pickled = await folder.has("pytorch_model.bin");
      throw new FileError(
        `${folder.who}: no ${SINGLE} and no ${INDEX}${pickled ? "; pytorch_model.bin, which may hold code, is not read: convert it" : ""}`,
      );
    }
    return new Map([[SINGLE, null]]);
  }
  const map = new Config(`${folder.who}: ${INDEX}`, index).within("weight_map");
  const shards = new Map<string, Set<string>>();
  for (const [name, file] of Object.entries(map.values)) {
    // A name with a slash would leave the folder.
    if (typeof file !== "string" || !/^[\w][\w.-]*\.safetensors$/.test(file))
      throw new FileError(`${map.who}: "${cut(name)}" must be in a file *.safetensors of the folder, found ${show(file)}`);
    const names = shards.get(file) ?? new Set<string>();
    shards.set(file, names.add(name));
  }
  if (shards.size === 0) throw new FileError(`${map.who} must name tensors, found none`);
  return shards;
}

/** A folder of Hugging Face's form: config.json and safetensors. @throws FileError for what is missing or wrong */
export async function openFolder(folder: Folder): Promise<Checkpoint> {
  const values = await folder.json("config.json");
  if (values === null) {
    const hub = /^[\w-]+\/[\w.-]+$/.test(folder.who)
      ? `, or for the model of the Hub https://huggingface.co/${folder.who}/resolve/main`
      : "";
    throw new FileError(`${folder.who}: no config.json; give a folder of a model in Hugging Face's form, a .gguf file${hub}`);
  }
  const shards = await shardsOf(folder);
  const tensors = new Map<string, StoredTensor>();
  for (const [fileName, names] of shards) {
    const source = await folder.open(fileName);
    if (source === null) throw new FileError(`${folder.who}: ${INDEX} names ${fileName}, which is not there`);
    const file = await opened("loadPretrained", source);
    const missing = names === null ? undefined : [...names].find((name) => !file.tensors.has(name));
    if (missing !== undefined)
      throw new FileError(`${folder.who}: ${fileName} has no tensor "${cut(missing)}", which ${INDEX} says is there`);
    let offset = 0;
    for (const [name, entry] of file.tensors) {
      if (names === null || names.has(name)) {
        if (tensors.has(name)) throw new FileError(`${folder.who}: "${cut(name)}" is in two files`);
        tensors.set(name, storedOf(entry, file, fileName, offset));
      }
      offset += entry.end - entry.begin;
    }
  }
  return {
    who: folder.who,
    config: new Config(`${folder.who}: config.json`, values),
    tensors,
    scaling: null,
    tokenizer: async () => {
      const tokenizer = await folder.json("tokenizer.json");
      if (tokenizer === null) return null;
      const config = (await folder.json("tokenizer_config.json")) ?? {};
      // Where it is a file of its own, that counts.
      const template = await folder.text("chat_template.jinja");
      return { tokenizer, config: template === null ? config : { ...config, chat_template: template } };
    },
  };
}
