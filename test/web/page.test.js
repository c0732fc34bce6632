/**
 * @file The page of examples/web, built and served with its headers, in Chromium: it trains without holding up its thread,
 * stops, goes on, moves between backends, reads drawings and fits its screens. The second page learns to write, streams what it writes and
 * takes texts. Screenshots go to build/screenshots.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel } from "lockstep";
import sirv from "sirv";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { build } from "vite";
import { digits } from "../../examples/data.js";
import { headers } from "../../examples/web/vite.config.js";
import { closeBrowser, withSiteContext } from "../browser.js";
import { measureThreads } from "./main-thread.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const screenshots = join(root, "build/screenshots");
mkdirSync(screenshots, { recursive: true });

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
/** Plots read the page's locale, which is not a valid one where the machine's is "C". */
const LOCALE = "en-US";
/** A loaded machine may take long; nothing here passes or fails by time. */
const PATIENCE = { timeout: 120_000 };

await build({ configFile: join(root, "examples/web/vite.config.js"), logLevel: "error" });
const files = sirv(join(root, "build/web"), { dev: true });
const handle = (request, response) => {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  files(request, response, () => response.writeHead(404).end());
};

/** Opens the page, hands `use` what it needs, and fails for errors and violations of the policy. */
function onPage(use, { viewport = DESKTOP, path = "" } = {}) {
  return withSiteContext(
    handle,
    async (context, url, browser) => {
      const page = await context.newPage();
      page.setDefaultTimeout(PATIENCE.timeout);
      const errors = [];
      page.on("pageerror", (error) => errors.push(error.message));
      page.on("console", (message) => /Content Security Policy/.test(message.text()) && errors.push(message.text()));
      page.on("response", (response) => response.status() >= 400 && errors.push(`${response.status()} ${response.url()}`));
      await page.goto(`${url}${path}`);
      await page.getByRole("button", { name: "Start training" }).and(page.locator(":enabled")).waitFor();
      await use(page, browser);
      assert.equal(errors, []);
    },
    { locale: LOCALE, viewport },
  );
}

const textOf = (page, id) => page.locator(`#${id}`).textContent();
const numberOf = async (page, id) => Number((await textOf(page, id)).replace(/[, %]/g, ""));
const button = (page, name) => page.getByRole("button", { name, exact: true });
const choose = (page, label, value) => page.getByRole("combobox", { name: label, exact: true }).selectOption(value);
const waitForNumber = (page, id, least) =>
  page.waitForFunction(([i, n]) => Number(document.getElementById(i).textContent.replace(/[, %]/g, "")) >= n, [id, least], PATIENCE);

async function draw(page, points) {
  const box = await page.locator("#pad").boundingBox();
  const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 4 });
  await page.mouse.up();
}

const SHAPES = {
  0: Array.from({ length: 25 }, (_, i) => [0.5 + 0.2 * Math.cos((i * Math.PI) / 12), 0.5 + 0.32 * Math.sin((i * Math.PI) / 12)]),
  1: [[0.5, 0.2], [0.5, 0.8]],
  7: [[0.3, 0.22], [0.7, 0.22], [0.45, 0.8]],
};

/** Downloads the model: its bytes. */
async function save(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), button(page, "Download the model").click()]);
  return readFileSync(await download.path());
}

const updates = async (bytes) => (await loadModel(bytes)).optimizer.iterations.item();

async function stop(page) {
  await button(page, "Stop").click();
  await button(page, "Resume").waitFor();
  return numberOf(page, "step");
}

