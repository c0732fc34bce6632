/** @file A classifier of images. */
import { tensor } from "../index.ts";
import type { Model, NestedArray, Tensor } from "../index.ts";
import { Config } from "./config.ts";
import { labelCount } from "./design.ts";
import { Pretrained } from "./pretrained.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A classifier of a checkpoint. */
export class ImageClassifier extends Pretrained {
  declare readonly task: "image-classification";
  /** Maps images [batch, channels, height, width] to logits [batch, labels]. */
  declare readonly model: Model;
  /** Names of the labels, in the order of the logits: LABEL_0 and so on where the configuration has none. */
  readonly labels: readonly string[];

  /** @internal */
  constructor(model: Model, tokenizer: Tokenizer, config: Pretrained["config"]) {
    super("image-classification", model, tokenizer, config);
    const names = (config.id2label ?? {}) as { readonly [id: string]: unknown };
    const length = labelCount(new Config("config.json", config));
    this.labels = Array.from({ length }, (_, i) => String(names[i] ?? `LABEL_${i}`));
  }

  /**
   * The logits of each label, f32 [batch, labels]. @param pixelValues [batch, channels, height, width], already scaled as the model was
   * trained with (preprocessor_config.json). @throws ShapeError for another shape
   */
  logits(pixelValues: Tensor | NestedArray): Promise<Tensor> {
    return this.model.predict(Array.isArray(pixelValues) ? tensor(pixelValues as NestedArray) : (pixelValues as Tensor));
  }
}
