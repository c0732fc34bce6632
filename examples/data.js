/**
 * @file Data sets that need no download: drawn from a seed, the same on every machine. Only exact arithmetic is used
 * (no sin, cos, exp, log, whose last bits differ between engines), so that a training from them can be compared bit
 * for bit.
 */

/**
 * Uniform numbers in [0, 1) by xorshift32 (Marsaglia 2003).
 * @param {number} seed any integer
 * @returns {() => number}
 */
export function uniform(seed) {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
  for (let i = 0; i < 8; i++) next(); // near seeds start alike
  return next;
}

/** Roughly normal, mean 0, variance 1: four uniform numbers summed. */
const normal = (random) => (random() + random() + random() + random() - 2) * Math.sqrt(3);

const between = (random, low, high) => low + (high - low) * random();

const SIDE = 28;
const PIXELS = SIDE * SIDE;

/** Points on the ellipse arc around (cx, cy), in turns; 0 is right, 0.25 is down, as y grows downwards. */
function arc(cx, cy, rx, ry, from, to) {
  const count = Math.max(2, Math.ceil(Math.abs(to - from) * 16));
  return Array.from({ length: count + 1 }, (_, i) => {
    const [c, s] = turn(from + ((to - from) * i) / count);
    return [cx + rx * c, cy + ry * s];
  });
}

/** Cosine and sine of an angle in turns, to a few parts in a thousand and exactly normalised: Bhaskara's formula per quarter. */
function turn(angle) {
  const t = angle - Math.floor(angle);
  const half = (x) => (16 * x * (0.5 - x)) / (1.25 - 4 * x * (0.5 - x)); // sine on the first half turn
  const sine = (x) => (x < 0.5 ? half(x) : -half(x - 0.5));
  const s = sine(t);
  const c = sine(t < 0.75 ? t + 0.25 : t - 0.75);
  const norm = Math.sqrt(c * c + s * s);
  return [c / norm, s / norm];
}

/** How each digit may be written: strokes as lists of points in the box from (-1, -1) top left to (1, 1) bottom right. */
const GLYPHS = [
  [[arc(0, 0, 0.62, 0.95, 0, 1)]],
  [
    [[[0, -0.95], [0, 0.95]]],
    [[[-0.35, -0.6], [0.05, -0.95], [0.05, 0.95]]],
    [[[-0.35, -0.6], [0.05, -0.95], [0.05, 0.95]], [[-0.4, 0.95], [0.5, 0.95]]],
  ],
  [
    [[...arc(0, -0.45, 0.55, 0.5, -0.5, 0.08), [-0.6, 0.95], [0.65, 0.95]]],
    [[...arc(0, -0.5, 0.5, 0.45, -0.45, 0.15), [-0.3, 0.55], ...arc(-0.35, 0.72, 0.2, 0.2, 0.7, 0.1), [0.1, 0.9], [0.65, 0.75]]],
  ],
  [
    [[...arc(-0.05, -0.48, 0.5, 0.47, -0.42, 0.22), ...arc(-0.05, 0.46, 0.58, 0.5, -0.22, 0.42)]],
    [[[-0.5, -0.92], [0.5, -0.92], [0, -0.15], ...arc(-0.05, 0.4, 0.56, 0.54, -0.2, 0.42)]],
  ],
  [
    [[[0.3, -0.95], [-0.65, 0.3], [0.65, 0.3]], [[0.3, -0.95], [0.3, 0.95]]],
    [[[-0.5, -0.9], [-0.55, 0.1], [0.55, 0.1]], [[0.45, -0.9], [0.4, 0.95]]],
  ],
  [
    [[[0.55, -0.92], [-0.4, -0.92], [-0.48, -0.1], ...arc(-0.08, 0.36, 0.6, 0.56, -0.36, 0.4)]],
    [[[-0.35, -0.92], [-0.42, -0.15], ...arc(-0.05, 0.36, 0.55, 0.56, -0.34, 0.42)], [[-0.35, -0.92], [0.6, -0.95]]],
  ],
  [
    [[[0.4, -0.92], ...arc(0.1, 0.3, 0.68, 1.1, -0.33, -0.5), ...arc(0, 0.42, 0.56, 0.52, 0.5, -0.52)]],
    [[[0.2, -0.95], [-0.4, 0.1], ...arc(0, 0.45, 0.5, 0.48, 0.5, -0.5)]],
  ],
  [[[[-0.6, -0.9], [0.6, -0.9], [-0.15, 0.95]]], [[[-0.6, -0.9], [0.6, -0.9], [-0.1, 0.95]], [[-0.3, 0.05], [0.5, 0.05]]]],
  [
    [arc(0, -0.47, 0.46, 0.46, 0, 1), arc(0, 0.47, 0.56, 0.48, 0, 1)],
    [[...arc(0, -0.47, 0.48, 0.46, -0.08, -0.7), ...arc(0, 0.47, 0.55, 0.48, -0.2, 0.7), [0.4, -0.62]]],
  ],
  [
    [arc(0, -0.4, 0.52, 0.52, 0, 1), [[0.52, -0.4], [0.42, 0.3], [0.2, 0.95]]],
    [[...arc(0, -0.42, 0.5, 0.5, 0.02, -1), [0.5, 0.3], ...arc(0, 0.45, 0.48, 0.48, 0.02, 0.38)]],
  ],
];

