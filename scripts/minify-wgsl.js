/**
 * @file Makes the GPU kernels small: WGSL without comments, spaces, default bodies and the constants that are always put in, with numbers
 * as short as they can be, and its private names shortened. What is left is text for src/webgpu/shader.ts, which splits it into
 * declarations and puts constants and bodies in by name, so names that src/webgpu speaks of keep theirs.
 *
 * A name becomes the same short one wherever it stands, in all files: functions are found across files, and code that is alike stays
 * alike, which gzip lives on. Names that never stand in one function may share one.
 */

/** Comments, identifiers, numbers, and everything else by single characters. */
const TOKENS = /\/\/[^\n]*|\/\*[^]*?\*\/|[A-Za-z_]\w*|0[xX][\da-fA-F]+[iu]?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fhiu]?|\s+|[^]/g;
const WORD = /^[A-Za-z_]\w*$/;
/** Characters that are another token when they stand together. */
const JOINED = new Set(["--", "++", "&&", "||", "->", "==", "!=", "<=", ">=", "<<", ">>", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="]);
/** Predeclared aliases: https://www.w3.org/TR/WGSL/#vector-types */
const ALIAS = { f32: "f", f16: "h", i32: "i", u32: "u" };
/** Keywords and reserved words (https://www.w3.org/TR/WGSL/#reserved-words) that are as short as names get here. */
const RESERVED = ["as", "do", "fn", "if", "of"];
const LOWER = "abcdefghijklmnopqrstuvwxyz";
const DECLARES = new Set(["const", "let", "var", "override", "fn", "struct", "alias"]);

/** Tokens without comments; `spaced`: whether there was space before it. */
function tokensOf(text) {
  const tokens = [];
  let spaced = false;
  for (const [token] of text.matchAll(TOKENS)) {
    if (/^(\s|\/\/|\/\*)/.test(token)) spaced = true;
    else {
      tokens.push({ token, spaced });
      spaced = false;
    }
  }
  return tokens;
}

/** The index behind the bracket that closes the one at `open`. */
function closing(tokens, open) {
  const [left, right] = { "(": ["(", ")"], "{": ["{", "}"], "<": ["<", ">"] }[tokens[open].token];
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    if (tokens[i].token === left) depth++;
    else if (tokens[i].token === right && --depth === 0) return i + 1;
  }
  throw new Error(`wgsl: ${left} without ${right}`);
}

/** The index of the name that a declaring keyword at `i` declares: behind `var<storage, read>` too. */
const nameAt = (tokens, i) => (tokens[i + 1].token === "<" ? closing(tokens, i + 1) : i + 1);

const isWord = (t) => t !== undefined && WORD.test(t.token);

/** Indices of the words that are names: not members (`v.x`), attributes or what `@builtin` says. */
function namesIn(tokens) {
  const names = new Set();
  let attribute = NaN;
  tokens.forEach((t, i) => {
    if (t.token === "@") attribute = i + 1;
    const foreign = i === attribute || (i === attribute + 2 && tokens[attribute].token === "builtin") || tokens[i - 1]?.token === ".";
    if (isWord(t) && !foreign) names.add(i);
  });
  return names;
}

/** What a file declares at module scope, its entry points among that, and where its functions and the members of its structs stand. */
function outline(tokens) {
  const declared = new Set();
  const entries = new Set();
  const functions = [];
  const members = new Set();
  for (let i = 0, compute = false; i < tokens.length; i++) {
    const { token } = tokens[i];
    if (token === "compute") compute = true;
    if (!DECLARES.has(token)) continue;
    const at = nameAt(tokens, i);
    declared.add(tokens[at].token);
    if (token !== "fn" && token !== "struct") continue;
    let open = at;
    while (tokens[open].token !== "{") open++;
    const end = closing(tokens, open);
    if (token === "fn") functions.push({ begin: at + 1, end });
    else for (let j = open; j < end - 1; j++) if (tokens[j + 1].token === ":") members.add(j);
    if (compute) entries.add(tokens[at].token);
    compute = false;
    i = end - 1;
  }
  return { declared, entries, functions, members };
}

/** Indices of the names of a function's parameters and variables, wherever they are meant: blocks and the order of declarations count. */
function localsOf(tokens, names, { begin, end }) {
  const locals = new Set();
  const scopes = [{ names: new Set(), loop: false }];
  const body = closing(tokens, begin);
  for (let i = begin; i < body; i++) {
    if (!names.has(i) || tokens[i + 1].token !== ":") continue;
    locals.add(i);
    scopes[0].names.add(tokens[i].token);
  }
  let declaring = null;
  for (let i = body; i < end; i++) {
    const { token } = tokens[i];
    if (token === "{") scopes.push({ names: new Set(), loop: false });
    else if (token === "for") scopes.push({ names: new Set(), loop: true });
    else if (token === "}") {
      scopes.pop();
      if (scopes.at(-1).loop) scopes.pop();
    } else if (token === ";" && declaring !== null) {
      scopes.at(-1).names.add(declaring);
      declaring = null;
    } else if (DECLARES.has(token)) {
      i = nameAt(tokens, i);
      declaring = tokens[i].token;
      locals.add(i);
    } else if (names.has(i) && scopes.some((s) => s.names.has(token))) locals.add(i);
  }
  return locals;
}

/** Names from one alphabet, shortest first: a, b, ..., aa, ba, ... */
function* namesOf(alphabet) {
  for (let length = 1; ; length++) {
    for (let n = 0; n < alphabet.length ** length; n++) {
      let name = "";
      for (let rest = n, k = 0; k < length; k++, rest = Math.floor(rest / alphabet.length)) name += alphabet[rest % alphabet.length];
      yield name;
    }
  }
}

/**
 * Short names for `counts`, the most frequent first (of equals the first by code points, so that builds are the same everywhere).
 * `clashes(name)`: names that stand where it does, of which those that have a short one cannot share it.
 */
function shortNames(counts, alphabet, taken, clashes) {
  const order = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([name]) => name);
  const short = new Map();
  for (const name of order) {
    const others = clashes(name);
    const used = new Set([...others].map((other) => short.get(other)));
    for (const candidate of namesOf(alphabet)) {
      if (taken.has(candidate) || others.has(candidate) || used.has(candidate)) continue;
      short.set(name, candidate);
      break;
    }
  }
  return short;
}

