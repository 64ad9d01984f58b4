// What the bundles hold in place of the tables and rules that a chat does without; see src/widget/standins/.
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../src/widget/standins");

/** Vite's `resolve.alias`. */
export const standins = [
  { find: /^uc\.micro$/, replacement: `${folder}/uc.micro.ts` },
  { find: /^entities$/, replacement: `${folder}/entities.ts` },
  { find: /^mdurl$/, replacement: `${folder}/mdurl.ts` },
  { find: /^(linkify-it|punycode\.js)$/, replacement: `${folder}/no-linkify.ts` },
  { find: /^\.\/rules_core\/linkify\.mjs$/, replacement: `${folder}/linkify.ts` },
  // markdown-it's own, by the paths under which its parts import one another: HTML and typography are switched off;
  // a line under a text is a line, no heading, nobody writes references in a chat,
  // a text that is moved in is no code, and one pass finds all links.
  { find: /^\.\/rules_(core\/(smartquotes|replacements)|block\/(code|html_block|lheading|reference)|inline\/(html_inline|linkify))\.mjs$/, replacement: `${folder}/no-rule.ts` },
  { find: /^\.\/presets\/(commonmark|zero)\.mjs$/, replacement: `${folder}/no-preset.ts` },
];

/**
 * Vite plugin that takes out of DOMPurify what src/widget/markdown.ts never uses: its own lists of elements and
 * attributes (all that is allowed is named there), and options that stay switched off, so that the minifier drops what
 * hangs on them. Nothing that checks anything is touched. Fails if something is not where it was.
 */
export function leanPurify() {
  const lists = /^const (html|svg|svgFilters|svgDisallowed|mathMl|mathMlDisallowed|xml)(\$1)? = freeze\(\[[^\]]*\]\);/gm;
  const options = /^\t+(SAFE_FOR_TEMPLATES|WHOLE_DOCUMENT|FORCE_BODY|RETURN_TRUSTED_TYPE|SANITIZE_NAMED_PROPS|IN_PLACE|USE_PROFILES) = [^;]*: false;|^\t+(SAFE_FOR_TEMPLATES|WHOLE_DOCUMENT|FORCE_BODY|RETURN_TRUSTED_TYPE|SANITIZE_NAMED_PROPS|IN_PLACE) = cfg\.\w+ \|\| false;/gm;
  return {
    name: "lean-purify",
    transform(code, id) {
      if (!/dompurify\/dist\/purify\.es\.mjs/.test(id)) return undefined;
      let found = 0;
      const lean = code
        .replace(lists, (_, name, more = "") => (found++, `const ${name}${more} = freeze([]);`))
        .replace(options, () => (found++, ""));
      if (found !== 17) throw new Error(`${found} of 17 parts of DOMPurify were found: look at leanPurify again`);
      return { code: lean, map: null };
    },
  };
}
