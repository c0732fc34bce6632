/**
 * Layers of texts and integers: what Keras' documentation and its tests say of StringLookup, IntegerLookup and TextVectorization, and how
 * models that begin with them read texts.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as L from "../../build/esm/index.js";
import { fingerprint64, hashBucket } from "../../build/esm/nn/farmhash.js";

await L.open("wasm", { threads: 1 });

const refused = (fn, type, pattern) =>
  assert.throws(fn, (error) => {
    assert.instance(error, type);
    assert.match(error.message, pattern);
    return true;
  });
const rejected = async (promise, type, pattern) => {
  const error = await promise.then(
    () => null,
    (e) => e,
  );
  assert.instance(error, type, error?.stack ?? "nothing was thrown");
  assert.match(error.message, pattern);
};
const values = async (t) => [t.dtype, await t.array()];
const rounded = async (t) => (await t.array()).map((row) => row.map((v) => Math.round(v * 1e6) / 1e6));
const ints = (list) => L.tensor(list, undefined, "i32");

const LETTERS = ["a", "b", "c", "d"];
const NUMBERS = [12, 36, 1138, 42];

test("fingerprints are FarmHash's, of texts of every length", () => {
  const of = (text) => BigInt.asIntN(64, fingerprint64(new TextEncoder().encode(text)));
  // BigQuery's documentation of FARM_FINGERPRINT.
  assert.is(of("1footrue"), -1541654101129638711n);
  assert.is(of("2applefalse"), 2794438866806483259n);
  assert.is(of("3true"), -4880158226897771312n);
  // TensorFlow's of to_hash_bucket_fast.
  assert.equal(
    ["Hello", "TensorFlow", "2.x"].map((s) => hashBucket(s, 3)),
    [0, 2, 2],
  );
});

test("stringLookup: Keras' examples", async () => {
  const given = L.stringLookup({ vocabulary: LETTERS });
  const data = [
    ["a", "c", "d"],
    ["d", "z", "b"],
  ];
  assert.equal(await values(given.encode(data)), [
    "i32",
    [
      [1, 3, 4],
      [4, 0, 2],
    ],
  ]);
  const learned = L.stringLookup();
  await learned.adapt(data);
  assert.equal(learned.getVocabulary(), ["[UNK]", "d", "z", "c", "b", "a"]);
  assert.equal(learned.getVocabulary(false), ["d", "z", "c", "b", "a"]);
  assert.is(learned.vocabularySize(), 6);
  assert.equal(await learned.encode(data).array(), [
    [5, 3, 1],
    [1, 2, 4],
  ]);
  const several = L.stringLookup({ vocabulary: LETTERS, numOovIndices: 2 });
  const oov = [
    ["a", "c", "d"],
    ["m", "z", "b"],
  ];
  assert.equal(await several.encode(oov).array(), [
    [2, 4, 5],
    [0, 1, 3],
  ]);
  const back = L.stringLookup({ vocabulary: LETTERS, invert: true });
  const indices = [
    [1, 3, 4],
    [4, 0, 2],
  ];
  const texts = [
    ["a", "c", "d"],
    ["d", "[UNK]", "b"],
  ];
  assert.equal(await back.decode(indices), texts);
  assert.equal(await given.decode(ints(indices)), texts);
  const masked = L.stringLookup({ vocabulary: ["a", "b", "c"], maskToken: "[MASK]", oovToken: "[OOV]" });
  assert.equal(masked.getVocabulary(), ["[MASK]", "[OOV]", "a", "b", "c"]);
  assert.equal(await masked.encode(["[MASK]", "a", "x"]).array(), [0, 2, 1]);
  assert.equal(await masked.decode([0, 1, 2, 99, -1]), ["[MASK]", "[OOV]", "a", "[OOV]", "[OOV]"]);
});

const SAMPLES = [
  ["a", "c", "d", "d"],
  ["d", "z", "b", "z"],
];
const INTEGER_SAMPLES = [
  [12, 1138, 42, 42],
  [42, 7, 36, 7],
];
const ROWS = {
  multiHot: [
    [0, 1, 0, 1, 1],
    [1, 0, 1, 0, 1],
  ],
  count: [
    [0, 1, 0, 1, 2],
    [2, 0, 1, 0, 1],
  ],
};

test("rows of lookups: Keras' examples", async () => {
  for (const [outputMode, rows] of Object.entries(ROWS)) {
    assert.equal(await values(L.stringLookup({ vocabulary: LETTERS, outputMode }).encode(SAMPLES)), ["f32", rows]);
    assert.equal(await values(L.integerLookup({ vocabulary: NUMBERS, outputMode }).call(ints(INTEGER_SAMPLES))), ["f32", rows]);
  }
  const weighted = { outputMode: "tfIdf", idfWeights: [0.25, 0.75, 0.6, 0.4] };
  const means = [
    [0, 0.25, 0, 0.6, 0.8],
    [1, 0, 0.75, 0, 0.4],
  ];
  assert.equal(await rounded(L.stringLookup({ vocabulary: LETTERS, ...weighted }).encode(SAMPLES)), means);
  assert.equal(await rounded(L.integerLookup({ vocabulary: NUMBERS, ...weighted }).call(ints(INTEGER_SAMPLES))), means);
  const whole = { outputMode: "tfIdf", idfWeights: [0.9, 0.25, 0.75, 0.6, 0.4] };
  const own = [
    [0, 0.25, 0, 0.6, 0.8],
    [1.8, 0, 0.75, 0, 0.4],
  ];
  assert.equal(await rounded(L.stringLookup({ vocabulary: ["[UNK]", ...LETTERS], ...whole }).encode(SAMPLES)), own);
  assert.equal(await rounded(L.integerLookup({ vocabulary: [-1, ...NUMBERS], ...whole }).call(ints(INTEGER_SAMPLES))), own);
  const oneHot = [
    [0, 1, 0, 0, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 0, 1, 0],
    [0, 0, 0, 0, 1],
    [1, 0, 0, 0, 0],
  ];
  assert.equal(
    await L.stringLookup({ vocabulary: LETTERS, outputMode: "oneHot" })
      .encode([...LETTERS, "z"])
      .array(),
    oneHot,
  );
  assert.equal(
    await L.integerLookup({ vocabulary: NUMBERS, outputMode: "oneHot" })
      .call(ints([...NUMBERS, 7]))
      .array(),
    oneHot,
  );
  // A last dimension of 1 is where the row goes; any other gets rows in a further one.
  const hot = L.stringLookup({ vocabulary: LETTERS, outputMode: "oneHot", maxTokens: 20, numOovIndices: 4, padToMaxTokens: true });
  const pairs = [
    [
      ["a", "b"],
      ["c", "d"],
    ],
  ];
  assert.equal(hot.encode([["a"], ["b"]]).shape, [2, 20]);
  assert.equal(hot.encode(pairs).shape, [1, 2, 2, 20]);
  const integers = L.integerLookup({ vocabulary: NUMBERS, outputMode: "oneHot" });
  assert.equal(integers.call(ints([[12], [36]])).shape, [2, 5]);
  assert.equal(integers.call(ints([[12, 36]])).shape, [1, 2, 5]);
  // One dimension is one sample.
  assert.equal(
    await L.stringLookup({ vocabulary: ["a", "b"], outputMode: "multiHot" })
      .encode(["a", "b"])
      .array(),
    [0, 1, 1],
  );
  // Masks are dropped from rows, and have no place in the vocabulary.
  const dropping = L.stringLookup({ vocabulary: ["a"], outputMode: "count", maskToken: "-" });
  assert.equal(dropping.getVocabulary(), ["[UNK]", "a"]);
  assert.equal(await dropping.encode([["a", "-", "a", "b"]]).array(), [[1, 2]]);
  const numbers = L.integerLookup({ vocabulary: [5], outputMode: "count", maskToken: 0 });
  assert.equal(await numbers.call(ints([[5, 0, 5, 9]])).array(), [[1, 2]]);
});

test("integerLookup: Keras' examples, where the tensors are", async () => {
  const data = [
    [12, 1138, 42],
    [42, 1000, 36],
  ];
  assert.equal(await values(L.integerLookup({ vocabulary: NUMBERS }).call(ints(data))), [
    "i32",
    [
      [1, 3, 4],
      [4, 0, 2],
    ],
  ]);
  const learned = L.integerLookup();
  await learned.adapt(data);
  assert.equal(learned.getVocabulary(), [-1, 42, 1138, 1000, 36, 12]);
  assert.equal(await learned.call(ints(data)).array(), [
    [5, 2, 1],
    [1, 3, 4],
  ]);
  assert.equal(
    await L.integerLookup({ vocabulary: [-1] })
      .call(ints(data))
      .array(),
    [[0, 0, 0], [0, 0, 0]],
    "of special tokens alone",
  );
  const several = L.integerLookup({ vocabulary: NUMBERS, numOovIndices: 2 });
  const oov = [
    [12, 1138, 42],
    [37, 1000, 36],
    [-37, -2, 0],
  ];
  assert.equal(await several.call(ints(oov)).array(), [
    [2, 4, 5],
    [1, 0, 3],
    [1, 0, 0],
  ]);
  const back = L.integerLookup({ vocabulary: learned.getVocabulary(), invert: true });
  assert.equal(await back.call(learned.call(ints([[12, 7, 42]]))).array(), [[12, -1, 42]]);
  assert.equal(
    await L.integerLookup({ vocabulary: [7], maskToken: 0, invert: true })
      .call(ints([0, 1, 2, 9]))
      .array(),
    [0, -1, 7, -1],
  );
});

test("integerLookup finds each of many integers, the greatest and the least among them, and no other", async () => {
  const random = new Set([2 ** 31 - 1, -(2 ** 31), 0]);
  for (let i = 1; random.size < 1000; i++) random.add(Math.imul(i, 0x9e3779b1) | 0);
  for (const count of [1, 2, 3, 4, 5, 31, 32, 33, 1000]) {
    const vocabulary = [...random].slice(0, count);
    const layer = L.integerLookup({ vocabulary });
    const others = [-1, 1, 2 ** 31 - 2, -(2 ** 31) + 1].filter((v) => !random.has(v));
    const got = await layer.call(ints([...vocabulary, ...others])).array();
    assert.equal(got, [...vocabulary.map((_, i) => i + 1), ...others.map(() => 0)]);
  }
});

test("textVectorization: Keras' examples and tests", async () => {
  const learned = L.textVectorization({ maxTokens: 5000, outputSequenceLength: 4 });
  await learned.adapt(["foo bar", "bar baz", "baz bada boom"]);
  const want = [
    [4, 1, 3, 0],
    [1, 2, 0, 0],
  ];
  assert.equal(await values(learned.encode([["foo qux bar"], ["qux baz"]])), ["i32", want]);
  assert.equal(await learned.encode(["foo qux bar", "qux baz"]).array(), want);
  const given = L.textVectorization({ vocabulary: ["earth", "wind", "and", "fire"], outputSequenceLength: 4 });
  assert.equal(given.getVocabulary(), ["", "[UNK]", "earth", "wind", "and", "fire"]);
  const of = async (options, texts) => (await values(L.textVectorization(options).encode(texts)))[1];
  const foo = { vocabulary: ["foo", "bar", "baz"] };
  assert.equal(await of({ ...foo, outputMode: "multiHot" }, [["foo bar"], ["baz foo foo"]]), [
    [0, 1, 1, 0],
    [0, 1, 0, 1],
  ]);
  assert.equal(await of({ ...foo, outputMode: "count" }, ["foo bar", "baz foo foo"]), [
    [0, 1, 1, 0],
    [0, 2, 0, 1],
  ]);
  const tfIdf = L.textVectorization({ ...foo, outputMode: "tfIdf", idfWeights: [0.3, 0.5, 0.2] });
  assert.equal(await rounded(tfIdf.encode(["foo bar", "baz foo foo"])), [
    [0, 0.3, 0.5, 0],
    [0, 0.6, 0, 0.2],
  ]);
  const hello = "Hello, World!. This is just a nice test!";
  assert.equal(await of({ vocabulary: ["hello", "world", "this", "is", "nice", "test"] }, [hello]), [[2, 3, 4, 5, 1, 1, 6, 7]]);
  const lower = { standardize: "lower", vocabulary: ["hello,", "hello", "world", "this", "is", "nice", "test"] };
  assert.equal(await of(lower, [hello]), [[2, 1, 5, 6, 1, 1, 7, 1]]);
  assert.equal(await of({ split: "character", vocabulary: [..."abcde"] }, ["abcf"]), [[2, 3, 4, 1]]);
  // Marks are gone before a text is split.
  const bars = { split: (text) => text.split("|"), vocabulary: ["foo", "bar", "foobar"] };
  assert.equal(await of(bars, ["foo|bar"]), [[4]]);
  assert.equal(await of({ ...bars, standardize: null }, ["foo|bar"]), [[2, 3]]);
  assert.equal(await of({ standardize: "stripPunctuation", vocabulary: ["Hello", "World", "Test"] }, ["Hello, World! Test."]), [[2, 3, 4]]);
  assert.equal(await of({ standardize: null, vocabulary: ["Hello", "world"] }, ["Hello hello"]), [[2, 1]]);
  assert.equal(await of({ standardize: (text) => text.replace(/-/g, " "), vocabulary: ["foo", "bar"] }, ["foo-bar"]), [[2, 3]]);
  assert.equal(await of({ ...foo, split: null }, [["foo"], ["bar"], ["unknown"]]), [[2], [3], [1]]);
  assert.equal(await of({ ...foo, split: null }, ["foo", "bar", "unknown"]), [2, 3, 1]);
  assert.equal(await of({ ...foo, split: null, outputSequenceLength: 2 }, [["foo", "bar", "foo"]]), [[2, 3]]);
  const padded = L.textVectorization({ vocabulary: ["foo", "bar"], outputMode: "multiHot", maxTokens: 8, padToMaxTokens: true });
  assert.equal(await padded.encode(["foo bar"]).array(), [[0, 1, 1, 0, 0, 0, 0, 0]]);
  const five = L.textVectorization({ maxTokens: 5 });
  await five.adapt(["a b c d e f g h i j"]);
  assert.equal(five.getVocabulary(), ["", "[UNK]", "j", "i", "h"]);
  const grams = async (ngrams) => {
    const layer = L.textVectorization({ ngrams });
    await layer.adapt(["foo bar baz"]);
    return layer;
  };
  assert.equal((await grams(2)).getVocabulary(false), ["foo bar", "foo", "baz", "bar baz", "bar"]);
  assert.equal((await grams([1, 3])).getVocabulary(false), ["foo bar baz", "foo", "baz", "bar"]);
  // All of one size, then all of the next; a text with fewer tokens has none.
  assert.equal(await (await grams(2)).encode(["foo bar baz", "foo"]).array(), [
    [3, 6, 4, 2, 5],
    [3, 0, 0, 0, 0],
  ]);
});

test("what is a letter, a mark and a space is as in TensorFlow, which looks at ASCII alone", async () => {
  const layer = L.textVectorization();
  await layer.adapt(["ÀB\u00a0c ÉCOLE\tÉcole\n\vDON'T! \r\f[x]{y}\\~`^|_-#$%&*+/<=>@:;\"()., “q”"]);
  assert.equal(layer.getVocabulary(false), ["École", "“q”", "Àb\u00a0c", "xy", "dont"]);
  const split = L.textVectorization({ split: "character", standardize: null });
  await split.adapt(["a😀é"]);
  assert.is(split.vocabularySize(), 5);
});

test("equally frequent tokens come from the last to the first by code points, not by halves of pairs", async () => {
  const layer = L.stringLookup();
  await layer.adapt(["\uffee", "😀", "z", "Z", "é", "z", "ab", "a"]);
  assert.equal(layer.getVocabulary(false), ["z", "😀", "\uffee", "é", "ab", "a", "Z"]);
  // What UTF-8 cannot hold is one character there.
  await layer.adapt(["\ud83d", "\ude00", "x"]);
  assert.equal(layer.getVocabulary(false), ["\ufffd", "x"]);
});

test("tfIdf learns weights of documents, the same on every engine", async () => {
  const layer = L.textVectorization({ outputMode: "tfIdf" });
  await layer.adapt(["foo bar", "bar baz", "baz bada boom bar bar"]);
  assert.equal(layer.getVocabulary(), ["[UNK]", "bar", "baz", "foo", "boom", "bada"]);
  // ln(1 + documents / (1 + documents with the token)); for what is unknown the mean.
  const idf = [3, 2, 1, 1, 1].map((n) => Math.log(1 + 3 / (1 + n)));
  const mean = idf.reduce((a, b) => a + b) / 5;
  const [row] = await layer.encode(["bar bar nix baz"]).array();
  [mean, 2 * idf[0], idf[1], 0, 0, 0].forEach((v, i) => assert.ok(Math.abs(row[i] - v) < 1e-6, `${row[i]} is not ${v}`));
  // Each text of an array is a document; of batches that follow each other each array of one dimension is one.
  const tokens = L.stringLookup({ outputMode: "tfIdf" });
  await tokens.adapt(["a", "b", "a"]);
  const single = await tokens.encode([["a"]]).array();
  assert.ok(Math.abs(single[0][1] - Math.log(1 + 3 / 3)) < 1e-6);
  await tokens.adapt(function* () {
    yield ["a", "b", "a"];
    yield ["a"];
  });
  const batches = await tokens.encode([["a"]]).array();
  assert.ok(Math.abs(batches[0][1] - Math.log(1 + 2 / 3)) < 1e-6);
});

test("adapt takes arrays, and what gives them one after the other, and begins anew", async () => {
  const layer = L.textVectorization();
  await layer.adapt(["x y"]);
  async function* texts() {
    yield ["a b", "a"];
    yield [["c a"]];
  }
  await layer.adapt(texts);
  assert.equal(layer.getVocabulary(false), ["a", "c", "b"]);
  await layer.adapt(texts());
  assert.equal(layer.getVocabulary(false), ["a", "c", "b"]);
  const integers = L.integerLookup();
  for (const data of [Int32Array.of(3, 1, 3), ints([[3, 1, 3]]), [3, 1, 3], [[3], [1], [3]]]) {
    await integers.adapt(data);
    assert.equal(integers.getVocabulary(false), [3, 1]);
  }
  integers.setVocabulary(Int32Array.of(9, 8));
  assert.equal(integers.getVocabulary(), [-1, 9, 8]);
});

test("what is wrong is refused, with what it is", async () => {
  const vocabulary = ["a", "b"];
  const cases = [
    [() => L.stringLookup({ maxTokens: 1 }), /maxTokens must be an integer >= 2, got 1/],
    [() => L.stringLookup({ numOovIndices: -1 }), /numOovIndices must be an integer >= 0/],
    [() => L.stringLookup({ outputMode: "one_hot" }), /outputMode must be one of "int", "oneHot"/],
    [() => L.stringLookup({ invert: true, outputMode: "count" }), /invert: true .* "int" alone/],
    [() => L.stringLookup({ padToMaxTokens: true }), /padToMaxTokens: true needs maxTokens/],
    [() => L.stringLookup({ vocabulary: [] }), /vocabulary is empty/],
    [() => L.stringLookup({ vocabulary: "words.txt" }), /vocabulary must be a list of tokens, got "words.txt"/],
    [() => L.stringLookup({ vocabulary: ["a", 3] }), /a vocabulary has texts, got number at 1/],
    [() => L.stringLookup({ vocabulary: ["a", "b", "a"] }), /has "a" twice/],
    [() => L.stringLookup({ vocabulary: ["a", "-"], maskToken: "-" }), /has "-", which stands for something else, at 1.*\["-","\[UNK\]"\]/],
    [() => L.stringLookup({ vocabulary: ["a", "[UNK]"], invert: true }), /has "\[UNK\]"/],
    [() => L.stringLookup({ vocabulary, maxTokens: 2 }), /a vocabulary of 3 tokens.*maxTokens is 2/],
    [() => L.stringLookup({ vocabulary, outputMode: "tfIdf" }), /needs idfWeights/],
    [() => L.stringLookup({ vocabulary, idfWeights: [1, 2] }), /idfWeights are for outputMode "tfIdf"/],
    [() => L.stringLookup({ vocabulary, outputMode: "tfIdf", idfWeights: [1] }), /idfWeights must be as many as .* 2 tokens, got 1/],
    [() => L.stringLookup({ outputMode: "tfIdf", idfWeights: [1] }), /go with a vocabulary/],
    [() => L.stringLookup({ oovToken: 3 }), /oovToken must be texts, got number/],
    [() => L.stringLookup({ ragged: true }), /unknown option "ragged"/],
    [() => L.integerLookup({ vocabulary: [1, 2 ** 31] }), /integers of 32 bits, got number at 1/],
    [() => L.integerLookup({ vocabulary: [1.5] }), /integers of 32 bits/],
    [() => L.textVectorization({ ragged: true }), /ragged tensors are not there/],
    [() => L.textVectorization({ standardize: "upper" }), /standardize must be one of "lowerAndStripPunctuation", "lower"/],
    [() => L.textVectorization({ standardize: { custom: true, name: "f" } }), /standardize: a function was there when it was saved/],
    [() => L.textVectorization({ split: "words" }), /split must be one of "whitespace", "character"/],
    [() => L.textVectorization({ ngrams: 0 }), /ngrams must be an integer >= 1/],
    [() => L.textVectorization({ ngrams: [] }), /ngrams must be a number or a list/],
    [() => L.textVectorization({ outputMode: "oneHot" }), /outputMode must be one of "int", "multiHot"/],
    [() => L.textVectorization({ outputMode: "count", outputSequenceLength: 3 }), /outputSequenceLength is for outputMode "int"/],
    [() => L.stringLookup({ vocabulary, invert: true }).encode(["a"]), /await layer.decode\(indices\)/],
    [() => L.stringLookup({ vocabulary, invert: true }).call(ints([1])), /await layer.decode\(indices\)/],
  ];
  for (const [fn, pattern] of cases) refused(fn, L.ArgumentError, pattern);
  refused(() => L.stringLookup().encode(["a"]), L.LockstepError, /it has no vocabulary: await layer.adapt/);
  refused(() => L.integerLookup().call(ints([1])), L.LockstepError, /it has no vocabulary/);
  const lookup = L.stringLookup({ vocabulary, numOovIndices: 0 });
  refused(() => lookup.encode(["a", "c"]), L.DataError, /"c" is not in the vocabulary, and numOovIndices: 0/);
  refused(() => lookup.encode("a"), L.DataError, /expected an array of strings, got "a"; one text is a list too/);
  refused(() => lookup.encode([["a"], ["b", "a"]]), L.ShapeError, /expected 1 items at \[1\], got 2/);
  refused(() => lookup.encode(["a", 3]), L.DataError, /expected a string at \[1\], got number/);
  refused(() => L.stringLookup({ vocabulary, outputMode: "count" }).encode([[["a"]]]), L.ShapeError, /takes \[batch, tokens\]/);
  refused(() => L.textVectorization({ vocabulary }).encode([["a", "b"]]), L.ShapeError, /expected texts \[batch\] or \[batch, 1\]/);
  refused(() => L.textVectorization({ vocabulary, split: () => "a" }).encode(["a"]), L.DataError, /split must give an array of texts/);
  refused(() => L.integerLookup({ vocabulary: [1], numOovIndices: 0 }).call(ints([1])), L.ArgumentError, /at an input of a model alone/);
  refused(() => L.integerLookup({ vocabulary: [1], outputMode: "count" }).call(ints([1])), L.ShapeError, /takes \[batch, tokens\]/);
  await rejected(lookup.adapt(["a"]), L.LockstepError, /its vocabulary was given as an option; setVocabulary/);
  await rejected(L.stringLookup().adapt([]), L.DataError, /the data has no token/);
  await rejected(L.stringLookup().adapt(["[UNK]"]), L.DataError, /the data has no token/);
  await rejected(L.stringLookup().adapt([1, 2]), L.DataError, /expected a string at \[0\]/);
  await rejected(L.stringLookup().adapt("text"), L.DataError, /expected arrays, or what gives them/);
  await rejected(L.integerLookup().adapt([1.5]), L.DataError, /expected integers of 32 bits, got 1.5 in element 0/);
  await rejected(L.stringLookup({ maxTokens: 2, numOovIndices: 2 }).adapt(["a"]), L.ArgumentError, /leaves no place beside 2/);
  await rejected(lookup.decode([1.5]), L.DataError, /expected integers/);
});

const TEXTS = ["a good film", "what a bad film", "good fun", "bad and dull", "good, good!", "so dull"];
const LABELS = [1, 0, 1, 0, 1, 0];

test("a model that begins with texts learns, evaluates and predicts of them, of any length", async () => {
  const vectorize = L.textVectorization();
  await vectorize.adapt(TEXTS);
  const layers = () => [L.embedding(vectorize.vocabularySize(), 8), L.globalAvgPool1d(), L.dense(1, { activation: "sigmoid" })];
  const model = L.sequential([vectorize, ...layers()], { seed: 3 });
  const plain = L.sequential(layers(), { seed: 3, inputShape: [null] });
  const options = { epochs: 20, verbose: 0, batchSize: 4, validationData: [["good"], [1]] };
  const ids = vectorize.encode(TEXTS);
  for (const m of [model, plain])
    await m.compile({ loss: "binaryCrossentropy", optimizer: L.adam({ learningRate: 0.05 }), metrics: ["accuracy"] });
  const { history } = await model.fit(TEXTS, LABELS, options);
  assert.equal(model.inputShapes, [[null]]);
  const other = await plain.fit(ids, LABELS, { ...options, validationData: [vectorize.encode(["good"]), [1]] });
  assert.equal(history, other.history, "texts are their ids");
  assert.is(history.accuracy.at(-1), 1);
  const [good] = await (await model.predict(["good"])).data();
  const [same] = await (await plain.predict(vectorize.encode(["good"]))).data();
  assert.is(good, same);
  assert.equal(await (await model.predict(vectorize.encode(["good"]))).data(), Float32Array.of(good), "ids pass for themselves");
  assert.is((await model.predict([["bad"], ["a dull and bad film, longer than all of them before"]])).shape.join(), "2,1");
  assert.equal(await model.evaluate(TEXTS, LABELS), await plain.evaluate(ids, LABELS));
  assert.equal((await model.testOnBatch(TEXTS, LABELS)).loss, (await plain.testOnBatch(ids, LABELS)).loss);
  const before = await model.predict(TEXTS);
  await model.trainOnBatch(TEXTS, LABELS);
  await model.fit(
    function* () {
      yield [TEXTS.slice(0, 3), LABELS.slice(0, 3)];
      yield { xs: TEXTS.slice(3), ys: LABELS.slice(3) };
    },
    { epochs: 2, verbose: 0 },
  );
  assert.not.equal(await (await model.predict(TEXTS)).data(), await before.data());
  // Lengths brought to a few are few programs.
  const short = await model.predict(["good"], { padTo: [4, 8] });
  assert.ok((await short.data())[0] !== good);
  await rejected(model.predict("good"), L.ArgumentError, /got "good"/);
  await rejected(plain.predict(["good"]), L.DataError, /expected a number at \[0\], got "good"/);
});

test("what comes in the place of data, or before the model is built, is told as of any model", async () => {
  const lookup = L.stringLookup({ vocabulary: ["a"] });
  const two = L.model((a, b) => L.concatenate().call(lookup.call(a), b), { inputShape: [[1], [1]] });
  await rejected(two.predict(undefined), L.ArgumentError, /predict: x: expected a tensor, .*got undefined/);
  const failed = L.model((a) => L.reshape(lookup.call(a), [7]));
  refused(() => failed.build([[1]]), L.ShapeError, /cannot become \[7\]/);
  await rejected(failed.predict(["a"]), L.DataError, /predict: x: expected a number at \[0\], got "a"/);
});

test("an embedding that is too small for the vocabulary is told", async () => {
  const vectorize = L.textVectorization({ vocabulary: ["a", "b", "c"] });
  const model = L.sequential([vectorize, L.embedding(4, 2)]);
  await model.predict(["a b"]);
  await rejected(model.predict(["a c"]), L.DataError, /the embedding takes indices 0 to 3, got 4/);
});

test("rows of a model's texts have the size of the vocabulary, which then stays", async () => {
  for (const outputMode of ["multiHot", "count", "tfIdf"]) {
    const vectorize = L.textVectorization({ outputMode });
    await vectorize.adapt(TEXTS);
    const model = L.sequential([vectorize, L.dense(2)]);
    const y = await model.predict(TEXTS);
    assert.equal(model.inputShapes, [[vectorize.vocabularySize()]]);
    const [kernel] = await model.getWeights();
    assert.equal(await y.data(), await L.matmul(vectorize.encode(TEXTS), kernel).data());
    await rejected(vectorize.adapt(["one", "two"]), L.LockstepError, /was built for rows of 10, a vocabulary of 2 tokens has rows of 3/);
    assert.is(vectorize.vocabularySize(), 10, "nothing has changed");
  }
});

test("texts are one of several inputs of a function, and lookups adjust what they are given", async () => {
  const city = L.stringLookup({ vocabulary: ["Oslo", "Rome"] });
  const tags = L.textVectorization({ vocabulary: ["old", "large"], outputMode: "multiHot" });
  const [places, head] = [L.embedding(3, 2), L.dense(1)];
  const model = L.model((a, b, n) => head.call(L.concatenate().call(L.flatten().call(places.call(city.call(a))), tags.call(b), n)), {
    inputShape: [[1], [3], [2]],
  });
  const numbers = [
    [1, 2],
    [3, 4],
  ];
  const texts = [["Rome", "Bern"], ["old and large", "old"], numbers];
  const y = await model.predict(texts);
  assert.equal(y.shape, [2, 1]);
  const ids = [ints([[2], [0]]), L.tensor([[1, 1, 1], [0, 1, 0]]), L.tensor(numbers)];
  assert.equal(await (await model.predict(ids)).data(), await y.data());
  assert.equal(await (await model.predict([[["Rome"], ["Bern"]], ...texts.slice(1)])).data(), await y.data());
  await rejected(model.predict([["Rome"], ["old", "old"], numbers]), L.DataError, /x\[0\] has 1 samples, x\[1\] has 2/);
  await model.compile({ loss: "mse", optimizer: "sgd" });
  await model.fit(texts, [[1], [2]], { verbose: 0 });
});

test("a layer of texts stands at an input, alone", async () => {
  const vectorize = L.textVectorization({ vocabulary: ["a"] });
  refused(
    () => L.model((x) => vectorize.call(L.mul(x, 2)), { inputShape: [3] }),
    L.ArgumentError,
    /reads text, which only a model's input can be/,
  );
  const other = L.textVectorization({ vocabulary: ["b"] });
  const both = (x) => [vectorize.call(x), other.call(x)];
  refused(() => L.model(both, { inputShape: [3] }), L.ArgumentError, /on an input that no other such layer reads/);
  // Twice the same one is one reading.
  const twice = L.model((x) => [vectorize.call(x), vectorize.call(x)], { inputShape: [null] });
  assert.equal(
    (await twice.predict(["a b"])).map((t) => t.shape),
    [[1, 2], [1, 2]],
  );
  const inner = L.sequential([vectorize, L.embedding(3, 2)], { inputShape: [null] });
  const outer = L.sequential([inner, L.globalAvgPool1d()], { inputShape: [null] });
  assert.equal((await outer.predict(["a b a"])).shape, [1, 2]);
});

test("integerLookup stands anywhere, and follows its vocabulary", async () => {
  const lookup = L.integerLookup({ numOovIndices: 1 });
  await lookup.adapt([100, 200, 100]);
  const model = L.sequential([lookup, L.embedding(4, 2)], { inputShape: [2] });
  const [embeddings] = await model.getWeights();
  const rowsOf = async (list) => L.gather(embeddings, ints(list)).array();
  assert.equal(await (await model.predict([[100, 200], [300, 100]])).array(), await rowsOf([[1, 2], [0, 1]]));
  await lookup.adapt([300, 300, 200]);
  assert.equal(await (await model.predict([[100, 200], [300, 100]])).array(), await rowsOf([[0, 2], [1, 0]]), "programs are made anew");
  const large = L.sequential([L.integerLookup({ vocabulary: [2 ** 24 + 1] }), L.embedding(2, 1)], { inputShape: [1] });
  const [[[a]], [[b]]] = await (await large.predict(ints([[2 ** 24 + 1], [2 ** 24]]))).array();
  assert.not.equal(a, b, "f32 does not tell them apart");
  const strict = L.sequential([L.integerLookup({ vocabulary: [5, 6], numOovIndices: 0 }), L.embedding(2, 1)], { inputShape: [2] });
  await strict.predict([[5, 6]]);
  await rejected(strict.predict([[5, 7]]), L.DataError, /predict: x: 7 is not in the vocabulary/);
  const within = () => L.sequential([L.rescaling(2), L.integerLookup({ vocabulary: [4], numOovIndices: 0 })], { inputShape: [1] });
  refused(within, L.ArgumentError, /at an input of a model alone/);
  // Programs know inputs through layers around, whatever batches are made of; by itself a model looks at nothing.
  const steps = L.timeDistributed(
    L.sequential([L.integerLookup({ vocabulary: [5, 6], numOovIndices: 0 }), L.embedding(2, 1), L.flatten()]),
  );
  const around = L.sequential([steps, L.globalAvgPool1d()], { inputShape: [2, 1] });
  assert.equal((await around.predict(L.tensor([5, 6, 6, 6], [2, 2, 1]))).shape, [2, 1]);
  await around.compile({ loss: "mse", optimizer: "sgd" });
  await around.fit(L.tensor([5, 6, 6, 6, 5, 5], [3, 2, 1]), [[1], [2], [3]], { batchSize: 2, verbose: 0 });
  await rejected(around.predict([[[5], [7]]]), L.DataError, /predict: x: 7 is not in the vocabulary/);
  refused(() => strict.call(ints([[5, 7]])), L.ArgumentError, /at an input of a model alone/);
  const [once, moved] = [L.integerLookup({ vocabulary: [5, 6], numOovIndices: 0 }), { by: 0 }];
  const changing = L.model((x) => once.call(moved.by === 0 ? x : L.add(x, moved.by)), { inputShape: [2] });
  moved.by = 1;
  await rejected(changing.predict([[5, 6]]), L.ArgumentError, /at an input of a model alone/);
  const doubled = L.sequential([L.rescaling(2), L.integerLookup({ vocabulary: [4] })], { inputShape: [2] });
  assert.equal(await (await doubled.predict([[2, 3]])).array(), [[1, 0]]);
});

test.run();
