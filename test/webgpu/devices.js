/**
 * @file Devices as the standard allows them and the software adapter is not: what other hardware does is written into the text of the
 * shaders that a device is given, and into its buffers. So the adapter at hand runs them, and results must be what they were.
 */

/** The position behind the bracket that closes the one at `open`. */
function closing(text, open) {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if ("([{".includes(text[i])) depth++;
    else if (")]}".includes(text[i]) && --depth === 0) return i + 1;
  }
  throw new Error(`no end of ${text.slice(open, open + 60)}`);
}

/** What stands between the commas of a list that are in no brackets. */
function items(list) {
  const found = [""];
  let depth = 0;
  for (const c of list) {
    if ("([{<".includes(c)) depth++;
    if (")]}>".includes(c)) depth--;
    if (c === "," && depth === 0) found.push("");
    else found[found.length - 1] += c;
  }
  return found.map((s) => s.trim()).filter((s) => s !== "");
}

const ENTRY = /@compute\s*@workgroup_size\(([^)]*)\)\s*fn\s+\w+\s*\(/;

/** A shader's entry point taken apart: { head, size, inputs: { [builtin]: [variable, type] }, body, tail }. */
function entryOf(text) {
  const found = ENTRY.exec(text);
  if (found === null) throw new Error(`no entry point in ${text.slice(0, 200)}`);
  const open = found.index + found[0].length - 1;
  const close = closing(text, open);
  const from = text.indexOf("{", close);
  const end = closing(text, from);
  const inputs = Object.fromEntries(
    items(text.slice(open + 1, close - 1)).map((p) => {
      const [, builtin, variable, type] = /^@builtin\((\w+)\)\s*(\w+)\s*:\s*(.+)$/.exec(p);
      return [builtin, [variable, type]];
    }),
  );
  const [x, y = "1", z = "1"] = items(found[1]);
  return { head: text.slice(0, open + 1), size: [x, y, z], inputs, body: text.slice(from + 1, end - 1), tail: text.slice(end) };
}

/** The type that an alias stands for. */
const resolved = (text, type) => {
  const alias = new RegExp(`\\balias\\s+${type}\\s*=\\s*([^;]+);`).exec(text);
  return alias === null ? type : resolved(text, alias[1].trim());
};

/** Statements that leave something else than 0 in workgroup memory: NaN in floats, large numbers in integers. */
function dirt(text) {
  const filled = [...text.matchAll(/var<workgroup>\s*(\w+)\s*:\s*([^;]+);/g)].map(([, name, type]) => {
    if (/^atomic/.test(type)) return `atomicStore(&${name}, ${/i32/.test(type) ? "i32(dirt)" : "dirt"});`;
    const [element, length] = items(/^array<([^]*)>$/.exec(type.trim())[1]);
    const of = resolved(text, element);
    const value = /[iu]32|[iu]$/.test(of) ? `${of}(${/i(32)?>?$/.test(of) ? "i32(dirt)" : "dirt"})` : `${of}(bitcast<f32>(dirt))`;
    return `for (var i = device_local; i < u32(${length}); i += device_threads) { ${name}[i] = ${value}; }`;
  });
  return filled.length === 0 ? "" : `{ var dirt = 0x7fc0beefu; ${filled.join(" ")} workgroupBarrier(); }`;
}

const SUBGROUP = /\bsubgroup(Add|Max|Min|Mul|Shuffle|ShuffleXor|ShuffleDown|ShuffleUp|Broadcast|BroadcastFirst|Elect)\s*\(/;

/** The declaration of the function around a position. */
function functionAround(text, at) {
  const starts = [...text.slice(0, at).matchAll(/\bfn\s+\w+\s*\(/g)];
  const from = starts[starts.length - 1].index;
  return text.slice(from, closing(text, text.indexOf("{", closing(text, text.indexOf("(", from)))));
}

/** The type of an expression as the kernels have them, from declarations. */
function typeOf(text, scope, expression) {
  const e = expression.trim();
  if (/^\d+u$/.test(e) || /^u32\(/.test(e)) return "u32";
  if (/^\d*\.\d*/.test(e) || /^f32\(/.test(e)) return "f32";
  const vector = /^(vec\d(?:<\w+>|[fui]))\s*\(/.exec(e);
  if (vector !== null) return vector[1];
  const member = /^(\w+)\.(\w+)$/.exec(e);
  if (member !== null) {
    const of = typeOf(text, scope, member[1]);
    if (/^vec/.test(of)) return /u/.test(of.slice(4)) ? "u32" : /i/.test(of.slice(4)) ? "i32" : "f32";
    const fields = new RegExp(`\\bstruct\\s+${of}\\s*\\{([^}]*)\\}`).exec(text)[1];
    return resolved(text, new RegExp(`\\b${member[2]}\\s*:\\s*([^,}]+)`).exec(fields)[1].trim());
  }
  if (/^\w+$/.test(e)) {
    const declared = new RegExp(`\\b${e}\\s*:\\s*((?:vec\\d<\\w+>|\\w+))`).exec(scope);
    if (declared !== null) return resolved(text, declared[1]);
    const given = new RegExp(`\\b(?:var|let)\\s+${e}\\s*=\\s*([^;]+);`).exec(scope);
    if (given !== null) return typeOf(text, scope, given[1]);
  }
  const called = /^(\w+)\s*\(/.exec(e);
  const result = called && new RegExp(`\\bfn\\s+${called[1]}\\s*\\([^{]*\\)\\s*->\\s*([^{]+)\\{`).exec(text);
  if (result) return resolved(text, result[1].trim());
  if (called !== null && /^(select|max|min|abs|subgroup\w+)$/.test(called[1]))
    return typeOf(text, scope, items(e.slice(called[0].length, -1))[0]);
  const [left] = e.split(/[-+*/]/);
  if (left !== e && left !== "") return typeOf(text, scope, left);
  throw new Error(`of which type is ${e}? in ${scope}`);
}

const JOINS = { Add: "a + b", Mul: "a * b", Max: "max(a, b)", Min: "min(a, b)" };

/** Functions of a group of `device_subgroup` neighbours for one type, through workgroup memory. All invocations call them together. */
function groupFunctions(type) {
  const name = type.replace(/\W/g, "");
  const read = (what, parameter, place) =>
    `fn device_${what}_${name}(v: ${type}${parameter}) -> ${type} {
  device_shared_${name}[device_at] = v;
  workgroupBarrier();
  let own = device_at % device_subgroup;
  let first = device_at - own;
  let r = device_shared_${name}[first + (${place}) % device_subgroup];
  workgroupBarrier();
  return r;
}`;
  const joins = /bool/.test(type)
    ? []
    : Object.entries(JOINS).map(
        ([what, how]) => `fn device_${what}_${name}(v: ${type}) -> ${type} {
  device_shared_${name}[device_at] = v;
  workgroupBarrier();
  let first = device_at - device_at % device_subgroup;
  var a = device_shared_${name}[first];
  for (var i = 1u; i < device_subgroup; i++) { let b = device_shared_${name}[first + i]; a = ${how}; }
  workgroupBarrier();
  return a;
}`,
      );
  return [
    `var<workgroup> device_shared_${name}: array<${type}, device_threads>;`,
    ...joins,
    read("ShuffleXor", ", mask: u32", "own ^ mask"),
    read("Shuffle", ", id: u32", "id"),
    read("Broadcast", ", id: u32", "id"),
    read("BroadcastFirst", "", "0u"),
    read("ShuffleDown", ", by: u32", "own + by"),
    read("ShuffleUp", ", by: u32", "own - by"),
  ].join("\n");
}

/** The shader with subgroups of `size` invocations, of which the workgroup has no more than its own. */
function withSubgroups(text, size) {
  let out = text
    .replace(/enable subgroups;|diagnostic\(off,\s*subgroup_uniformity\);/g, "")
    .replace(/\bsubgroupAdd\(1u\)/g, "device_subgroup");
  const types = new Set();
  for (let found = SUBGROUP.exec(out); found !== null; found = SUBGROUP.exec(out)) {
    const open = found.index + found[0].length - 1;
    const end = closing(out, open);
    if (found[1] === "Elect") {
      out = `${out.slice(0, found.index)}(device_at % device_subgroup == 0u)${out.slice(end)}`;
      continue;
    }
    const [value] = items(out.slice(open + 1, end - 1));
    const type = typeOf(out, functionAround(out, found.index), value);
    types.add(type);
    out = `${out.slice(0, found.index)}device_${found[1]}_${type.replace(/\W/g, "")}(${out.slice(open + 1)}`;
  }
  return `${out}
const device_subgroup: u32 = min(${size}u, device_threads);
${[...types].map(groupFunctions).join("\n")}`;
}

/**
 * The shader as a device runs it that
 * - `dirty`: does not clear workgroup memory,
 * - `backwards`: begins with the last workgroup, and within it with the last invocations, by fours,
 * - `subgroups`: has subgroups of so many invocations. Default: its own.
 */
export function onDevice(text, { dirty = false, backwards = false, subgroups = 0 }) {
  const uses = subgroups > 0 && /\bsubgroup[A-Z]\w*\(/.test(text);
  const { head, size, inputs, body, tail } = entryOf(uses ? withSubgroups(text, subgroups) : text);
  const [x, y, z] = size.map((n) => `u32(${n})`);
  const parameters = [
    "local_invocation_index) device_index: u32",
    "workgroup_id) device_group: vec3<u32>",
    "num_workgroups) device_groups: vec3<u32>",
  ];
  const own = Object.keys(inputs).filter((name) => /^subgroup_|^num_subgroups/.test(name) && !uses);
  for (const name of own) parameters.push(`${name}) device_${name}: u32`);
  const at = {
    local_invocation_index: "device_local",
    local_invocation_id: "device_local_id",
    workgroup_id: "device_workgroup",
    num_workgroups: "device_groups",
    global_invocation_id: `(device_workgroup * vec3<u32>(${x}, ${y}, ${z}) + device_local_id)`,
    subgroup_size: uses ? "device_subgroup" : "device_subgroup_size",
    subgroup_invocation_id: uses ? "(device_local % device_subgroup)" : "device_subgroup_invocation_id",
    subgroup_id: uses ? "(device_local / device_subgroup)" : "device_subgroup_id",
    num_subgroups: uses ? "((device_threads + device_subgroup - 1u) / device_subgroup)" : "device_num_subgroups",
  };
  const prologue = [
    // Fours are left as they are: subgroups have neighbours.
    backwards
      ? "let device_last = (device_threads / 4u - 1u - device_index / 4u) * 4u + device_index % 4u;\n" +
        "let device_local = select(device_index, device_last, device_threads % 4u == 0u);"
      : "let device_local = device_index;",
    `let device_local_id = vec3<u32>(device_local % ${x}, device_local / ${x} % ${y}, device_local / (${x} * ${y}));`,
    backwards ? "let device_workgroup = device_groups - vec3<u32>(1u) - device_group;" : "let device_workgroup = device_group;",
    ...(uses ? ["device_at = device_local;"] : []),
    ...(dirty ? [dirt(text)] : []),
    ...Object.entries(inputs).map(([builtin, [variable]]) => `let ${variable} = ${at[builtin]};`),
  ];
  return `${head}${parameters.map((p) => `@builtin(${p}`).join(", ")}) {
${prologue.join("\n")}
${body}
}${tail}
const device_threads: u32 = ${x} * ${y} * ${z};
${uses ? "var<private> device_at: u32;" : ""}`;
}

/** What stands in memory that was another's. */
const GARBAGE = 0x7fc0beef;

/**
 * Makes every buffer of `device` begin with garbage, also where `Buffers` gives it again: `undo` puts that back. No
 * run so far may wait to be submitted with others.
 * @param Buffers the class of build/esm/webgpu/buffers.js
 */
export function leaveGarbage(device, Buffers) {
  const alloc = Buffers.prototype.alloc;
  Buffers.prototype.alloc = function (bytes) {
    const handle = alloc.call(this, bytes);
    const { buffer } = handle.memory;
    // Sizes of buffers are multiples of words.
    device.queue.writeBuffer(buffer, 0, new Uint32Array(Math.min(buffer.size, 2 ** 24) / 4).fill(GARBAGE));
    return handle;
  };
  return () => void (Buffers.prototype.alloc = alloc);
}

/** The text around a division that is one of floats as the kernels write them: [left, right] as positions. */
function operands(text, at) {
  let from = at;
  for (;;) {
    while (/\s/.test(text[from - 1])) from--;
    if (text[from - 1] === ")" || text[from - 1] === "]") {
      let depth = 0;
      do {
        from--;
        if (")]".includes(text[from])) depth++;
        if ("([".includes(text[from])) depth--;
      } while (depth > 0);
      if (/[\w\]>]/.test(text[from - 1]) && !/\breturn$/.test(text.slice(0, from))) continue;
    } else {
      while (/[\w.]/.test(text[from - 1])) from--;
    }
    const before = /[*/%]\s*$/.exec(text.slice(0, from));
    if (before === null) break;
    from = before.index;
  }
  let end = at + 1;
  while (/\s/.test(text[end])) end++;
  while (/[\w.]/.test(text[end])) end++;
  // vec4<f32>(...) and bitcast<f32>(...)
  if (text[end] === "<") end = text.indexOf(">", end) + 1;
  while (text[end] === "(" || text[end] === "[") end = closing(text, end);
  return [from, end];
}

/**
 * The shader on a device that divides by multiplying with a reciprocal, which it flushes where it is subnormal: WGSL promises nothing of
 * divisors beyond 2^126. Divisions of floats are known by a literal, a conversion or a parameter that is one.
 */
export function byReciprocals(text) {
  let out = text.replace(/\/\/.*$/gm, "");
  let found = false;
  for (let at = out.indexOf("/"); at >= 0; at = out.indexOf("/", at + 1)) {
    const starts = [...out.slice(0, at).matchAll(/\bfn\s+\w+\s*\(/g)];
    if (starts.length === 0 || out[at + 1] === "=") continue;
    const inFunction = starts[starts.length - 1].index;
    if (inFunction + functionAround(out, at).length < at) continue;
    const [from, end] = operands(out, at);
    const [left, right] = [out.slice(from, at), out.slice(at + 1, end)];
    const head = out.slice(inFunction, out.indexOf("{", inFunction));
    const isFloat = (e) =>
      /\d\.|\.\d|\bf32\(/.test(e) ||
      (e.match(/[A-Za-z_]\w*/g) ?? []).some(
        (word) => new RegExp(`\\b${word}\\s*:\\s*f32\\b`).test(head) || new RegExp(`\\bconst ${word}\\s*:\\s*f32\\b`).test(out),
      );
    if (!isFloat(left) && !isFloat(right)) continue;
    found = true;
    out = `${out.slice(0, from)} device_quotient(${left}, ${right})${out.slice(end)}`;
    at = from + " device_quotient(".length + left.length;
  }
  return found
    ? `${out}
fn device_quotient(a: f32, b: f32) -> f32 {
  let r = 1.0 / b;
  let bits = bitcast<u32>(r);
  return a * bitcast<f32>(select(bits, bits & 0x80000000u, (bits & 0x7f800000u) == 0u));
}`
    : text;
}
