/** @file The WebGPU backend as tests open it. */
import { open } from "../../build/esm/init.js";

/**
 * SwiftShader unrolls the initial values of workgroup memory that this extension gives to shaders, and then takes seconds to
 * compile one; without it Dawn writes a loop.
 */
export const DAWN = ["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"];

export const openGpu = (options = {}) => open("webgpu", { dawn: DAWN, ...options });
