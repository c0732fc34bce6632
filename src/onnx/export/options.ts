/** @file What is written, and how. */
import type { InferenceModel, Model, Outputs } from "../../index.ts";

/** Options of `saveOnnx`. */
export interface SaveOnnxOptions {
  /** One input's shape without the batch, for models that are not built, or take any size. Default: what the model was built for. */
  readonly inputShape?: readonly number[];
  /** For several inputs. */
  readonly inputShapes?: readonly (readonly number[])[];
  /** A fixed batch. Default: any. */
  readonly batch?: number;
}

/** A model, whole or for predictions alone. */
export type AnyModel = Model<Outputs> | InferenceModel<Outputs>;
