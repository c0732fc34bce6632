/** @file A headless Chromium for tests: that of @sparticuz/chromium on Linux x64, an installed Chrome elsewhere, with the software adapter where there is one. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import { chromium } from "playwright-core";
import sirv from "sirv";
import { softwareGpu } from "./software-gpu.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(import.meta.url);

const WEBGPU = [
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
  // See test/webgpu/gpu.js.
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];

/** The executable and what it needs; null path: the Chrome that is installed. */
function browser() {
  const env = softwareGpu();
  if (env === null) return { executablePath: null, env: process.env, args: ["--enable-unsafe-webgpu"] };
  const executablePath = join(root, "build/gpu/chromium");
  if (!existsSync(executablePath)) {
    const bin = join(dirname(require.resolve("@sparticuz/chromium")), "../bin");
    const archive = [join(bin, "chromium.br"), join(bin, "../../bin/chromium.br")].find((path) => existsSync(path));
    writeFileSync(executablePath, brotliDecompressSync(readFileSync(archive)));
    chmodSync(executablePath, 0o755);
  }
  return { executablePath, env: { ...process.env, ...env }, args: ["--no-sandbox", "--disable-background-networking", ...WEBGPU] };
}

/** Bare names that the sources and tests import, for the page. */
const IMPORTS = {
  lockstep: "/build/esm/index.js", "lockstep/data": "/build/esm/data/index.js", "#kernels": "/build/kernels.js", "#shaders": "/build/shaders.js",
  uvu: "/node_modules/uvu/dist/index.mjs", "uvu/assert": "/node_modules/uvu/assert/index.mjs", "uvu/diff": "/node_modules/uvu/diff/index.mjs",
  dequal: "/node_modules/dequal/dist/index.mjs", diff: "/node_modules/diff/lib/index.mjs", kleur: "/node_modules/kleur/index.mjs",
};
const PAGE = `<!doctype html><meta charset="utf-8"><title>Lockstep</title><script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`;

/** Starts the browser: playwright's `Browser`. @throws where there is none. */
export function launch() {
  const { executablePath, env, args } = browser();
  return chromium.launch(executablePath === null ? { channel: "chrome", args } : { executablePath, env, args });
}

/** Why no browser starts here, or null where one does. */
export async function chromiumMissing() {
  try {
    await (await launch()).close();
    return null;
  } catch (error) {
    return error.message.split("\n")[0];
  }
}

/** Serves on loopback what `handle(request, response)` answers, and hands the browser and the address to `use`. */
export async function withBrowser(handle, use) {
  const server = createServer(handle);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const instance = await launch();
  try {
    return await use(instance, `http://127.0.0.1:${server.address().port}/`);
  } finally {
    await instance.close();
    server.close();
  }
}

/** Opens a page on which the repository's modules can be imported, and hands it to `use`. */
export function withPage(use) {
  const files = sirv(root, { dev: true, dotfiles: false });
  const handle = (request, response) => {
    if (request.url === "/") response.setHeader("content-type", "text/html").end(PAGE);
    else files(request, response, () => response.writeHead(404).end());
  };
  return withBrowser(handle, async (instance, url) => {
    const page = await instance.newPage();
    await page.goto(url);
    return use(page);
  });
}
