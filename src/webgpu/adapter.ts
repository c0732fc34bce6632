/** @file Finding an adapter and opening a device on it, in browsers, Deno and Node. */
import { BackendError } from "../errors.ts";
import type { GpuFeatures, SubgroupMatrices } from "./dispatch.ts";

/**
 * A WebGPU entry point such as `navigator.gpu`. Not named GPU: lib.dom does not declare that before TypeScript 6, and these declarations
 * are checked with it.
 */
export interface GpuEntryPoint {
  /** An adapter, or null where there is none. */
  requestAdapter(options?: { readonly powerPreference?: "high-performance" | "low-power" }): Promise<unknown>;
}

/** Where WebGPU comes from, and which device is asked for. */
export interface WebGpuOptions {
  /** Default: `high-performance`. */
  readonly powerPreference?: "high-performance" | "low-power";
  /** The WebGPU entry point. Default: `navigator.gpu`; in Node, where there is none, that of the package `webgpu`. */
  readonly gpu?: GpuEntryPoint;
  /** Options of the package `webgpu` (Dawn), such as `backend=vulkan` or `enable-dawn-features=...`. Only in Node. Default: none. */
  readonly dawn?: readonly string[];
  /**
   * How temporaries of the forward pass are stored: `f16` halves their memory and traffic and rounds them to 11 bits, on any adapter.
   * Everything is computed in f32; inputs, results, weights, gradients and optimizer states stay f32. Values beyond 65504 become infinite.
   * Default: `f32`.
   */
  readonly storage?: "f32" | "f16";
  /**
   * How products and convolutions are computed. `mixed`: their operands are rounded to f16 (11 bits; beyond 65504 infinite), their sums
   * are f32, and `storage` is `f16` unless it is given; weights, gradients and optimizer states are f32, and `fit` scales the loss (see
   * `lossScaleOptimizer`). Needs an adapter with `shader-f16`; with subgroup matrices it is several times as fast, and attention is
   * computed so too. Where the adapter has neither, products are those of f32, without a warning: `features` of the backend says which
   * they are.
   * Default: `f32`.
   */
  readonly precision?: "f32" | "mixed";
  /**
   * Whether kernels that large products can be made by are timed on the adapter, once, some time after a program with such products was
   * compiled; programs change to the fastest while they run. What was found is kept by the adapter's name: in Node and Bun in the user's
   * cache folder (`$XDG_CACHE_HOME/lockstep`, `~/.cache/lockstep`) or the folder named here, in Deno and pages in the Cache API. No result
   * depends on it. Never done on software adapters. Default: true.
   */
  readonly tune?: boolean | string;
}

/** @internal An open device with what it can do. */
export interface OpenDevice {
  readonly device: GPUDevice;
  /** The adapter as its driver names it. */
  readonly adapter: string;
  readonly features: GpuFeatures;
  /** Answers of the device that are still to come. */
  readonly pending: Pending;
  /** Lets go of what keeps a Node process alive, once nothing is pending on the (destroyed) device. */
  release(): void;
}

/**
 * @internal Promises of a device that it has not settled yet. Dawn settles them in a callback of the event loop that uses the object
 * returned by `create()` without keeping it alive: collected before them, it left one process in ten hanging or aborted (webgpu 0.6.2, on
 * close() with a read under way).
 */
export class Pending {
  readonly #promises = new Set<Promise<unknown>>();

  /** The same promise, remembered until it is settled. */
  add<T>(promise: Promise<T>): Promise<T> {
    const forget = (): void => void this.#promises.delete(promise);
    this.#promises.add(promise);
    promise.then(forget, forget);
    return promise;
  }

