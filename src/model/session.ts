/** @file Sequences that a model reads and writes token by token: what `generator` makes and `generate` runs on. */
import { checkCount, kindOf } from "../check.ts";
import { bytesOf } from "../dtype.ts";
import { ArgumentError, DataError, LockstepError, NonFiniteError } from "../errors.ts";
import { optionsOf } from "../options.ts";
import { Slices } from "../pacing.ts";
import { relieved } from "../relief.ts";
import { inTurn, using } from "../run.ts";
import type { Executable, Runnable } from "../run.ts";
import { Tensor, tensor } from "../tensor.ts";
import type { Decoder } from "./decoder.ts";
import { checkSampling, keyOf, optionsTensor, SAMPLING_DEFAULTS } from "./sampling.ts";
import type { SamplingOptions } from "./sampling.ts";

/** Numbers of tokens. */
export type Tokens = readonly number[] | Int32Array | Uint32Array | Uint16Array | Uint8Array;

/** What of an `AbortSignal` is looked at. */
export interface Stop {
  readonly aborted: boolean;
  readonly reason: unknown;
}

/** Options of `generate`. */
export interface GenerateOptions extends SamplingOptions {
  /** Most tokens of each sequence. Default: 256, or as many as there is room for. */
  readonly maxTokens?: number;
  /** Same seed, same text: on every backend, runtime and number of threads of a backend opened with `reproducible`. Default 0. */
  readonly seed?: number;
  /**
   * Tokens, or sequences of tokens, that end a sequence: it is complete with the last token of one of them, which is given, too. Default
   * none.
   */
  readonly stop?: readonly (number | readonly number[])[];
  /** An `AbortSignal`: ends generation between two tokens, with its reason as the error. */
  readonly signal?: Stop;
  /**
   * Tokens that one run draws of each sequence; they are given one by one all the same. More take fewer calls and waits for the backend,
   * but come in groups, and what a run draws behind the end of a text is computed for nothing. The text is the same. Where the backend
   * computes by itself, the next run is under way while the tokens of one are given. Default: 4 on WebGPU, 1 on WebAssembly.
   */
  readonly tokensPerRun?: number;
}

/** Tokens without an option. */
export const MOST_TOKENS = 256;
/** Tokens of a run without an option, where reading what a run has drawn takes a wait. */
const TOKENS_PER_RUN = 4;
export type AllOptions = Required<SamplingOptions> & {
  readonly maxTokens: number | null;
  readonly seed: number;
  readonly stop: readonly (number | readonly number[])[];
  readonly signal: Stop | null;
  readonly tokensPerRun: number | null;
};

export function optionsFor(who: string, given: GenerateOptions | undefined): AllOptions {
  const defaults: AllOptions = { ...SAMPLING_DEFAULTS, maxTokens: null, seed: 0, stop: [], signal: null, tokensPerRun: null };
  const o = optionsOf(who, defaults, given as Partial<AllOptions> | undefined);
  checkSampling(who, o);
  if (o.maxTokens !== null) checkCount(who, "maxTokens", o.maxTokens);
  checkCount(who, "seed", o.seed, 0);
  if (o.tokensPerRun !== null) checkCount(who, "tokensPerRun", o.tokensPerRun);
  const isToken = (t: unknown): boolean => Number.isSafeInteger(t);
  if (!Array.isArray(o.stop) || !o.stop.every((s) => isToken(s) || (Array.isArray(s) && s.length > 0 && s.every(isToken))))
    throw new ArgumentError(`${who}: stop must be a list of tokens and of lists of tokens, got ${JSON.stringify(o.stop)}`);
  return o;
}

export const isTokens = (x: unknown): x is Tokens => Array.isArray(x) || (ArrayBuffer.isView(x) && !(x instanceof DataView));
export const isPrompts = (x: unknown): x is readonly Tokens[] => Array.isArray(x) && x.length > 0 && x.every(isTokens);

/** @throws DataError for what is no token of the vocabulary, ArgumentError for what is no list. */
function readTokens(who: string, tokens: unknown, vocabulary: number): number[] {
  if (!isTokens(tokens)) throw new ArgumentError(`${who}: expected a list of tokens such as [1, 2, 3], got ${kindOf(tokens)}`);
  const list = Array.from(tokens as ArrayLike<number>);
  const wrong = list.findIndex((t) => !(Number.isSafeInteger(t) && t >= 0 && t < vocabulary));
  if (wrong >= 0)
    throw new DataError(`${who}: tokens are integers from 0 to ${vocabulary - 1}, got ${String(list[wrong])} at place ${wrong}`);
  return list;
}