const count = (counts, name) => counts.set(name, (counts.get(name) ?? 0) + 1);

/** The shortest decimal that is the same f32. `0.5` becomes `.5`, `1.0` becomes `1.` */
function shortFloat(token) {
  const exact = Math.fround(Number(token));
  let digits = 1;
  while (Math.fround(Number(exact.toPrecision(digits))) !== exact) digits++;
  const plain = String(Number(exact.toPrecision(digits))).replace(/^0(?=\.)/, "");
  const scientific = exact.toExponential(digits - 1).replace("e+", "e");
  const short = scientific.length < plain.length ? scientific : plain;
  return /[.e]/.test(short) ? short : `${short}.`;
}

const UNSIGNED = /^(\d+|0[xX][\da-fA-F]+)u$/;
const isNumber = (t) => t !== undefined && /^\d/.test(t.token);

/** Whether the number at `i` is an operand of an operator whose other operand has a type, which the number then takes: `i * 4u` is `i * 4`. */
function typedByOther(tokens, i) {
  const operator = (at) => /^[-+*/%&|^<>=!]$/.test(tokens[at]?.token ?? "");
  let before = i - 1;
  while (operator(before)) before--;
  // Of `let x = 4u` nothing else says the type.
  const assigned = tokens[i - 1].token === "=" && before === i - 2;
  if (before < i - 1 && !assigned && !isNumber(tokens[before])) return true;
  return /^[-+*/%&|^]$/.test(tokens[i + 1]?.token ?? "") && !isNumber(tokens[i + 2]);
}

/** Joins tokens with the least space between them. `vec4<f32>` becomes `vec4f`. */
function join(tokens) {
  let text = "";
  for (let i = 0; i < tokens.length; i++) {
    let { token } = tokens[i];
    if (/^\d*\.\d+(e-?\d+)?$|^\d+\.(?!\d)/.test(token)) token = shortFloat(token);
    else if (UNSIGNED.test(token) && typedByOther(tokens, i)) token = token.slice(0, -1);
    const alias = /^(vec[234]|mat\dx\d)$/.test(token) && tokens[i + 1]?.token === "<" && tokens[i + 3]?.token === ">" ? ALIAS[tokens[i + 2].token] : undefined;
    const before = text.at(-1) ?? "";
    const merges = /\w/.test(before) ? /^(\w|\.\d)/.test(token) : tokens[i].spaced && JOINED.has(before + token[0]);
    text += (merges ? " " : "") + token + (alias ?? "");
    if (alias !== undefined) i += 3;
  }
  // The loader tells a name by the space before it.
  return text.replace(/\bvar<[^>]*>(?=\w)/g, "$& ");
}

