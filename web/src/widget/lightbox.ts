/** A picture, large: a modal dialog, so focus stays in it, Escape closes it, and the page behind is out of reach. */
import { el, iconButton, put } from "./dom.js";
import { safePicture } from "./picture.js";
import { fill, type Words } from "./words.js";

export interface Lightbox {
  node: HTMLDialogElement;
  /** @param openers the buttons of all pictures, in order. */
  open(openers: HTMLElement[], opener: HTMLElement): void;
}

export function createLightbox(words: Words): Lightbox {
  let openers: HTMLElement[] = [];
  let index = 0;
  const stage = el("div", { class: "stage" });
  const count = el("span", { class: "count", "aria-live": "polite" });
  const shut = iconButton("close", words.closePicture, () => node.close(), { class: "icon shut" });
  const back = iconButton("back", words.previous, () => show(index - 1), { class: "icon before" });
  const on = iconButton("next", words.next, () => show(index + 1), { class: "icon after" });
  const node = el("dialog", { class: "lightbox", "aria-label": words.picture }, stage, back, on, el("div", { class: "bar" }, count, shut));

  function show(to: number): void {
    index = Math.min(openers.length - 1, Math.max(0, to));
    const { url = "", name = "" } = openers[index]?.dataset ?? {};
    const image = el("img", { src: safePicture(url), alt: name, draggable: "false" });
    image.addEventListener("click", (event) => {
      event.stopPropagation();
      image.classList.toggle("full"); // as large as it is
    });
    put(stage, image);
    back.hidden = on.hidden = count.hidden = openers.length < 2;
    back.disabled = index === 0;
    on.disabled = index === openers.length - 1;
    count.textContent = fill("{a} / {b}", { a: index + 1, b: openers.length });
  }

  stage.addEventListener("click", () => node.close());
  node.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(index + (getComputedStyle(node).direction === "rtl" ? -step : step));
    // Escape is for this dialog alone, not for the chat around it.
    if (event.key === "Escape") event.stopPropagation();
  });
  node.addEventListener("close", () => {
    put(stage);
    openers[index]?.focus();
  });
  return {
    node,
    open(all, opener) {
      openers = all.includes(opener) ? all : [opener];
      show(openers.indexOf(opener));
      node.showModal();
      shut.focus();
    },
  };
}
