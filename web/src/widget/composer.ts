/** Where the customer writes: text that grows, pictures waiting to go, a draft that survives a reload. */
import { el, icon, iconButton, kept, put } from "./dom.js";
import { fill, type Words } from "./words.js";

export const MAX_PICTURES = 4;
const MAX_TEXT = 8000;
/** From so many characters before the end on, what is left is shown. */
const WARN_AT = 500;

export interface Outgoing {
  text: string;
  picture?: File;
}

export interface ComposerActions {
  /** One message each; the text goes with the first picture. */
  send(message: Outgoing): void;
  stop(): void;
  typing(on: boolean): void;
  stickers(): void;
}

/** Whether a file can be a picture message. SVG is a document, not a picture. */
export function isPicture(file: File): boolean {
  return /^image\/(?!svg)/i.test(file.type);
}

/** The files of a paste or a drop. */
export function filesOf(transfer: DataTransfer | null): File[] {
  return transfer ? [...transfer.files] : [];
}

export class Composer {
  readonly node: HTMLFormElement;
  readonly field: HTMLTextAreaElement;
  readonly stickerButton: HTMLButtonElement;
  readonly #tray: HTMLElement;
  readonly #note: HTMLElement;
  readonly #send: HTMLButtonElement;
  readonly #stop: HTMLButtonElement;
  #pictures: { file: File; url: string }[] = [];
  #typing = false;
  #answering = false;

  /** @param draftKey where the browser keeps what is written; null: nowhere. */
  constructor(readonly words: Words, readonly act: ComposerActions, readonly draftKey: string | null) {
    const input = (more: Record<string, unknown>): HTMLInputElement => {
      const made = el("input", { type: "file", accept: "image/*", hidden: true, tabindex: "-1", "aria-hidden": "true", ...more });
      made.addEventListener("change", () => {
        this.add([...(made.files ?? [])]);
        made.value = "";
      });
      return made;
    };
    const file = input({ multiple: true, class: "file" });
    const photo = input({ capture: "environment", class: "photo" });
    this.field = el("textarea", { rows: "1", placeholder: words.placeholder, "aria-label": words.write, maxlength: MAX_TEXT, dir: "auto", enterkeyhint: "send", autocomplete: "off" });
    this.field.value = (draftKey && kept.get(draftKey)) || "";
    this.stickerButton = iconButton("smile", words.stickers, () => act.stickers(), { "aria-expanded": "false", class: "icon smile" });
    this.#send = el("button", { type: "submit", class: "icon send", "aria-label": words.send, title: words.send }, icon("send"));
    this.#stop = iconButton("stop", words.stop, () => act.stop(), { class: "icon stop", hidden: true });
    this.#tray = el("ul", { class: "tray", hidden: true });
    this.#note = el("p", { class: "hint", role: "status" });
    this.node = el(
      "form",
      { class: "composer", part: "composer" },
      this.#note,
      el(
        "div",
        { class: "box" },
        this.#tray,
        iconButton("clip", words.attach, () => file.click(), { class: "icon clip" }),
        this.field,
        iconButton("camera", words.camera, () => photo.click(), { class: "icon camera" }),
        this.stickerButton,
        this.#send,
        this.#stop,
      ),
      file,
      photo,
    );
    this.field.addEventListener("input", () => this.#changed());
    this.field.addEventListener("blur", () => this.#quiet());
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word; Safari ends the composition before that key, but says 229.
      if (event.key !== "Enter" || event.shiftKey || event.altKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    });
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.#update();
  }

  /** Puts pictures beside the text; says why of what cannot go. */
  add(files: readonly File[]): void {
    this.note("");
    for (const file of files) {
      if (!isPicture(file)) this.note(fill(this.words.notPicture, { name: file.name }));
      else if (this.#pictures.length >= MAX_PICTURES) this.note(fill(this.words.tooMany, { n: MAX_PICTURES }));
      else this.#pictures.push({ file, url: URL.createObjectURL(file) });
    }
    this.#drawTray();
    this.field.focus();
  }

  note(text: string): void {
    this.#note.textContent = text;
  }

  submit(): void {
    const text = this.field.value.trim();
    if (!text && this.#pictures.length === 0) return;
    const [first, ...others] = this.#pictures;
    this.act.send(first ? { text, picture: first.file } : { text });
    for (const { file } of others) this.act.send({ text: "", picture: file });
    this.dropPictures();
    this.field.value = "";
    this.note("");
    this.#quiet();
    this.#changed();
    this.field.focus();
  }

  /** Frees the previews. */
  dropPictures(): void {
    for (const { url } of this.#pictures) URL.revokeObjectURL(url);
    this.#pictures = [];
    this.#drawTray();
  }

  dispose(): void {
    for (const { url } of this.#pictures) URL.revokeObjectURL(url);
  }

  /** While an answer is on its way and nothing is written, the button stops it. */
  set answering(on: boolean) {
    if (on === this.#answering) return;
    this.#answering = on;
    this.#update();
  }

  set disabled(on: boolean) {
    this.field.disabled = on;
  }

  #changed(): void {
    if (this.draftKey) kept.set(this.draftKey, this.field.value);
    const left = MAX_TEXT - this.field.value.length;
    if (left <= WARN_AT) this.note(fill(this.words.left, { n: left }));
    else if (this.#note.textContent) this.note("");
    // How often to tell, and that it ends after a while, is the chat's to know.
    if (this.field.value) this.act.typing((this.#typing = true));
    else this.#quiet();
    this.#update();
  }

  #quiet(): void {
    if (this.#typing) this.act.typing((this.#typing = false));
  }

  /** As high as the text, up to what the style allows. Also for the owner, when the field came into sight. */
  fit(): void {
    this.field.style.height = "auto";
    if (this.field.scrollHeight > 0) this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #update(): void {
    this.fit();
    const something = this.field.value.trim() !== "" || this.#pictures.length > 0;
    const stopping = this.#answering && !something;
    const hadFocus = (this.node.getRootNode() as ShadowRoot | Document).activeElement === this.#stop;
    this.#send.hidden = stopping;
    this.#stop.hidden = !stopping;
    this.#send.setAttribute("aria-disabled", String(!something));
    this.node.classList.toggle("filled", something);
    if (hadFocus && !stopping) this.field.focus();
  }

  #drawTray(): void {
    put(
      this.#tray,
      ...this.#pictures.map((picture) => {
        const name = picture.file.name || this.words.picture;
        const remove = (): void => {
          URL.revokeObjectURL(picture.url);
          this.#pictures = this.#pictures.filter((one) => one !== picture);
          this.#drawTray();
          this.field.focus();
        };
        const image = el("img", { src: picture.url, alt: name });
        image.addEventListener("error", () => {
          remove();
          this.note(fill(this.words.notPicture, { name }));
        });
        return el("li", {}, image, iconButton("close", fill(this.words.removePicture, { name }), remove));
      }),
    );
    this.#tray.hidden = this.#pictures.length === 0;
    this.#update();
  }
}
