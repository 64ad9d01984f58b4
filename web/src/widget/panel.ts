/** The chat itself, in one language: header, log, composer and what opens over them. */
import type { Chat, Snapshot } from "../sdk/index.js";
import { createBanner } from "./banner.js";
import { Composer, filesOf, type Outgoing } from "./composer.js";
import { el, icon, iconButton, kept, put } from "./dom.js";
import { answering, incoming } from "./items.js";
import { createLightbox } from "./lightbox.js";
import { Log } from "./log.js";
import { createMarkdown } from "./markdown.js";
import { createMenu } from "./menu.js";
import type { Scene } from "./rows.js";
import { blip } from "./sound.js";
import { createStickerPicker, drawSticker } from "./stickers.js";
import type { Tongue } from "./words.js";

/** What the widget needs of a {@link Chat}. */
export type ChatLike = Pick<
  Chat,
  "snapshot" | "subscribe" | "start" | "close" | "send" | "retry" | "discard" | "cancel" | "rate" | "handoff" | "typing" | "reset"
>;

export interface PanelOptions {
  tongue: Tongue;
  chat: ChatLike;
  title: string;
  greeting: string;
  about: string;
  suggestions: readonly string[];
  /** Prefix of what the browser keeps; null: nothing. */
  storage: string | null;
  /** Origins of the gateways. */
  origins: () => readonly string[];
  /** Closes the panel; null where it cannot be closed. */
  close: (() => void) | null;
}

export class Panel {
  readonly node: HTMLElement;
  readonly dialogs: readonly HTMLElement[];
  readonly composer: Composer;
  readonly log: Log;
  readonly #status: HTMLElement;
  readonly #mark: HTMLElement;
  readonly #scene: Scene;
  readonly #parts: readonly { dispose(): void }[];
  readonly #update: ((snapshot: Snapshot) => void)[] = [];
  #heard: number | undefined;
  #sound: boolean;

  constructor(readonly options: PanelOptions) {
    const { tongue, chat, storage } = options;
    const { words } = tongue;
    const flag = (name: string): boolean => storage !== null && kept.get(`${storage}.${name}`) === "1";
    const setFlag = (name: string, on: boolean): void => void (storage !== null && kept.set(`${storage}.${name}`, on ? "1" : null));
    this.#sound = flag("sound");

    const lightbox = createLightbox(words);
    this.#scene = {
      tongue,
      markdown: createMarkdown(options.origins),
      details: flag("details"),
      act: {
        say: (text) => this.say({ text }),
        retry: (id) => chat.retry(id),
        discard: (id) => chat.discard(id),
        rate: (id, score, comment) => chat.rate(id, score, comment),
        handoff: () => chat.handoff(),
        enlarge: (opener) => lightbox.open(this.log.pictures, opener),
      },
    };

