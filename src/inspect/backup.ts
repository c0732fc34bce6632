/** @file The callback that lets a training that was interrupted go on where it stopped. */
import { checkCount, kindOf, shown } from "../check.ts";
import { ArgumentError, FileError, LockstepError, Tensor, zeros } from "../index.ts";
import type { Callback, TrainingHandle, TypedArray } from "../index.ts";
import { checksum } from "../io/checksum.ts";
import { optionsOf } from "../options.ts";
import { sizeOf } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { inside, makeFolder, readIfThere, remove, renameIfThere } from "./files.ts";

/** Where a backup is kept that is no folder: on pages, which have none, the origin's private file system or a database. */
export interface BackupStore {
  /** The bytes that were written last, or null. */
  read(): Promise<Uint8Array | null>;
  /** Keeps bytes in the place of those before: all of them or none. */
  write(bytes: Uint8Array): Promise<void>;
  /** Forgets them. */
  remove(): Promise<void>;
}

/** Options of `backupAndRestore`. */
export interface BackupAndRestoreOptions {
  /** "epoch": after each epoch; a number: after so many batches, also within an epoch. Default "epoch". */
  readonly saveFreq?: "epoch" | number;
  /** Keep the backup before the last one, too, for a last one that is damaged. Default false. */
  readonly doubleCheckpoint?: boolean;
  /** Remove the backup when the training has come to its end. Default true. */
  readonly deleteCheckpoint?: boolean;
}

const FORMAT = "lockstep-backup";
const VERSION = "1";
const FILE = "backup.safetensors";
const PREVIOUS = "backup.previous.safetensors";

/** Where a training stood. */
interface Standing {
  readonly epoch: number;
  /** Steps of that epoch. */
  readonly step: number;
  readonly history: { readonly epoch: readonly number[]; readonly history: { readonly [name: string]: readonly unknown[] } };
}

/** What JSON has no word for. */
const spoken = (_key: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value) ? { number: String(value) } : value;
const heard = (_key: string, value: unknown): unknown => {
  const { number } = Object(value) as { readonly number?: unknown };
  return typeof number === "string" ? Number(number) : value;
};

interface Named {
  readonly shape: Shape;
  readonly data: TypedArray;
}

const dtypeOf = (data: TypedArray): "F32" | "I32" | "U32" =>
  data instanceof Float32Array ? "F32" : data instanceof Int32Array ? "I32" : "U32";

async function encode(standing: Standing, tensors: readonly (readonly [string, Named])[]): Promise<Uint8Array> {
  const { writeSafetensors } = await import("../safetensors/index.ts");
  const raw = tensors.map(([name, { shape, data }]) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return [name, { dtype: dtypeOf(data), shape, bytes }] as const;
  });
  const metadata: { [key: string]: string } = { format: FORMAT, version: VERSION, standing: JSON.stringify(standing, spoken) };
  metadata.checksum = checksum(
    metadata,
    raw.map(([name, t]) => [name, t, t.bytes]),
  );
  return writeSafetensors(raw, metadata);
}

/** @throws FileError for what is damaged, no backup, or of another version. */
async function decode(who: string, bytes: Uint8Array): Promise<{ standing: Standing; tensors: Map<string, Named> }> {
  const { readSafetensors } = await import("../safetensors/index.ts");
  const { metadata, tensors: raw } = await readSafetensors(bytes, { raw: true });
  if (metadata.format !== FORMAT || metadata.version !== VERSION)
    throw new FileError(`${who}: it is no backup of this version (${metadata.format ?? "no format"} ${metadata.version ?? ""})`);
  const all = [...raw].map(([name, t]) => [name, t, t.bytes] as const);
  if (checksum(metadata, all) !== metadata.checksum) throw new FileError(`${who}: it is damaged: its checksum is another`);
  const arrays = { F32: Float32Array, I32: Int32Array, U32: Uint32Array };
  const tensors = new Map(
    all.map(([name, { dtype, shape, bytes: b }]) => {
      const data = new arrays[dtype as keyof typeof arrays](b.slice().buffer, 0, sizeOf(shape));
      return [name, { shape, data }] as const;
    }),
  );
  return { standing: JSON.parse(metadata.standing, heard) as Standing, tensors };
}

