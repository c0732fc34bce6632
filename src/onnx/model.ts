/**
 * @file A loaded graph. `run` binds its free dimensions: for each new set of input shapes the nodes are traced into a program. Where an
 * operator asks for elements that only a run can tell (the length of what NonZero finds, the condition of an If), the program ends there:
 * what was traced so far is a stage, which runs, the elements are read, and the rest is traced knowing them.
 */
import { ArgumentError, BackendError, DTypeError, FileError, ShapeError, Tensor, compile, tensor } from "../index.ts";
import type { Backend, Compiled } from "../index.ts";
import { Scope, Trace, runStep } from "./graph.ts";
import type { Prepared } from "./graph.ts";
import { Keeper, Missing } from "./kept.ts";
import type { Constant } from "./tensors.ts";
import { dtypeOf, typeOf } from "./types.ts";
import type { ElementType } from "./types.ts";
import { HostStep, NotYetKnown, Value, tensorOf } from "./value.ts";
import type { HostFunction } from "./value.ts";

/** An input or output of a graph. */
export interface OnnxValue {
  readonly name: string;
  /** The element type by ONNX's name, such as "float32" or "int64"; null where the file does not say. */
  readonly dtype: ElementType | null;
  /** Null for dimensions of any size, and in the place of all where the file does not say. */
  readonly shape: readonly (number | null)[] | null;
}

/** Tensors by name. */
export interface NamedTensors {
  readonly [name: string]: Tensor;
}

/** A value that comes out of a stage: of the tensors that its program gives, where elements are not known. */
interface StageOutput {
  readonly name: string;
  /** Makes the value of these tensors. */
  readonly of: (next: () => Tensor) => Value;
}

/** Values whose elements a stage needs, those that are known among them. */
interface Wanted {
  readonly place: string;
  readonly values: readonly StageOutput[];
  /** Null where the elements themselves decide what follows. */
  readonly compute: HostFunction | null;
}

/** A part of the graph: what could be traced before elements had to be read. All but `program` is known once that has been traced. */
interface Stage {
  readonly program: Compiled<[Tensor[]], Tensor[]>;
  /** Names of values that go in. */
  readonly inputs: readonly string[];
  /** Places of what JavaScript computed that go in behind these. */
  readonly hosted: readonly string[];
  /** What later nodes read. */
  outputs: readonly StageOutput[];
  /** The first node that has not run. */
  next: number;
  /** What is read before the next stage: the last tensors that come out. Null at the end. */
  wanted: Wanted | null;
  /** Stages that follow, by those elements, or by the shapes of what is made of them. */
  readonly following: Map<string, Stage>;
}

/** What is known in the course of a run. */
interface Run {
  readonly values: Map<string, Value>;
  readonly answers: Map<string, Constant>;
  /** What JavaScript computed between stages, by place. */
  readonly hosted: Map<string, readonly Value[]>;
  /** What stages computed for later ones. */
  readonly made: Set<Tensor>;
}

/** Programs for different shapes that are kept. */
const MOST_STAGES = 64;
/** The most elements that tell stages apart. */
const MOST_READ = 2 ** 20;

const signature = (t: Tensor): string => `${t.dtype}[${t.shape.join()}]`;

/** A graph of ONNX that can be run. */
export class OnnxModel {
  /** What `run` takes. */
  readonly inputs: readonly OnnxValue[];
  /** What `run` gives. */
  readonly outputs: readonly OnnxValue[];
  /**
   * Tensors of floats that the file holds, by name. Those that a compiled function assigns, such as in training, are read anew by each run.
   */
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly #graph: Prepared;
  readonly #backend: Backend;
  readonly #keeper: Keeper;
  readonly #first = new Map<string, Stage>();
  /** Outputs that no node computes, constants and inputs: what a run gives of them is the caller's own. */
  readonly #passed: readonly string[];

  /** @internal */
  constructor(
    graph: Prepared,
    weights: ReadonlyMap<string, Tensor>,
    io: { readonly inputs: readonly OnnxValue[]; readonly outputs: readonly OnnxValue[] },
    backend: Backend,
  ) {
    this.#graph = graph;
    const computed = new Set(graph.steps.flatMap((s) => s.outputs));
    this.#passed = graph.outputs.filter((name) => !computed.has(name));
    this.weights = weights;
    this.inputs = io.inputs;
    this.outputs = io.outputs;
    this.#backend = backend;
    this.#keeper = new Keeper(backend);
  }

