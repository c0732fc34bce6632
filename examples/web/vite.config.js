/**
 * @file Serves and builds the page. Two things matter for every site that trains in the browser: the headers below, and
 * workers as ES modules (the library loads the part for the GPU only when it is asked for).
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** Both are needed for shared memory, without which WebAssembly has one thread. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** What the built page is served with. 'wasm-unsafe-eval' allows WebAssembly and nothing else: no eval, no inline script. */
export const headers = {
  ...isolation,
  "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
};

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  base: "./",
  // The development server puts scripts and styles of its own into the page: no policy there.
  server: { headers: isolation, fs: { allow: [here("../..")] } },
  preview: { headers },
  worker: { format: "es" },
  build: {
    outDir: here("../../build/web"),
    rollupOptions: { input: [here("index.html"), here("write.html")] },
    emptyOutDir: true,
    target: "es2022",
    // Files below this size would become data: URLs, which the policy does not allow for workers.
    assetsInlineLimit: 0,
  },
});