/**
 * Hand-drawn digits, 28x28, grey from 0 to 1 on black, in random order. Shape, position, turn, size, slant and thickness
 * of the strokes vary so much that telling them apart takes more than a linear model.
 * @param {number} count
 * @param {number} [seed]
 * @returns {{ x: Float32Array, y: Int32Array }} x `[count, 28, 28, 1]`, y `[count]`
 */
export function digits(count, seed = 0) {
  const random = uniform(seed);
  const x = new Float32Array(count * PIXELS);
  const y = new Int32Array(count);
  const ink = new Float32Array(PIXELS);
  for (let i = 0; i < count; i++) {
    y[i] = Math.floor(random() * 10);
    ink.fill(0);
    drawDigit(ink, y[i], random);
    develop(x.subarray(i * PIXELS, (i + 1) * PIXELS), ink, random);
  }
  return { x, y };
}

function drawDigit(ink, digit, random) {
  const forms = GLYPHS[digit];
  const strokes = forms[Math.floor(random() * forms.length)];
  const place = pose(random);
  const radius = between(random, 0.7, 1.6);
  for (const stroke of strokes) {
    let from = null;
    for (const point of stroke) {
      const to = place(point);
      if (from) drawSegment(ink, from, to, radius);
      from = to;
    }
  }
}

/** A map from a glyph's box to pixels: scale, slant, turn, shift and a gentle bend. */
function pose(random) {
  const [c, s] = turn(between(random, -0.055, 0.055));
  const width = between(random, 5.5, 9.5);
  const height = between(random, 7, 10);
  const slant = between(random, -0.35, 0.35);
  const bendX = between(random, -0.15, 0.15);
  const bendY = between(random, -0.15, 0.15);
  const wobble = () => 0.05 * normal(random);
  const dx = SIDE / 2 - 0.5 + between(random, -2, 2);
  const dy = SIDE / 2 - 0.5 + between(random, -2, 2);
  return ([gx, gy]) => {
    const u = width * (gx + slant * -gy + bendX * (gy * gy - 0.5) + wobble());
    const v = height * (gy + bendY * (gx * gx - 0.3) + wobble());
    return [dx + c * u - s * v, dy + s * u + c * v];
  };
}

/** Inks every pixel within `radius` of the segment, with a soft edge one pixel wide. */
function drawSegment(ink, [ax, ay], [bx, by], radius) {
  const reach = radius + 0.5;
  const left = Math.max(0, Math.ceil(Math.min(ax, bx) - reach));
  const right = Math.min(SIDE - 1, Math.floor(Math.max(ax, bx) + reach));
  const top = Math.max(0, Math.ceil(Math.min(ay, by) - reach));
  const bottom = Math.min(SIDE - 1, Math.floor(Math.max(ay, by) + reach));
  const ux = bx - ax;
  const uy = by - ay;
  const squared = ux * ux + uy * uy || 1;
  for (let py = top; py <= bottom; py++) {
    for (let px = left; px <= right; px++) {
      const t = Math.min(1, Math.max(0, ((px - ax) * ux + (py - ay) * uy) / squared));
      const ex = px - ax - t * ux;
      const ey = py - ay - t * uy;
      const cover = Math.min(1, reach - Math.sqrt(ex * ex + ey * ey));
      const at = py * SIDE + px;
      if (cover > ink[at]) ink[at] = cover;
    }
  }
}

