/** @file Text of tokens as they come. */
import type { Tokenizer } from "./tokenizer.ts";

/** What decoders put for bytes that are no character yet. */
const INCOMPLETE = "\ufffd";

/** Tokens before the new ones that are decoded with them: what a token reads as depends on its neighbours. */
const CONTEXT = 6;

/**
 * Tells what each token adds to the text. Characters may have bytes in several tokens: they are given with the last of these, and where the
 * end cuts one off, by `end`.
 */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  readonly #ids: number[];
  /** Where decoding begins, and up to where the text has been given. */
  #from: number;
  #given: number;

  /** `before`: ids of the text so far. */
  constructor(tokenizer: Tokenizer, before: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#ids = [...before];
    this.#given = before.length;
    this.#from = Math.max(0, before.length - CONTEXT);
  }

  /** The text that `id` completes. */
  put(id: number): string {
    this.#ids.push(id);
    const text = this.#added();
    // A character of four bytes may take as many tokens; more are none.
    if (text.endsWith(INCOMPLETE) && this.#ids.length - this.#given < 4) return "";
    return this.#give(text);
  }

  /** What is left. */
  end(): string {
    return this.#given === this.#ids.length ? "" : this.#give(this.#added());
  }

  #added(): string {
    const before = this.#tokenizer.decode(this.#ids.slice(this.#from, this.#given));
    const all = this.#tokenizer.decode(this.#ids.slice(this.#from));
    return all.slice(before.length);
  }

  #give(text: string): string {
    this.#from = Math.max(0, this.#given - CONTEXT);
    this.#given = this.#ids.length;
    return text;
  }
}
