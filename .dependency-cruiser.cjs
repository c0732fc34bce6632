/**
 * What may import what in src/, types included (`npm run check`, test/dependencies.test.js). From the bottom up: what knows of no tensor;
 * tensors and graphs; plans; backends, which know plans alone; kernels; what runs programs; ops and gradients; layers; training; models;
 * adapters of models and checkpoints of others, which stand on the public names.
 */
const BASE = "(assert|cache|check|device|dtype|elements|errors|kernel|naming|op|options|random|shape|show|training)";
const GRAPH = "(tensor|tree|graph|body|mode|samples)";
const LAYERS = [
  { name: "base", path: `^src/${BASE}\\.ts$`, below: [] },
  { name: "graph", path: `^src/${GRAPH}\\.ts$`, below: [] },
  { name: "plan", path: "^src/(plan/|backend\\.ts$|pacing\\.ts$)", below: [] },
  { name: "files", path: "^src/(io|node|safetensors|gguf|data)/", below: [] },
  { name: "backends", path: "^src/(wasm|webgpu)/", below: [] },
  { name: "kernels", path: "^src/((kernels|relief|init|run|apply|compile|empty)\\.ts$|packed/)", below: [] },
  { name: "ops", path: "^src/(ops/|grad\\.ts$)", below: [] },
  { name: "layers", path: "^src/nn/", below: [] },
  { name: "training", path: "^src/train/", below: [] },
  { name: "models", path: "^src/(model/|(progress|bar)\\.ts$)", below: [] },
  { name: "entries", path: "^src/(index|inference|dual)\\.ts$", below: [] },
  { name: "adapters", path: "^src/lora/", below: [] },
  { name: "checkpoints", path: "^src/(transformers|keras)/", below: [] },
];

module.exports = {
  forbidden: [
    {
      name: "no-circle",
      comment: "Two files that need each other are one, or need a third.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    ...LAYERS.slice(0, -1).map(({ name, path }, i) => ({
      name: `${name}-upward`,
      comment: "A layer knows nothing of those above it.",
      severity: "error",
      from: { path },
      to: { path: LAYERS.slice(i + 1).map((l) => l.path) },
    })),
    {
      name: "backends-apart",
      comment: "Backends know plans, and neither each other nor graphs.",
      severity: "error",
      from: { path: "^src/wasm/" },
      to: { path: "^src/(webgpu/|graph\\.ts$)" },
    },
    { name: "backends-apart-2", severity: "error", from: { path: "^src/webgpu/" }, to: { path: "^src/(wasm/|graph\\.ts$)" } },
    {
      name: "backends-opened-in-one-place",
      comment: "init.ts opens backends, kernels.ts names their code.",
      severity: "error",
      from: { path: "^src/(?!(wasm|webgpu)/|(init|kernels|index|inference)\\.ts$)" },
      to: { path: "^src/(wasm|webgpu)/" },
    },
    {
      name: "all-placed",
      comment: "A new file at the top of src belongs to a layer: add it to this list.",
      severity: "error",
      from: {},
      to: { path: "^src/", pathNot: LAYERS.map((l) => l.path) },
    },
    {
      name: "nothing-foreign",
      comment: "src has no runtime dependency; webgpu is an optional peer.",
      severity: "error",
      from: { path: "^src/" },
      to: { dependencyTypes: ["npm", "npm-dev", "npm-peer", "npm-no-pkg", "npm-unknown"], pathNot: "@webgpu/types" },
    },
  ],
  options: { tsPreCompilationDeps: true, doNotFollow: { path: "node_modules" }, tsConfig: { fileName: "tsconfig.json" } },
};
