/** Files in Node: replaced as a whole, with the mode and the links they had, and nothing left of killed saves. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FileError } from "../../build/esm/errors.js";
import { fileState, readBytes, readRange } from "../../build/esm/node/files.js";
import { writeBytesAtomic } from "../../build/esm/node/write.js";

const small = Uint8Array.from({ length: 100 }, (_, i) => i);
const folder = mkdtempSync(join(tmpdir(), "lockstep-files-"));
test.after(() => rmSync(folder, { recursive: true }));

async function refused(action, ...parts) {
  const error = await action().then(
    () => null,
    (e) => e,
  );
  assert.instance(error, FileError);
  for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
}

test("files are replaced as a whole", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lockstep-"));
  try {
    const path = join(folder, "a.safetensors");
    await writeBytesAtomic(path, small);
    await writeBytesAtomic(path, small.subarray(0, 20));
    assert.equal(new Uint8Array(await readBytes(path)), small.slice(0, 20));
    assert.equal(await readdir(folder), ["a.safetensors"]);
    await writeBytesAtomic(join(folder, "other"), small);
    const failure = async (action, text) => {
      const error = await action().then(
        () => null,
        (e) => e,
      );
      assert.instance(error, FileError);
      assert.ok(error.message.includes(text), error.message);
    };
    await failure(() => readBytes(join(folder, "missing")), join(folder, "missing"));
    await failure(() => writeBytesAtomic(join(folder, "no", "such"), small), join(folder, "no", "such"));
    await failure(() => writeBytesAtomic(folder, small), folder); // the rename fails, after the bytes were written
    assert.equal((await readdir(folder)).sort(), ["a.safetensors", "other"]);
    assert.equal(
      (await readdir(join(folder, ".."))).filter((name) => folder.endsWith(name.split(".")[0]) && name.endsWith(".tmp")),
      [],
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a file keeps its mode", async () => {
  for (const mode of [0o600, 0o644, 0o664, 0o755, 0o400]) {
    const path = join(folder, `mode-${mode.toString(8)}`);
    writeFileSync(path, "old");
    chmodSync(path, mode);
    await writeBytesAtomic(path, small);
    assert.is((statSync(path).mode & 0o7777).toString(8), mode.toString(8));
    assert.equal(new Uint8Array(readFileSync(path)), small);
  }
  const fresh = join(folder, "fresh");
  await writeBytesAtomic(fresh, small);
  assert.is(statSync(fresh).mode & 0o777, 0o666 & ~process.umask());
});

test("a symbolic link stays, and what it leads to is replaced", async () => {
  const place = join(folder, "elsewhere");
  mkdirSync(place);
  writeFileSync(join(place, "model"), "old");
  chmodSync(join(place, "model"), 0o640);
  symlinkSync(join("elsewhere", "model"), join(folder, "link"));
  symlinkSync("link", join(folder, "link-to-link"));
  await writeBytesAtomic(join(folder, "link-to-link"), small);
  assert.is(readlinkSync(join(folder, "link-to-link")), "link");
  assert.is(readlinkSync(join(folder, "link")), join("elsewhere", "model"));
  assert.not(lstatSync(join(place, "model")).isSymbolicLink());
  assert.is(statSync(join(place, "model")).mode & 0o777, 0o640);
  assert.equal(new Uint8Array(readFileSync(join(place, "model"))), small);
  assert.equal(readdirSync(place), ["model"]);
});

test("a link to a file that is not there makes it; links in a circle are an error", async () => {
  symlinkSync(join("elsewhere", "later"), join(folder, "dangling"));
  await writeBytesAtomic(join(folder, "dangling"), small);
  assert.equal(new Uint8Array(readFileSync(join(folder, "elsewhere", "later"))), small);
  assert.ok(lstatSync(join(folder, "dangling")).isSymbolicLink());
  symlinkSync("b", join(folder, "a"));
  symlinkSync("a", join(folder, "b"));
  await refused(() => writeBytesAtomic(join(folder, "a"), small), "ELOOP");
  assert.ok(lstatSync(join(folder, "a")).isSymbolicLink());
});

test("file: URLs are written to; other addresses and pipes are not replaced", async () => {
  const url = pathToFileURL(join(folder, "by url é"));
  await writeBytesAtomic(url, small);
  await writeBytesAtomic(String(url), small);
  assert.equal(new Uint8Array(await readBytes(url)), small);
  await refused(() => writeBytesAtomic("https://example.org/m.safetensors", small), "https://example.org", "toBytes()");
  await writeBytesAtomic("/dev/null", small);
  assert.ok(statSync("/dev/null").isCharacterDevice());
});

const script = `
  const { writeBytesAtomic } = await import(${JSON.stringify(new URL("../../build/esm/node/write.js", import.meta.url).href)});
  const bytes = new Uint8Array(2e7);
  console.log("begins");
  for (;;) await writeBytesAtomic(process.argv[1], bytes);`;

/** Temporary files that a process left which was killed while it saved to `path`. */
async function killedSave(path, name) {
  const left = () => readdirSync(folder).filter((f) => f.startsWith(`${name}.`));
  for (let tries = 0; tries < 40 && left().length === 0; tries++) {
    const child = spawn(process.execPath, ["--input-type=module", "-e", script, path], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((done) => child.stdout.once("data", done));
    await new Promise((done) => setTimeout(done, 5 + 3 * tries));
    const closed = new Promise((done) => child.once("close", done));
    child.kill("SIGKILL");
    await closed;
  }
  return left();
}

test("what a killed save left is removed by the next; what others may still write is not", async () => {
  const path = join(folder, "killed");
  const left = await killedSave(path, "killed");
  assert.is(left.length, 1);
  const [, begin, pid] = /^(killed\.lockstep-[0-9a-f]{8}-)(\d+)-[0-9a-f]{8}\.tmp$/.exec(left[0]) ?? [];
  assert.ok(pid !== undefined, left[0]);
  const put = (name, age = 0) => {
    writeFileSync(join(folder, name), "x");
    if (age > 0) utimesSync(join(folder, name), Date.now() / 1000 - age, Date.now() / 1000 - age);
    return name;
  };
  const gone = [left[0], put(`${begin}${pid}-00000001.tmp`), put(`${begin}${process.pid}-00000002.tmp`, 1e6)];
  const kept = [
    put(`${begin}${process.pid}-00000003.tmp`), // another save of this process
    put(`${begin}1-00000004.tmp`, 1e6), // a process that runs, of another user
    put(`killed.lockstep-00000000-${pid}-00000005.tmp`, 1e6), // another machine
    put(`killed2.lockstep-${begin.slice(16, 24)}-${pid}-00000006.tmp`), // another file
    put("killed.tmp"),
    put(`killed.${pid}.tmp`),
    put(`${begin}${pid}-00000007.tmp.bak`),
    put(`${begin}${pid}-1.tmp`),
  ];
  await writeBytesAtomic(path, small);
  for (const name of gone) assert.not(existsSync(join(folder, name)), `${name} is gone`);
  for (const name of kept) assert.ok(existsSync(join(folder, name)), `${name} is there`);
});

test("several processes save to one path at once, and none disturbs another", async () => {
  const path = join(folder, "shared");
  const many = `
    const { writeBytesAtomic } = await import(${JSON.stringify(new URL("../../build/esm/node/write.js", import.meta.url).href)});
    const own = new Uint8Array(1e6).fill(Number(process.argv[2]));
    for (let i = 0; i < 15; i++) await Promise.all([writeBytesAtomic(process.argv[1], own), writeBytesAtomic(process.argv[1], own)]);`;
  const ends = await Promise.all(
    [1, 2, 3].map(
      (k) =>
        new Promise((done) => {
          const child = spawn(process.execPath, ["--input-type=module", "-e", many, path, String(k)], {
            stdio: ["ignore", "inherit", "pipe"],
          });
          let said = "";
          child.stderr.on("data", (d) => (said += d));
          child.once("close", (code) => done(`${code} ${said}`));
        }),
    ),
  );
  assert.equal(ends, ["0 ", "0 ", "0 "]);
  const bytes = readFileSync(path);
  assert.ok(bytes.length === 1e6 && bytes.every((b) => b === bytes[0]));
  assert.equal(
    readdirSync(folder).filter((f) => f.startsWith("shared.")),
    [],
  );
});

test("ranges of a file; not of one that took its place", async () => {
  const path = join(folder, "ranges");
  writeFileSync(path, small);
  const state = await fileState(path);
  assert.is(state.size, 100);
  assert.equal(await readRange(path, state, 10, 14), Uint8Array.of(10, 11, 12, 13));
  assert.equal(await readRange(path, state, 100, 100), new Uint8Array(0));
  await refused(() => readRange(path, state, 90, 101), path, "has changed");
  await writeBytesAtomic(path, small.slice(1));
  await refused(() => readRange(path, state, 10, 14), path, "has changed since its header was read");
  assert.is(await fileState("/dev/null"), null);
  await refused(() => fileState(join(folder, "none")), "none");
});

test("a save with a folder's mode that forbids it is an error that names the path", async () => {
  const place = join(folder, "closed");
  mkdirSync(place, 0o500);
  // root may write everywhere
  const code = `
    if (process.getuid() === 0) process.setuid(65534);
    const { writeBytesAtomic } = await import(${JSON.stringify(new URL("../../build/esm/node/write.js", import.meta.url).href)});
    await writeBytesAtomic(process.argv[1], new Uint8Array(3)).catch((e) => console.log(e.name + ": " + e.message));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code, join(place, "model")], { encoding: "utf8" });
  if (!/Cannot find module/.test(stderr)) assert.match(stdout, /^FileError: cannot write ".*closed\/model": EACCES/, stderr);
  assert.equal(readdirSync(place), []);
});

test.run();
