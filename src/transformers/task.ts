/** @file What models are for. */

/** What models are for, by the names of Hugging Face's pipelines. */
export type Task = "text-generation" | "feature-extraction" | "image-classification";
export const TASKS: readonly Task[] = ["text-generation", "feature-extraction", "image-classification"];
