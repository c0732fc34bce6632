/** @file What all models of checkpoints have. */
import type { Model, Outputs } from "../index.ts";
import type { Task } from "./task.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A model of a checkpoint. */
export abstract class Pretrained {
  /** What can be asked of it; TypeScript knows by it which of the classes a model is. */
  readonly task: Task;
  /** The Lockstep model. */
  readonly model: Model<Outputs>;
  /** Of the checkpoint. Where it has none, or the package that reads it is missing, what is asked of it is an error that says so. */
  readonly tokenizer: Tokenizer;
  /** What config.json says, or another format in its place. */
  readonly config: { readonly [name: string]: unknown };

  /** @internal */
  constructor(task: Pretrained["task"], model: Model<Outputs>, tokenizer: Tokenizer, config: { readonly [name: string]: unknown }) {
    this.task = task;
    this.model = model;
    this.tokenizer = tokenizer;
    this.config = config;
  }

  /** Frees the weights and programs now instead of when the model is collected. */
  dispose(): void {
    this.model.dispose();
  }

  /** `dispose()` at the end of a block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
