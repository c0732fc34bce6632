/** @file Saving, as every application that trains holds it: what makes files (save.ts) is loaded where a model is saved. */
import { isMade } from "../nn/options.ts";
import { isMadeLoss } from "../train/losses.ts";
import { describeMetric } from "../train/metrics.ts";
import { isMadeOptimizer } from "../train/optimizers.ts";
import type { AnyModel } from "./learning.ts";
import type { Made, SaveOptions } from "./save.ts";

const MADE: Made = { layer: isMade, loss: isMadeLoss, optimizer: isMadeOptimizer, metric: describeMetric };

/** The file as bytes. */
export async function encodeModel(model: AnyModel, options: SaveOptions): Promise<Uint8Array> {
  const save = await import("./save.ts");
  return save.encodeModel(model, options, MADE);
}

/** The file at `path`. */
export async function saveModel(model: AnyModel, path: string | URL, options: SaveOptions): Promise<void> {
  const save = await import("./save.ts");
  await save.saveModel(model, path, options, MADE);
}
