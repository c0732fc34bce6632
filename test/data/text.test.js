import { test } from "uvu";
import * as assert from "uvu/assert";
import { ArgumentError, DataError } from "../../build/esm/errors.js";
import { text, tokenWindows } from "../../build/esm/data/index.js";

const throws = (action, type, ...parts) =>
  assert.throws(action, (e) => e instanceof type && parts.every((part) => e.message.includes(part)));

test("text: characters as ids in the order of their code points, and back", () => {
  const { vocabulary, ids, encode, decode } = text("hello, wörld 🙂\n");
  assert.equal(vocabulary, ["\n", " ", ",", "d", "e", "h", "l", "o", "r", "w", "ö", "🙂"]);
  assert.equal(ids, Uint8Array.of(5, 4, 6, 6, 7, 2, 1, 9, 10, 8, 6, 3, 1, 11, 0));
  assert.is(decode(ids), "hello, wörld 🙂\n");
  assert.equal(encode("ho 🙂"), Uint8Array.of(5, 7, 1, 11));
  assert.equal(encode(""), new Uint8Array(0));
  // By number of the code point, not by halves of surrogate pairs: U+FF5E stands before U+1F642.
  assert.equal(text("\u{1F642}\uFF5E").vocabulary, ["\uFF5E", "\u{1F642}"]);
});

test("text is split at its end into views", () => {
  const { ids, train, validation } = text("abcdefghij", { validationSplit: 0.25 });
  assert.is(train.length, 7);
  assert.is(validation.length, 3);
  assert.is(train.buffer, ids.buffer);
  assert.equal([...train, ...validation], [...ids]);
  assert.is(text("abcdefghij").train.length, 9);
  assert.is(text("abc", { validationSplit: 0 }).validation.length, 0);
});

test("text with a vocabulary takes the longest token that fits", () => {
  const { ids, encode, decode } = text("the cat then", { vocabulary: ["t", "h", "e", "n", " ", "the", "then", "cat", "c", "a"] });
  assert.equal(ids, Uint8Array.of(5, 4, 7, 4, 6));
  assert.is(decode(ids), "the cat then");
  assert.equal(encode("thca"), Uint8Array.of(0, 1, 8, 9));
  const emoji = text("", { vocabulary: ["👩", "👩‍🚀", "\u200d", "🚀"] });
  assert.equal(emoji.encode("👩‍🚀👩🚀"), Uint8Array.of(1, 0, 3));
});

test("text: ids are bytes for 256 tokens and words for more", () => {
  const characters = (n) => Array.from({ length: n }, (_, i) => String.fromCodePoint(0x4e00 + i));
  assert.instance(text("", { vocabulary: characters(256) }).ids, Uint8Array);
  const { encode, decode } = text("", { vocabulary: characters(257) });
  assert.equal(encode("\u4f00\u4e00"), Int32Array.of(256, 0));
  assert.is(decode([256]), "\u4f00");
});

test("text: what the vocabulary lacks is an error, or the unknown token", () => {
  throws(() => text("ab").encode("aß"), DataError, '"ß"', "U+00DF", "at 1", "unknown");
  const { encode } = text("", { vocabulary: ["a", "b", "<unk>"], unknown: "<unk>" });
  assert.equal(encode("a🙂b"), Uint8Array.of(0, 2, 1));
  throws(() => text("ab").decode([0, 2]), DataError, "0 to 1", "got 2 at index 1");
  throws(() => text("ab").decode([0.5]), DataError, "got 0.5");
  throws(() => text("ab").decode("ab"), ArgumentError, "array of ids");
});

test("text refuses what it cannot read", () => {
  throws(() => text(""), DataError, "empty text");
  throws(() => text(new Uint8Array(3)), ArgumentError, "bytes", "TextDecoder");
  throws(() => text(7), ArgumentError, "number");
  throws(() => text("a", { vocabulary: "abc" }), ArgumentError, "list of tokens");
  throws(() => text("a", { vocabulary: ["a", ""] }), ArgumentError, "at 1");
  throws(() => text("a", { vocabulary: ["a", "b", "a"] }), ArgumentError, '"a" twice', "at 2");
  throws(() => text("a", { unknown: "?" }), ArgumentError, "unknown", '"?"');
  throws(() => text("a", { validationSplit: 1 }), ArgumentError, "validationSplit");
  throws(() => text("a", { vocab: ["a"] }), ArgumentError, "vocabulary");
});

test("tokenWindows: every window, and the ids that follow", () => {
  const ids = Uint8Array.of(10, 11, 12, 13, 14, 15, 16);
  const { x, y } = tokenWindows(ids, { length: 3 });
  assert.equal(x, { data: ids, shape: [4, 3], stride: 1, offset: 0 });
  assert.equal(y, { data: ids, shape: [4, 3], stride: 1, offset: 1 });
  assert.is(x.data, ids);
  assert.equal(tokenWindows(ids, { length: 3, stride: 3 }).y.shape, [2, 3]);
  assert.equal(tokenWindows(ids, { length: 2, stride: 3 }).y.shape, [2, 2]);
  assert.equal(tokenWindows(ids, { length: 6 }).x.shape, [1, 6]);
});

test("tokenWindows refuses what it cannot cut", () => {
  throws(() => tokenWindows(new Uint8Array(4), { length: 4 }), DataError, "at least 5", "got 4");
  throws(() => tokenWindows([1, 2, 3], { length: 1 }), ArgumentError, "typed array");
  throws(() => tokenWindows("abc", { length: 1 }), ArgumentError, "typed array");
  throws(() => tokenWindows(new Uint8Array(4), { length: 0 }), ArgumentError, "length");
  throws(() => tokenWindows(new Uint8Array(4), {}), ArgumentError, "length");
  throws(() => tokenWindows(new Uint8Array(4), { length: 2, stride: 0.5 }), ArgumentError, "stride");
});

test.run();