    this.log = new Log(this.#scene, this.#welcome());
    const banner = createBanner(tongue, () => chat.start());
    const fresh = this.#askFresh();
    const menu = createMenu(words, { details: this.#scene.details, sound: this.#sound }, {
      handoff: () => chat.handoff(),
      fresh: () => fresh.showModal(),
      details: (on) => {
        setFlag("details", on);
        this.#scene.details = on;
        this.log.refresh();
      },
      sound: (on) => {
        setFlag("sound", on);
        this.#sound = on;
        if (on) blip();
      },
    });
    const picker = createStickerPicker(
      words,
      tongue.language,
      (sticker) =>
        void drawSticker(sticker.emoji).then(
          (picture) => this.say({ text: "", picture: new File([picture], "sticker", { type: picture.type }) }),
          () => this.say({ text: sticker.emoji }),
        ),
      (open) => {
        this.composer.stickerButton.setAttribute("aria-expanded", String(open));
        if (!open) this.composer.stickerButton.focus();
      },
    );
    this.composer = new Composer(
      words,
      {
        send: (message) => this.say(message),
        stop: () => {
          const id = answering(chat.snapshot.entries);
          if (id !== undefined) chat.cancel(id);
        },
        typing: (on) => chat.typing(on),
        stickers: () => picker.toggle(),
      },
      storage === null ? null : `${storage}.draft`,
    );

    this.#status = el("span", {}, words.connecting);
    this.#mark = el("span", { class: "mark", "aria-hidden": "true" }, icon("chat"));
    const drop = el("div", { class: "drop", hidden: true, "aria-hidden": "true" }, icon("picture"), words.drop);
    this.node = el(
      "section",
      { class: "panel", part: "panel", "aria-label": options.title },
      el(
        "div",
        { class: "head", part: "header" },
        this.#mark,
        el("div", { class: "who" }, el("h2", {}, el("bdi", {}, options.title)), el("p", { class: "status", role: "status" }, el("i", { class: "dot", "aria-hidden": "true" }), this.#status)),
        menu.button,
        options.close && iconButton("close", words.close, options.close, { class: "icon shut" }),
        menu.node,
      ),
      el("div", { class: "middle" }, this.log.node, banner.node, this.log.pill, picker.node),
      this.composer.node,
      drop,
    );
    this.dialogs = [lightbox.node, fresh];
    this.#parts = [banner, this.composer, this.log];
    this.#update.push(
      (snapshot) => banner.update(snapshot),
      (snapshot) => menu.setHandoff(snapshot.state === "bot"),
    );
    this.#takeFiles(drop);
    // What is open closes when something else is used.
    this.node.addEventListener("pointerdown", (event) => {
      const path = event.composedPath();
      if (!path.includes(menu.node) && !path.includes(menu.button)) menu.toggle(false);
      if (picker.isOpen && !path.includes(picker.node) && !path.includes(this.composer.stickerButton)) picker.toggle(false);
    });
  }

  /** Sends a message; what cannot even be kept goes back to where it was written. */
  say(message: Outgoing): void {
    const { chat, tongue } = this.options;
    chat.send({ ...(message.text ? { text: message.text } : {}), ...(message.picture ? { picture: message.picture } : {}) }).catch((error: unknown) => {
      const { code = "", text = "", message: why = "" } = error as { code?: string; text?: string; message?: string };
      if (message.text && !this.composer.field.value) this.composer.field.value = message.text;
      this.composer.fit();
      this.composer.note(tongue.failure({ code, text: text || why }));
    });
  }

  render(snapshot: Snapshot): void {
    const { words } = this.options.tongue;
    this.log.render(snapshot);
    this.composer.answering = answering(snapshot.entries) !== undefined;
    const online = snapshot.connection === "online";
    const text =
      snapshot.connection === "refused" ? words.refused
      : !online ? words.connecting
      : snapshot.typing ? words.typing
      : snapshot.state === "human" ? words.withPerson
      : snapshot.state === "waiting" ? words.waiting
      : words.online;
    if (this.#status.textContent !== text) this.#status.textContent = text;
    this.node.dataset["connection"] = snapshot.connection;
    if (this.node.dataset["state"] !== snapshot.state) {
      this.node.dataset["state"] = snapshot.state;
      put(this.#mark, icon(snapshot.state === "human" || snapshot.state === "waiting" ? "person" : "chat"));
    }
    for (const update of this.#update) update(snapshot);
    const heard = incoming(snapshot.entries).length;
    if (this.#sound && this.#heard !== undefined && heard > this.#heard) blip();
    // What the browser remembers from last time comes with the first snapshots and is no news.
    if (online || this.#heard !== undefined) this.#heard = heard;
  }

  dispose(): void {
    for (const part of this.#parts) part.dispose();
    this.node.remove();
    for (const dialog of this.dialogs) dialog.remove();
  }

  #welcome(): HTMLElement {
    const { greeting, about, suggestions, tongue } = this.options;
    return el(
      "div",
      { class: "welcome" },
      el("span", { class: "mark", "aria-hidden": "true" }, icon("chat")),
      el("h3", { dir: "auto" }, greeting),
      el("p", { dir: "auto" }, about),
      el(
        "div",
        { class: "quick", role: "group", "aria-label": tongue.words.quickReplies },
        ...suggestions.map((text) => el("button", { type: "button", class: "chip", dir: "auto", onclick: () => (this.say({ text }), this.composer.field.focus()) }, text)),
      ),
    );
  }

  #askFresh(): HTMLDialogElement {
    const { words } = this.options.tongue;
    const dialog = el("dialog", { class: "confirm", "aria-label": words.fresh });
    put(
      dialog,
      el("p", {}, words.freshAsk),
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, words.cancel),
        el(
          "button",
          {
            type: "button",
            class: "solid",
            onclick: () => {
              dialog.close();
              this.composer.dropPictures();
              this.options.chat.reset().catch(() => {}); // said by the banner
              this.composer.field.focus();
            },
          },
          words.freshYes,
        ),
      ),
    );
    dialog.addEventListener("keydown", (event) => event.key === "Escape" && event.stopPropagation());
    return dialog;
  }

  /** Pictures that are pasted, or dropped anywhere on the chat. */
  #takeFiles(drop: HTMLElement): void {
    const { node, composer } = this;
    node.addEventListener("paste", (event) => {
      const files = filesOf(event.clipboardData);
      // Copied text may bring a picture of itself (from spreadsheets): then the text is meant.
      if (!files.length || event.clipboardData?.types.includes("text/plain")) return;
      event.preventDefault();
      composer.add(files);
    });
    const carriesFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    node.addEventListener("dragover", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      drop.hidden = false;
    });
    node.addEventListener("dragleave", (event) => {
      if (!node.contains(event.relatedTarget as Node | null)) drop.hidden = true;
    });
    node.addEventListener("drop", (event) => {
      drop.hidden = true;
      if (!carriesFiles(event)) return;
      event.preventDefault();
      composer.add(filesOf(event.dataTransfer));
    });
  }
}
