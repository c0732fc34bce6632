/** @file Who is measured at what: the columns of the tables, each a process or a page of its own. */
import { spawnSync } from "node:child_process";
import { SIZES } from "./workloads.js";

/** Dawn's names for what mixed precision takes: f16 on NVIDIA's GPUs, and matrices of subgroups. */
const HALF = "vulkan_enable_f16_on_nvidia";
const dawn = (...features) => [`enable-dawn-features=${features.join(",")}`];

/** The parts that peers have. */
const OF_PEERS = ["products", "networks"];
const OF_TORCH = ["copy", "products", "attention", "networks", "gpt"];

/** A Python that has PyTorch; null where there is none. */
export function findTorch() {
  for (const python of [process.env.LOCKSTEP_BENCH_PYTHON, "python3", "/usr/bin/python3"].filter(Boolean))
    if (spawnSync(python, ["-c", "import torch, numpy"], { stdio: "ignore" }).status === 0) return python;
  return null;
}

/**
 * Columns in the order in which they are measured: those first that others are compared with.
 * @returns { title, parts, where: "node" | "page" | "python", module?, options?, precision?, quick: whether a quick run has it }
 */
export const COLUMNS = [
  { title: "PyTorch f32", where: "python", precision: "f32", parts: OF_TORCH, quick: true },
  {
    title: "Lockstep (Node)",
    where: "node",
    module: "lockstep",
    options: { title: "Lockstep" },
    parts: ["copy", "products", "attention", "networks", "gpt", "decode", "weights", "train"],
    quick: true,
  },
  {
    title: "Lockstep mixed (Node)",
    where: "node",
    module: "lockstep",
    options: { title: "Lockstep, mixed", precision: "mixed", dawn: dawn("allow_unsafe_apis", HALF) },
    parts: ["products", "attention", "networks", "gpt", "decode", "train"],
    quick: true,
  },
  {
    title: "Lockstep mixed without matrices (Node)",
    where: "node",
    module: "lockstep",
    options: { title: "Lockstep, mixed, no matrices", precision: "mixed", matrices: false, dawn: dawn(HALF) },
    parts: ["products", "attention"],
    quick: true,
  },
  { title: "PyTorch half", where: "python", precision: "half", parts: OF_TORCH, quick: true },
  { title: "TensorFlow.js (Node)", where: "node", module: "tfjs", options: {}, parts: OF_PEERS, quick: true },
  { title: "jax-js (Node)", where: "node", module: "jax", options: {}, parts: OF_PEERS, quick: true },
  {
    title: "Lockstep f16 storage (Node)",
    where: "node",
    module: "lockstep",
    options: { title: "Lockstep, f16 storage", storage: "f16" },
    parts: OF_PEERS,
    quick: false,
  },
  { title: "Lockstep (Chromium)", where: "page", module: "lockstep", options: { title: "Lockstep" }, parts: OF_PEERS, quick: false },
  { title: "TensorFlow.js (Chromium)", where: "page", module: "tfjs", options: {}, parts: OF_PEERS, quick: false },
  { title: "jax-js (Chromium)", where: "page", module: "jax", options: {}, parts: OF_PEERS, quick: false },
];

/** What torch_peer.py is given. */
export const torchArgument = ({ precision }, { size, parts, quick }, batch) =>
  JSON.stringify({ precision, parts, batch, rounds: quick ? 3 : 7, sizes: SIZES[size] });