/** A folder as a store. */
function folderStore(
  folder: string | URL,
  double: boolean,
): BackupStore & { readonly name: string; previous(): Promise<Uint8Array | null> } {
  const [last, previous] = [inside(folder, FILE), inside(folder, PREVIOUS)];
  return {
    name: last,
    read: () => readIfThere(last),
    previous: () => readIfThere(previous),
    async write(bytes) {
      await makeFolder(folder);
      if (double) await renameIfThere(last, previous);
      const { writeBytesAtomic } = await import("../node/write.ts");
      await writeBytesAtomic(last, bytes);
    },
    async remove() {
      await remove(last);
      await remove(previous);
    },
  };
}

/** What the epoch has counted so far: none before the first one of a model whose data come in batches. */
const counted = ({ model }: TrainingHandle): readonly Tensor[] => model.state("fit").train.tensors;

/** What a training holds, by name, as its copy. */
async function held(training: TrainingHandle): Promise<[string, Named][]> {
  const weights = await training.weights();
  const named = async (prefix: string, all: { readonly [name: string]: Tensor }): Promise<[string, Named][]> =>
    Promise.all(
      Object.entries(all).map(async ([name, t]): Promise<[string, Named]> => [
        `${prefix}/${name}`,
        { shape: t.shape, data: (await t.data()).slice() as TypedArray },
      ]),
    );
  return [
    ...weights.map((data, i): [string, Named] => [`weights/${i}`, { shape: [data.length], data }]),
    ...(await named("optimizer", training.optimizer.state())),
    ...(await named("scale", { ...training.model.state("fit").training.scale })),
    ...(await named("counted", Object.fromEntries(counted(training).map((t, i) => [String(i), t])))),
  ];
}

/** Puts what a backup holds in its place. @throws FileError where it does not fit; nothing has changed then. */
async function restore(who: string, training: TrainingHandle, { standing, tensors }: Awaited<ReturnType<typeof decode>>): Promise<void> {
  const own = await training.weights();
  const of = (prefix: string): [string, Named][] =>
    [...tensors].filter(([name]) => name.startsWith(`${prefix}/`)).map(([name, t]) => [name.slice(prefix.length + 1), t]);
  const weights = new Map(of("weights"));
  const sizes = (list: readonly number[]): string =>
    list.length > 6 ? `${list.length} weights` : `weights of ${list.join(", ")} elements`;
  const saved = own.map((_, i) => weights.get(String(i))?.data as Float32Array | undefined);
  if (weights.size !== own.length || own.some((w, i) => w.length !== saved[i]?.length)) {
    const [has, needs] = [[...weights.values()].map((w) => w.data.length), own.map((w) => w.length)];
    throw new FileError(
      `${who}: it is of another model: it has ${sizes(has)}, the model ${sizes(needs)}; give another folder, or remove it to begin anew`,
    );
  }
  const saidCounts = new Map(of("counted"));
  const counting = counted(training);
  const fits = counting.length === saidCounts.size && counting.every((t, i) => t.size === saidCounts.get(String(i))?.data.length);
  if (standing.step > 0 && !fits) throw new FileError(`${who}: it is of a training with other metrics; remove it to begin anew`);
  training.optimizer.load(Object.fromEntries(of("optimizer")));
  const scale = Object.fromEntries(of("scale"));
  if (scale.dynamicScale !== undefined && scale.stepCounter !== undefined) {
    const state = training.model.state("fit").training;
    const { dynamicScale, stepCounter } = (state.scale ??= { dynamicScale: zeros([]), stepCounter: zeros([], "i32") });
    dynamicScale.set(scale.dynamicScale.data);
    stepCounter.set(scale.stepCounter.data);
  }
  training.setWeights(saved as Float32Array[]);
  if (standing.step > 0) counting.forEach((t, i) => t.set((saidCounts.get(String(i)) as Named).data));
  training.position.epoch = standing.epoch;
  if (training.position.step !== null) training.position.step = standing.step;
  // What fit gives in the end is the history of the whole training.
  (training.history.epoch as number[]).push(...standing.history.epoch);
  const logs = training.history.history as unknown as { [name: string]: unknown[] };
  for (const [name, values] of Object.entries(standing.history.history)) logs[name] = [...values];
}

const standingOf = ({ history }: TrainingHandle, epoch: number, step: number): Standing => ({ epoch, step, history });

