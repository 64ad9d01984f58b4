// What the bundles hold in place of the tables and rules that a chat does without; see src/widget/standins/.
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../src/widget/standins");

/** Vite's `resolve.alias`. */
export const standins = [
  { find: /^uc\.micro$/, replacement: `${folder}/uc.micro.ts` },
  { find: /^entities$/, replacement: `${folder}/entities.ts` },
  { find: /^punycode\.js$/, replacement: `${folder}/punycode.ts` },
  { find: /^mdurl$/, replacement: `${folder}/mdurl.ts` },
  { find: /^linkify-it$/, replacement: `${folder}/linkify-it.ts` },
  // markdown-it's own, by the paths under which its parts import one another: HTML and typography are switched off;
  // a line under a text is a line, no heading, nobody writes references in a chat,
  // and one pass finds all links.
  { find: /^\.\/rules_(core\/(smartquotes|replacements)|block\/(html_block|lheading|reference)|inline\/(html_inline|linkify))\.mjs$/, replacement: `${folder}/no-rule.ts` },
  { find: /^\.\/presets\/(commonmark|zero)\.mjs$/, replacement: `${folder}/no-preset.ts` },
];

/**
 * Vite plugin that takes DOMPurify's own lists of elements and attributes out: whoever uses it here names all that is
 * allowed (src/widget/markdown.ts), so the defaults would only be weight. Fails if they are not where they were.
 */
export function leanPurify() {
  const lists = /^const (html|svg|svgFilters|svgDisallowed|mathMl|mathMlDisallowed|xml)(\$1)? = freeze\(\[[^\]]*\]\);/gm;
  return {
    name: "lean-purify",
    transform(code, id) {
      if (!/dompurify\/dist\/purify\.es\.mjs/.test(id)) return undefined;
      let count = 0;
      const lean = code.replace(lists, (_, name, more = "") => (count++, `const ${name}${more} = freeze([]);`));
      if (count !== 10) throw new Error(`DOMPurify has ${count} lists where 10 were expected: look at leanPurify again`);
      return { code: lean, map: null };
    },
  };
}
