/** A text that grows: shown at most once a frame, a few letters at a time, whole as soon as it is done. */
import { type Markdown, morph, settle } from "./markdown.js";

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
  let frame = 0;
  let rest = 0;

  function draw(text: string): void {
    if (text === drawn) return;
    drawn = text;
    const started = performance.now();
    morph(node, markdown.render(text));
    rest = Math.min(20, Math.floor((performance.now() - started) / DEAR_MS));
  }

  function tick(): void {
    frame = 0;
    if (rest > 0) rest--;
    else {
      shown = still.matches ? whole.length : Math.min(whole.length, shown + Math.max(1, Math.ceil((whole.length - shown) / FRAMES)));
      const last = whole.charCodeAt(shown - 1);
      if (last >= 0xd800 && last < 0xdc00) shown++; // never half a character
      draw(settle(whole.slice(0, shown)));
    }
    if (shown < whole.length) frame = requestAnimationFrame(tick);
  }

  return {
    write(text, done) {
      if (!whole.startsWith(text.slice(0, shown)) || !text.startsWith(whole.slice(0, shown))) shown = Math.min(shown, text.length);
      whole = text;
      if (done) {
        cancelAnimationFrame(frame);
        frame = 0;
        shown = text.length;
        draw(text);
      } else if (!frame && shown < text.length) frame = requestAnimationFrame(tick);
    },
  };
}