/**
 * Lets a training that was interrupted go on where it stopped, as Keras' `BackupAndRestore`: weights, optimizer, epoch, place in the
 * shuffled data and history are saved as training goes on, and the next `fit` with the same folder, model, data and options goes on from
 * there. What it gives is bit for bit what a training without interruption gives, where no other callback keeps something of its own
 * (`earlyStopping` begins to count anew). Put it last in the list of callbacks, so that it saves what the others have changed. Batches
 * from an iterable begin anew with the epoch: they need `saveFreq: "epoch"`. The model must be built.
 * @param backupDir a folder, which is made where there is none, or a `BackupStore` where there are no files
 * @throws ArgumentError for bad options; from `fit`, FileError for a backup that is damaged or of another model, LockstepError for a model
 * that is not built, and for `saveFreq` in batches with an iterable
 * @example await model.fit(x, y, { epochs: 100, callbacks: [backupAndRestore("backup")] });
 */
export function backupAndRestore(backupDir: string | URL | BackupStore, options?: BackupAndRestoreOptions): Callback {
  const who = "backupAndRestore";
  const { saveFreq, doubleCheckpoint, deleteCheckpoint } = optionsOf<Required<BackupAndRestoreOptions>>(
    who,
    { saveFreq: "epoch", doubleCheckpoint: false, deleteCheckpoint: true },
    options,
  );
  if (saveFreq !== "epoch" && typeof saveFreq === "string")
    throw new ArgumentError(`${who}: saveFreq must be "epoch" or a number of batches, got ${shown(saveFreq)}`);
  if (saveFreq !== "epoch") checkCount(who, "saveFreq", saveFreq);
  const isFolder = backupDir instanceof URL || (typeof backupDir === "string" && backupDir !== "");
  if (!isFolder && typeof (backupDir as Partial<BackupStore> | null)?.write !== "function")
    throw new ArgumentError(`${who}: expected the path of a folder, or a store with read, write and remove, got ${kindOf(backupDir)}`);
  const folder = isFolder ? folderStore(backupDir, doubleCheckpoint) : null;
  const store: BackupStore = folder ?? (backupDir as BackupStore);
  const name = `${who}: ${folder === null ? "the backup" : `"${folder.name}"`}`;
  /** Of the epoch: the step that it began with, and how many had been run before it. */
  let [first, before, seen] = [0, 0, 0];

  const found = async (): Promise<Awaited<ReturnType<typeof decode>> | null> => {
    try {
      const bytes = await store.read();
      if (bytes !== null) return await decode(name, bytes);
    } catch (error) {
      if (!doubleCheckpoint || !(error instanceof FileError)) throw error;
      console.warn(`lockstep: ${error.message}; the backup before it is taken`);
    }
    const bytes = doubleCheckpoint ? ((await folder?.previous()) ?? null) : null;
    return bytes === null ? null : decode(name, bytes);
  };
  const save = async (training: TrainingHandle, epoch: number, step: number): Promise<void> =>
    store.write(await encode(standingOf(training, epoch, step), await held(training)));

  return {
    async onTrainBegin(training) {
      [first, before, seen] = [0, 0, 0];
      if (training.position.step === null && saveFreq !== "epoch")
        throw new LockstepError(`${who}: batches of an iterable cannot be begun in the middle of an epoch; use saveFreq: "epoch"`);
      if ((await training.weights()).length === 0)
        throw new LockstepError(`${who}: the model has no weights yet: give inputShape, or call build() before fit()`);
      const backup = await found();
      if (backup !== null) await restore(name, training, backup);
    },
    onEpochBegin(_epoch, _logs, { position }) {
      [first, before] = [position.step ?? 0, seen];
    },
    async onEpochEnd(epoch, _logs, training) {
      if (saveFreq === "epoch") await save(training, epoch + 1, 0);
    },
    // Having the method has every batch waited for.
    ...(saveFreq !== "epoch" && {
      async onBatchEnd(step: number, _logs: object, training: TrainingHandle) {
        seen = step + 1;
        if (seen % saveFreq === 0) await save(training, training.position.epoch, first + seen - before);
      },
    }),
    async onTrainEnd() {
      if (deleteCheckpoint) await store.remove();
    },
  };
}
