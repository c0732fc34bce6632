/** @file What a checkpoint makes of a text: a language model goes on with it, an encoder gives its vector. */
import type { Encoder, ImageClassifier, LanguageModel } from "../transformers/index.ts";
import type { Given, Option, Output } from "./command.ts";
import { Failure, UsageError } from "./command.ts";

/** Options of `run` for texts. */
export const PROMPT_OPTIONS: { readonly [name: string]: Option } = {
  prompt: { value: "TEXT", short: "p", help: "for checkpoints of Hugging Face and GGUF: a text, which a language model goes on with" },
  chat: { help: "the text is what a user says, in the form that the checkpoint's chat template gives it" },
  "max-tokens": { value: "N", help: "the most tokens that are written; default 256" },
  temperature: { value: "T", help: "0 takes the likeliest token, which is the default; more draws among them" },
  seed: { value: "N", help: "of what is drawn; default 0" },
};

/** Tells what a checkpoint makes of the text in `given`. @throws Failure, and what the model throws */
export async function runPrompt(
  pretrained: Encoder | ImageClassifier | LanguageModel,
  given: Given,
  out: Output,
): Promise<readonly (readonly [string, Awaited<ReturnType<Encoder["embed"]>>])[]> {
  const prompt = given.text("prompt") as string;
  if (pretrained.task === "feature-extraction") return [["embedding", await pretrained.embed(prompt)]];
  if (pretrained.task === "image-classification") throw new Failure("the checkpoint is of images; give one: --input IMAGE");
  if ((given.text("output") ?? given.text("top")) !== undefined)
    throw new UsageError("--output and --top are for numbers; a text goes to standard output: lockstep run ... > FILE");
  const { tokenizer } = pretrained;
  const text = given.flag("chat")
    ? tokenizer.encode(tokenizer.applyChatTemplate([{ role: "user", content: prompt }]), { addSpecialTokens: false })
    : prompt;
  const temperature = given.number("temperature", 0, 0);
  const options = { temperature, ...(temperature > 0 && { seed: given.count("seed", 0, 0) }) };
  const most = given.text("max-tokens") === undefined ? {} : { maxTokens: given.count("max-tokens", 1) };
  const begin = performance.now();
  let [tokens, first] = [0, 0];
  for await (const token of pretrained.generate(text, { ...options, ...most })) {
    if (tokens++ === 0) {
      first = performance.now();
      if (!given.flag("chat")) out.part(prompt);
    }
    out.part(token.text);
  }
  const seconds = (performance.now() - first) / 1000;
  out.result("");
  const rate = tokens > 1 && seconds > 0 ? `, ${((tokens - 1) / seconds).toFixed(1)} a second` : "";
  out.note(`${tokens} tokens${rate}; the first after ${((first - begin) / 1000).toFixed(2)} s`);
  return [];
}
