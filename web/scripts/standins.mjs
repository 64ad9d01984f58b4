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
  // markdown-it's own, by the paths under which its parts import one another: HTML and typography are switched off.
  { find: /^\.\/rules_(core\/(smartquotes|replacements)|block\/html_block|inline\/html_inline)\.mjs$/, replacement: `${folder}/no-rule.ts` },
  { find: /^\.\/presets\/(commonmark|zero)\.mjs$/, replacement: `${folder}/no-preset.ts` },
];
