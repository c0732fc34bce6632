/**
 * @file Models as Hugging Face's checkpoints and GGUF files have them. `lockstep/inference/transformers` gives the same over
 * `lockstep/inference`: its models predict, and its `Model` and `Tensor` are those of that entry.
 * @module lockstep/transformers
 */
export { loadPretrained } from "./load.ts";
export type { LoadPretrainedOptions, LoadProgress, PretrainedSource } from "./load.ts";
export type { WeightFormat } from "./packed.ts";
export type { BlobLike, NamedFile, NamedFiles } from "./files.ts";
export type { RangeSource, Signal } from "../io/ranges.ts";
export type { Task } from "./task.ts";
export type { Pretrained } from "./pretrained.ts";
export type { GeneratedToken, LanguageModel } from "./language-model.ts";
export type { EmbedOptions, Encoder, EncoderInputs, EncoderOutputs } from "./encoder.ts";
export type { Pooling } from "./sentences.ts";
export type { ImageClassifier } from "./image-classifier.ts";
export type { ChatTemplateOptions, DecodeOptions, EncodeOptions, JinjaModule, Message, Tokenizer, TokenizersModule } from "./tokenizer.ts";
