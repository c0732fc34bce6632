/**
 * @file Devices with f16 and subgroup matrices, which the software adapter has not. `emulated` writes what such a device does into the
 * text of the shaders: f16 is an f32 that is rounded to 11 bits where one is made of an f32, and every invocation holds all the matrices
 * of its subgroup, which may have fewer invocations than the adapter says. `nullDevice` is
 * Dawn's, which runs nothing and checks the very text.
 */
import { create } from "webgpu";
import { DAWN } from "./gpu.js";

export const EXPERIMENTAL = "chromium-experimental-subgroup-matrix";

/** Rounds to f16 as GPUs do: to nearest, beyond the largest number to infinity. */
const ROUNDED = `fn rounded_to_half(v: vec4<f32>) -> vec4<f32> {
  let kept = vec4<f32>(unpack2x16float(pack2x16float(clamp(v.xy, vec2(-65504.0), vec2(65504.0)))),
    unpack2x16float(pack2x16float(clamp(v.zw, vec2(-65504.0), vec2(65504.0)))));
  return select(select(kept, v * 3e38, abs(v) >= vec4(65520.0)), v, v != v);
}`;

/** WGSL for a device with f16 and subgroup matrices as WGSL for one without. */
export function emulated(text) {
  let code = text.replace(/^enable (f16|\w*subgroup_matrix);$|^diagnostic\(off, [\w.]*subgroup_matrix_uniformity\);$/gm, "");
  const added = new Map();
  if (/\bf16\b/.test(code)) {
    const component = /alias Component = f16;/.test(code) ? "|Component" : "";
    code = code.replace(new RegExp(`vec4<(?:f16${component})>\\(`, "g"), "rounded_to_half(").replace(/\bf16\b/g, "f32");
    added.set("rounded", ROUNDED);
  }
  const matrix = /subgroup_matrix_(left|right|result)<f32, (\d+), (\d+)>/;
  if (!matrix.test(code)) return `${code}\n${[...added.values()].join("\n")}`;
  // Matrices are places in arrays: values of that size would be copied element by element wherever they are passed on. What has the same
  // name has the same place, which nothing is in any more where it is declared again.
  const sizes = new Map();
  const places = new Map();
  const placeOf = (side, name) => {
    const names = places.get(side) ?? places.set(side, new Map()).get(side);
    return names.get(name) ?? names.set(name, names.size).get(name);
  };
  const loaded = (type, order, memory, at) => {
    const [, side, columns, rows] = matrix.exec(type);
    sizes.set(side, [columns, rows]);
    const fn = `load_${side}_${order}_${memory}`;
    const cell = order === "row" ? "r * distance + c" : "c * distance + r";
    added.set(
      fn,
      `fn ${fn}(to: u32, at: u32, distance: u32) -> u32 {
        for (var r = 0u; r < ${rows}u; r++) { for (var c = 0u; c < ${columns}u; c++) {
          of_${side}[to * ${rows * columns}u + r * ${columns}u + c] = ${memory}[at + ${cell}];
        } }
        return to;
      }`,
    );
    return (to) => `${fn}(${to}, ${at}`;
  };
  code = code
    .replace(/var (\w+)\s*:\s*(subgroup_matrix_(\w+)<[^>]*>);/g, (_, name, type, side) => {
      const [, , columns, rows] = matrix.exec(type);
      sizes.set(side, [columns, rows]);
      added.set(
        `cleared_${side}`,
        `fn cleared_${side}(place: u32) -> u32 {
          for (var i = 0u; i < ${rows * columns}u; i++) { of_${side}[place * ${rows * columns}u + i] = 0.0; }
          return place;
        }`,
      );
      return `let ${name} = cleared_${side}(${placeOf(side, name)}u);`;
    })
    .replace(/\w+ = subgroupMatrixMultiplyAccumulate\(/g, "add_product(")
    .replace(/subgroupMatrixStore<(row|col)_major>\(&(\w+), /g, (_, order, memory) => {
      const fn = `store_${order}_${memory}`;
      const [columns, rows] = sizes.get("result");
      const cell = order === "row" ? "r * distance + column" : "column * distance + r";
      added.set(
        fn,
        `fn ${fn}(at: u32, place: u32, distance: u32) {
          for (var r = 0u; r < ${rows}u; r++) { for (var column = 0u; column < ${columns}u; column++) {
            ${memory}[at + ${cell}] = of_result[place * ${rows * columns}u + r * ${columns}u + column];
          } }
        }`,
      );
      return `${fn}(`;
    })
    .replace(
      /(let )?(\w+) = subgroupMatrixLoad<(subgroup_matrix_\w+<[^>]*>), (row|col)_major>\(&(\w+), /g,
      (_, declared, name, type, order, memory) => {
        const side = matrix.exec(type)[1];
        const call = loaded(type, order, memory, "")(declared ? `${placeOf(side, name)}u` : name);
        return declared ? `let ${name} = ${call}` : `_ = ${call}`;
      },
    );
  const [[n, m], [k]] = [sizes.get("result"), sizes.get("left")];
  const bound = [...places].map(
    ([side, names]) => `var<private> of_${side}: array<f32, ${names.size * sizes.get(side)[0] * sizes.get(side)[1]}>;`,
  );
  added.set(
    "matrices",
    `${bound.join("\n")}
    fn add_product(a: u32, b: u32, c: u32) {
      for (var row = 0u; row < ${m}u; row++) { for (var column = 0u; column < ${n}u; column++) {
        var sum = of_result[c * ${m * n}u + row * ${n}u + column];
        for (var i = 0u; i < ${k}u; i++) { sum += of_left[a * ${m * k}u + row * ${k}u + i] * of_right[b * ${k * n}u + i * ${n}u + column]; }
        of_result[c * ${m * n}u + row * ${n}u + column] = sum;
      } }
    }`,
  );
  return `enable subgroups;\n${code.replace(/^enable subgroups;$/gm, "")}\n${[...added.values()].join("\n")}`;
}

/** `[type, of results, M, N, K]` as adapters show them. */
export const configOf = ([componentType, resultComponentType, M, N, K]) => ({ componentType, resultComponentType, M, N, K });

/**
 * An entry point whose adapter passes for a GPU that has what `more` names beside its own features, with these subgroup matrices, and
 * whose devices run what `emulated` makes of shaders. `most`: invocations of a subgroup, as it says. `onShader` sees each text as it was.
 */
export function pretended({ more = ["shader-f16", EXPERIMENTAL], configs = [], most = 32, software = false, onShader = () => {} } = {}) {
  const gpu = create(DAWN);
  return {
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
    async requestAdapter(options) {
      const adapter = await gpu.requestAdapter(options);
      const { vendor, architecture, device, description, subgroupMinSize } = adapter.info;
      return {
        limits: adapter.limits,
        features: { has: (name) => adapter.features.has(name) || more.includes(name) },
        info: {
          ...{ vendor, architecture, device, description, subgroupMinSize },
          subgroupMaxSize: most,
          isFallbackAdapter: software,
          subgroupMatrixConfigs: configs.map(configOf),
        },
        async requestDevice({ requiredFeatures, ...rest }) {
          const opened = await adapter.requestDevice({ ...rest, requiredFeatures: requiredFeatures.filter((f) => !more.includes(f)) });
          opened.asked = requiredFeatures;
          const make = opened.createShaderModule.bind(opened);
          opened.createShaderModule = ({ code, label }) => {
            onShader(code);
            return make({ code: emulated(code), label });
          };
          return opened;
        },
      };
    },
  };
}

/** A function that compiles WGSL on Dawn's null backend, with f16 and subgroup matrices, and resolves to its errors. */
export async function nullDevice() {
  const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await gpu.requestAdapter();
  const device = await adapter.requestDevice({
    requiredFeatures: ["shader-f16", "subgroups", EXPERIMENTAL],
    requiredLimits: {
      maxComputeWorkgroupStorageSize: adapter.limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: adapter.limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: adapter.limits.maxComputeWorkgroupSizeX,
    },
  });
  return {
    info: adapter.info,
    limits: device.limits,
    /** Errors of the module and of its pipeline. */
    async errors(code, entryPoint) {
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ code });
      const made = device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint } });
      const refused = await made.then(
        () => null,
        (error) => error.message,
      );
      const { messages } = await module.getCompilationInfo();
      const invalid = await device.popErrorScope();
      const lines = code.split("\n");
      return [
        ...[...messages].filter((m) => m.type === "error").map((m) => `${m.message} in: ${lines[m.lineNum - 1]}`),
        ...[refused, invalid?.message].filter((e) => typeof e === "string"),
      ];
    },
    close: () => {
      device.destroy();
      void gpu;
    },
  };
}
