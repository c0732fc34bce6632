/**
 * @file Looking into models and trainings: what layers take, how models compare, what they look like, how training went.
 * @module lockstep/inspect
 */
export { profile } from "./profile.ts";
export type { KernelProfile, LayerProfile, Profile, ProfileOptions } from "./profile.ts";
export type { TimingMethod } from "./parts.ts";
export type { Work } from "./work.ts";
export { modelToMermaid, plotModel } from "./plot-model.ts";
export type { PlotModelOptions } from "./plot-model.ts";
export type { CanvasLike, Drawing, Mark } from "./drawing.ts";
