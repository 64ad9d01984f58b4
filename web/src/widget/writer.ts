/** A text that grows: shown at most once a frame, a few letters at a time, whole as soon as it is done. */
import { finished, type Markdown, morph, settle } from "./markdown.js";

/** A rest is caught up with in about so many frames. */
const FRAMES = 7;
/** If a frame's work took longer than this, the next ones are left out. */
const DEAR_MS = 5;

export interface Writer {
  write(text: string, done: boolean): void;
}

export function createWriter(node: HTMLElement, markdown: Markdown): Writer {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let whole = "";
  let shown = 0;
  let drawn: string | undefined;
  // So many letters are finished, and made so many nodes: they are not drawn again until all is there.
  let base = 0;
  let nodes = 0;
  let frame = 0;
  let rest = 0;

  function draw(text: string, done: boolean): void {
    if (text === drawn) return;
    const started = performance.now();
    if (done || !drawn || !text.startsWith(drawn.slice(0, base))) base = nodes = 0;
    drawn = text;
    const end = done ? 0 : base + finished(text.slice(base));
    if (end > base) {
      morph(node, markdown.render(text.slice(base, end)), nodes);
      nodes = node.childNodes.length;
      base = end;
    }
    morph(node, markdown.render(done ? text : settle(text.slice(base))), nodes);
    rest = Math.min(20, Math.floor((performance.now() - started) / DEAR_MS));
  }

  function tick(): void {
    frame = 0;
    if (rest > 0) rest--;
    else {
      shown = still.matches ? whole.length : Math.min(whole.length, shown + Math.max(1, Math.ceil((whole.length - shown) / FRAMES)));
      const last = whole.charCodeAt(shown - 1);
      if (last >= 0xd800 && last < 0xdc00) shown++; // never half a character
      draw(whole.slice(0, shown), false);
    }
    if (shown < whole.length) frame = requestAnimationFrame(tick);
  }

  return {
    write(text, done) {
      if (!text.startsWith(whole.slice(0, shown))) shown = 0; // a second attempt begins anew
      whole = text;
      if (done) {
        cancelAnimationFrame(frame);
        frame = 0;
        shown = text.length;
        draw(text, true);
      } else if (!frame && shown < text.length) frame = requestAnimationFrame(tick);
    },
  };
}
