/** @file What all models of checkpoints have. */
import { ArgumentError } from "../index.ts";
import type { Model, Outputs } from "../index.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A model of a checkpoint. */
export abstract class Pretrained {
  /** What can be asked of it. */
  readonly task: "text-generation" | "feature-extraction" | "image-classification";
  /** The Lockstep model. */
  readonly model: Model<Outputs>;
  /** Null where the checkpoint has none. */
  readonly tokenizer: Tokenizer | null;
  /** What config.json says, or another format in its place. */
  readonly config: { readonly [name: string]: unknown };

  /** @internal */
  constructor(task: Pretrained["task"], model: Model<Outputs>, tokenizer: Tokenizer | null, config: { readonly [name: string]: unknown }) {
    this.task = task;
    this.model = model;
    this.tokenizer = tokenizer;
    this.config = config;
  }

  /** @internal @throws ArgumentError where there is none */
  tokenizerFor(who: string): Tokenizer {
    if (this.tokenizer === null) throw new ArgumentError(`${who}: the checkpoint has no tokenizer.json; give ids in place of text`);
    return this.tokenizer;
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
