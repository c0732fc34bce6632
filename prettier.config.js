/**
 * @file How code is formatted: Prettier with lines of 140 characters, and two changes to it. AssemblyScript (assembly/) has decorators on
 * functions, which the parser of TypeScript refuses: to it they are comments, each on a line of its own. And lists of lists, of which tests
 * have many, are broken into lines as objects are: where they do not fit, or where they were written so, not always.
 */
import estree from "prettier/plugins/estree";
import typescript from "prettier/plugins/typescript";

const HIDDEN = "//@";

const parsers = {
  assemblyscript: {
    ...typescript.parsers.typescript,
    preprocess: (text) => text.replace(/^@(?=\w+(\(.*\))?$)/gm, HIDDEN),
  },
};

const isList = (node) => node?.type === "ArrayExpression" || node?.type === "ObjectExpression";

const printers = {
  estree: {
    ...estree.printers.estree,
    print(path, options, ...rest) {
      const printed = estree.printers.estree.print(path, options, ...rest);
      const { node } = path;
      if (node.type === "ArrayExpression" && node.elements.every(isList)) {
        const [group] = [printed].flat();
        // What must have lines of its own inside, such as a comment, breaks it all the same.
        if (group?.break === true) group.break = /^\[[^\S\n]*\n/.test(options.originalText.slice(options.locStart(node)));
      }
      return printed;
    },
    printComment(path, options) {
      const printed = estree.printers.estree.printComment(path, options);
      return typeof printed === "string" && printed.startsWith(HIDDEN) ? printed.slice(HIDDEN.length - 1) : printed;
    },
  },
};

export default {
  printWidth: 140,
  embeddedLanguageFormatting: "off",
  plugins: [{ parsers, printers }],
  overrides: [{ files: "assembly/**/*.ts", options: { parser: "assemblyscript" } }],
};
