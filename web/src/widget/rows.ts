/** One row of the log for each item; a row is made once and changed where its item changed. */
import type { OtherMessage, OwnMessage, ReplyEntry } from "../sdk/index.js";
import { el, icon, put } from "./dom.js";
import { chips, details } from "./facts.js";
import type { Item } from "./items.js";
import type { Markdown } from "./markdown.js";
import { type PictureBox, pictureBox } from "./picture.js";
import { createRating, type Score } from "./rating.js";
import { fill, type Tongue } from "./words.js";
import { createWriter } from "./writer.js";

export interface Actions {
  say(text: string): void;
  retry(id: string): void;
  discard(id: string): void;
  rate(id: string, score: Score, comment?: string): void;
  handoff(): void;
  enlarge(opener: HTMLElement): void;
}

export interface Scene {
  tongue: Tongue;
  markdown: Markdown;
  /** Whether the models' details are shown. */
  details: boolean;
  act: Actions;
}

export interface Row {
  node: HTMLElement;
  update(item: Item): void;
}

export function createRow(item: Item, scene: Scene): Row {
  if (item.kind === "day") return dayRow(item, scene);
  if (item.kind === "wait") return item.own ? replyRow(scene) : otherRow(scene);
  switch (item.entry.kind) {
    case "own":
      return ownRow(scene);
    case "reply":
      return replyRow(scene);
    case "other":
      return item.entry.author === "customer" ? ownRow(scene) : otherRow(scene);
    case "error":
      return errorRow(scene);
    case "state":
      return stateRow(scene);
  }
}

function place(node: HTMLElement, item: Item): void {
  if (item.kind === "day") return;
  node.classList.toggle("first", item.first);
  node.classList.toggle("last", item.last);
}

/** The picture of a row: made once, then kept. */
function pictureSlot(scene: Scene, wide?: number): { node: HTMLElement; update(entry: { picture?: OwnMessage["picture"] }, name: string): PictureBox | null } {
  const node = el("div", { class: "shot", hidden: true });
  let box: PictureBox | null = null;
  return {
    node,
    update({ picture }, name) {
      if (picture && box) box.update(picture);
      else if (picture) {
        box = pictureBox(picture, name, { words: scene.tongue.words, enlarge: scene.act.enlarge }, wide);
        put(node, box.node);
      }
      node.hidden = !box;
      return box;
    },
  };
}

function clock(at: number, tongue: Tongue): HTMLElement {
  return el("time", { datetime: new Date(at).toISOString() }, tongue.time(at));
}

function dayRow(item: Item & { kind: "day" }, { tongue }: Scene): Row {
  const time = el("time", { datetime: new Date(item.at).toISOString().slice(0, 10) });
  const update = (): void => void (time.textContent = tongue.day(item.at, Date.now()));
  return { node: el("div", { class: "day" }, time), update };
}

function ownRow(scene: Scene): Row {
  const { words } = scene.tongue;
  const shot = pictureSlot(scene);
  const text = el("p", { class: "bubble", dir: "auto" });
  const ring = el("progress", { max: "1", "aria-label": words.sending });
  const foot = el("div", { class: "foot" });
  const fail = el("div", { class: "fail", role: "alert" });
  const node = el("div", { class: "row own" }, el("span", { class: "hush" }, `${words.you}:`), shot.node, text, foot, fail);
  return {
    node,
    update(item) {
      if (item.kind !== "entry") return;
      const entry = item.entry as OwnMessage | OtherMessage;
      place(node, item);
      const state = entry.kind === "own" ? entry.state : "sent";
      shot.update(entry, words.picture);
      // Where pictures are not kept, there is at least a word for it.
      const shown = entry.text || (entry.picture ? "" : words.picture);
      text.hidden = !shown;
      if (text.textContent !== shown) text.textContent = shown;
      node.dataset["state"] = state;
      const progress = entry.kind === "own" ? entry.progress : undefined;
      if (state === "uploading" && progress !== undefined) {
        ring.value = progress;
        if (!ring.isConnected) shot.node.append(ring);
      } else ring.remove();
      const label =
        state === "sent" ? words.sent
        : state === "uploading" ? fill(words.uploading, { n: Math.round((progress ?? 0) * 100) })
        : state === "queued" ? words.queuedMessage
        : state === "failed" ? words.failed
        : words.sending;
      const mark = icon(state === "sent" ? "check" : state === "failed" ? "warn" : "clock");
      put(foot, clock(entry.at, scene.tongue), mark, el("span", { class: state === "sent" || state === "failed" ? "hush" : "" }, label));
      if (entry.kind === "own" && state === "failed") {
        const why = entry.error ?? { code: "", text: "", retryable: true };
        put(
          fail,
          el("span", { dir: "auto" }, scene.tongue.failure(why)),
          why.retryable && el("button", { type: "button", class: "chip", onclick: () => scene.act.retry(entry.id) }, icon("retry"), words.retry),
          el("button", { type: "button", class: "chip", onclick: () => scene.act.discard(entry.id) }, icon("bin"), words.discard),
        );
      } else put(fail);
    },
  };
}

