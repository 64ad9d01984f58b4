/** The demo page: the chat, a few things to ask it, and how to have it on another page. */
import "../widget/index.js";
import { el, kept, put } from "../widget/dom.js";
import { languageOf } from "../widget/words.js";
import { PAGE_WORDS, type PageWords } from "./words.js";

const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const asked = new URLSearchParams(location.search);
let locale = asked.get("lang") ?? kept.get("csgate.page.locale") ?? navigator.language;
let theme = (asked.get("theme") ?? kept.get("csgate.page.theme") ?? "auto") as Theme;
if (!THEMES.includes(theme)) theme = "auto";

const chat = document.querySelector("csgate-chat");
const find = <T extends Element>(selector: string): T => {
  const node = document.querySelector<T>(selector);
  if (!node) throw new Error(`the page has no ${selector}`);
  return node;
};

function draw(): void {
  const language = languageOf(locale);
  const words: PageWords = PAGE_WORDS[language];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset["theme"] = theme;
  document.title = `csgate · ${words.headline}`;
  for (const node of document.querySelectorAll<HTMLElement>("[data-say]")) node.textContent = words[node.dataset["say"] as keyof PageWords];
  for (const node of document.querySelectorAll<HTMLElement>("[data-label]")) node.ariaLabel = words[node.dataset["label"] as keyof PageWords];
  for (const node of document.querySelectorAll<HTMLElement>("[data-locale]")) {
    node.setAttribute("aria-pressed", String(languageOf(node.dataset["locale"] ?? "") === language));
  }
  const label = words[`theme${theme.charAt(0).toUpperCase()}${theme.slice(1)}` as keyof PageWords];
  const button = find<HTMLElement>("#theme");
  button.ariaLabel = button.title = label;
  put(
    find("#prompts"),
    ...words.prompts.split("|").map((text) =>
      el("li", {}, el("button", { type: "button", lang: languageOf(/[\u4e00-\u9fff]/.test(text) ? "zh" : "en"), onclick: () => ask(text) }, text)),
    ),
  );
  chat?.setAttribute("locale", locale);
  chat?.setAttribute("theme", theme);
}

function ask(text: string): void {
  void chat?.chat.send({ text }).catch(() => {});
  if (matchMedia("(max-width: 959px)").matches) find<HTMLElement>("#chat").scrollIntoView({ block: "nearest" });
}

for (const node of document.querySelectorAll<HTMLElement>("[data-locale]")) {
  node.addEventListener("click", () => {
    locale = node.dataset["locale"] ?? "en";
    kept.set("csgate.page.locale", locale);
    draw();
  });
}
find("#theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "auto";
  kept.set("csgate.page.theme", theme);
  draw();
});

// The address of this very gateway, as another page would name it.
const home = new URL(".", location.href).href.replace(/\/$/, "");
const snippet = `<script async src="${home}/csgate.js">\n</script>\n<csgate-chat></csgate-chat>`;
find("#code").textContent = snippet;
find("#copy").addEventListener("click", (event) => {
  const button = event.currentTarget as HTMLElement;
  const words = PAGE_WORDS[languageOf(locale)];
  void navigator.clipboard?.writeText(snippet).then(() => {
    button.textContent = words.copied;
    setTimeout(() => (button.textContent = PAGE_WORDS[languageOf(locale)].copy), 1600);
  });
});
draw();
