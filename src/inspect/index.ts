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
export { plotHistory } from "./plot-history.ts";
export type { PlotHistoryOptions } from "./plot-history.ts";
export { classificationReport, plotConfusionMatrix } from "./classes.ts";
export type { ClassificationReport, ClassificationReportOptions, ClassScores, ClassValues, PlotConfusionMatrixOptions } from "./classes.ts";
export { compareModels } from "./compare.ts";
export type { ComparedModel, CompareModelsOptions, Comparison } from "./compare.ts";
export { csvLogger } from "./csv-logger.ts";
export type { CsvLoggerOptions } from "./csv-logger.ts";
export { tensorBoard } from "./tensor-board.ts";
export type { TensorBoardOptions } from "./tensor-board.ts";
export { backupAndRestore } from "./backup.ts";
export type { BackupAndRestoreOptions, BackupStore } from "./backup.ts";
