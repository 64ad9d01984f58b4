/** The menu behind the three dots: what one rarely needs, and two switches. */
import { el, icon, iconButton, type IconName } from "./dom.js";
import type { Words } from "./words.js";

export interface MenuActions {
  handoff(): void;
  fresh(): void;
  details(on: boolean): void;
  sound(on: boolean): void;
}

export interface Menu {
  button: HTMLButtonElement;
  node: HTMLElement;
  toggle(open?: boolean): void;
  /** Whether a person can be asked for. */
  setHandoff(possible: boolean): void;
}

export function createMenu(words: Words, state: { details: boolean; sound: boolean }, act: MenuActions): Menu {
  const entry = (name: IconName, text: string, onclick: () => void): HTMLButtonElement =>
    el("button", { type: "button", class: "entry", onclick: () => (toggle(false), onclick()) }, icon(name), el("span", {}, text));
  const flip = (name: IconName, text: string, on: boolean, change: (on: boolean) => void): HTMLButtonElement => {
    const made = el(
      "button",
      {
        type: "button",
        class: "entry",
        role: "switch",
        "aria-checked": String(on),
        onclick: () => {
          const next = made.getAttribute("aria-checked") !== "true";
          made.setAttribute("aria-checked", String(next));
          change(next);
        },
      },
      icon(name),
      el("span", {}, text),
      el("i", { class: "knob", "aria-hidden": "true" }),
    );
    return made;
  };
  const person = entry("person", words.handoff, act.handoff);
  const node = el(
    "div",
    { class: "menu", role: "group", "aria-label": words.menu, hidden: true },
    person,
    entry("pen", words.fresh, act.fresh),
    el("hr"),
    flip("gauge", words.details, state.details, act.details),
    flip("sound", words.sound, state.sound, act.sound),
  );
  const button = iconButton("more", words.menu, () => toggle(), { "aria-expanded": "false", "aria-haspopup": "true" });

  function toggle(open = node.hidden): void {
    if (open === !node.hidden) return;
    node.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    if (open) node.querySelector<HTMLElement>("button:not([hidden])")?.focus();
  }
  node.addEventListener("keydown", (event) => {
    const all = [...node.querySelectorAll<HTMLElement>("button:not([hidden])")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      all.at((all.indexOf(event.target as HTMLElement) + step) % all.length)?.focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      toggle(false);
      button.focus();
    }
  });
  return { button, node, toggle, setHandoff: (possible) => void (person.hidden = !possible) };
}
