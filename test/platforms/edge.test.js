/**
 * @file The worker of examples/edge in workerd: its predictions are the bits of Node, it trains, and what is wrong with a request is the
 * sender's to read.
 */
import { createServer } from "node:net";
import { join } from "node:path";
import { loadModel, open, tensor } from "lockstep";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { circle, trainedModel } from "../../examples/edge/model.js";
import { bundle, serve } from "../../examples/edge/serve.js";
import { root } from "../package/packed.js";

/** A port that was free a moment ago. */
const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

let url;
let child;

/** Status and JSON of an answer. */
async function ask(path, body, method = "POST") {
  const response = await fetch(url + path, { method, body: body === undefined || typeof body === "string" ? body : JSON.stringify(body) });
  return { status: response.status, ...(await response.json()) };
}

test.before(async () => {
  const out = join(root, "build/edge-test");
  await bundle(out);
  ({ url, child } = await serve(out, await freePort()));
});
test.after(() => child?.kill("SIGKILL"));

test("edge: health", async () => {
  assert.equal(await ask("/", undefined, "GET"), { status: 200, ok: true, model: "circle", inputShape: [2] });
});

test("edge: predictions are the bits of Node, also of requests at the same time", async () => {
  const backend = await open("wasm", { reproducible: true });
  const model = await loadModel(await trainedModel(), { backend });
  const { x, y: inside } = circle(30);
  const expected = await (await model.predict(tensor(x))).array();
  const right = expected.filter(([p], i) => Number(p > 0.5) === inside[i][0]).length;
  assert.ok(right > 0.95 * x.length, `${right} of ${x.length} points are told right`);
  const answers = await Promise.all([x, x.slice(0, 1), x.slice(7, 107), x].map((part) => ask("/predict", { x: part })));
  assert.equal(
    answers,
    [expected, expected.slice(0, 1), null, expected].map((y, i) => ({ status: 200, y: y ?? answers[i].y })),
  );
  for (const [i, [p]] of answers[2].y.entries()) assert.ok(Math.abs(p - expected[7 + i][0]) < 1e-6);
});

for (const [name, path, body, message] of [
  ["no JSON", "/predict", "{", /^expected a body of JSON: /],
  ["nothing", "/predict", "", /^expected a body of JSON: /],
  ["no object", "/predict", "null", /^expected a JSON object, got null$/],
  ["no x", "/predict", {}, /^x: expected an array of 1 to 1000 rows, got nothing$/],
  ["no rows", "/predict", { x: [] }, /^x: expected an array of 1 to 1000 rows, got 0 rows$/],
  ["too many rows", "/predict", { x: Array(1001).fill([0, 0]) }, /got 1001 rows$/],
  ["text for numbers", "/predict", { x: [[0, 1], [0, "1"]] }, /^x: expected rows of equally many numbers, got \[0,"1"\] as row 1$/],
  ["ragged rows", "/predict", { x: [[0, 1], [0]] }, /got \[0\] as row 1$/],
  ["rows of another length", "/predict", { x: [[1, 2, 3]] }, /^predict: the model expects x of shape \[null, 2\], got \[1, 3\]$/],
  ["targets for some", "/train", { x: [[1], [2]], y: [[1]] }, /^y: expected 2 rows, as many as x has, got 1$/],
  [
    "too much training",
    "/train",
    { x: [[1], [2]], y: [[1], [2]], epochs: 25_001 },
    /^epochs: expected an integer from 1 to 25000 for 2 rows, got 25001$/,
  ],
  ["epochs that are no number", "/train", { x: [[1]], y: [[1]], epochs: "5" }, /got "5"$/],
]) {
  test(`edge: ${name} is 400`, async () => {
    const { status, error } = await ask(path, body);
    assert.is(status, 400, error);
    assert.match(error, message);
  });
}

test("edge: other addresses and methods", async () => {
  assert.is((await ask("/nowhere", {})).status, 404);
  assert.is((await ask("/predict", undefined, "GET")).status, 405);
});

test("edge: training lowers the loss, and the trained model comes with the answer", async () => {
  const xor = { x: [[0, 0], [0, 1], [1, 0], [1, 1]], y: [[0], [1], [1], [0]] };
  const { status, losses, model } = await ask("/train", { ...xor, epochs: 400 });
  assert.is(status, 200);
  assert.is(losses.length, 400);
  assert.ok(losses.at(-1) < losses[0] / 20, `${losses[0]} -> ${losses.at(-1)}`);
  const learned = await loadModel(Buffer.from(model, "base64"));
  const y = await (await learned.predict(tensor(xor.x))).array();
  assert.equal(
    y.map(([v]) => [Math.round(v)]),
    xor.y,
  );
});

test.run();
