/** @file The WebGPU backend as tests open it. */
import { open } from "../../build/esm/init.js";

/**
 * SwiftShader unrolls the initial values of workgroup memory that this extension gives to shaders, and then takes seconds to
 * compile one; without it Dawn writes a loop.
 */
export const DAWN = ["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"];

/** Nothing is timed unless a test asks for it. */
export const openGpu = (options = {}) => open("webgpu", { dawn: DAWN, tune: false, ...options });

/** What WebGPU promises of every adapter. */
export const LEAST = {
  maxStorageBuffersPerShaderStage: 8,
  maxStorageBufferBindingSize: 2 ** 27,
  maxBufferSize: 2 ** 28,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
};

/** The runtime's entry point: in Node, where it has none, the package's. */
export async function entryPoint() {
  if (globalThis.navigator?.gpu) return navigator.gpu;
  // By a name that a page does not look up.
  const name = "webgpu";
  const { create } = await import(name);
  return create(DAWN);
}

/**
 * An entry point whose adapter shows other `limits` than its own, no features of `without`, of WGSL neither, another `maker` and least
 * size of `subgroups`, and passes for a GPU where `software` is false. `onDevice(device)` sees every device that is opened.
 */
export function masked(gpu, { limits = {}, without = [], maker, software, subgroups, onDevice = () => {} } = {}) {
  return {
    wgslLanguageFeatures: { has: (name) => Boolean(gpu.wgslLanguageFeatures?.has(name)) && !without.includes(name) },
    async requestAdapter(options) {
      const adapter = await gpu.requestAdapter(options);
      const shown = {};
      for (const name in adapter.limits) shown[name] = limits[name] ?? adapter.limits[name];
      const { vendor, architecture, device, description, subgroupMinSize, isFallbackAdapter } = adapter.info;
      return {
        limits: shown,
        features: { has: (name) => adapter.features.has(name) && !without.includes(name) },
        info: {
          vendor: maker ?? vendor,
          architecture,
          device,
          description,
          subgroupMinSize: subgroups ?? subgroupMinSize,
          isFallbackAdapter: software ?? isFallbackAdapter,
        },
        async requestDevice(descriptor) {
          const opened = await adapter.requestDevice(descriptor);
          onDevice(opened);
          return opened;
        },
      };
    },
  };
}

export const openMasked = async (mask) => openGpu({ gpu: masked(await entryPoint(), mask) });

/**
 * What `work`, which opens the backend, gives with a clock that is `step` ms further at each look. Where it stands still all runs are
 * short, and gather while the device is busy; where a look takes a second none are.
 */
export async function withClock(step, work) {
  let now = 0;
  performance.now = () => (now += step);
  try {
    return await work();
  } finally {
    delete performance.now;
  }
}