/** Whether `tokens` end with one of `stops`. */
const ended = (tokens: readonly number[], stops: AllOptions["stop"]): boolean =>
  stops.some((stop) => {
    const list = typeof stop === "number" ? [stop] : stop;
    return list.every((t, i) => tokens[tokens.length - list.length + i] === t);
  });

/**
 * Sequences that a model reads and writes, with the keys and values of their tokens: what `generator` makes. Reads and writes follow one
 * another; those of several sessions may alternate.
 */
export class Session {
  /** The most tokens of a sequence. */
  readonly capacity: number;
  /** Sequences that are generated together. */
  readonly batch: number;
  readonly #decoder: Decoder;
  /** Its tensors, by those of the decoder that stand for them. */
  readonly #tensors = new Map<Tensor, Tensor>();
  /** By sequence: tokens in the caches, and those that came and were not read yet. */
  #read: number[];
  #unread: number[][];
  /** Whether runs may have drawn, and seen, more than was given. */
  #ahead = false;
  #busy = false;
  #closed = false;

  /** @internal Use `generator()`. */
  constructor(decoder: Decoder) {
    this.capacity = decoder.capacity;
    this.batch = decoder.batch;
    this.#decoder = decoder;
    this.#read = new Array<number>(this.batch).fill(0);
    this.#unread = this.#read.map(() => []);
  }

  /** Tokens of each sequence so far, read or generated. */
  get lengths(): readonly number[] {
    return this.#read.map((n, b) => n + this.#unread[b].length);
  }