/** What a program says outside of comments: its words, what its templates put before and behind a value (`op_${name}`, `${join}_dots`) and the variables of bodies. */
function spokenIn(program) {
  const text = program.replace(/\/\*[^]*?\*\/|(?<=^|\s)\/\/.*$/gm, "");
  const prefixes = [...text.matchAll(/(?<!\w)([A-Za-z]\w*_)\$\{/g)].map((m) => m[1]);
  const variables = [...text.matchAll(/var<[^>]*> (\w+):/g)].map((m) => m[1]);
  const suffixes = [...text.matchAll(/\}(_\w+)(?=`)/g)].map((m) => m[1]);
  const given = new Set([...text.matchAll(/(?<!\w)([A-Z][A-Z\d_]*):/g)].map((m) => m[1]));
  return { words: new Set(text.match(/[A-Za-z_]\w*/g)), prefixes, suffixes, variables, given };
}

/** Tokens without the constants that the program gives. The loader takes numbers for u32 and pairs for vectors of such: constants of other types stay. */
function withoutGiven(tokens, given) {
  const kept = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i].token === "const" && given.has(tokens[i + 1].token)) {
      const end = tokens.findIndex((t, j) => j > i && t.token === ";");
      if (/^:(u32|bool|vec2<u32>)=(\w+|vec2\(\d+,\d+\))$/.test(tokens.slice(i + 2, end).map((t) => t.token).join(""))) {
        i = end;
        continue;
      }
    }
    kept.push(tokens[i]);
  }
  return kept;
}

/**
 * @param {{ [file: string]: string }} files WGSL by name
 * @param {string} users the program that puts constants and bodies in: names that it speaks of, or can make with a template, are kept
 * @returns {{ [file: string]: string }}
 */
export function minifyWgsl(files, users) {
  return minify(files, users, false).files;
}

/** The same where the program can be changed too: constants have short names, by which the program must give them. */
export function minifyWithConstants(files, users) {
  return minify(files, users, true);
}

function minify(files, users, shortConstants) {
  const { words, prefixes, suffixes, variables, given } = spokenIn(users);
  const isMade = (name) => prefixes.some((p) => name.startsWith(p)) || suffixes.some((s) => name.endsWith(s));
  const constants = new Set(shortConstants ? Object.values(files).flatMap((text) => [...text.matchAll(/^const (\w+):/gm)].map((m) => m[1])).filter((name) => given.has(name) && !isMade(name)) : []);
  const isSpoken = (name) => !constants.has(name) && (words.has(name) || isMade(name));

  // A body that is always put in need not be there, nor hooks; the lines that say where the body goes stay.
  const parsed = Object.entries(files).map(([file, text]) => ({ file, parts: text.replace(/^\/\/ hooks$[^]*^\/\/ end hooks$/m, "").split(/^\/\/ body$[^]*^\/\/ end body$/m).map((part) => withoutGiven(tokensOf(part), given)) }));
  const parts = parsed.flatMap((f) => f.parts).map((tokens) => {
    const names = namesIn(tokens);
    const { functions, members, ...rest } = outline(tokens);
    return { tokens, names, members, ...rest, functions: functions.map((f) => ({ ...f, locals: localsOf(tokens, names, f) })) };
  });
  const declared = new Set([...parts.flatMap((p) => [...p.declared]), ...constants]);
  const entries = new Set(parts.flatMap((p) => [...p.entries]));
  const isPrivate = new Set([...declared].filter((name) => !isSpoken(name) && !entries.has(name)));

  const counts = { module: new Map(), local: new Map() };
  const renamed = { module: [], local: [] };
  /** Of each local, what stands in the functions where it does. */
  const beside = new Map();
  const fixed = new Set([...words, ...RESERVED]);
  for (const { tokens, names, members, functions } of parts) {
    const locals = new Set(functions.flatMap((f) => [...f.locals]));
    for (const i of names) {
      const { token } = tokens[i];
      const kind = locals.has(i) ? "local" : !members.has(i) && isPrivate.has(token) ? "module" : null;
      if (kind === null) fixed.add(token);
      else {
        count(counts[kind], token);
        renamed[kind].push(tokens[i]);
      }
    }
    for (const { begin, end, locals: mine } of functions) {
      const there = [...names].filter((i) => i >= begin && i < end).map((i) => tokens[i].token);
      for (const i of mine) {
        const known = beside.get(tokens[i].token);
        if (known === undefined) beside.set(tokens[i].token, new Set(there));
        else for (const name of there) known.add(name);
      }
    }
  }
  const short = {
    module: shortNames(counts.module, LOWER.toUpperCase(), fixed, () => isPrivate),
    // Locals are not told from variables of the module when the loader looks for what a function reaches.
    local: shortNames(counts.local, LOWER, new Set([...declared, ...variables, ...RESERVED]), (name) => beside.get(name)),
  };
  for (const kind of ["module", "local"]) for (const t of renamed[kind]) t.token = short[kind].get(t.token);
  return {
    files: Object.fromEntries(parsed.map(({ file, parts: mine }) => [file, mine.map(join).join("\n// body\n// end body\n")])),
    constants: new Map([...constants].map((name) => [name, short.module.get(name) ?? name])),
  };
}
