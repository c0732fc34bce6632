/**
 * @file Plan to dispatches. Encoders write dispatches of shaders over operands; here shaders become pipelines, all of them
 * compiled at once and shared by text, and operands become bind groups, made when a set of buffers is first bound and kept.
 * A run encodes the same list again, in a compute pass that it may share with others (submissions.ts).
 */
// First, so that bundles begin with the text of the kernels: 0.4 KB less after compression.
import { shaderText } from "./shader.ts";
import type { Program } from "../backend.ts";
import { Lru, once } from "../cache.ts";
import { BackendError, internal, OutOfMemoryError } from "../errors.ts";
import type { Call, Plan } from "../plan/plan.ts";
import { slotBytes } from "../plan/plan.ts";
import { showShape } from "../shape.ts";
import type { Buffers, GpuMemory } from "./buffers.ts";
import type { Pending } from "./adapter.ts";
import { assert } from "../assert.ts";
import { CORE } from "./commands.ts";
import { together } from "./batches.ts";
import { fold } from "./dispatch.ts";
import type { DispatchWriter, GpuFeatures, GpuKernels, Shader } from "./dispatch.ts";
import { count, flat, mapped } from "./list.ts";
import type { EncodedDispatch, EncodedPlan, Listed, Resource } from "./list.ts";
import type { Declared, ShaderText } from "./shader.ts";

/**
 * Temporaries of a call that are at most as large as this are others than those of the calls before it, until there are so many: so they
 * are nothing that calls wait for.
 */
const MOST_SMALL = 2 ** 20;
const MANY_SMALL = 8;
/** Sets of buffers that a dispatch remembers bind groups for. */
const MOST_BIND_GROUPS = 16;
/** GPUShaderStage.COMPUTE, which runtimes without a global WebGPU do not have. */
const COMPUTE = 0x4;

/**
 * @param kernels what `kernelsFor` (commands.ts) gives for the plan
 * @throws BackendError where a kernel needs more buffers than the adapter binds, and for one that there is not.
 */
export function encode(plan: Plan, features: GpuFeatures, { encoders, shaders, joins = [], product }: GpuKernels = CORE): EncodedPlan {
  let list: Listed<EncodedDispatch>[] = [];
  const temporaries: number[] = [];
  const [small, large]: { next: number; readonly indices: number[] }[] = [{ next: 0, indices: [] }, { next: 0, indices: [] }];
  let source = "";
  /** Programs are mostly a few kernels again and again: their texts by what they are made of. */
  const texts = new Map<string, ShaderText>();
  const joinedCalls = ({ calls }: Plan): readonly Call[] =>
    joins.reduce<readonly Call[]>(
      (list, join) => join(list, features),
      calls.map((c) => (c.body ? { ...c, body: { ...c.body, calls: joinedCalls(c.body) } } : c)),
    );
  const writer: DispatchWriter = {
    features,
    product: product && ((given) => product(given, writer)),
    dispatch(shader: Shader, buffers, groups) {
      const halves = buffers.flatMap((b, i) => (b?.half ? [i] : []));
      const { file, entry: wanted, constants, hooks = {}, body, directives = [] } = shader;
      const alone = shader.alone === true || directives.length > 0;
      const key = [file, wanted, Object.entries(constants).join(), Object.entries(hooks).join(), halves.join(), body].join("\n");
      const { text, entry, declared, declarations } = once(texts, key, () => shaderText(shader, shaders, new Set(halves), features.half));
      const label = `${shader.file}.${entry}`;
      if (declared.length > features.maxBuffers) {
        throw new BackendError(
          `webgpu: ${label}${source ? ` (${source})` : ""} needs ${declared.length} buffers, this adapter binds ` +
            `${features.maxBuffers}; use open("wasm")`,
        );
      }
      let missing = 0;
      const resources = declared.map(({ binding, writable }): Resource => {
        const b = buffers[binding];
        assert(b !== undefined, () => `${label}: nothing is given for binding ${binding}`);
        if (b === null) return { binding, space: "absent", index: writable ? ++missing : 0, offset: 0, bytes: 0, writable };
        assert(b.access === "read" || writable, () => `${label}: binding ${binding} is declared read-only and was given to be written`);
        return { binding, space: b.place.space, index: b.place.index, offset: b.place.offset, bytes: b.bytes, writable };
      });
      assert(
        () =>
          resources.every(
            (r, i) => !resources.some((o, j) => j < i && o.space === r.space && o.index === r.index && (o.writable || r.writable)),
          ),
        () => `${label}: a buffer is bound twice, and written`,
      );
      const counts = typeof groups === "number" ? ([...fold(groups, features.maxGroups), 1] as const) : groups;
      assert(
        () => counts.every((n) => Number.isInteger(n) && n >= 0 && n <= features.maxGroups),
        () => `${label}: ${counts} groups`,
      );
      if (counts.every((n) => n > 0)) list.push({ label, text, entry, alone, declared, declarations, resources, groups: counts });
    },
    loop(steps, write) {
      const around = list;
      list = [];
      write();
      if (list.length > 0) around.push({ steps, list });
      list = around;
    },
    call(call) {
      if (!Object.hasOwn(encoders, call.kernel))
        throw new BackendError(
          `webgpu: there is no kernel "${call.kernel}"${call.source ? ` (${call.source})` : ""} yet; use open("wasm")`,
        );
      source = call.source;
      encoders[call.kernel](call, writer);
    },
    temporary(bytes) {
      const turn = bytes > MOST_SMALL ? large : small;
      const index = (turn.indices[turn.next++] ??= temporaries.push(0) - 1);
      temporaries[index] = Math.max(temporaries[index], bytes);
      const place = { space: "temporary", index, offset: 0 } as const;
      return {
        read: { place, bytes, access: "read" },
        write: { place, bytes, access: "write" },
        update: { place, bytes, access: "update" },
      };
    },
  };
  for (const call of joinedCalls(plan)) {
    large.next = 0;
    if (small.next >= MANY_SMALL) small.next = 0;
    writer.call(call);
  }
  list = together(list, features);
  const dispatches = [...flat(list)];
  const absent = dispatches.map(({ resources }) => resources.filter((r) => r.space === "absent" && r.writable).length);
  return { list, dispatches, temporaries, absent: absent.reduce((a, b) => Math.max(a, b), 0) };
}