  /**
   * Reads tokens that come next, in runs of up to 512: one list, for all sequences, or one for each of them. What is generated from here
   * does not read them again.
   * @throws ArgumentError where they do not fit the capacity, DataError for tokens outside of the vocabulary
   */
  async prefill(prompt: Tokens | readonly Tokens[]): Promise<void> {
    await this.#alone("prefill", async () => {
      this.#take("prefill", this.#lists("prefill", prompt), 0);
      await this.#readAllButLast(this.#perRun);
    });
  }

  /**
   * Reads the prompt and generates what comes next. One list gives tokens one by one; a list of lists, one for each sequence, gives at
   * each step a list of tokens, one for each sequence, null for those that are complete. To generate from where the session is, give an
   * empty prompt. What has been given belongs to the sequences: the next prompt comes behind it.
   * @throws ArgumentError for bad options and where prompt and `maxTokens` do not fit the capacity, DataError for tokens outside of the
   * vocabulary, NonFiniteError for logits that are not finite
   */
  generate(prompt: Tokens, options?: GenerateOptions): AsyncGenerator<number, void, void>;
  generate(prompts: readonly Tokens[], options?: GenerateOptions): AsyncGenerator<(number | null)[], void, void>;
  async *generate(prompt: Tokens | readonly Tokens[], options?: GenerateOptions): AsyncGenerator<number | (number | null)[], void, void> {
    const who = "generate";
    const o = optionsFor(who, options);
    const several = isPrompts(prompt);
    if (!several && this.batch !== 1)
      throw new ArgumentError(
        `${who}: give ${this.batch} prompts, a list for each sequence, for example new Array(${this.batch}).fill([])`,
      );
    const lists = this.#lists(who, prompt);
    const stopIfAborted = (): void => {
      if (o.signal?.aborted) throw o.signal.reason;
    };
    const finish = this.#begin(who);
    try {
      stopIfAborted();
      const most = this.#take(who, lists, o.maxTokens);
      const count = Math.min(o.tokensPerRun ?? this.#perRun, most);
      await this.#readAllButLast(count);
      const { backend, positions, token, active, options: sampling, key } = this.#decoder;
      const mine = (t: Tensor): Tensor => this.#tensors.get(t) as Tensor;
      mine(sampling).set(optionsTensor(o));
      mine(key).set(keyOf(o.seed, Math.max(...this.lengths)));
      mine(token).set(Int32Array.from(this.#unread, (list) => list[list.length - 1]));
      mine(positions).set(Int32Array.from(this.#read));
      const goes = new Int32Array(this.batch).fill(1);
      mine(active).set(goes.slice());
      const made: number[][] = this.#read.map(() => []);
      const slices = new Slices();
      const drawn = mine(this.#decoder.drawn(count));
      this.#ahead = count > 1;
      let enqueued = 0;
      const enqueue = async (): Promise<void> => {
        enqueued += count;
        await this.#run(() => this.#decoder.step(count), []);
      };
      for (let i = 0; i < most;) {
        stopIfAborted();
        if (enqueued === i) await enqueue();
        // What this run has drawn is read before the next one begins, however late it arrives.
        const reading = drawn.data();
        if (count > 1 && backend.limits.asynchronous && enqueued < most) await Promise.all([reading, enqueue()]);
        const tokens = await reading;
        for (let row = 0; row < count && i < most; row++, i++) {
          if (row > 0) stopIfAborted();
          const given = Array.from(goes, (going, b) => (going === 1 ? tokens[row * this.batch + b] : null));
          given.forEach((t, b) => {
            if (t === null) return;
            if (t < 0)
              throw new NonFiniteError(`${who}: the logits of sequence ${b} became NaN or infinite behind token ${this.lengths[b] - 1}`);
            this.#read[b]++;
            this.#unread[b] = [t];
            if (o.stop.length === 0) return;
            made[b].push(t);
            if (ended(made[b], o.stop)) goes[b] = 0;
          });
          if (given.some((t, b) => t !== null && goes[b] === 0)) mine(active).set(goes.slice());
          yield several ? given : (given[0] as number);
          if (!goes.includes(1)) return;
          await slices.rest();
        }
      }
    } finally {
      finish();
    }
  }

  /** Another session that goes on from here, with a copy of all that this one has read. They share programs. */
  async fork(): Promise<Session> {
    return this.#alone("fork", async () => {
      const copy = new Session(this.#decoder);
      const { state, others } = this.#decoder;
      if (this.#tensors.size > 0) {
        await copy.#make(null);
        const both = new Map([...this.#tensors, ...state.map((t, i) => [others[i], copy.#tensors.get(t) as Tensor] as const)]);
        await this.#run(() => this.#decoder.copy(), [], both);
      }
      copy.#ahead = this.#ahead;
      copy.#read = [...this.#read];
      copy.#unread = this.#unread.map((list) => [...list]);
      return copy;
    });
  }

  /** Forgets all tokens, and begins anew. */
  reset(): void {
    this.#begin("reset")();
    this.#read.fill(0);
    this.#unread = this.#read.map(() => []);
    const seen = this.#tensors.get(this.#decoder.seen);
    seen?.set(new Int32Array(seen.size));
    this.#ahead = false;
  }

  /** Gives the memory of the caches back now instead of when the session is collected. Harmless when repeated. */
  close(): void {
    this.#closed = true;
    for (const t of this.#tensors.values()) t.dispose();
    this.#tensors.clear();
  }

  /** `close()` at the end of a block: `using session = await generator(...)`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal Logits of tokens of one sequence, of which runs read the first `first` and then the others. */
  async logits(tokens: readonly number[], first: number): Promise<Float32Array> {
    const out: number[] = [];
    for (let at = 0; at < tokens.length;) {
      const part = tokens.slice(at, at === 0 ? first : undefined);
      const find = (): Promise<Executable> => this.#decoder.prefill(part.length, true);
      await find();
      await this.#make(null);
      const inputs = [tensor(Int32Array.from(part), [1, part.length], "i32"), tensor(Int32Array.of(part.length))];
      const [y] = await this.#run(find, inputs, this.#tensors, (program) => program.results());
      for (const v of await y.data()) out.push(v);
      at += part.length;
    }
    this.close();
    return Float32Array.from(out);
  }

  /** A prompt for each sequence. */
  #lists(who: string, prompt: unknown): number[][] {
    const { vocabulary } = this.#decoder;
    if (!isPrompts(prompt)) {
      const list = readTokens(who, prompt, vocabulary);
      return this.#read.map(() => list);
    }
    if (prompt.length !== this.batch)
      throw new ArgumentError(`${who}: expected prompts for ${this.batch} sequences, got ${prompt.length}; see the option batch`);
    return prompt.map((list) => readTokens(who, list, vocabulary));
  }

  /** Takes tokens in, and tells how many may be generated behind them. @throws ArgumentError where there is no room for all */
  #take(who: string, lists: readonly (readonly number[])[], maxTokens: number | null): number {
    const lengths = this.lengths.map((n, b) => n + lists[b].length);
    const empty = lengths.indexOf(0);
    if (empty >= 0 && maxTokens !== 0)
      throw new ArgumentError(`${who}: sequence ${empty} has no token yet; begin with one, such as that of a text's start`);
    const longest = Math.max(...lengths);
    // The last token generated need not be read.
    const room = this.capacity - longest + 1;
    const most = maxTokens ?? Math.min(MOST_TOKENS, room);
    if (most > room || room < 1) {
      throw new ArgumentError(
        `${who}: ${longest} tokens${most > 0 ? ` and ${most} to be generated` : ""} are more than the capacity of ${this.capacity}; make ` +
          `the generator with capacity: ${longest + Math.max(most, 1) - 1}, or reset() it`,
      );
    }
    this.#unread = this.#unread.map((list, b) => [...list, ...lists[b]]);
    return most;
  }

  /** Tokens of a run where nobody says. */
  get #perRun(): number {
    return this.#decoder.backend.limits.hostMemory ? 1 : TOKENS_PER_RUN;
  }

  /**
   * Reads what has come but the last token of each sequence, which is what the next is drawn from, and makes ready for runs that draw
   * `count` tokens.
   */
  async #readAllButLast(count: number): Promise<void> {
    const decoder = this.#decoder;
    const { batch, positions } = decoder;
    const tell = (): void => this.#tensors.get(positions)?.set(Int32Array.from(this.#read));
    if (this.#ahead) {
      tell();
      await this.#run(() => decoder.rewind(), []);
      this.#ahead = false;
    }
    for (;;) {
      const left = Math.max(...this.#unread.map((list) => list.length - 1));
      if (left <= 0) break;
      const time = decoder.chunk(left);
      const counts = this.#unread.map((list) => Math.max(0, Math.min(time, list.length - 1)));
      const tokens = new Int32Array(batch * time);
      counts.forEach((n, b) => tokens.set(this.#unread[b].slice(0, n), b * time));
      const find = (): Promise<Executable> => decoder.prefill(time);
      // The first trace tells which caches there are.
      await find();
      await this.#make(null);
      tell();
      await this.#run(find, [tensor(tokens, [batch, time], "i32"), tensor(Int32Array.from(counts), [batch], "i32")]);
      counts.forEach((n, b) => {
        this.#read[b] += n;
        this.#unread[b].splice(0, n);
      });
    }
    await decoder.step(count);
    await this.#make(decoder.drawn(count));
  }

  /** Makes what the session keeps on the backend, and a tensor of its own for `drawn`. */
  async #make(drawn: Tensor | null): Promise<void> {
    const { backend, state, caches } = this.#decoder;
    for (const t of drawn === null ? state : [...state, drawn]) {
      if (this.#tensors.has(t)) continue;
      const own = new Tensor(t.shape, t.dtype, null, 0, caches.includes(t) ? null : new Int32Array(t.size));
      if (caches.includes(t)) {
        own.adopt(backend, await relieved(backend, () => backend.alloc(bytesOf(t.size))));
        own.markDeviceNewer();
      }
      this.#tensors.set(t, own);
    }
  }

  /** Runs a program on the session's tensors. */
  #run<T = void>(
    find: () => Promise<Executable>,
    inputs: readonly Tensor[],
    instead: ReadonlyMap<Tensor, Tensor> = this.#tensors,
    then: (program: Executable) => T | Promise<T> = () => undefined as T,
  ): Promise<T> {
    return using(find, inputs, (program) => {
      const runnable: Runnable = {
        backend: program.backend,
        begin: () => program.begin(),
        done: () => program.done(),
        enqueue: (given) => program.enqueue(given, instead),
      };
      return inTurn(runnable, inputs, () => then(program));
    });
  }

  /** @throws LockstepError while something else runs, and after close(). Call what it returns at the end. */
  #begin(who: string): () => void {
    if (this.#closed) throw new LockstepError(`${who}: the session is closed; make another with generator() or fork()`);
    if (this.#busy) throw new LockstepError(`${who}: the session is reading or generating; wait for it, or end its loop, first`);
    this.#busy = true;
    return () => {
      this.#busy = false;
    };
  }

  async #alone<T>(who: string, work: () => Promise<T>): Promise<T> {
    const finish = this.#begin(who);
    try {
      return await work();
    } finally {
      finish();
    }
  }
}
