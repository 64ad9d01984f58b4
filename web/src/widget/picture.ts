/** A picture in the log: a box of its final size from the start, the picture coming into focus when it is there. */
import type { PictureView } from "../sdk/index.js";
import { sniff } from "../sdk/sniff.js";
import { el, icon } from "./dom.js";
import { fill, type Words } from "./words.js";

const MAX_WIDTH = 260;
const MAX_HEIGHT = 300;
/** Where nobody said how large it is; what answers show are cards, about as high as wide. */
const UNKNOWN = { width: 240, height: 180 };
const UNKNOWN_CARD = { width: 320, height: 303 };
/** A picture this small is a sticker: shown without a frame. */
const STICKER = 160;
const STICKER_SHOWN = 112;

export interface Pictures {
  words: Words;
  /** Shows it large. */
  enlarge(opener: HTMLElement): void;
}

export interface PictureBox {
  node: HTMLButtonElement;
  /** The same picture may get another address: what is on the screen stays, what is enlarged is the newest. */
  update(view: PictureView): void;
}

/** How large a picture is, as its address says (`#800x600`), or the first bytes of a `data:` one: its box can be made before it is there. */
export function sizeOf(address: string): { width: number; height: number } | undefined {
  const told = /#(\d{1,5})x(\d{1,5})$/.exec(address);
  if (told && +told[1]! && +told[2]!) return { width: +told[1]!, height: +told[2]! };
  const start = /^data:image\/[a-z]+;base64,((?:[A-Za-z\d+/]{4}){8,9999})/.exec(address)?.[1];
  const found = start && sniff(Uint8Array.from(atob(start), (letter) => letter.charCodeAt(0)));
  return found && found.width && found.height ? found : undefined;
}

/** Width and height in CSS pixels of the box in which a picture is shown. */
export function boxOf(view: PictureView, wide = MAX_WIDTH): { width: number; height: number; sticker: boolean; known: boolean } {
  const size = view.width && view.height ? { width: view.width, height: view.height } : sizeOf(view.url);
  if (!size) return { ...(wide > MAX_WIDTH ? UNKNOWN_CARD : UNKNOWN), sticker: false, known: false };
  const sticker = Math.max(size.width, size.height) <= STICKER;
  const scale = sticker
    ? STICKER_SHOWN / Math.max(size.width, size.height)
    : Math.min(wide / size.width, MAX_HEIGHT / size.height, Math.max(1, 160 / size.width));
  // A very long or very flat picture is cropped to something that can be looked at; enlarged it is whole.
  const width = Math.round(Math.max(sticker ? 48 : 96, size.width * scale));
  const height = Math.round(Math.max(sticker ? 48 : 64, size.height * scale));
  return { width, height, sticker, known: true };
}

/** Only what can hold a picture: never `javascript:` or a document. */
export function safePicture(url: string): string | undefined {
  return /^(?:https?:|blob:|data:image\/(?:png|jpeg|gif|webp)[;,])/i.test(url) ? url : undefined;
}

export function pictureBox(view: PictureView, name: string, pictures: Pictures, wide?: number): PictureBox {
  const image = el("img", { alt: "", decoding: "async", draggable: "false" });
  const node = el(
    "button",
    {
      type: "button",
      class: "pic wait",
      "aria-label": fill(pictures.words.enlarge, { name }),
      onclick: () => pictures.enlarge(node),
    },
    image,
  );
  let known = false;
  const fit = (size: PictureView): void => {
    if (known) return;
    const box = boxOf(size, wide);
    known = box.known;
    node.style.width = `${box.width}px`;
    node.style.aspectRatio = `${box.width} / ${box.height}`;
    node.classList.toggle("sticker", box.sticker);
    node.classList.toggle("unknown", !known);
  };
  const shown = (): void => {
    node.classList.remove("wait");
    // One's own picture is measured as soon as it is chosen; others keep their box, so that nothing moves.
    if (image.src.startsWith("blob:") && image.naturalWidth) fit({ url: "", width: image.naturalWidth, height: image.naturalHeight });
  };
  image.addEventListener("load", shown);
  image.addEventListener("error", () => {
    // The object URL of a sent picture may be gone while its lasting address is known.
    const newest = node.dataset["url"];
    if (newest && newest !== image.src) image.src = newest;
    else {
      node.classList.add("broken");
      shown();
      node.replaceChildren(icon("picture"), pictures.words.broken);
    }
  });
  const update = (next: PictureView): void => {
    const url = safePicture(next.url);
    if (!url) return;
    fit(next);
    node.dataset["url"] = url;
    node.dataset["name"] = name;
    if (!image.src) {
      image.src = url;
      // Small ones come decoded before the next frame: those need no fading in.
      if (/^(?:data|blob):/.test(url)) shown();
    }
  };
  update(view);
  return { node, update };
}
