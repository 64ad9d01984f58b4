/** `<csgate-chat>`: a chat in a corner of somebody's page, or as a part of it. */
import { Chat, type ChatOptions, type Snapshot } from "../sdk/index.js";
import { home, parseAddress } from "../sdk/address.js";
import { el, icon, kept, put } from "./dom.js";
import { incoming, keyOf } from "./items.js";
import { type ChatLike, Panel } from "./panel.js";
import css from "./style.css?inline";
import { fill, Tongue } from "./words.js";

/** As small as a phone: the open chat takes the whole of it. */
const PHONE = "(max-width: 480px), (max-height: 480px)";

let sheet: CSSStyleSheet | undefined;

export class CsgateChat extends HTMLElement {
  static readonly observedAttributes = ["server", "locale", "theme", "mode", "title", "greeting", "about", "suggestions", "storage", "open"];

  /** Gives the token of whoever is signed in; without it the visitor is a guest. Set it before the element is connected. */
  tokenCallback: (() => Promise<string> | string) | null = (this as Partial<CsgateChat>).tokenCallback ?? null; // set before this script came

  readonly #root = this.attachShadow({ mode: "open" });
  readonly #frame = el("div", { class: "frame" });
  readonly #badge = el("span", { class: "badge", hidden: true, "aria-hidden": "true" });
  readonly #dark = matchMedia("(prefers-color-scheme: dark)");
  readonly #phone = matchMedia(PHONE);
  #launcher: HTMLButtonElement | undefined;
  #panel: Panel | undefined;
  #chat: ChatLike | undefined;
  #unsubscribe: (() => void) | undefined;
  #stop: AbortController | undefined;
  #title = "";
  #unread = 0;
  /** What was told of; null while nothing was there. */
  #told: Set<string> | null = null;
  #due = false;
  #started = false;