function dots(): HTMLElement {
  return el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
}

function replyRow(scene: Scene): Row {
  const { tongue, act } = scene;
  const { words } = tongue;
  let id = "";
  const body = el("div", { class: "md", dir: "auto" });
  const status = el("p", { class: "status" });
  const bubble = el("div", { class: "bubble" }, body, status);
  const shot = pictureSlot(scene, 340);
  const facts = el("div", { class: "facts" });
  const rating = createRating(words, (score, comment) => act.rate(id, score, comment), act.handoff);
  const foot = el("div", { class: "foot" });
  const quick = el("div", { class: "quick", role: "group", "aria-label": words.quickReplies });
  const node = el("div", { class: "row reply" }, el("span", { class: "hush" }, `${words.assistant}:`), bubble, shot.node, facts, el("div", { class: "under" }, foot, rating.node), quick);
  const writer = createWriter(body, scene.markdown);
  let quickShown = "";
  return {
    node,
    update(item) {
      place(node, item);
      if (item.kind === "wait" && item.own) {
        const { stage, position } = item.own;
        id = item.own.id;
        node.setAttribute("aria-busy", "true");
        const text =
          stage === "queued" ? (position ? fill(words.queued, { n: position + 1 }) : words.queuedNext)
          : stage === "answering" ? words.answering
          : words.understanding;
        put(status, dots(), el("span", {}, text));
        status.hidden = false;
        body.hidden = true;
        quick.hidden = facts.hidden = foot.hidden = true;
        return;
      }
      if (item.kind !== "entry") return;
      const entry = item.entry as ReplyEntry;
      id = entry.id;
      const written = entry.text !== "";
      body.hidden = !written;
      // A screen reader hears the answer once, when it is whole.
      node.setAttribute("aria-busy", String(!entry.done));
      bubble.classList.toggle("growing", !entry.done && written);
      bubble.hidden = entry.done && !written && !entry.stopped;
      writer.write(entry.text, entry.done);
      if (!written && !entry.done) put(status, dots(), el("span", {}, words.answering));
      else if (entry.stopped) put(status, words.stopped);
      else put(status);
      status.hidden = status.childNodes.length === 0;
      shot.update(entry, entry.analysis || words.picture);
      facts.hidden = foot.hidden = !entry.done;
      if (entry.done) {
        put(facts, chips(entry, tongue), scene.details && details(entry, tongue));
        put(foot, clock(entry.at, tongue));
      }
      rating.update(entry.rating ?? 0, item.newest && !entry.stopped);
      const offered = item.newest ? entry.quickReplies : [];
      quick.hidden = offered.length === 0;
      if (quickShown !== offered.join("\n")) {
        quickShown = offered.join("\n");
        put(quick, ...offered.map((text) => el("button", { type: "button", class: "chip", dir: "auto", onclick: () => act.say(text) }, text)));
      }
    },
  };
}

function otherRow(scene: Scene): Row {
  const { tongue } = scene;
  const name = el("span", { class: "name" }, tongue.words.person);
  const body = el("div", { class: "md", dir: "auto" });
  const bubble = el("div", { class: "bubble" }, body);
  const shot = pictureSlot(scene, 340);
  const foot = el("div", { class: "foot" });
  const node = el("div", { class: "row reply human" }, name, bubble, shot.node, foot);
  let text: string | undefined;
  return {
    node,
    update(item) {
      place(node, item);
      if (item.kind === "wait") {
        put(body, dots(), el("span", { class: "hush" }, tongue.words.typing));
        return;
      }
      if (item.kind !== "entry" || item.entry.kind !== "other") return;
      const { entry } = item;
      if (text !== entry.text) body.replaceChildren(scene.markdown.render((text = entry.text)));
      bubble.hidden = !entry.text;
      shot.update(entry, tongue.words.picture);
      put(foot, clock(entry.at, tongue));
    },
  };
}

function errorRow(scene: Scene): Row {
  const text = el("span", { dir: "auto" });
  const again = el("div", { class: "quick" });
  const node = el("div", { class: "row reply error" }, el("div", { class: "bubble" }, icon("warn"), text), again);
  return {
    node,
    update(item) {
      place(node, item);
      if (item.kind !== "entry" || item.entry.kind !== "error") return;
      const { id, code } = item.entry;
      text.textContent = scene.tongue.failure(item.entry);
      // The same again would only fail the same way where the message itself is wrong.
      const hopeful = item.newest && !/^(?:bad_|unsupported|image_|too_large|forbidden|not_found|cancelled)/.test(code);
      put(again, hopeful && el("button", { type: "button", class: "chip", onclick: () => scene.act.retry(id) }, icon("retry"), scene.tongue.words.retry));
    },
  };
}

function stateRow(scene: Scene): Row {
  const node = el("div", { class: "note" });
  return {
    node,
    update(item) {
      if (item.kind !== "entry" || item.entry.kind !== "state") return;
      put(node, icon(item.entry.state === "bot" ? "chat" : item.entry.state === "closed" ? "check" : "person"), scene.tongue.words[item.entry.state]);
    },
  };
}