/** Screenshots of narrow and wide, light and dark. @throws where a screen scrolls sideways */
async function look(page, prefix) {
  for (const [name, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    for (const colorScheme of ["light", "dark"]) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      await page.screenshot({ path: join(screenshots, `${prefix}${name}-${colorScheme}.png`), fullPage: name === "phone" });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${prefix}${name} scrolls sideways`);
    }
  }
}

test("training passes 95 % and leaves the page's thread free; drawings are read meanwhile; stopping and resuming", () =>
  onPage(async (page, browser) => {
    assert.is(await page.evaluate(() => crossOriginIsolated), true);
    await page.evaluate(() => {
      window.shifts = [];
      new PerformanceObserver((list) =>
        window.shifts.push(
          ...list
            .getEntries()
            .filter((e) => !e.hadRecentInput)
            .map((e) => e.value),
        ),
      ).observe({ type: "layout-shift" });
    });
    await choose(page, "Backend", "wasm");
    const busy = await measureThreads(browser, async () => {
      await button(page, "Start training").click();
      await waitForNumber(page, "step", 1);
      // With every answer the drawing is read by the weights of that moment: as they learn, it is recognized.
      for (const [digit, points] of Object.entries(SHAPES)) {
        await button(page, "Clear").click();
        await draw(page, points);
        await page.waitForFunction((d) => document.querySelector("#bars .best .digit")?.textContent === d, digit, PATIENCE);
      }
      await waitForNumber(page, "val-accuracy", 95);
    });
    assert.ok(busy.tasks > 100, `${busy.tasks} tasks of the page seen`);
    assert.ok(busy.longest <= 50, `a task of ${busy.longest} ms on the page's thread: ${busy.from}`);
    // fit gives way every 16 ms, so that no single task would tell where it runs.
    assert.ok(busy.page < busy.workers / 2, `${busy.page} ms on the page's thread, ${busy.workers} ms in workers`);
    assert.ok((await page.evaluate(() => window.shifts.reduce((a, b) => a + b, 0))) < 0.01, "the layout moved while training");
    await page.screenshot({ path: join(screenshots, "training.png") });

    const probabilities = await page.evaluate(() =>
      [...document.querySelectorAll("#bars li")].map((bar) => Number(bar.style.getPropertyValue("--p"))),
    );
    assert.ok(Math.abs(probabilities.reduce((a, b) => a + b, 0) - 1) < 0.01, probabilities.join());

    const first = await stop(page);
    const stopped = await save(page);
    assert.is(await updates(stopped), first);
    assert.ok((await save(page)).equals(stopped), "the weights changed while stopped");
    assert.is(await numberOf(page, "step"), first);
    await button(page, "Resume").click();
    await waitForNumber(page, "step", first + 5);
    const second = await stop(page);
    assert.is(await updates(await save(page)), second);
    assert.ok((await numberOf(page, "loss")) < 0.7, "the loss went back to where it began");

    await look(page, "");
  }));