  /** Resolves when all are settled, those added meanwhile too. */
  async settled(): Promise<void> {
    while (this.#promises.size > 0) await Promise.allSettled(this.#promises);
  }
}

/** Limits that are raised to what the adapter has. */
const LIMITS = [
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
] as const;

/** Features that are taken where they are. */
const FEATURES: readonly GPUFeatureName[] = ["subgroups", "shader-f16", "timestamp-query"];

/**
 * What subgroup matrices are called: as a feature, as an extension of WGSL, and as a diagnostic. The standard's name, and Dawn's until then
 * (which it has with `allow_unsafe_apis`).
 */
const MATRICES = [
  ["subgroup-matrix", "subgroup_matrix", "subgroup_matrix_uniformity"],
  ["chromium-experimental-subgroup-matrix", "chromium_experimental_subgroup_matrix", "chromium.subgroup_matrix_uniformity"],
] as const;

interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** Subgroups have no fewer invocations than this anywhere (WGSL). */
const LEAST_SUBGROUP = 4;

/** How long after its last answer a device's entry point is kept. */
const LAST_CALL_MS = 100;

interface DawnModule {
  create(options: string[]): GPU;
}

const isNode = (): boolean => typeof process === "object" && typeof process.versions?.node === "string" && !("Deno" in globalThis);

async function findGpu(options: WebGpuOptions): Promise<GPU> {
  if (options.gpu !== undefined) return options.gpu as GPU;
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (own !== undefined) return own;
  if (!isNode()) {
    throw new BackendError(
      "webgpu: this runtime has no navigator.gpu; it needs Chrome 113, Safari 26, Firefox 141 or Deno 1.39 (with --unstable-webgpu), " +
        'on a secure page (https or localhost); use open("wasm")',
    );
  }
  // By a name that bundlers do not follow, also once it is minified: the package is an optional peer.
  const name = String("webgpu");
  let dawn: DawnModule;
  try {
    dawn = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as DawnModule;
  } catch (cause) {
    throw new BackendError("webgpu: Node has no WebGPU of its own; install the package that adds it: npm install webgpu", { cause });
  }
  return dawn.create([...(options.dawn ?? [])]);
}

/**
 * @internal Opens a device with the adapter's own limits.
 * @throws BackendError where there is no WebGPU or no adapter, saying what to install.
 */
export async function openDevice(options: WebGpuOptions): Promise<OpenDevice> {
  let gpu: GPU | null = await findGpu(options);
  const adapter = await gpu.requestAdapter({ powerPreference: options.powerPreference ?? "high-performance" });
  if (adapter === null) {
    throw new BackendError(
      "webgpu: no adapter was found: no graphics driver with Vulkan, Metal or Direct3D 12 is installed, or WebGPU is turned off; use " +
        'open("wasm")',
    );
  }
  const requiredLimits: { [limit: string]: number } = {};
  for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const mixed = options.precision === "mixed";
  const matrices = mixed ? matricesOf(adapter) : null;
  const requiredFeatures = [...FEATURES, ...(matrices === null ? [] : [matrices.feature])].filter((f) => adapter.features.has(f));
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({ requiredFeatures, requiredLimits, label: "lockstep" });
  } catch (cause) {
    throw new BackendError(
      `webgpu: the adapter ${describe(adapter)} gave no device: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  const { limits } = device;
  const pending = new Pending();
  void pending.add(device.lost);
  return {
    device,
    pending,
    adapter: describe(adapter),
    features: {
      // Without a least size nothing can be left out of a kernel on its account.
      subgroupSize: device.features.has("subgroups") ? (adapter.info.subgroupMinSize ?? LEAST_SUBGROUP) : 0,
      half: mixed && adapter.features.has("shader-f16"),
      matrices: matrices?.found ?? null,
      vendor: adapter.info.vendor,
      language: gpu.wgslLanguageFeatures,
      software: isSoftware(adapter.info),
      maxWorkgroupSize: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
      maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
      maxBuffers: limits.maxStorageBuffersPerShaderStage,
      maxGroups: limits.maxComputeWorkgroupsPerDimension,
    },
    release: () => {
      // Dawn keeps Node's event loop alive for as long as this object lives, and may call back once more after the last answer.
      void pending.settled().then(() => {
        const timer: { unref?(): void } | number = setTimeout(() => (gpu = null), LAST_CALL_MS);
        if (typeof timer === "object") timer.unref?.();
      });
    },
  };
}

/** The largest matrices with sums in f32 that an adapter has, of f16 if it can. */
function matricesOf({ features, info }: GPUAdapter): { readonly feature: GPUFeatureName; readonly found: SubgroupMatrices } | null {
  const {
    subgroupMatrixConfigs = [],
    subgroupMinSize,
    subgroupMaxSize,
  } = info as GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  const name = MATRICES.find(([feature]) => features.has(feature));
  if (name === undefined || !features.has("subgroups") || !subgroupMaxSize) return null;
  const [feature, extension, diagnostic] = name;
  const fits = (type: "f16" | "f32"): SubgroupMatrices[] =>
    Array.from(subgroupMatrixConfigs)
      .filter((c) => c.componentType === type && c.resultComponentType === "f32")
      .map(({ M, N, K }) => ({
        type,
        m: M,
        n: N,
        k: K,
        subgroupSize: subgroupMaxSize,
        exact: subgroupMinSize === subgroupMaxSize,
        directives: [`diagnostic(off, ${diagnostic})`, `enable ${extension}`],
      }));
  const sizes = (of: SubgroupMatrices[]): SubgroupMatrices | undefined => of.sort((a, b) => b.m * b.n * b.k - a.m * a.n * a.k)[0];
  const found = (features.has("shader-f16") ? sizes(fits("f16")) : undefined) ?? sizes(fits("f32"));
  return found === undefined ? null : { feature: feature as GPUFeatureName, found };
}

/** Adapters without a GPU: where a runtime does not say so yet, known by their names. */
function isSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter ?? /swiftshader|llvmpipe|basic render/i.test(`${info.description} ${info.device} ${info.architecture}`);
}

function describe({ info }: GPUAdapter): string {
  const { vendor, architecture, device, description } = info;
  return [description || device, vendor, architecture].filter((part) => part !== "").join(", ") || "unnamed adapter";
}