/** @throws BackendError for the first tensor or temporary that one binding cannot hold. */
export function checkSizes(plan: Plan, temporaries: readonly number[], maxBytes: number): void {
  const refuse = (what: string, bytes: number): never => {
    throw new BackendError(
      `webgpu: ${what} needs ${bytes} bytes, this adapter binds at most ${maxBytes} at once; use a smaller batch, or open("wasm")`,
    );
  };
  for (const b of plan.bindings) if (b.bytes > maxBytes) refuse(`a tensor ${b.dtype}${showShape(b.shape)} (${b.kind})`, b.bytes);
  for (const bytes of [...plan.slots, ...temporaries]) if (bytes > maxBytes) refuse("a temporary", bytes);
}

/** About what a pipeline takes beside its text, and what all that are kept for other programs may take. */
const PIPELINE_BYTES = 2 ** 16;
const MOST_PIPELINES = 64 * 2 ** 20;

interface Pipeline {
  readonly bytes: number;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines of a device, by shader text. Programs have theirs even when they are not kept here any more. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #pending: Pending;
  readonly #pipelines = new Lru<Pipeline>(MOST_PIPELINES, Infinity);
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();

  constructor(device: GPUDevice, pending: Pending) {
    this.#device = device;
    this.#pending = pending;
  }

  /** What the device says about the errors of what was done since the last `pushErrorScope`. */
  popErrorScope(): Promise<GPUError | null> {
    return this.#pending.add(this.#device.popErrorScope());
  }

  get(dispatch: EncodedDispatch): Promise<Pipeline> {
    return this.#pipelines.get(`${dispatch.entry}\n${dispatch.text}`, () => this.#create(dispatch));
  }

  async #create({ label, text, entry, declared }: EncodedDispatch): Promise<Pipeline> {
    const layout = this.#layout(declared);
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ code: text, label });
    const creating = this.#pending.add(
      this.#device.createComputePipelineAsync({ label, layout: layout.pipeline, compute: { module, entryPoint: entry } }),
    );
    const [pipeline, invalid] = await Promise.all([creating.catch((error: unknown) => error as Error), this.popErrorScope()]);
    if (invalid !== null || pipeline instanceof Error) {
      const { messages } = await this.#pending.add(module.getCompilationInfo());
      const lines = text.split("\n");
      const details = messages.filter((m) => m.type === "error").map((m) => `${m.message} in: ${lines[m.lineNum - 1] ?? ""}`);
      throw new BackendError(
        `webgpu: the driver refused ${label}: ${details.join("; ") || (pipeline instanceof Error ? pipeline.message : invalid?.message)}`,
        { cause: pipeline },
      );
    }
    return { pipeline, layout: layout.group, bytes: PIPELINE_BYTES + 2 * text.length };
  }

  #layout(declared: readonly Declared[]): { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout } {
    const key = declared.map((d) => `${d.binding}${d.writable ? "w" : "r"}`).join();
    let found = this.#layouts.get(key);
    if (found === undefined) {
      const group = this.#device.createBindGroupLayout({
        entries: declared.map((d) => ({
          binding: d.binding,
          visibility: COMPUTE,
          buffer: { type: d.writable ? "storage" : "read-only-storage" } as const,
        })),
      });
      found = { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.#layouts.set(key, found);
    }
    return found;
  }
}

