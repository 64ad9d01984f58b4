/** Elements without markup from strings: no innerHTML, no style attribute, so any Content-Security-Policy is content. */

export type Child = Node | string | number | null | undefined | false;

/**
 * Makes an element. Properties that begin with `on` become listeners; `true` an empty attribute; `false`, `null` and
 * `undefined` nothing; the rest attributes.
 */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Record<string, unknown> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value as EventListener);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  put(node, ...children);
  return node;
}

/** Replaces what is in `node`. */
export function put(node: Element, ...children: Child[]): void {
  node.replaceChildren(
    ...children
      .filter((child): child is Node | string | number => child !== null && child !== undefined && child !== false)
      .map((child) => (typeof child === "number" ? String(child) : child)),
  );
}

/** Drawn on a 24 by 24 grid with a line of the text's colour. */
const ICONS = {
  chat: "M21 11.5a8.4 8.4 0 0 1-8.5 8.2 8.7 8.7 0 0 1-3.6-.8L3.5 20.5l1.4-4.7A8 8 0 0 1 4 11.5a8.4 8.4 0 0 1 8.5-8.2 8.4 8.4 0 0 1 8.5 8.2z",
  close: "M6 6l12 12M18 6L6 18",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  clip: "M12 5v14M5 12h14",
  camera: "M4 8h3l2-3h6l2 3h3a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z",
  smile: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.5 14.5a4.5 4.5 0 0 0 7 0M9 9.5v.01M15 9.5v.01",
  more: "M5 12v.01M12 12v.01M19 12v.01",
  pen: "M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19l-4 1zM14.5 6.5l3 3",
  person: "M4 13v-1a8 8 0 0 1 16 0v1M4 13h2.5v5H5a1 1 0 0 1-1-1v-4zm16 0h-2.5v5H19a1 1 0 0 0 1-1v-4zm-1 5c0 2-2 3-5 3",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5H4zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  gauge: "M5 20V10M12 20V4M19 20v-7",
  down: "M12 5v14M6 13l6 6 6-6",
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  check: "M5 12.5l4.5 4.5L19 7.5",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7.5V12l3 2",
  warn: "M12 8.5v4.5M12 16.5v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  retry: "M20 11a8 8 0 1 0-2.5 6.5M20 5v6h-6",
  bin: "M5 7h14M10 4h4M7 7l1 13h8l1-13",
  star: "M12 4l2.5 5.2 5.6.8-4 4 .9 5.7L12 17l-5 2.7.9-5.7-4-4 5.6-.8z",
  picture: "M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1zM4 17l4.5-4.5L12 16l3.5-4 4.5 5M9 9v.01",
} as const;

export type IconName = keyof typeof ICONS;
const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows an icon only; its label is its name and its tooltip. */
export function iconButton(
  name: IconName,
  label: string,
  onclick: (event: MouseEvent) => void,
  props: Record<string, unknown> = {},
): HTMLButtonElement {
  return el("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

/** Reads and writes what the browser keeps, where it lets us (private windows and sandboxes may not). */
export const kept = {
  get(key: string): string | null {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key: string, value: string | null): void {
    try {
      if (value === null || value === "") localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {
      // This visit only, then.
    }
  },
};
