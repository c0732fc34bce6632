/**
 * @file A worker for workerd or Cloudflare Workers. The model is a file of the deployment, and is loaded once, when the worker starts.
 *
 *   GET /                                                        { ok, model, inputShape }
 *   POST /predict   { x: [[0.1, 0.2], ...] }                     { y: [[0.93], ...] }
 *   POST /train     { x: [[0, 1], ...], y: [[1], ...], epochs }  { losses, model }, model as the base64 of a safetensors file
 *
 * What is wrong with a request is answered with 400 and { error }.
 */
import { adam, BackendError, dense, loadModel, LockstepError, open, sequential, tensor } from "lockstep";
import bytes from "./model.safetensors";

/** A request has few milliseconds of CPU time (Cloudflare: 10 in the free plan, 30,000 by default in the paid one) and 128 MB of memory. */
const MOST_ROWS = 1000;
const MOST_TRAINED = 50_000;

class BadRequest extends Error {}

/** `reproducible` gives the same bits as everywhere; without it relaxed SIMD is used, which is faster. */
const backend = await open("wasm", { reproducible: true });
const model = await loadModel(new Uint8Array(bytes), { backend });

/** Rows of numbers, all of one length, as a tensor. */
function rows(name, value) {
  if (!Array.isArray(value) || value.length === 0 || value.length > MOST_ROWS)
    throw new BadRequest(
      `${name}: expected an array of 1 to ${MOST_ROWS} rows, got ` +
        `${Array.isArray(value) ? `${value.length} rows` : (JSON.stringify(value) ?? "nothing")}`,
    );
  const width = value[0]?.length;
  const bad = value.findIndex((row) => !Array.isArray(row) || row.length === 0 || row.length !== width || !row.every(Number.isFinite));
  if (bad >= 0)
    throw new BadRequest(`${name}: expected rows of equally many numbers, got ${JSON.stringify(value[bad]).slice(0, 80)} as row ${bad}`);
  return tensor(value);
}

async function predict({ x }) {
  const y = await model.predict(rows("x", x));
  return { y: await y.array() };
}

/** A worker keeps nothing from one request to the next that it can rely on: whoever asks gets the trained model. */
async function train({ x, y, epochs = 20 }) {
  const [inputs, targets] = [rows("x", x), rows("y", y)];
  if (inputs.shape[0] !== targets.shape[0])
    throw new BadRequest(`y: expected ${inputs.shape[0]} rows, as many as x has, got ${targets.shape[0]}`);
  if (!Number.isInteger(epochs) || epochs < 1 || epochs * x.length > MOST_TRAINED)
    throw new BadRequest(
      `epochs: expected an integer from 1 to ${Math.floor(MOST_TRAINED / x.length)} for ${x.length} rows, got ${JSON.stringify(epochs)}`,
    );
  const small = sequential([dense(16, { activation: "tanh" }), dense(targets.shape[1])], { inputShape: [inputs.shape[1]], seed: 1 });
  await small.compile({ loss: "mse", optimizer: adam({ learningRate: 0.01 }), backend });
  const { history } = await small.fit(inputs, targets, { epochs, batchSize: Math.min(32, x.length), seed: 1, verbose: 0 });
  return { losses: history.loss, model: btoa(String.fromCharCode(...(await small.toBytes()))) };
}

const ROUTES = { "/predict": predict, "/train": train };

async function answer(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/") return { ok: true, model: model.name, inputShape: model.inputShapes[0] };
  const body = await request.json().catch((error) => {
    throw new BadRequest(`expected a body of JSON: ${error.message}`);
  });
  if (typeof body !== "object" || body === null) throw new BadRequest(`expected a JSON object, got ${JSON.stringify(body)}`);
  return ROUTES[pathname](body);
}

export default {
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname !== "/" && !Object.hasOwn(ROUTES, pathname))
      return Response.json({ error: `no such address: ${pathname}; there are /, ${Object.keys(ROUTES).join(", ")}` }, { status: 404 });
    const method = pathname === "/" ? "GET" : "POST";
    if (request.method !== method)
      return Response.json(
        { error: `${pathname}: expected ${method}, got ${request.method}` },
        { status: 405, headers: { allow: method } },
      );
    try {
      return Response.json(await answer(request));
    } catch (error) {
      const theirs = error instanceof BadRequest || (error instanceof LockstepError && !(error instanceof BackendError));
      return Response.json({ error: error.message }, { status: theirs ? 400 : 500 });
    }
  },
};
