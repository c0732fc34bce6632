/**
 * @file The programs of a model that generates: prefill, which reads a chunk of tokens and keeps their keys and values, and step, which
 * reads one token of each sequence and draws the next, several times where a run draws several. What they keep lies on the backend and is
 * written in place: caches [batch * capacity, heads, features], positions, the last token, what was seen. Programs are made for stand-ins
 * without elements; each session brings its own tensors in their place, so that sessions share programs.
 */
import type { Backend } from "../backend.ts";
import { Body } from "../body.ts";
import { once } from "../cache.ts";
import type { Lru } from "../cache.ts";
import type { DType } from "../dtype.ts";
import { LockstepError, ShapeError } from "../errors.ts";
import { asTensor, currentGraph, Graph, trace } from "../graph.ts";
import { withMode } from "../mode.ts";
import { withDecoding } from "../nn/decoding.ts";
import type { Decoding } from "../nn/decoding.ts";
import { withContext } from "../nn/layer.ts";
import { attentionToHalves } from "../ops/attention.ts";
import { gather } from "../ops/gather.ts";
import { repeat } from "../ops/loop.ts";
import { add, and, cast, equal, greater, greaterEqual, less, maximum, minimum, mul, where } from "../ops/map.ts";
import { broadcastTo, expandDims, iota, reshape, reshapeOp } from "../ops/move.ts";
import { canBeHalves, scatterHalves, scatterUpdate } from "../ops/scatter.ts";
import { softmaxOp } from "../ops/softmax.ts";
import { placeAssigned } from "../plan/assigned.ts";
import { Executable, programCache } from "../run.ts";
import { showShape } from "../shape.ts";
import type { Shape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import type { InferenceModel } from "./inference.ts";
import { madeInside } from "./layers.ts";
import { tensorsOf } from "./outputs.ts";
import type { Outputs } from "./outputs.ts";
import { inputAsFloat } from "./predict.ts";
import { nextKey, sampled } from "./sampling.ts";
import type { Choice } from "./sampling.ts";

/** Tokens that one run of prefill reads of each sequence, at most. */
const CHUNKS = [8, 64, 512];

/** How keys and values are kept. */
export type CacheType = "f32" | "f16";

/** What stands for a tensor of each session. */
const standIn = (shape: Shape, dtype: DType): Tensor => new Tensor(shape, dtype, null, 0, null);

/** Assigns also where the build does not train. */
function keep(target: Tensor, value: Tensor): void {
  const graph = currentGraph() as Graph;
  graph.capture(target);
  graph.assigns.set(target, value);
}

/** The logits that `y` is or, where it is softmax of some, these: probabilities are no logits. */
function logitsOf(y: Tensor): Tensor {
  let t = y;
  while (t.node?.op === reshapeOp) t = t.node.inputs[0] as Tensor;
  const last = y.shape[y.rank - 1];
  return t.node?.op === softmaxOp && t.shape[t.rank - 1] === last ? reshape(t.node.inputs[0] as Tensor, y.shape) : y;
}

/** The programs for one model, batch and capacity on one backend. */
export class Decoder {
  readonly backend: Backend;
  readonly batch: number;
  readonly capacity: number;
  readonly vocabulary: number;
  readonly cache: CacheType;
  /** i32 [batch]: tokens that each sequence has in its cache, its last token, and whether it goes on. */
  readonly positions: Tensor;
  readonly token: Tensor;
  readonly active: Tensor;
  /**
   * i32 [batch * vocabulary]: 0 for tokens that the sequence does not have. Others: how long it was when it first had them, so that what
   * was drawn and thrown away can be forgotten; 1 for what a prompt has.
   */
  readonly seen: Tensor;
  /** See sampling.ts. */
  readonly options = standIn([5], "f32");
  readonly key = standIn([4], "u32");
  /** Keys and values of each call that attends, in the order of these calls; known from the first trace on. */
  readonly caches: Tensor[] = [];
  readonly model: InferenceModel<Outputs>;
  readonly #programs: Lru<Executable>;
  readonly #drawn = new Map<number, Tensor>();
  #others: readonly Tensor[] | null = null;

  constructor(
    model: InferenceModel<Outputs>,
    backend: Backend,
    batch: number,
    capacity: number,
    vocabulary: number,
    cache: CacheType = "f32",
  ) {
    this.model = model;
    this.backend = backend;
    this.batch = batch;
    this.capacity = capacity;
    this.vocabulary = vocabulary;
    this.cache = cache;
    [this.positions, this.token, this.active] = Array.from({ length: 3 }, () => standIn([batch], "i32"));
    this.seen = standIn([batch * vocabulary], "i32");
    this.#programs = programCache(backend);
  }

  /** All that a session has tensors for. */
  get state(): readonly Tensor[] {
    return [this.positions, this.token, this.active, this.seen, this.options, this.key, ...this.caches];
  }

  /** How many tokens the next run of prefill reads, of `left` that are to be read. */
  chunk(left: number): number {
    return Math.min(Math.max(CHUNKS[0], ...CHUNKS.filter((size) => size <= 2 * left)), this.capacity);
  }

  /** Reads inputs i32 [batch, time], of which the first counts[batch] count. With `results` it gives the logits of all. */
  prefill(time: number, results = false): Promise<Executable> {
    return this.#program(`prefill ${time} ${results}`, () => {
      const { batch, capacity, positions, vocabulary } = this;
      const graph = currentGraph() as Graph;
      const tokens = graph.input({ shape: [batch, time], dtype: "i32" });
      const counts = graph.input({ shape: [batch], dtype: "i32" });
      const steps = iota([batch, time], { axis: 1 });
      const counted = less(steps, expandDims(counts, 1));
      const at = add(expandDims(positions, 1), steps);
      const ends = add(positions, counts);
      // What does not count is written nowhere; where it is does not matter.
      const logits = this.#forward(tokens, { counted, at: minimum(at, capacity - 1), ends });
      this.#see(this.#rows(counted, tokens, vocabulary), broadcastTo(asTensor(1, "i32"), [batch * time]));
      keep(positions, ends);
      return results ? [logits] : [];
    });
  }

  /**
   * Reads the last token of each sequence and draws the next, `count` times in one run. What is drawn stands in `drawn(count)`. Sequences
   * without room for more, and those of which no token could be drawn, stay as they are.
   */
  step(count: number, choice: Choice): Promise<Executable> {
    return this.#program(`step ${count} ${choice}`, () => {
      // Logits of half the digits would be alike that are not: temporaries in loops are never halves.
      if (count === 1 && !this.backend.limits.halves) {
        this.#decode(choice);
        return [];
      }
      const { ys } = repeat({ begin: [], xs: [], length: count, reverse: false, step: () => ({ next: [], ys: [this.#decode(choice)] }) });
      if (count > 1) keep(this.drawn(count), ys[0]);
      return [];
    });
  }

  /** What a run of `step(count)` draws, i32 [count, batch]. */
  drawn(count: number): Tensor {
    return count === 1 ? this.token : once(this.#drawn, count, () => standIn([count, this.batch], "i32"));
  }

  /** Forgets what was seen behind `positions`: tokens that were drawn in the same run as others, and thrown away. */
  rewind(): Promise<Executable> {
    return this.#program("rewind", () => {
      const seen = reshape((currentGraph() as Graph).capture(this.seen), [this.batch, this.vocabulary]);
      keep(this.seen, reshape(where(greater(seen, expandDims(this.positions, 1)), 0, seen), this.seen.shape));
      return [];
    });
  }

  /** Copies what a session has to what stands for the tensors of another, `others`. */
  copy(): Promise<Executable> {
    return this.#program("copy", () => {
      this.state.forEach((t, i) => keep(this.others[i], (currentGraph() as Graph).capture(t)));
      return [];
    });
  }

  /** What stands for the tensors of a second session, in the order of `state`. */
  get others(): readonly Tensor[] {
    this.#others ??= this.state.map((t) => standIn(t.shape, t.dtype));
    return this.#others;
  }

  /** Frees the programs. */
  close(): void {
    this.#programs.clear();
  }

  #program(key: string, body: () => readonly Tensor[]): Promise<Executable> {
    return this.#programs.get(key, () => {
      const graph = new Graph();
      const results = trace(graph, body);
      return Executable.create(graph, results, this.backend, placeAssigned);
    });
  }

  /** Numbers of rows in a table of `size` for each sequence, at `at` [batch, time]; -1, which writes nothing, where not `counted`. */
  #rows(counted: Tensor, at: Tensor, size: number): Tensor {
    const first = mul(iota(at.shape, { axis: 0 }), size);
    return reshape(where(counted, add(first, at), -1), [at.size]);
  }

  /** What was seen, with the tokens at `rows`, since when the sequences were so long. */
  #see(rows: Tensor, since: Tensor): Tensor {
    const seen = scatterUpdate(this.seen, rows, since);
    keep(this.seen, seen);
    return seen;
  }

  /** One token: reads the last of each sequence and draws the next, i32 [batch]. */
  #decode(choice: Choice): Tensor {
    const { batch, capacity, positions, token, active, vocabulary } = this;
    // A run may go on behind the last token that is wanted, or behind one of -1, which could not be drawn.
    const goes = and(and(equal(active, 1), greaterEqual(token, 0)), less(positions, capacity));
    const counted = expandDims(goes, 1);
    const ends = add(positions, cast(goes, "i32"));
    const at = minimum(expandDims(positions, 1), capacity - 1);
    const logits = reshape(this.#forward(expandDims(token, 1), { counted, at, ends }), [batch, vocabulary]);
    const rows = this.#rows(counted, expandDims(token, 1), vocabulary);
    const since = gather(this.seen, maximum(rows, 0));
    const seen = this.#see(rows, where(equal(since, 0), ends, since));
    const next = where(goes, sampled(logits, reshape(seen, [batch, vocabulary]), this.options, this.key, choice), token);
    keep(token, next);
    keep(positions, ends);
    keep(this.key, nextKey(this.key));
    return next;
  }

  /** Logits [batch, time, vocabulary] of tokens at positions `at`, whose keys and values go into the caches. */
  #forward(tokens: Tensor, { counted, at, ends }: { counted: Tensor; at: Tensor; ends: Tensor }): Tensor {
    const { batch, capacity, vocabulary, positions } = this;
    const model = this.model;
    const time = tokens.shape[1];
    const rows = this.#rows(counted, at, capacity);
    const graph = currentGraph();
    let calls = 0;
    const kept = (x: Tensor, halved: boolean): Tensor => {
      const [, , heads, features] = x.shape;
      const rest = [heads, halved ? features / 2 : features];
      const cache = (this.caches[calls] ??= standIn([batch * capacity, ...rest], halved ? "u32" : x.dtype));
      calls++;
      const next = (halved ? scatterHalves : scatterUpdate)(cache, rows, reshape(x, [batch * time, heads, features]));
      keep(cache, next);
      return reshape(next, [batch, capacity, ...rest]);
    };
    const decoding: Decoding = {
      capacity,
      positions: (count) => {
        if (count !== time) throw new LockstepError(`it has ${count} steps where ${time} are read: text needs an output for each token`);
        return at;
      },
      append: (k, v) => {
        for (let at = currentGraph(); at !== graph && at instanceof Body; at = at.outer) {
          if (at.steps !== 1)
            throw new LockstepError(
              `it is called in a scan of ${at.steps} steps, each of which would need keys and values of its own; while text is generated ` +
                "they are kept once for each call: stack layers with layerStack(layer, count), or call them one after another",
            );
        }
        const halved = this.cache === "f16" && [k, v].every((t) => canBeHalves(t.shape[3]));
        const [keys, values] = [k, v].map((t) => kept(t, halved));
        return { k: keys, v: values, offset: positions, lengths: ends, ...(halved && { attend: attentionToHalves }) };
      },
    };
    const known = new Set(model.weights.map((w) => w.tensor));
    const outputs = withMode({ training: false, key: null }, () =>
      withContext(
        {
          called: (layer) => {
            if (layer.weights.some((w) => !known.has(w.tensor))) throw new LockstepError(madeInside(layer));
          },
        },
        () => withDecoding(decoding, () => tensorsOf(model.forward([inputAsFloat(tokens)]))),
      ),
    );
    const [y] = outputs;
    const wanted = [batch, time, vocabulary];
    if (outputs.length !== 1 || showShape(y.shape) !== showShape(wanted)) {
      throw new ShapeError(
        `generate: model "${model.name}" must give logits [batch, time, vocabulary] = ${showShape(wanted)} for tokens ` +
          `${showShape(tokens.shape)}, got ${outputs.map((t) => showShape(t.shape)).join(", ")}`,
      );
    }
    return logitsOf(cast(y, "f32"));
  }
}
