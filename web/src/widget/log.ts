/** The log: rows in order, at most so many, and the scroll position where its reader wants it. */
import type { Snapshot } from "../sdk/index.js";
import { el, icon, put } from "./dom.js";
import { incoming, type Item, itemsOf } from "./items.js";
import { createRow, type Row, type Scene } from "./rows.js";

/** Entries shown at first, and added by each "show earlier". */
const PAGE = 80;
/** So near to the end counts as being there, in pixels. */
const NEAR = 64;

export class Log {
  /** Scrolls. */
  readonly node: HTMLElement;
  readonly pill: HTMLButtonElement;
  readonly #rows: HTMLElement;
  readonly #earlier: HTMLButtonElement;
  readonly #views = new Map<string, { row: Row; item: Item }>();
  readonly #observer: ResizeObserver;
  #limit = PAGE;
  #pinned = true;
  #unseen = 0;
  #arrived = 0;
  /** On the way to the end: what is passed is no wish to stay there. */
  #gliding = false;
  #snapshot: Snapshot | undefined;
  #height = 0;

  /** @param empty shown while there is nothing else. */
  constructor(readonly scene: Scene, readonly empty: HTMLElement) {
    const { words } = scene.tongue;
    this.#rows = el("div", { class: "rows" });
    this.#earlier = el("button", { type: "button", class: "chip earlier", hidden: true, onclick: () => this.#showEarlier() }, words.earlier);
    this.node = el(
      "div",
      { class: "log", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": words.log, tabindex: "0", part: "log" },
      el("div", { class: "column" }, this.#earlier, empty, this.#rows),
    );
    this.pill = el("button", { type: "button", class: "pill", hidden: true, onclick: () => this.toEnd(true) });
    this.node.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    for (const touch of ["wheel", "touchstart", "keydown"]) this.node.addEventListener(touch, () => (this.#gliding = false), { passive: true });
    this.#observer = new ResizeObserver(() => this.#follow());
    this.#observer.observe(this.node);
    this.#observer.observe(this.#rows);
  }

  dispose(): void {
    this.#observer.disconnect();
  }

  get pinned(): boolean {
    return this.#pinned;
  }

  /** Pictures of the conversation in their order, as they can be enlarged. */
  get pictures(): HTMLElement[] {
    return [...this.#rows.querySelectorAll<HTMLElement>(".pic:not(.broken)")];
  }

  render(snapshot: Snapshot): void {
    const before = this.#snapshot;
    this.#snapshot = snapshot;
    const { items, hidden } = itemsOf(snapshot, this.#limit);
    this.#earlier.hidden = hidden === 0;
    this.empty.hidden = items.length > 0;
    let here: ChildNode | null = this.#rows.firstChild;
    const wanted = new Set(items.map((item) => item.key));
    for (const [key, { row }] of this.#views) {
      if (wanted.has(key)) continue;
      if (row.node === here) here = here.nextSibling;
      row.node.remove();
      this.#views.delete(key);
    }
    for (const item of items) {
      let view = this.#views.get(item.key);
      if (!view) {
        view = { row: createRow(item, this.scene), item };
        this.#views.set(item.key, view);
        view.row.update(item);
        if (before) view.row.node.classList.add("new");
      } else {
        if (!same(view.item, item)) view.row.update(item);
        view.item = item;
      }
      if (view.row.node === here) here = here.nextSibling;
      else this.#rows.insertBefore(view.row.node, here);
    }
    const own = snapshot.entries.at(-1);
    if (before && own?.kind === "own" && own !== before.entries.at(-1) && !before.entries.some((one) => one.kind === "own" && one.id === own.id)) {
      this.#pinned = true; // who writes wants to see it
    }
    const arrived = incoming(snapshot.entries).length;
    if (!this.#pinned) this.#unseen += Math.max(0, arrived - this.#arrived);
    this.#arrived = arrived;
    this.#follow();
    this.#showPill();
  }

  /** Draws everything anew, after a switch was turned. */
  refresh(): void {
    for (const { row, item } of this.#views.values()) row.update(item);
  }

  toEnd(smooth = false): void {
    this.#pinned = true;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.node.scrollTo({ top: this.node.scrollHeight, behavior: smooth && !still ? "smooth" : "instant" });
    this.#gliding = smooth && !still;
    this.#unseen = 0;
    this.#showPill();
    if (smooth) this.node.focus({ preventScroll: true });
  }

  #follow(): void {
    if (this.#pinned && !this.#gliding) this.node.scrollTop = this.node.scrollHeight;
    this.#height = this.node.scrollHeight;
  }

  #scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.node;
    const end = scrollHeight - scrollTop - clientHeight < NEAR;
    // Growth scrolls as well: only a way up, in a log of the same height, is somebody's wish.
    if (end) this.#gliding = false;
    if (end) this.#pinned = true;
    else if (this.#gliding) return;
    else if (scrollHeight === this.#height) this.#pinned = false;
    if (end) this.#unseen = 0;
    this.#showPill();
  }

  #showPill(): void {
    const { words } = this.scene.tongue;
    const news = this.#unseen > 0;
    this.pill.hidden = this.#pinned;
    this.pill.classList.toggle("news", news);
    if (this.pill.dataset["news"] === String(news)) return;
    this.pill.dataset["news"] = String(news);
    this.pill.setAttribute("aria-label", news ? words.newMessages : words.toEnd);
    put(this.pill, news && words.newMessages, icon("down"));
  }

  #showEarlier(): void {
    if (!this.#snapshot) return;
    const top = this.#rows.firstElementChild as HTMLElement | null;
    const was = top?.getBoundingClientRect().top ?? 0;
    this.#limit += PAGE;
    this.#pinned = false;
    this.render(this.#snapshot);
    // The row that was on top stays where it was.
    this.node.scrollTop += (top?.getBoundingClientRect().top ?? 0) - was;
    this.node.focus({ preventScroll: true });
  }
}

function same(one: Item, other: Item): boolean {
  if (one.kind === "day" || other.kind === "day") return false; // "Today" becomes "Yesterday"
  return (
    one.kind === other.kind &&
    one.first === other.first &&
    one.last === other.last &&
    one.newest === other.newest &&
    (one.kind === "entry" ? other.kind === "entry" && one.entry === other.entry : other.kind === "wait" && one.own === other.own)
  );
}