test("the measure of the page's thread sees a long task", () =>
  onPage(async (page, browser) => {
    const { longest } = await measureThreads(browser, async () => {
      await page.evaluate(() => {
        let x = 1;
        for (let i = 0; i < 3e8; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
        return x;
      });
      // The answer leaves before its task has ended, and only tasks that have ended are in the trace.
      await page.evaluate(() => new Promise((done) => setTimeout(done)));
    });
    assert.ok(longest > 50, `${longest} ms`);
  }));

test("a run that is stopped again and again ends with the same weights, bit for bit", () =>
  onPage(async (page) => {
    // Where this is set, a stop follows every start at once: the worker hears of it before the epoch is over.
    await page.evaluate(() => {
      const { postMessage } = Worker.prototype;
      Worker.prototype.postMessage = function (message, ...rest) {
        postMessage.call(this, message, ...rest);
        if (message.type === "start" && window.stopAtOnce) postMessage.call(this, { type: "stop" });
      };
    });
    await choose(page, "Backend", "wasm");
    await choose(page, "Digits", "1000");
    await choose(page, "Epochs", "1");
    await button(page, "Start training").click();
    await button(page, "Train on").waitFor();
    const steps = await numberOf(page, "step");
    const whole = await save(page);

    await button(page, "Reset").click();
    await page.evaluate(() => (window.stopAtOnce = true));
    let before = 0;
    for (const name of ["Start training", "Resume", "Resume"]) {
      await button(page, name).click();
      await page.waitForFunction(
        (n) => document.getElementById("run").textContent === "Resume" && Number(document.getElementById("step").textContent) > n,
        before,
        PATIENCE,
      );
      before = await numberOf(page, "step");
      assert.ok(before < steps, `stopped at step ${before} of ${steps}`);
    }
    await page.evaluate(() => (window.stopAtOnce = false));
    await button(page, "Resume").click();
    await button(page, "Train on").waitFor();
    assert.is(await numberOf(page, "step"), steps);
    assert.ok((await save(page)).equals(whole));
  }));

test("the backend and the threads change while it trains", () =>
  onPage(async (page) => {
    await choose(page, "Digits", "1000");
    await choose(page, "Epochs", "1");
    await choose(page, "Backend", "webgpu");
    await button(page, "Start training").click();
    await waitForNumber(page, "step", 1);
    assert.is(await textOf(page, "backend-name"), "WebGPU");
    const before = await stop(page);
    await choose(page, "Threads", "1");
    await choose(page, "Backend", "wasm");
    await page.waitForFunction(() => document.getElementById("backend-detail").textContent.startsWith("1 thread,"), null, PATIENCE);
    assert.is(await textOf(page, "backend-name"), "WebAssembly");
    await button(page, "Resume").click();
    await choose(page, "Threads", "2");
    await page.waitForFunction(() => document.getElementById("backend-detail").textContent.startsWith("2 threads,"), null, PATIENCE);
    await button(page, "Train on").waitFor();
    const steps = await numberOf(page, "step");
    assert.ok(steps > before, `step ${steps} after ${before}`);
    assert.is(await updates(await save(page)), steps);
  }));

/** An IDX file of bytes. */
function idx(shape, data) {
  const head = Buffer.alloc(4 + 4 * shape.length);
  head.set([0, 0, 8, shape.length]);
  shape.forEach((size, i) => head.writeUInt32BE(size, 4 + 4 * i));
  return Buffer.concat([head, data]);
}

const WRITE = { path: "write.html" };
const lossOf = async (page) => Number(await textOf(page, "val-loss"));
const spoken = (page) => page.waitForFunction(() => document.getElementById("spoken").textContent.length > 200, null, PATIENCE);

test("a GPT learns to write and leaves the page's thread free; it writes meanwhile; stopping and resuming", () =>
  onPage(async (page, browser) => {
    await choose(page, "Backend", "wasm");
    const busy = await measureThreads(browser, async () => {
      await button(page, "Start training").click();
      await page.waitForFunction(() => document.getElementById("val-loss").textContent !== "–", null, PATIENCE);
      const first = await lossOf(page);
      assert.ok(first > 2.5, `a loss of ${first} before it has learned`);
      await page.getByRole("textbox", { name: "Beginning" }).fill("And the grey owl");
      await button(page, "Write").click();
      await spoken(page);
      await page.waitForFunction((least) => Number(document.getElementById("val-loss").textContent) < least, 1.5, PATIENCE);
    });
    assert.ok((await textOf(page, "written")).startsWith("And the grey owl"));
    assert.is((await textOf(page, "written")).length, "And the grey owl".length + 300);
    assert.ok(busy.longest <= 50, `a task of ${busy.longest} ms on the page's thread: ${busy.from}`);
    assert.ok(busy.page < busy.workers / 2, `${busy.page} ms on the page's thread, ${busy.workers} ms in workers`);
    assert.ok((await page.locator("#samples li").count()) >= 2);
    assert.is(await textOf(page, "weights"), "106,752");

    const first = await stop(page);
    const stopped = await save(page);
    assert.is(await updates(stopped), first);
    // Without training it writes too, and by the same weights.
    await button(page, "Write").click();
    await page.waitForFunction(() => document.getElementById("write-note").textContent !== "Writing …", null, PATIENCE);
    assert.is((await textOf(page, "written")).length, "And the grey owl".length + 300);
    assert.ok((await save(page)).equals(stopped), "the weights changed while stopped");
    await choose(page, "Threads", "1");
    await button(page, "Resume").click();
    await waitForNumber(page, "step", first + 5);
    const second = await stop(page);
    assert.is(await updates(await save(page)), second);
    await look(page, "write-");
  }, WRITE));

test("a GPT learns from a text of one's own; what it cannot read and what is too short is explained", () =>
  onPage(
    async (page) => {
      const file = (name, text) => ({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
      const use = (name, text) => page.getByLabel("Use a text of yours …").setInputFiles([file(name, text)]);
      const hears = (id, said) => page.waitForFunction(([i, s]) => document.getElementById(i).textContent === s, [id, said], PATIENCE);
      await use("short.txt", "too short");
      await hears("status", "short.txt: expected a text of at least 650 characters");
      await use("ab.txt", "abc ".repeat(500));
      await hears("text-note", "ab.txt: 2,000 characters");
      await hears("status", "Ready");
      await choose(page, "Steps", "500");
      await page.getByRole("textbox", { name: "Beginning" }).fill("xyz");
      await button(page, "Write").click();
      await page.waitForFunction(() => /no token for "x"/.test(document.getElementById("write-note").textContent), null, PATIENCE);
      await button(page, "Start training").click();
      await page.waitForFunction(() => Number(document.getElementById("val-loss").textContent) < 0.1, null, PATIENCE);
      await page.getByRole("textbox", { name: "Beginning" }).fill("abc abc ");
      await button(page, "Write").click();
      await spoken(page);
      assert.ok((await textOf(page, "written")).includes("abc ".repeat(30)), await textOf(page, "written"));
    },
    { ...WRITE, viewport: PHONE },
  ));

test("files of MNIST's format are read, in any order, and others explained", () =>
  onPage(
    async (page) => {
      const { x, y } = digits(200, 5);
      const images = { name: "images", mimeType: "", buffer: idx([200, 28, 28], Buffer.from(x.map((v) => 255 * v))) };
      const labels = { name: "labels", mimeType: "", buffer: idx([200], Buffer.from(y)) };
      await page.getByLabel("Use MNIST files …").setInputFiles([images]);
      await page.waitForFunction(
        () => /images: drop a file of images together with/.test(document.getElementById("status").textContent),
        null,
        PATIENCE,
      );
      await page.getByLabel("Use MNIST files …").setInputFiles([labels, images]);
      await page.waitForFunction(
        () => document.getElementById("data-note").textContent === "180 MNIST; 20 more are held back for validation",
        null,
        PATIENCE,
      );
      await button(page, "Show me one").click();
      await page.locator("#bars .best").waitFor();
    },
    { viewport: PHONE },
  ));

for (const [what, policy, said] of [
  [
    "workers",
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'none'",
    /^The worker could not start: .*Content-Security-Policy/,
  ],
  ["WebAssembly", "default-src 'self'; script-src 'self'; worker-src 'self'", /cannot compile the kernels.*'wasm-unsafe-eval'/s],
]) {
  test(`a policy that forbids ${what}: the page says so`, () =>
    withSiteContext(
      (request, response) => {
        for (const [name, value] of Object.entries({ ...headers, "Content-Security-Policy": policy })) response.setHeader(name, value);
        files(request, response, () => response.writeHead(404).end());
      },
      async (context, url) => {
        const page = await context.newPage();
        await page.goto(url);
        await page.waitForFunction(() => !/^(Loading …|)$/.test(document.getElementById("status").textContent), null, PATIENCE);
        assert.match(await textOf(page, "status"), said);
        assert.is(await button(page, "Start training").isEnabled(), false);
      },
      { locale: LOCALE },
    ));
}

test.after(closeBrowser);
test.run();
