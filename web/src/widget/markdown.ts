/**
 * Markdown to elements, for text that nobody vouches for. Two walls: markdown-it lets no HTML through, and DOMPurify
 * keeps only what is listed here, whatever came out.
 */
import createDOMPurify, { type Config } from "dompurify";
import MarkdownIt from "markdown-it";

const TAGS =
  "p br strong em s code pre ul ol li blockquote h3 h4 h5 h6 hr a img table thead tbody tr th td";
const LINK = /^(?:https?:\/\/|mailto:|tel:)/i;
const INLINE_PICTURE = /^data:image\/(?:png|jpeg|gif|webp);base64,/i;

export interface Markdown {
  /** Elements that hold nothing but text, lists, tables, links that open elsewhere, and pictures of our own. */
  render(text: string): DocumentFragment;
}

/**
 * @param origins where pictures may come from, besides `data:` addresses: addresses of gateways. Of them only what is
 *   under `/media/`, so that a text cannot make the browser ask for anything else.
 */
export function createMarkdown(origins: () => readonly string[]): Markdown {
  const md = new MarkdownIt({ html: false, linkify: true, breaks: true });
  const ours = (address: string): boolean => {
    if (INLINE_PICTURE.test(address)) return true;
    try {
      const url = new URL(address);
      return url.pathname.startsWith("/media/") && origins().includes(url.origin);
    } catch {
      return false;
    }
  };
  md.validateLink = (address) => LINK.test(address.trim()) || INLINE_PICTURE.test(address.trim());
  md.renderer.rules.heading_open = (tokens, index) => `<h${level(tokens[index]?.tag)}>`;
  md.renderer.rules.heading_close = (tokens, index) => `</h${level(tokens[index]?.tag)}>\n`;
  md.renderer.rules.image = (tokens, index) => {
    const token = tokens[index];
    const address = token?.attrGet("src") ?? "";
    const words = md.utils.escapeHtml(token?.content || address.slice(0, 80));
    if (ours(address)) return `<img src="${md.utils.escapeHtml(address)}" alt="${words}" loading="lazy">`;
    // A picture from elsewhere would tell its host who reads this and when; as a link it waits for a click.
    return LINK.test(address) ? `<a href="${md.utils.escapeHtml(address)}">${words}</a>` : words;
  };
  const align: NonNullable<typeof md.renderer.rules.td_open> = (tokens, index) => {
    const token = tokens[index];
    const side = /right|center/.exec(token?.attrGet("style") ?? "")?.[0];
    return `<${token?.tag}${side ? ` align="${side}"` : ""}>`;
  };
  md.renderer.rules.td_open = md.renderer.rules.th_open = align;
  md.renderer.rules.fence = (tokens, index) =>
    `<pre tabindex="0"><code>${md.utils.escapeHtml(tokens[index]?.content ?? "")}</code></pre>\n`;

  const purify = createDOMPurify(window);
  const config: Config & { RETURN_DOM_FRAGMENT: true } = {
    ALLOWED_TAGS: TAGS.split(" "),
    ALLOWED_ATTR: ["href", "src", "alt", "loading", "start", "align", "tabindex"],
    ALLOWED_URI_REGEXP: LINK, // asked of every attribute but those named next
    ADD_URI_SAFE_ATTR: ["loading", "start", "align", "tabindex"],
    ALLOW_ARIA_ATTR: false,
    ALLOW_DATA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  };
  purify.addHook("afterSanitizeAttributes", (node) => {
    if (node.nodeName === "A") {
      node.setAttribute("target", "_blank");
      node.setAttribute("rel", "noopener noreferrer");
      if (!LINK.test(node.getAttribute("href") ?? "")) node.removeAttribute("href");
    }
    if (node.nodeName === "IMG" && !ours(node.getAttribute("src") ?? "")) node.remove();
  });
  return { render: (text) => purify.sanitize(md.render(text), config) };
}

/** The page around has headings of its own: ours begin below them. */
function level(tag = "h1"): number {
  return Math.min(6, Number(tag[1]) + 2);
}

/**
 * Closes what a text that is still being written has opened in its last block, so that `**bol` is not first shown with
 * its stars and then without.
 */
export function settle(text: string): string {
  if ((text.match(/^ {0,3}(?:```|~~~)/gm) ?? []).length % 2) return text; // markdown-it closes fences by itself
  const start = text.lastIndexOf("\n\n") + 1;
  let last = text.slice(start);
  last = last.replace(/!?\[([^\][]*)(?:\]\([^()\s]*)?$/, "$1"); // a link that has no end yet
  last = last.replace(/(?<![*_`~])(?:\*{1,3}|_{1,3}|~~|`+)$/, ""); // a mark that has no text yet
  const plain = last.replace(/(`+)[^`][^]*?\1/g, "");
  const tick = plain.lastIndexOf("`");
  if (tick >= 0) return text.slice(0, start) + last + "`";
  const marks = plain.replace(/^\s*[*+-]\s/gm, "");
  for (const mark of ["**", "~~"]) if (marks.split(mark).length % 2 === 0) last = `${last.trimEnd()}${mark}`;
  if (marks.replaceAll("**", "").split("*").length % 2 === 0) last = `${last.trimEnd()}*`;
  return text.slice(0, start) + last;
}

/**
 * Makes `node` hold what `wanted` holds and touches only what differs, so that a selection, a scrolled code block and a
 * loaded picture stay while a text grows.
 *
 * @param from how many children of `node` are left alone, as if they were not there.
 */
export function morph(node: Node, wanted: Node, from = 0): void {
  const next = [...wanted.childNodes];
  next.forEach((want, index) => {
    const have = node.childNodes[from + index];
    if (!have) node.appendChild(want);
    else if (have.isEqualNode(want)) return;
    else if (have.nodeType === 3 && want.nodeType === 3) have.nodeValue = want.nodeValue;
    else if (have instanceof Element && want instanceof Element && sameShell(have, want)) morph(have, want);
    else node.replaceChild(want, have);
  });
  while (node.childNodes.length > from + next.length) node.lastChild?.remove();
}

function sameShell(have: Element, want: Element): boolean {
  return have.cloneNode().isEqualNode(want.cloneNode());
}

/**
 * Where the last block begins that more text can still change: what is before is finished. That is behind an empty line
 * with a letter after it, since no list, quote or table goes on there, outside of fenced code.
 */
export function finished(text: string): number {
  let end = 0;
  let fences = 0;
  let seen = 0;
  for (const { index } of text.matchAll(/\n\n(?=\p{L})/gu)) {
    fences += (text.slice(seen, index + 1).match(/^ {0,3}(?:```|~~~)/gm) ?? []).length;
    seen = index + 1;
    if (fences % 2 === 0) end = index + 2;
  }
  return end;
}
