/**
 * @file The built library on loopback, as a site would serve it: with or without cross-origin isolation, with a Content-Security-Policy,
 * with files missing. What stands in the first part of the path chooses: /isolated/page, /plain/build/esm/index.js …
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import sirv from "sirv";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const csp = (workers) => ({ "content-security-policy": `default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src ${workers}` });

/** Headers of each kind of site. */
const SITES = {
  plain: {},
  isolated: ISOLATION,
  strict: { ...ISOLATION, ...csp("'self'") },
  "no-workers": { ...ISOLATION, ...csp("'none'") },
  "missing-worker": ISOLATION,
};

const PAGE = "<!doctype html><meta charset=utf-8><title>Lockstep</title><p>Training</p>";

/** Serves until `use` has resolved; it gets the address of a site by its name. */
export async function withSites(use) {
  const files = sirv(root, { dev: true, dotfiles: false });
  const server = createServer((request, response) => {
    const [, site, path] = /^\/([^/]+)(\/.*)$/.exec(request.url) ?? [];
    if (!Object.hasOwn(SITES, site ?? "")) return response.writeHead(404).end();
    for (const [name, value] of Object.entries(SITES[site])) response.setHeader(name, value);
    if (path === "/page") return response.setHeader("content-type", "text/html").end(PAGE);
    if (site === "missing-worker" && path.endsWith("/worker.js")) return response.writeHead(404).end();
    // What a bundler does: workers and strict pages have no import map.
    if (/^\/build\/esm\/.*\.js$/.test(path)) {
      const up = "../".repeat(path.split("/").length - 3);
      const code = readFileSync(join(root, path), "utf8").replace(/(from |import\()"#(?:kernels\/|parts\/)?([\w-]+)"/g, `$1"${up}$2.js"`);
      return response.setHeader("content-type", "text/javascript").end(code);
    }
    request.url = path;
    files(request, response, () => response.writeHead(404).end());
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await use((site) => `http://127.0.0.1:${server.address().port}/${site}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