interface Dispatch extends Pipeline {
  readonly groups: readonly [number, number, number];
  readonly resources: readonly Resource[];
  /** Indices of the plan's bindings that it binds. */
  readonly bindings: readonly number[];
  /** Bind groups by the ids of the buffers at `bindings`. */
  readonly known: Map<string, GPUBindGroup>;
  group: GPUBindGroup | null;
}

/** A whole buffer that is copied into another. */
interface BufferCopy {
  readonly from: GPUBuffer;
  readonly to: GPUBuffer;
  readonly bytes: number;
}

/** A program ready to be encoded. */
export class GpuProgram implements Program {
  readonly plan: Plan;
  readonly bytes: number;
  readonly #device: GPUDevice;
  readonly #buffers: Buffers;
  #list: readonly Listed<Dispatch>[] = [];
  #dispatches: readonly Dispatch[] = [];
  readonly #slots: readonly GpuMemory[];
  readonly #temporaries: readonly GpuMemory[];
  readonly #absent: readonly GpuMemory[];
  /** What is bound: ids of the buffers of the last run, and the buffers themselves, shadows in the place of some. */
  readonly #ids: number[];
  readonly #bound: GPUBuffer[];
  /** Copies of tensors that stand for two bindings of which one is written: by binding. */
  readonly #shadows = new Map<number, GpuMemory>();
  #copies: readonly BufferCopy[] = [];
  #closed = false;
  /** Dispatches of a run. */
  dispatches = 0;
  /** Milliseconds that a run took lately, waits included; infinite before the first is done. */
  ms = Infinity;

  private constructor(
    plan: Plan,
    device: GPUDevice,
    buffers: Buffers,
    encoded: EncodedPlan,
    pipelines: readonly Pipeline[],
    memory: { slots: GpuMemory[]; temporaries: GpuMemory[]; absent: GpuMemory[] },
  ) {
    this.plan = plan;
    this.bytes = slotBytes(plan) + encoded.temporaries.reduce((a, b) => a + b, 0);
    this.#device = device;
    this.#buffers = buffers;
    this.#slots = memory.slots;
    this.#temporaries = memory.temporaries;
    this.#absent = memory.absent;
    this.#ids = plan.bindings.map(() => 0);
    this.#bound = new Array<GPUBuffer>(plan.bindings.length);
    this.#take(encoded, pipelines);
  }

