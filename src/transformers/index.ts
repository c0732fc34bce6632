/**
 * @file Models as Hugging Face's checkpoints and GGUF files have them.
 * @module lockstep/transformers
 */
export { loadPretrained } from "./load.ts";
export type { LoadPretrainedOptions, LoadProgress, PretrainedSource } from "./load.ts";
export type { WeightFormat } from "./packed.ts";
export type { BlobLike, NamedFile, NamedFiles } from "./files.ts";
export type { RangeSource, Signal } from "../io/ranges.ts";
export type { Task } from "./design.ts";
export { Pretrained } from "./pretrained.ts";
export { LanguageModel } from "./language-model.ts";
export type { GeneratedToken } from "./language-model.ts";
export { Encoder } from "./encoder.ts";
export type { EmbedOptions, EncoderInputs, EncoderOutputs } from "./encoder.ts";
export type { Pooling } from "./sentences.ts";
export { ImageClassifier } from "./image-classifier.ts";
export { Tokenizer } from "./tokenizer.ts";
export type { ChatTemplateOptions, DecodeOptions, EncodeOptions, JinjaModule, Message, TokenizersModule } from "./tokenizer.ts";