/** From ink to picture: blur with [b, 1-2b, b] both ways, contrast, noise. */
function develop(out, ink, random) {
  const b = between(random, 0, 0.22);
  const contrast = between(random, 0.7, 1);
  const noise = between(random, 0.02, 0.1);
  const at = (row, column) => (row < 0 || column < 0 || row >= SIDE || column >= SIDE ? 0 : ink[row * SIDE + column]);
  const across = (row, column) => b * at(row, column - 1) + (1 - 2 * b) * at(row, column) + b * at(row, column + 1);
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const blurred = b * across(row - 1, column) + (1 - 2 * b) * across(row, column) + b * across(row + 1, column);
      out[row * SIDE + column] = Math.min(1, Math.max(0, contrast * blurred + noise * normal(random)));
    }
  }
}

const SEASON = 12;

/**
 * A monthly series: a rising line, a yearly season that grows with it, noise.
 * @param {number} length
 * @param {number} [seed]
 * @returns {Float32Array} `[length]`, from about 100 upwards
 */
export function seasonalSeries(length, seed = 0) {
  const random = uniform(seed);
  const phase = random();
  const growth = between(random, 0.015, 0.025);
  return Float32Array.from({ length }, (_, month) => {
    const level = 1 + growth * month;
    const season = 0.18 * turn(month / SEASON + phase)[1] + 0.07 * turn((2 * month) / SEASON + phase)[1];
    return 120 * level * (1 + season) + 3 * normal(random);
  });
}

/** Mean and spread of the table's columns: scales as different as those of a medical record. */
const COLUMNS = [[4, 3], [120, 30], [70, 12], [0.5, 0.3], [32, 7], [33, 11], [1500, 400], [0.02, 0.008]];

/**
 * A table with two classes, half of each: a curved boundary through five of eight features, some labels wrong, so that
 * the best possible accuracy is about 0.9.
 * @param {number} rows
 * @param {number} [seed]
 * @returns {{ x: Float32Array, y: Float32Array }} x `[rows, 8]` in the columns' own units, y `[rows]` of 0 and 1
 */
export function twoClassTable(rows, seed = 0) {
  const random = uniform(seed);
  const x = new Float32Array(rows * COLUMNS.length);
  const y = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const z = COLUMNS.map(() => normal(random));
    COLUMNS.forEach(([mean, spread], column) => {
      x[row * COLUMNS.length + column] = mean + spread * z[column];
    });
    const score = z[1] + 0.6 * z[5] + z[0] * z[4] + 0.8 * (z[7] * z[7] - 1) + 0.1;
    const flipped = random() < 0.08;
    y[row] = Number(score + 0.3 * normal(random) > 0 !== flipped);
  }
  return { x, y };
}

/** What stories are made of: each sentence takes one of each. */
const WORDS = {
  creature: ["fox", "owl", "hare", "badger", "heron", "mole", "otter", "raven", "toad", "wren"],
  kind: ["old", "quiet", "hungry", "clever", "sleepy", "brave", "small", "grey"],
  place: ["under the hill", "by the river", "in the tall grass", "behind the mill", "at the edge of the wood", "on the frozen pond"],
  time: ["In the morning", "At noon", "Before the rain", "When the moon rose", "All winter long", "Once"],
  deed: ["sang to", "waited for", "ran from", "shared its supper with", "told a secret to", "built a house for"],
};

/**
 * A made-up text for models of language: short stories of a few sentences each, by a grammar, so that letters, words and who did what can
 * be learned.
 * @param {number} characters at least so many
 * @param {number} [seed]
 */
export function stories(characters, seed = 0) {
  const random = uniform(seed);
  const one = (list) => list[Math.floor(random() * list.length)];
  let out = "";
  while (out.length < characters) {
    const [hero, other] = [one(WORDS.creature), one(WORDS.creature)];
    const [a, b] = [`the ${one(WORDS.kind)} ${hero}`, `the ${one(WORDS.kind)} ${other}`];
    out += `${one(WORDS.time)} ${a} ${one(WORDS.deed)} ${b} ${one(WORDS.place)}.\n`;
    out += `"${hero[0].toUpperCase()}${hero.slice(1)}," said ${b}, "who lives ${one(WORDS.place)}?"\n`;
    out += `And ${a} ${one(WORDS.deed)} ${b} once more.\n\n`;
  }
  return out;
}
