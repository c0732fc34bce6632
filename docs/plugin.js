/**
 * @file For TypeDoc: what `@file` says of an entry point becomes the text of its page, and of the types that public ones refer to (options above all)
 * those of the compiler and of the tables behind names get no page.
 */
import { Converter } from "typedoc";

const MACHINERY = /src\/(plan\/|graph\.ts|dual\.ts|random\.ts|model\/(programs|predict)\.ts|webgpu\/dispatch\.ts)/;
const isMachinery = ({ fileName }, name) => MACHINERY.test(fileName) || /^[A-Z_]+$/.test(name) || ["Device", "Prepared"].includes(name);

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of project.getReflectionsByKind(-1)) {
      const file = reflection.comment?.blockTags.find((tag) => tag.tag === "@file");
      if (file === undefined) continue;
      reflection.comment.summary = file.content;
      reflection.comment.blockTags = reflection.comment.blockTags.filter((tag) => tag !== file);
    }
    for (const entry of project.children ?? []) {
      for (const child of [...(entry.children ?? [])]) {
        const symbol = project.getSymbolIdFromReflection(child);
        if (symbol !== undefined && isMachinery(symbol, child.name) && !child.isReference() && !PUBLIC.has(child.name)) project.removeReflection(child);
      }
    }
  });
}

/** Exported, although they stand beside machinery. */
const PUBLIC = new Set(["assign", "add", "avgPool2d", "conv2d", "conv2dTranspose", "elu", "leakyRelu", "maxPool2d", "relu", "reshape", "softmax"]);
