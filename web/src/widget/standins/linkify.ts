/**
 * Stands in for markdown-it's rule `linkify` and for `linkify-it` behind it: finds `http(s)://` addresses, `www.` names
 * and mail addresses in running text, Chinese text included. Nothing without one of these three marks becomes a link,
 * so "file.txt" and "e.g." stay text.
 */
import type { StateCore, Token } from "markdown-it/index.js";

export interface Found {
  index: number;
  text: string;
  url: string;
}

// A path may hold any letter, yet no space and no mark that East Asian text puts right behind an address.
const PATH = "[^\\s<>\"`|\\u3000-\\u303f\\uff00-\\uffef\\u2018-\\u201f]{2,2000}";
const FIND = new RegExp(
  `https?://(?=[\\p{L}\\p{N}[])${PATH}|(?<![\\w./@-])www\\.[\\w-]{1,63}\\.${PATH}|(?<![\\w.+-])[\\w.+-]{1,64}@[a-z\\d-]{1,63}(?:\\.[a-z\\d-]{1,63}){1,4}`,
  "giu",
);

/** Without the punctuation that ends a sentence, and without closing brackets that were not opened inside. */
function trim(address: string): string {
  for (;;) {
    const shorter = address.replace(/[.,;:!?'*_~]+$/, "");
    const last = shorter.at(-1) ?? "";
    const open = { ")": "(", "]": "[", "}": "{" }[last];
    const next = open && shorter.split(open).length < shorter.split(last).length ? shorter.slice(0, -1) : shorter;
    if (next === address) return address;
    address = next;
  }
}

export function findLinks(text: string): Found[] {
  return [...text.matchAll(FIND)].map((one) => {
    const raw = trim(one[0]);
    const scheme = /^https?:/i.test(raw) ? "" : /^www\./i.test(raw) ? "https://" : "mailto:";
    return { index: one.index, text: raw, url: scheme + raw };
  });
}

export default function linkify(state: StateCore): void {
  for (const block of state.tokens) {
    let inside = 0;
    block.children &&= block.children.flatMap((token) => {
      if (token.type === "link_open") inside++;
      if (token.type === "link_close") inside--;
      return inside || token.type !== "text" ? [token] : split(token, state);
    });
  }
}

function split(token: Token, state: StateCore): Token[] {
  const made: Token[] = [];
  const add = (type: string, tag: string, nesting: -1 | 0 | 1, content = ""): Token => {
    const one = new state.Token(type, tag, nesting);
    one.content = content;
    made.push(one);
    return one;
  };
  let end = 0;
  for (const { index, text, url } of findLinks(token.content)) {
    const address = state.md.normalizeLink(url);
    if (!state.md.validateLink(address)) continue;
    add("text", "", 0, token.content.slice(end, index));
    add("link_open", "a", 1).attrs = [["href", address]];
    add("text", "", 0, text);
    add("link_close", "a", -1);
    end = index + text.length;
  }
  if (!end) return [token];
  add("text", "", 0, token.content.slice(end));
  return made;
}