  constructor() {
    super();
    if (!sheet) {
      (sheet = new CSSStyleSheet()).replaceSync(css);
      // Some systems' text fonts have emoji of their own, black and white; digits are not to come from an emoji font.
      document.fonts?.add(new FontFace("csgate-emoji", 'local("Noto Color Emoji")', { unicodeRange: "U+1F000-1FAFF,U+2600-27BF,U+FE0F,U+200D" }));
    }
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(this.#frame);
  }

  // --- What a page may use -------------------------------------------------------------------------------------------

  /** The conversation behind it. Another one may be set before the element is connected. */
  get chat(): ChatLike {
    return (this.#chat ??= new Chat(this.#options()));
  }
  set chat(chat: ChatLike) {
    this.#drop();
    this.#chat = chat;
    if (this.isConnected) this.#build();
  }

  get isOpen(): boolean {
    return this.#inline || this.hasAttribute("open");
  }
  /** Opens the panel; no effect where it is a part of the page. */
  show(): void {
    this.setAttribute("open", "");
  }
  hide(): void {
    this.removeAttribute("open");
  }
  /** Answers that nobody has seen yet. */
  get unread(): number {
    return this.#unread;
  }

  // --- Life ----------------------------------------------------------------------------------------------------------

  connectedCallback(): void {
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#dark.addEventListener("change", () => this.#paint(), { signal });
    this.#phone.addEventListener("change", () => this.#arrange(), { signal });
    document.addEventListener("visibilitychange", () => this.#count(), { signal });
    for (const event of ["resize", "scroll"]) window.visualViewport?.addEventListener(event, () => this.#arrange(), { signal });
    this.addEventListener("keydown", (event) => this.#keydown(event), { signal });
    this.#build();
  }

  disconnectedCallback(): void {
    this.#stop?.abort();
    // Moving the element within the page takes it out for a moment only.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#panel?.dispose();
      this.#panel = undefined;
      this.#drop();
    });
  }

  #drop(): void {
    this.#unsubscribe?.();
    void this.#chat?.close();
    this.#chat = undefined;
    this.#started = false;
    this.#told = null;
  }

  attributeChangedCallback(name: string, before: string | null, value: string | null): void {
    if (before === value) return;
    if (name === "title") {
      if (value === null) return;
      // Kept, but not left there: it would be a tooltip over the whole chat.
      this.#title = value;
      this.removeAttribute("title");
    }
    if (!this.isConnected) return;
    if (name === "theme") this.#paint();
    else if (name === "open") this.#opened(value !== null);
    else {
      if (name === "server" || name === "storage") this.#drop();
      this.#rebuildSoon();
    }
  }

  get #inline(): boolean {
    const mode = this.getAttribute("mode");
    return mode === "page" || mode === "inline";
  }
  get #storage(): string | null {
    const name = this.getAttribute("storage") ?? "csgate";
    return name === "none" ? null : name;
  }
  get #locale(): string {
    return this.getAttribute("locale") || document.documentElement.lang || navigator.language || "en";
  }
  get #urls(): string[] {
    const servers = (this.getAttribute("server") ?? "").split(/[\s,]+/).filter(Boolean);
    return servers.map((server) => (/^[\w.-]+:\d/.test(server) ? server : new URL(server, document.baseURI).href));
  }

  #options(): ChatOptions {
    const urls = this.#urls;
    const token = this.tokenCallback;
    return { storage: this.#storage, locale: this.#locale, ...(urls.length ? { urls } : {}), ...(token ? { token } : {}) };
  }

  #rebuildSoon(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (this.isConnected) this.#build();
    });
  }

  #build(): void {
    const tongue = new Tongue(this.#locale);
    const { words } = tongue;
    const { chat } = this;
    this.#unsubscribe?.();
    this.#panel?.dispose();
    this.#frame.lang = tongue.tag;
    const inline = this.#inline;
    this.#panel = new Panel({
      tongue,
      chat,
      title: this.#title || words.title,
      greeting: this.getAttribute("greeting") || words.greeting,
      about: this.getAttribute("about") ?? words.about,
      suggestions: (this.getAttribute("suggestions") ?? words.suggestions).split("|").filter(Boolean),
      storage: this.#storage,
      origins: () => (this.#urls.length ? this.#urls : [home ?? location.href]).map((url) => parseAddress(url)?.origin ?? ""),
      close: inline ? null : () => this.hide(),
    });
    this.#launcher = inline ? undefined : el("button", { type: "button", class: "launcher", part: "launcher", "aria-expanded": "false", onclick: () => (this.isOpen ? this.hide() : this.show()) });
    put(this.#frame, this.#panel.node, this.#launcher, ...this.#panel.dialogs);
    if (this.#launcher) put(this.#launcher, icon("chat"), icon("close"), this.#badge);
    this.#paint();
    this.#arrange();
    this.#unsubscribe = chat.subscribe((snapshot) => this.#render(snapshot));
    if (this.isOpen || (this.#storage !== null && kept.get(`${this.#storage}.used`))) this.#start();
    this.#render(chat.snapshot);
    this.#panel.composer.fit();
    this.#panel.log.toEnd();
  }

  /** A page that nobody chats on asks nothing of the gateway. */
  #start(): void {
    if (this.#started) return;
    this.#started = true;
    this.chat.start();
  }

  #render(snapshot: Snapshot): void {
    this.#panel?.render(snapshot);
    if (snapshot.entries.length && this.#storage !== null && !kept.get(`${this.#storage}.used`)) kept.set(`${this.#storage}.used`, "1");
    const told = this.#told;
    this.#told = snapshot.entries.length ? new Set() : null;
    for (const entry of incoming(snapshot.entries)) {
      const key = keyOf(entry);
      this.#told?.add(key);
      // What comes into an empty chat was said earlier.
      if (told && !told.has(key)) this.dispatchEvent(new CustomEvent("csgate-message", { detail: entry, bubbles: true, composed: true }));
    }
    this.#count();
  }

  /** Counts what is unread: answers with an offset above the last one that was on an open, visible screen. */
  #count(): void {
    const snapshot = this.#chat?.snapshot;
    if (!snapshot || !this.#panel) return;
    const key = this.#storage === null ? null : `${this.#storage}.seen`;
    const [conversation, seen] = ((key && kept.get(key)) || this.#seen).split(" ");
    const known = conversation === snapshot.conversation ? Number(seen) : 0;
    const offsets = incoming(snapshot.entries).map((entry) => ("offset" in entry ? (entry.offset ?? 0) : 0));
    const visible = this.isOpen && document.visibilityState === "visible" && this.#panel.log.pinned;
    const last = Math.max(known, ...offsets);
    if (visible && snapshot.conversation && (last > known || conversation !== snapshot.conversation)) {
      this.#seen = `${snapshot.conversation} ${last}`;
      if (key) kept.set(key, this.#seen);
    }
    const unread = visible ? 0 : offsets.filter((offset) => offset > known).length;
    const { words } = new Tongue(this.#locale);
    this.#badge.textContent = unread > 9 ? "9+" : String(unread);
    this.#badge.hidden = unread === 0 || this.isOpen;
    this.#launcher?.setAttribute("aria-label", this.isOpen ? words.close : unread ? fill(words.openUnread, { n: unread }) : words.open);
    if (unread === this.#unread) return;
    this.#unread = unread;
    this.dispatchEvent(new CustomEvent("csgate-unread", { detail: { count: unread }, bubbles: true, composed: true }));
  }
  #seen = "";

  #opened(open: boolean): void {
    if (open) this.#start();
    this.#arrange();
    this.#panel?.composer.fit();
    this.#panel?.log.toEnd();
    this.#count();
    if (open && matchMedia("(hover: hover)").matches) this.#panel?.composer.field.focus();
    else if (open) this.#panel?.node.focus();
    else if (!this.#inline) this.#launcher?.focus();
    this.dispatchEvent(new CustomEvent(open ? "csgate-open" : "csgate-close", { bubbles: true, composed: true }));
  }

  // --- Looks ---------------------------------------------------------------------------------------------------------

  #paint(): void {
    const theme = this.getAttribute("theme");
    this.#frame.classList.toggle("dark", theme === "dark" || (theme !== "light" && this.#dark.matches));
  }

  #arrange(): void {
    const full = !this.#inline && this.#phone.matches;
    const { classList, style } = this.#frame;
    classList.toggle("inline", this.#inline);
    classList.toggle("floating", !this.#inline);
    classList.toggle("full", full);
    classList.toggle("open", this.isOpen);
    // The keyboard of a phone covers the page without making it smaller; what is left is the visual viewport.
    const view = full ? window.visualViewport : null;
    style.setProperty("--top", view ? `${view.offsetTop}px` : "0px");
    style.setProperty("--tall", view ? `${view.height}px` : "100dvh");
    const node = this.#panel?.node;
    if (!node) return;
    this.#launcher?.setAttribute("aria-expanded", String(this.isOpen));
    if (this.#inline) node.setAttribute("role", "region");
    else {
      node.setAttribute("role", "dialog");
      node.setAttribute("tabindex", "-1");
      node.setAttribute("aria-modal", String(full));
      node.inert = !this.isOpen;
    }
  }

  #keydown(event: KeyboardEvent): void {
    if (this.#inline || !this.isOpen || event.defaultPrevented) return;
    if (event.key === "Escape" && !event.isComposing) {
      this.hide();
      return;
    }
    if (event.key !== "Tab" || !this.#phone.matches || !this.#panel) return;
    // It covers the page: the page is not to be reached behind it.
    const all = [...this.#panel.node.querySelectorAll<HTMLElement>("button, textarea, input, a[href], [tabindex='0']")].filter(
      (one) => one.tabIndex >= 0 && one.offsetParent !== null,
    );
    const edge = event.shiftKey ? all[0] : all.at(-1);
    if (this.#root.activeElement !== edge) return;
    event.preventDefault();
    (event.shiftKey ? all.at(-1) : all[0])?.focus();
  }
}
