/**
 * @file A graphics adapter in software, for tests where there is no GPU: SwiftShader and the Vulkan loader out of the package
 * @sparticuz/chromium, unpacked into build/gpu once. Linux x64 only. The variables must be set before a process starts.
 */
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(import.meta.url);
const folder = join(root, "build/gpu");
const ICD = join(folder, "vk_swiftshader_icd.json");
/** Fonts for Chromium, which ends on pages with text where a machine has none. */
const FONTS = join(folder, "fontconfig.xml");
const FONTCONFIG = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>${join(folder, "fonts")}</dir>
  <cachedir>${join(folder, "fonts-cache")}</cachedir>
</fontconfig>
`;

function unpack() {
  const archives = join(dirname(require.resolve("@sparticuz/chromium")), "..");
  const bin = [join(archives, "bin"), join(archives, "../bin")].find((path) => existsSync(path));
  if (bin === undefined) throw new Error("@sparticuz/chromium has no folder bin");
  mkdirSync(folder, { recursive: true });
  for (const name of ["al2023", "swiftshader", "fonts"]) {
    const archive = brotliDecompressSync(readFileSync(join(bin, `${name}.tar.br`)));
    execFileSync("tar", ["--extract", "--no-same-owner", "--directory", folder], { input: archive });
  }
  // Last: where it is, all is.
  writeFileSync(FONTS, FONTCONFIG);
}

/** Environment variables with which Dawn, wgpu and Chromium find the software adapter; null where it does not run. */
export function softwareGpu() {
  if (process.platform !== "linux" || process.arch !== "x64") return null;
  if (!existsSync(FONTS)) unpack();
  return { LD_LIBRARY_PATH: `${join(folder, "lib")}:${folder}`, VK_ICD_FILENAMES: ICD, VK_DRIVER_FILES: ICD, FONTCONFIG_FILE: FONTS };
}

const PROBE = `
const { create } = await import("webgpu");
const adapter = await create([]).requestAdapter();
if (adapter === null) throw new Error("Dawn found no adapter");
console.log(adapter.info.description || adapter.info.device || "unnamed adapter");
`;

/** The adapter that a process with `env` finds: { name }, or { missing: why }. */
export function probeGpu(env) {
  return new Promise((done) => {
    execFile(process.execPath, ["--input-type=module", "--eval", PROBE], { cwd: root, env, timeout: 60000 }, (error, stdout, stderr) => {
      if (error === null) done({ name: stdout.trim() });
      else done({ missing: /^\w*Error.*/m.exec(stderr)?.[0] ?? error.message });
    });
  });
}
