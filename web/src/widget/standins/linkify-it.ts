/**
 * Stands in for `linkify-it`: finds `http(s)://` addresses, `www.` names and mail addresses in running text, Chinese
 * text included. Nothing without one of these three marks becomes a link, so "file.txt" and "e.g" stay text.
 */
export interface Match {
  schema: string;
  index: number;
  lastIndex: number;
  raw: string;
  text: string;
  url: string;
}

// A path may hold any letter, yet no space and no mark that East Asian text puts right behind an address.
const PATH = "[^\\s<>\"`\\u3000-\\u303f\\uff00-\\uffef\\u2018-\\u201f|]";
const FIND = new RegExp(
  `https?://${PATH}{2,2000}|(?<![\\w./@-])www\\.[\\w-]{1,63}\\.${PATH}{2,2000}|(?<![\\w.+-])[\\w.+-]{1,64}@[a-z\\d-]{1,63}(?:\\.[a-z\\d-]{1,63}){1,4}`,
  "giu",
);

/** Without the punctuation that ends a sentence, and without closing brackets that were not opened inside. */
function trim(address: string): string {
  for (;;) {
    const shorter = address.replace(/(?:[.,;:!?'*_~]|&(?:quot|amp|lt|gt);)+$/, "");
    const last = shorter.at(-1) ?? "";
    const open = { ")": "(", "]": "[", "}": "{" }[last];
    const unmatched = open !== undefined && shorter.split(open).length < shorter.split(last).length;
    const next = unmatched ? shorter.slice(0, -1) : shorter;
    if (next === address) return address;
    address = next;
  }
}

export class LinkifyIt {
  match(text: string): Match[] {
    const found: Match[] = [];
    for (const one of text.matchAll(FIND)) {
      const raw = trim(one[0]);
      const schema = /^https?:/i.exec(raw)?.[0].toLowerCase() ?? (raw.includes("@") && !/^www\./i.test(raw) ? "mailto:" : "");
      if (schema.startsWith("http") && !/^https?:\/\/[\p{L}\p{N}[]/iu.test(raw)) continue;
      const url = schema === "mailto:" ? `mailto:${raw}` : schema === "" ? `https://${raw}` : raw;
      found.push({ schema, index: one.index, lastIndex: one.index + raw.length, raw, text: raw, url });
    }
    return found;
  }

  test(text: string): boolean {
    return this.match(text).length > 0;
  }

  /** Whether it is worth looking closer. */
  pretest(text: string): boolean {
    return /:\/\/|www\.|@/i.test(text);
  }

  matchAtStart(text: string): Match | null {
    const first = /^https?:/i.test(text) ? this.match(text)[0] : undefined;
    return first?.index === 0 ? first : null;
  }

  set(): this {
    return this;
  }
}

export default LinkifyIt;