  #take(encoded: EncodedPlan, pipelines: readonly Pipeline[]): void {
    let next = 0;
    this.#list = mapped(encoded.list, ({ resources, groups }): Dispatch => ({
      ...pipelines[next++],
      groups,
      resources,
      group: null,
      known: new Map(),
      bindings: [...new Set(resources.filter((r) => r.space === "binding").map((r) => r.index))],
    }));
    this.#dispatches = [...flat(this.#list)];
    this.dispatches = count(this.#list);
  }

  /** @throws BackendError for shaders that the driver refuses and for temporaries that do not fit into its memory. */
  static async create(plan: Plan, device: GPUDevice, buffers: Buffers, pipelines: Pipelines, encoded: EncodedPlan): Promise<GpuProgram> {
    const ready = await Promise.all(encoded.dispatches.map((d) => pipelines.get(d)));
    device.pushErrorScope("out-of-memory");
    const take = (bytes: number): GpuMemory => buffers.alloc(bytes);
    const memory = {
      slots: plan.slots.map(take),
      temporaries: encoded.temporaries.map(take),
      absent: Array.from({ length: encoded.absent + 1 }, () => take(0)),
    };
    const full = await pipelines.popErrorScope();
    const program = new GpuProgram(plan, device, buffers, encoded, ready, memory);
    if (full !== null) {
      program.close();
      buffers.trim();
      throw new OutOfMemoryError(
        `webgpu: out of memory: the program needs ${program.bytes} bytes of temporaries beside the ${buffers.live.bytes} bytes in ` +
          "use; use a smaller batch",
      );
    }
    return program;
  }

  /**
   * Computes the same by other dispatches from now on, where there is room enough: those that need nothing of each other may come together
   * otherwise, and take more.
   */
  async replace(encoded: EncodedPlan, pipelines: Pipelines): Promise<void> {
    const ready = await Promise.all(encoded.dispatches.map((d) => pipelines.get(d)));
    const fits =
      encoded.absent < this.#absent.length && encoded.temporaries.every((bytes, i) => bytes <= (this.#temporaries[i]?.bytes ?? 0));
    if (fits && !this.#closed) this.#take(encoded, ready);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Encodes one run over `buffers`, one for each of the plan's bindings, as a pass of its own. */
  encode(encoder: GPUCommandEncoder, buffers: readonly GpuMemory[], descriptor?: GPUComputePassDescriptor): void {
    for (const { from, to, bytes } of this.bind(buffers)) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
    const pass = encoder.beginComputePass(descriptor);
    this.dispatch(pass);
    pass.end();
  }

  /** Encodes one run over what is bound. */
  dispatch(pass: GPUComputePassEncoder): void {
    let last: GPUComputePipeline | null = null;
    const encodeAll = (list: readonly Listed<Dispatch>[]): void => {
      for (const d of list) {
        if ("list" in d) {
          for (let step = 0; step < d.steps; step++) encodeAll(d.list);
          continue;
        }
        if (d.pipeline !== last) pass.setPipeline((last = d.pipeline));
        pass.setBindGroup(0, (d.group ??= this.#bindGroup(d)));
        pass.dispatchWorkgroups(d.groups[0], d.groups[1], d.groups[2]);
      }
    };
    encodeAll(this.#list);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const m of [...this.#slots, ...this.#temporaries, ...this.#absent, ...this.#shadows.values()]) this.#buffers.free(m);
  }

  /** Binds what the next run reads and writes. @returns what is to be copied before it */
  bind(buffers: readonly GpuMemory[]): readonly BufferCopy[] {
    const { bindings } = this.plan;
    assert(buffers.length === bindings.length, () => `run: ${buffers.length} buffers for ${bindings.length} bindings`);
    let changed: Set<number> | null = null;
    for (let i = 0; i < buffers.length; i++) {
      const { memory, bytes } = buffers[i];
      if (memory === null) throw internal(`run: the buffer of binding ${i} was freed`);
      if (this.#ids[i] === memory.id) continue;
      assert(bytes >= bindings[i].bytes, () => `run: binding ${i} needs ${bindings[i].bytes} bytes, its buffer has ${bytes}`);
      this.#ids[i] = memory.id;
      (changed ??= new Set()).add(i);
    }
    if (changed !== null) {
      const others = changed;
      this.#copies = this.#separate(buffers);
      for (const d of this.#dispatches) if (d.bindings.some((i) => others.has(i))) d.group = null;
    }
    return this.#copies;
  }

  /** One buffer cannot be read by one binding and written by another: such readers get a copy. */
  #separate(buffers: readonly GpuMemory[]): BufferCopy[] {
    const { bindings } = this.plan;
    const written = new Set(this.#ids.filter((_, i) => bindings[i].written));
    assert(
      () => written.size === bindings.filter((b) => b.written).length,
      () => "run: one buffer for two bindings that are written",
    );
    const copies: BufferCopy[] = [];
    buffers.forEach(({ memory }, i) => {
      const own = (memory as NonNullable<typeof memory>).buffer;
      this.#bound[i] = own;
      if (bindings[i].written || !written.has(this.#ids[i])) return;
      let shadow = this.#shadows.get(i);
      if (shadow === undefined) this.#shadows.set(i, (shadow = this.#buffers.alloc(bindings[i].bytes)));
      const to = (shadow.memory as NonNullable<typeof memory>).buffer;
      this.#bound[i] = to;
      copies.push({ from: own, to, bytes: to.size });
    });
    return copies;
  }

  #bindGroup({ bindings, known, layout, resources }: Dispatch): GPUBindGroup {
    const key = bindings
      .map((i) => `${this.#ids[i]}${this.#shadows.has(i) && this.#bound[i] === this.#shadows.get(i)?.memory?.buffer ? "s" : ""}`)
      .join();
    let group = known.get(key);
    if (group === undefined) {
      if (known.size >= MOST_BIND_GROUPS) known.clear();
      group = this.#device.createBindGroup({
        layout,
        entries: resources.map((r) => ({ binding: r.binding, resource: this.#resource(r) })),
      });
      known.set(key, group);
    }
    return group;
  }

  #resource({ space, index, offset, bytes }: Resource): GPUBufferBinding {
    const buffer =
      space === "binding"
        ? this.#bound[index]
        : (space === "slot" ? this.#slots : space === "temporary" ? this.#temporaries : this.#absent)[index].memory?.buffer;
    if (buffer === undefined) throw internal("run after close()");
    // Up to the end of a vec4: buffers are whole numbers of them.
    return { buffer, offset, size: Math.min(buffer.size - offset, Math.max(16, Math.ceil(bytes / 16) * 16)) };
  }
}
