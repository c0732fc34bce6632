/** @file The command line itself: help, options, exit codes, `info`. */
import { spawnSync } from "node:child_process";
import { existsSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { call, cleanUp, done, folder, packageJson as json, refused, root, writeTables } from "./helpers.js";

test.after(cleanUp);
writeTables();

test("without a command, with --help, --version, and of commands that there are not", () => {
  const { status, stdout, stderr } = call();
  assert.equal([status, stdout], [2, ""]);
  assert.match(stderr, /Usage: lockstep COMMAND/);
  const { stdout: help } = done("--help");
  for (const name of ["info", "summary", "convert", "run", "train", "bench", "compare"]) {
    assert.match(help, new RegExp(`^ {2}${name} +\\S`, "m"));
    const { stdout: own } = done(name, "--help");
    assert.match(own, new RegExp(`Usage: lockstep ${name} `));
    assert.match(own, /--threads N/);
    assert.is(done("help", name).stdout, own);
  }
  for (const flag of ["--version", "-v"]) assert.is(done(flag).stdout, `${json.version}\n`);
  refused(2, /unknown command "trian"; did you mean "train"\?/, "trian");
  refused(2, /the command comes first, options behind it: lockstep COMMAND --threads/, "--threads", "1", "info");
});

test("options that are none, have no value, are given twice, or are no number", () => {
  refused(
    2,
    /lockstep train: unknown option --targt; did you mean "--target"\?.*\nTry: lockstep train --help/s,
    "train",
    "flowers.csv",
    "--targt",
    "x",
  );
  refused(2, /--target needs a value: --target COLUMN/, "train", "flowers.csv", "--target", "--epochs", "3");
  refused(2, /--epochs must be a number of at least 1, got "many"/, "train", "flowers.csv", "-t", "species", "--epochs", "many");
  refused(2, /--epochs must be a whole number, got 1.5/, "train", "flowers.csv", "-t", "species", "--epochs=1.5");
  refused(2, /--seed must be a number of at least 0, got "-1"/, "train", "flowers.csv", "-t", "species", "--seed", "-1");
  refused(2, /--quiet takes no value/, "train", "flowers.csv", "--quiet=yes");
  refused(2, /--target is given twice/, "train", "flowers.csv", "--target", "a", "--target", "b");
  refused(2, /expected 1 argument \(FILE \[options\]\), got 0/, "summary");
  refused(2, /expected 2 to 16 arguments \(A B .*\), got 1/, "compare", "a");
  refused(2, /--seed must be a whole number, got 1e300/, "train", "flowers.csv", "-t", "species", "--seed", "1e300");
  refused(2, /expected 2 arguments \(IN OUT \[options\]\), got 1/, "convert", "a");
  refused(2, /--backend must be wasm or webgpu, got "cuda"/, "summary", "a", "--backend", "cuda");
});

test("help has lines that fit", () => {
  for (const name of ["info", "summary", "convert", "run", "train", "bench", "compare"])
    for (const line of done(name, "--help").stdout.split("\n")) assert.ok(line.length <= 100, line);
});

test("info: what the machine has, also as JSON", () => {
  const { stdout } = done("info", "--no-speed", "--threads", "1");
  assert.match(stdout, new RegExp(`^Lockstep +${json.version}$`, "m"));
  assert.match(stdout, /^Runtime +Node \d+/m);
  assert.match(stdout, /^WebAssembly +(relaxed )?SIMD, 1 thread$/m);
  const facts = JSON.parse(done("info", "--json").stdout);
  assert.ok(facts.wasm.speed.gflops > 0 && facts.wasm.speed.gbytes > 0 && facts.wasm.speed.size >= 512);
  assert.ok(facts.cores >= 1 && facts.memory > 0);
  assert.ok(typeof facts.webgpu === "string" || facts.webgpu.adapter !== "");
});

test("results go to standard output, everything else elsewhere; a reader may have enough", () => {
  const cli = join(root, "build/cli.js");
  if (process.platform === "win32") return;
  const link = join(folder, "lockstep");
  symlinkSync(cli, link);
  const { status, stdout } = spawnSync("sh", ["-c", `"${process.execPath}" "${link}" --help | head -1`], { encoding: "utf8" });
  assert.equal([status, stdout], [0, `lockstep ${json.version}: train and run neural networks in JavaScript\n`]);
  if (!existsSync("/dev/full")) return;
  const full = spawnSync("sh", ["-c", `"${process.execPath}" "${link}" --help > /dev/full`], { encoding: "utf8" });
  assert.is(full.status, 1);
  assert.match(full.stderr, /^lockstep: cannot write the result: ENOSPC: no space left on device, write\n$/);
});

test.run();
