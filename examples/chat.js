/**
 * @file A conversation with a model of one's own, in the terminal: a folder of Hugging Face's form, an address of one, or a GGUF file.
 * Models that were not trained for conversations go on with what is typed. Answers come as they are written, with tokens a second.
 *
 *   node examples/chat.js FOLDER [--backend webgpu] [--tokens N] [--temperature T] [--seed N] [--system TEXT] [--prompt TEXT]
 *
 * The packages @huggingface/tokenizers and, for conversations, @huggingface/jinja must be installed.
 */
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { loadPretrained } from "lockstep/transformers";
import { start } from "./common.js";

/** What the model reads behind all that was said: ids. */
function promptOf({ tokenizer }, messages) {
  if (tokenizer.chatTemplate === null) return tokenizer.encode(messages.at(-1).content);
  return tokenizer.encode(tokenizer.applyChatTemplate(messages), { addSpecialTokens: false });
}

/** Answers the last of `messages`, piece by piece to `write`. */
export async function answer(lm, messages, { write, ...options }) {
  const ids = promptOf(lm, messages);
  let text = "";
  let tokens = 0;
  let start = 0;
  for await (const token of lm.generate(ids, options)) {
    // The first token waits for the prompt to be read.
    if (tokens++ === 0) start = performance.now();
    write(token.text);
    text += token.text;
  }
  const seconds = (performance.now() - start) / 1000;
  return { text, tokens, promptTokens: ids.length, perSecond: (tokens - 1) / seconds };
}

const numberOf = (name, text) => {
  if (text === undefined || Number.isFinite(Number(text))) return text === undefined ? undefined : Number(text);
  throw new Error(`--${name} must be a number, got "${text}"`);
};

async function main() {
  const text = { type: "string" };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { backend: text, tokens: text, temperature: text, seed: text, system: text, prompt: text },
  });
  const [source] = positionals;
  if (source === undefined) throw new Error("which model? node examples/chat.js FOLDER_OR_GGUF_FILE");
  const write = (piece) => void process.stdout.write(piece);

  const showing = process.stderr.isTTY;
  const lm = await loadPretrained(source, {
    backend: values.backend,
    cache: true,
    onProgress: ({ loaded, total }) => showing && process.stderr.write(`\rreading ${Math.floor((100 * loaded) / total)} %`),
  });
  if (lm.task !== "text-generation") throw new Error(`${source} is a model for ${lm.task}, and writes no text`);
  if (showing) process.stderr.write("\r\x1b[K");

  const options = {
    write,
    maxTokens: numberOf("tokens", values.tokens),
    temperature: numberOf("temperature", values.temperature),
    seed: numberOf("seed", values.seed),
  };
  const messages = values.system === undefined ? [] : [{ role: "system", content: values.system }];
  const turn = async (content) => {
    messages.push({ role: "user", content });
    if (lm.tokenizer.chatTemplate === null) write(content);
    const { text: reply, tokens, promptTokens, perSecond } = await answer(lm, messages, options);
    messages.push({ role: "assistant", content: reply });
    write(`\n(${promptTokens} tokens read, ${tokens} written, ${perSecond.toFixed(1)} tokens/s)\n`);
  };
  if (values.prompt !== undefined) return turn(values.prompt);
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  lines.setPrompt("> ");
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() !== "") await turn(line);
    lines.prompt();
  }
}

await start(import.meta.url, main);
