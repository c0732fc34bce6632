/** @file Applications built by each bundler as its users do: an entry and a folder for what comes out, no other configuration. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build as esbuild } from "esbuild";
import { rollup } from "rollup";
import { build as vite } from "vite";
import webpack from "webpack";

/** The page of an application. */
const html = (script) => `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="${script}"></script>\n`;

/** What node-resolve, Rollup's usual plugin, does for JavaScript alone: names by Node's rules. */
const resolution = {
  name: "resolution",
  resolveId: (id, importer) => (importer === undefined || id.startsWith(".") ? null : createRequire(importer).resolve(id)),
};

/**
 * By name: builds `entry` of the project `root` into `out` and resolves to what it warned of. The result has an index.html.
 * Rollup and esbuild write no pages.
 */
export const BUILDERS = {
  async rollup(root, entry, out) {
    const warnings = [];
    const bundle = await rollup({ input: join(root, entry), plugins: [resolution], onwarn: (w) => warnings.push(w.message) });
    await bundle.write({ dir: out, format: "es", entryFileNames: "main.js" });
    await bundle.close();
    writeFileSync(join(out, "index.html"), html("./main.js"));
    return warnings;
  },
  async esbuild(root, entry, out) {
    const { warnings } = await esbuild({
      absWorkingDir: root,
      entryPoints: { main: entry },
      bundle: true,
      splitting: true,
      format: "esm",
      minify: true,
      outdir: out,
      logLevel: "silent",
    });
    writeFileSync(join(out, "index.html"), html("./main.js"));
    return warnings.map((w) => w.text);
  },
  /** One file, as a script without modules. */
  async "esbuild (one file)"(root, entry, out) {
    const { warnings } = await esbuild({
      absWorkingDir: root,
      entryPoints: { main: entry },
      bundle: true,
      format: "iife",
      minify: true,
      outdir: out,
      logLevel: "silent",
    });
    writeFileSync(join(out, "index.html"), html("./main.js"));
    return warnings.map((w) => w.text);
  },
  async vite(root, entry, out) {
    const warnings = [];
    const say = (message) => void warnings.push(message);
    const customLogger = {
      info() {},
      warn: say,
      warnOnce: say,
      error: say,
      clearScreen() {},
      hasErrorLogged: () => false,
      hasWarned: false,
    };
    writeFileSync(join(root, "index.html"), html(`./${entry}`));
    await vite({ root, base: "./", configFile: false, customLogger, logLevel: "warn", build: { outDir: out, emptyOutDir: true } });
    return warnings;
  },
  async webpack(root, entry, out) {
    const stats = await new Promise((done, failed) => {
      const compiler = webpack({
        mode: "production",
        context: root,
        entry: `./${entry}`,
        output: { path: out, filename: "main.js" },
        performance: false,
      });
      compiler.run((error, result) => compiler.close(() => (error ? failed(error) : done(result))));
    });
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, "index.html"), html("./main.js"));
    return [...errors, ...warnings].map((w) => w.message);
  },
};
