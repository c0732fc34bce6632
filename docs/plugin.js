/**
 * @file For TypeDoc: what `@file` says of an entry point becomes the text of its page. Types that public ones refer to (options above all)
 * get pages, but not those of the compiler, of the tables behind names, and of the platform.
 */
import { Converter } from "typedoc";

const MACHINERY = /^src\/(plan\/|graph\.ts|cache\.ts|dual\.ts|random\.ts|compile\.ts|model\/(programs|predict)\.ts|webgpu\/dispatch\.ts)/;
/** Exported, although they stand beside machinery. */
const PUBLIC = new Set([
  "assign",
  "add",
  "avgPool2d",
  "conv2d",
  "conv2dTranspose",
  "elu",
  "leakyRelu",
  "maxPool2d",
  "relu",
  "reshape",
  "softmax",
  "compile",
  "Compiled",
  "CompileOptions",
]);

function hidden({ packageName, packagePath }, name) {
  if (PUBLIC.has(name)) return false;
  return (
    packageName !== "lockstep" ||
    MACHINERY.test(packagePath) ||
    /^[A-Z_]+$/.test(name) ||
    ["Context", "Device", "Executable", "Held", "Inside", "Prepared", "Product", "Recipe", "Stack", "Storage"].includes(name)
  );
}

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of project.getReflectionsByKind(-1)) {
      const file = reflection.comment?.blockTags.find((tag) => tag.tag === "@file");
      if (file === undefined) continue;
      reflection.comment.summary = file.content;
      reflection.comment.blockTags = reflection.comment.blockTags.filter((tag) => tag !== file);
    }
    for (const child of (project.children ?? []).flatMap((entry) => [...(entry.children ?? [])])) {
      const symbol = project.getSymbolIdFromReflection(child);
      if (symbol !== undefined && !child.isReference() && hidden(symbol, child.name)) project.removeReflection(child);
    }
  });
}
