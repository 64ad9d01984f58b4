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
 * What is taken out of a library: a pattern, and what takes its place; `times` says how often it is there. Nothing that
 * checks anything is touched.
 */
const cuts = {
  // Its own lists of elements and attributes (src/widget/markdown.ts names all that is allowed), options that stay
  // switched off, ways in that nobody takes, and what its build added for browsers older than ours: the minifier then drops
  // what hangs on them.
  "dompurify/dist/purify.es.mjs": [
    [/^const (html|svg|svgFilters|svgDisallowed|mathMl|mathMlDisallowed|xml)(\$1)? = freeze\(\[[^\]]*\]\);/gm, "const $1$2 = freeze([]);", 10],
    [/^\t+(SAFE_FOR_TEMPLATES|WHOLE_DOCUMENT|FORCE_BODY|RETURN_TRUSTED_TYPE|SANITIZE_NAMED_PROPS|IN_PLACE|USE_PROFILES) = [^;]*: false;|^\t+(SAFE_FOR_TEMPLATES|WHOLE_DOCUMENT|FORCE_BODY|RETURN_TRUSTED_TYPE|SANITIZE_NAMED_PROPS|IN_PLACE) = cfg\.\w+ \|\| false;/gm, "", 7],
    [/^\tDOMPurify\.(setConfig|clearConfig|isValidAttribute|removeHook|removeHooks|removeAllHooks) = function[^]*?^\t\};\n/gm, "", 6],
    [/^\t\t\tdirty = stringifyValue\(dirty\);\n/gm, "", 1], // it is a string
    [/^function AsyncGenerator[^]*?^\}\n/gm, "", 1],
    [/^AsyncGenerator\.prototype\[[^]*?^\};\n/gm, "", 1],
    [/^function _slicedToArray\(r, e\) \{[^]*?^\}/gm, "function _slicedToArray(r) { return r; }", 1],
  ],
  // What turns rules on, off and round, and how things are written that are never there or that we write ourselves.
  "markdown-it/lib/ruler.mjs": [[/^Ruler\.prototype\.(at|before|after|enable|enableOnly|disable) = function[^]*?^\}\n/gm, "", 6]],
  "markdown-it/lib/index.mjs": [[/^MarkdownIt\.prototype\.(enable|disable|use|parseInline|renderInline) = function[^]*?^\}\n/gm, "", 5]],
  "markdown-it/lib/renderer.mjs": [[/^default_rules\.(code_block|fence|image|html_block|html_inline) = function[^]*?^\}\n/gm, "", 5]],
};

/** Vite plugin that makes those cuts; fails where something is not what it was. */
export function lean() {
  return {
    name: "lean",
    transform(code, id) {
      const file = Object.keys(cuts).find((path) => id.split("?")[0].endsWith(`node_modules/${path}`));
      if (!file) return undefined;
      for (const [pattern, instead, times] of cuts[file]) {
        const found = code.match(pattern)?.length ?? 0;
        if (found !== times) throw new Error(`${file}: ${found} of ${times} of ${pattern} are there; look at scripts/standins.mjs again`);
        code = code.replace(pattern, instead);
      }
      return { code, map: null };
    },
  };
}