  /**
   * Computes the outputs. Integers of 64 bits are i32 here, and floats of 16 and 64 bits f32. One program is made for each set of shapes.
   * @throws ArgumentError for names that are missing or unknown, ShapeError and DTypeError for tensors of another kind
   */
  async run(inputs: NamedTensors): Promise<{ [name: string]: Tensor }> {
    const given = this.#checked(inputs);
    const run: Run = { values: new Map(given), answers: new Map(), hosted: new Map(), made: new Set() };
    const key = [...given].map(([name, v]) => `${name}:${signature(v.tensor)}`).join();
    let stage = this.#first.get(key);
    if (stage === undefined) this.#keep((stage = this.#stage(run, 0)), key);
    else {
      this.#first.delete(key);
      this.#first.set(key, stage);
    }
    for (;;) {
      const elements = await this.#runStage(stage, run);
      if (elements === null) break;
      let next = stage.following.get(elements);
      if (next === undefined) {
        if (stage.following.size >= MOST_STAGES) this.#closeOldest(stage.following);
        stage.following.set(elements, (next = this.#stage(run, stage.next)));
      }
      stage = next;
    }
    const outputs = Object.fromEntries(this.#graph.outputs.map((name) => [name, (run.values.get(name) as Value).tensor]));
    for (const t of Object.values(outputs)) run.made.delete(t);
    for (const t of run.made) t.dispose();
    return outputs;
  }

  /**
   * The same inside a function that is being compiled, for training: `compile((x) => net.call({ x }).y)`.
   * @throws FileError where an operator asks for elements that only a run can tell
   */
  call(inputs: NamedTensors): { [name: string]: Tensor } {
    const scope = this.#scope(new Trace(new Map(), new Map(), null), this.#checked(inputs));
    for (const step of this.#graph.steps) {
      try {
        runStep(step, scope);
      } catch (error) {
        if (!(error instanceof NotYetKnown || error instanceof HostStep)) throw error;
        throw new FileError(`call: ${step.who} asks for elements that are not known while a function is compiled; use run()`);
      }
    }
    return Object.fromEntries(this.#graph.outputs.map((name) => [name, (scope.get(name) as Value).tensor]));
  }

  /** Frees weights and programs. */
  dispose(): void {
    for (const t of this.weights.values()) t.dispose();
    this.#close([...this.#first.values()]);
    this.#first.clear();
    this.#keeper.dispose();
  }

  /** `dispose()` at the end of a block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #close(stages: readonly Stage[]): void {
    for (const s of stages) {
      s.program?.close();
      this.#close([...s.following.values()]);
    }
  }

  #keep(stage: Stage, key: string): void {
    if (this.#first.size >= MOST_STAGES) this.#closeOldest(this.#first);
    this.#first.set(key, stage);
  }

  #closeOldest(stages: Map<string, Stage>): void {
    const [key, stage] = [...stages][0];
    stages.delete(key);
    this.#close([stage]);
  }

  #checked(inputs: NamedTensors): Map<string, Value> {
    const names = this.inputs.map((i) => i.name);
    if (inputs === null || typeof inputs !== "object" || inputs instanceof Tensor)
      throw new ArgumentError(`run: expected tensors by name, { ${names.join(", ")} }`);
    const unknown = Object.keys(inputs).find((name) => !names.includes(name));
    if (unknown !== undefined) throw new ArgumentError(`run: there is no input "${unknown}"; known: ${names.join(", ")}`);
    return new Map(
      this.inputs.map(({ name, dtype, shape }) => {
        if (!Object.hasOwn(inputs, name)) throw new ArgumentError(`run: the input "${name}" is missing; expected ${names.join(", ")}`);
        const given: unknown = inputs[name];
        const t =
          given instanceof Tensor ? given : tensor(given as number[], undefined, dtype === null ? undefined : dtypeOf("run", dtype));
        const wanted = dtype === null ? t.dtype : dtypeOf(`run: the input "${name}"`, dtype);
        if (t.dtype !== wanted) throw new DTypeError(`run: the input "${name}" is ${dtype}, expected ${wanted}, got ${t.dtype}`);
        const fits = shape === null || (shape.length === t.rank && shape.every((d, i) => d === null || d === t.shape[i]));
        if (!fits) throw new ShapeError(`run: the input "${name}" is [${shape.map((d) => d ?? "any").join()}], got [${t.shape.join()}]`);
        return [name, Value.of(dtype ?? typeOf(t.dtype), t)];
      }),
    );
  }

  #scope(trace: Trace, values: ReadonlyMap<string, Value>): Scope {
    const scope = new Scope(trace);
    for (const [name, value] of this.#graph.values) scope.set(name, value.anew());
    for (const [name, value] of values) scope.set(name, value);
    return scope;
  }

  /** Nodes from `begin` on, as far as elements are known. */
  #stage({ values, answers, hosted }: Run, begin: number): Stage {
    const { steps, outputs } = this.#graph;
    const later = readFrom(steps, begin, outputs);
    const read = [...values].filter(([name]) => later.has(name)).map(([name, v]) => [name, v.like()] as const);
    const answered = new Map(answers);
    const made = [...hosted].map(([place, list]) => [place, list.map((v) => v.like())] as const);
    const stage: Stage = {
      inputs: read.map(([name]) => name),
      hosted: made.map(([place]) => place),
      outputs: [],
      next: begin,
      wanted: null,
      following: new Map(),
      program: compile(
        (tensors: Tensor[]) => {
          let place = 0;
          const next = (): Tensor => tensors[place++];
          const given = new Map(read.map(([name, like]) => [name, like(next)]));
          const trace = new Trace(answered, new Map(made.map(([at, list]) => [at, list.map((like) => like(next))])), this.#keeper);
          const scope = this.#scope(trace, given);
          const wanted = this.#advance(stage, scope, begin);
          this.#keeper.check();
          const needed = readFrom(steps, stage.next, outputs);
          const ran = steps.slice(begin, stage.next).flatMap((s) => s.outputs);
          const names = [...new Set([...ran, ...(stage.wanted === null ? this.#passed : [])])].filter((name) => needed.has(name));
          const results = names.map((name) => [name, scope.get(name) as Value] as const);
          stage.outputs = results.map(([name, v]) => ({ name, of: v.like() }));
          const computed = results.flatMap(([, v]) => v.unknown).map((v) => v.tensor);
          return [...computed, ...wanted.flatMap((v) => v.unknown).map((v) => v.tensor)];
        },
        { backend: this.#backend },
      ),
    };
    return stage;
  }

  /** Runs nodes from `begin` until the end, or until elements are asked for that are not known: those of the values that are returned. */
  #advance(stage: Stage, scope: Scope, begin: number): readonly Value[] {
    const { steps } = this.#graph;
    for (stage.next = begin; stage.next < steps.length; stage.next++) {
      try {
        runStep(steps[stage.next], scope);
      } catch (error) {
        if (!(error instanceof NotYetKnown || error instanceof HostStep)) throw error;
        const isHost = error instanceof HostStep;
        const values = isHost ? error.values : [error.value];
        const place = isHost ? error.place : scope.trace.placeOf(error.value);
        if (place === undefined) throw new FileError(`${steps[stage.next].who}: it asks for elements that no run can tell`);
        stage.wanted = { place, values: values.map((v) => ({ name: place, of: v.like() })), compute: isHost ? error.compute : null };
        return values;
      }
    }
    return [];
  }

  /** What a stage's program gives, once all is there that it reads of weights. */
  async #computed(stage: Stage, inputs: Tensor[]): Promise<Tensor[]> {
    const changing = this.#keeper.refresh();
    if (changing !== null) await changing;
    for (;;) {
      try {
        return await stage.program(inputs);
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        await this.#keeper.fulfil();
      }
    }
  }

  /** Runs a stage. Returns the elements that tell which one follows; null at the end. */
  async #runStage(stage: Stage, run: Run): Promise<string | null> {
    const values = [
      ...stage.inputs.map((name) => run.values.get(name) as Value),
      ...stage.hosted.flatMap((place) => run.hosted.get(place) as readonly Value[]),
    ];
    const tensors = await this.#computed(
      stage,
      values.flatMap((v) => v.unknown).map((v) => v.tensor),
    );
    for (const t of tensors) run.made.add(t);
    let place = 0;
    const next = (): Tensor => tensors[place++];
    for (const { name, of } of stage.outputs) run.values.set(name, of(next));
    if (stage.wanted === null) return null;
    const { place: at, compute, values: wanted } = stage.wanted;
    const constants: Constant[] = [];
    for (const { of } of wanted) constants.push(await readConstant(at, of(next), compute === null ? MOST_READ : Infinity));
    if (compute !== null) {
      const results = compute(constants);
      const made = results.map((c) => Value.of(c.type, tensorOf(at, c)));
      for (const v of made) run.made.add(v.tensor);
      run.hosted.set(at, made);
      return made.map((v) => signature(v.tensor)).join();
    }
    const [constant] = constants;
    run.answers.set(at, constant);
    if (run.values.has(at)) run.values.set(at, Value.known(constant));
    return `${constant.shape.join()}:${(constant.elements as ArrayLike<number> & { join(): string }).join()}`;
  }
}

/** Elements of what a stage has computed. */
async function readConstant(place: string, value: Value, most: number): Promise<Constant> {
  if (value.known !== null) return value.known;
  const t = value.tensor;
  if (t.size > most) throw new BackendError(`run: "${place}" decides what is computed, with ${t.size} elements; at most ${most} are read`);
  return { type: value.type, shape: t.shape, elements: await t.data() };
}

/** Names that nodes from `begin` on read, and outputs. */
const readFrom = (steps: Prepared["steps"], begin: number, outputs: readonly string[]): Set<string> =>
  new Set([...steps.slice(begin).flatMap((s) => [...s.inputs, ...s.captured]), ...outputs]);
