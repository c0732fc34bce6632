/**
 * @file A headless Chromium for tests: that of @sparticuz/chromium on Linux x64, an installed Chrome elsewhere, with the software adapter
 * where there is one.
 */
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
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
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  // See test/webgpu/gpu.js.
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];

/** The executable and what it needs; null path: the Chrome that is installed, on the machine's own GPU. */
function browser(software) {
  const env = software ? softwareGpu() : null;
  if (env === null)
    return {
      executablePath: null,
      env: process.env,
      args: [
        "--enable-unsafe-webgpu",
        "--ignore-gpu-blocklist",
        ...(process.platform === "linux" ? ["--enable-features=Vulkan", "--use-angle=vulkan"] : []),
      ],
    };
  const executablePath = join(root, "build/gpu/chromium");
  if (!existsSync(executablePath)) {
    const bin = join(dirname(require.resolve("@sparticuz/chromium")), "../bin");
    const archive = [join(bin, "chromium.br"), join(bin, "../../bin/chromium.br")].find((path) => existsSync(path));
    writeFileSync(executablePath, brotliDecompressSync(readFileSync(archive)));
    chmodSync(executablePath, 0o755);
  }
  return { executablePath, env: { ...process.env, ...env }, args: ["--no-sandbox", "--disable-background-networking", ...WEBGPU] };
}

/**
 * What names with # mean where no condition of package.json holds, as addresses from its folder. Import maps have no patterns, so those
 * come with every file that fits.
 */
export function packageImports() {
  const { imports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const built = readdirSync(join(root, "build")).map((file) => `/build/${file}`);
  return Object.fromEntries(
    Object.entries(imports).flatMap(([name, target]) => {
      const [start, end] = (target.default ?? target).slice(1).split("*");
      if (end === undefined) return [[name, start]];
      return built
        .filter((path) => path.startsWith(start) && path.endsWith(end))
        .map((path) => [name.replace("*", path.slice(start.length, -end.length)), path]);
    }),
  );
}

/** Bare names that the sources and tests import, for the page. */
const IMPORTS = {
  ...packageImports(),
  lockstep: "/build/esm/index.js",
  "lockstep/data": "/build/esm/data/index.js",
  uvu: "/node_modules/uvu/dist/index.mjs",
  "uvu/assert": "/node_modules/uvu/assert/index.mjs",
  "uvu/diff": "/node_modules/uvu/diff/index.mjs",
  dequal: "/node_modules/dequal/dist/index.mjs",
  diff: "/node_modules/diff/lib/index.mjs",
  kleur: "/node_modules/kleur/index.mjs",
};
const PAGE =
  `<!doctype html><meta charset="utf-8"><title>Lockstep</title><script ` +
  `type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>`;

/** Starts the browser: playwright's `Browser`. `software`: with the software adapter, where there is one. @throws where there is none. */
function launch({ software = true } = {}) {
  const { executablePath, env, args } = browser(software);
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

/** Starts the browser and hands it to `use`. `options` as for `launch`. */
export async function withBrowser(use, options = {}) {
  const instance = await launch(options);
  try {
    return await use(instance);
  } finally {
    await instance.close();
  }
}

/** Serves on loopback what `handle(request, response)` answers, and hands the browser and the address to `use`. */
export async function withSite(handle, use, options = {}) {
  const server = createServer(handle);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await withBrowser((instance) => use(instance, `http://127.0.0.1:${server.address().port}/`), options);
  } finally {
    server.close();
  }
}

/** Opens a page on which the repository's modules can be imported, and hands it to `use`. */
export function withPage(use, options = {}) {
  const files = sirv(root, { dev: true, dotfiles: false });
  const handle = (request, response) => {
    if (request.url === "/") response.setHeader("content-type", "text/html").end(PAGE);
    else files(request, response, () => response.writeHead(404).end());
  };
  return withSite(
    handle,
    async (instance, url) => {
      const page = await instance.newPage();
      await page.goto(url);
      return use(page);
    },
    options,
  );
}
