// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Entry } from "../../src/sdk/index.js";
import type { CsgateChat } from "../../src/widget/element.js";
import "../../src/widget/index.js";
import { LANGUAGES } from "../../src/widget/words.js";
import { entries, type FakeChat, fakeChat, media, NOON, own, prepareBrowser, reply } from "./setup.js";

const words = LANGUAGES.en;
let chat: FakeChat;
let element: CsgateChat;

function open(attributes: Record<string, string> = { mode: "page" }): void {
  element = document.createElement("csgate-chat");
  for (const [name, value] of Object.entries({ locale: "en", ...attributes })) element.setAttribute(name, value);
  element.chat = chat;
  document.body.append(element);
}
const all = <T extends HTMLElement>(selector: string): T[] => [...(element.shadowRoot?.querySelectorAll<T>(selector) ?? [])];
const one = <T extends HTMLElement>(selector: string): T => {
  const [found] = all<T>(selector);
  if (!found) throw new Error(`nothing is ${selector}`);
  return found;
};
const button = (name: string, within = ""): HTMLElement => {
  const found = all(`${within} button`).find((candidate) => candidate.getAttribute("aria-label") === name || candidate.textContent === name);
  if (!found) throw new Error(`no button is named ${name}`);
  return found;
};
const seen = (node: HTMLElement): boolean => !node.closest("[hidden]");

beforeEach(() => {
  prepareBrowser();
  localStorage.clear();
  vi.useFakeTimers({ now: NOON + 60_000, toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "requestAnimationFrame", "cancelAnimationFrame", "Date", "performance"] });
  chat = fakeChat();
});
afterEach(() => {
  element.remove();
  vi.useRealTimers();
});

describe("a conversation", () => {
  it("begins with a greeting and things to ask", () => {
    open({ mode: "page", greeting: "Hi <b>there</b>", suggestions: "One|Two" });
    expect(one(".welcome h3").textContent).toBe("Hi <b>there</b>");
    expect(all(".welcome .chip").map((chip) => chip.textContent)).toEqual(["One", "Two"]);
    button("Two").click();
    expect(chat.calls).toContainEqual(["send", { text: "Two" }]);
    chat.set(entries(own("1")));
    expect(seen(one(".welcome"))).toBe(false);
  });

  it("shows messages as text and answers as Markdown, with their authors named", () => {
    open();
    chat.set(entries(own("1", { text: "**not** <img src=x>" }), reply("1", { text: "**yes** <img src=x onerror=alert(1)>" })));
    expect(one(".own .bubble").textContent).toBe("**not** <img src=x>");
    expect(one(".reply .md").innerHTML).toContain("<strong>yes</strong> &lt;img");
    expect(all(".row .hush").map((node) => node.textContent)).toContain("You:");
    expect(one("[role=log]").getAttribute("aria-live")).toBe("polite");
    for (const node of all(".bubble, .md")) expect(node.closest("[dir=auto]") ?? node.querySelector("[dir=auto]")).not.toBeNull();
  });

  it("turns the dots into the answer, grows it, and tells screen readers when it is whole", () => {
    open();
    chat.set(entries(own("1", { stage: "queued", position: 2 })));
    const row = one(".row.reply");
    expect(row.textContent).toContain("You are number 3 in line");
    chat.set(entries(own("1", { stage: "answering" })));
    expect(row.textContent).toContain(words.answering);
    chat.set(entries(own("1"), reply("1", { text: "One **two", done: false })));
    expect(one(".row.reply")).toBe(row);
    expect(row.getAttribute("aria-busy")).toBe("true");
    for (let frame = 0; frame < 60; frame++) vi.advanceTimersToNextFrame();
    expect(one(".md").innerHTML.trim()).toBe("<p>One <strong>two</strong></p>");
    chat.set(entries(own("1"), reply("1", { text: "One **two** three" })));
    expect(one(".md").textContent?.trim()).toBe("One two three");
    expect(row.getAttribute("aria-busy")).toBe("false");
  });

  it("does not draw more than once a frame while an answer grows", () => {
    open();
    chat.set(entries(own("1"), reply("1", { text: "a", done: false })));
    for (let frame = 0; frame < 5; frame++) vi.advanceTimersToNextFrame();
    const drawn = vi.fn();
    const observer = new MutationObserver(drawn);
    observer.observe(one(".md"), { childList: true, subtree: true, characterData: true });
    for (let piece = 0; piece < 50; piece++) chat.set(entries(own("1"), reply("1", { text: "a".repeat(piece + 2), done: false })));
    expect(one(".md").textContent?.trim()).toBe("a");
    expect(observer.takeRecords().length).toBe(0);
    vi.advanceTimersToNextFrame();
    expect(one(".md").textContent?.trim().length).toBeGreaterThan(1);
    observer.disconnect();
  });

  it("offers quick replies and stars under the newest answer only", () => {
    open();
    const first = reply("1", { quickReplies: ["Yes", "No"] });
    chat.set(entries(own("1"), first));
    expect(all(".row .quick .chip").map((chip) => chip.textContent)).toEqual(["Yes", "No"]);
    expect(seen(one(".rating"))).toBe(true);
    all(".star")[3]?.click();
    expect(chat.calls).toContainEqual(["rate", "1", 4, undefined]);
    button("Yes").click();
    expect(chat.calls).toContainEqual(["send", { text: "Yes" }]);
    chat.set(entries(own("1"), { ...first, rating: 4 }, own("2")));
    expect(all(".row .quick .chip").length).toBe(0);
    expect(all(".star.on").length).toBe(4);
  });

  it("says why a message failed, and lets it be tried again or deleted", () => {
    open();
    const failed = own("1", { state: "failed", error: { code: "network", text: "No connection", retryable: true } });
    chat.set(entries(failed));
    expect(one(".fail").textContent).toContain("No connection");
    button(words.retry).click();
    button(words.discard).click();
    expect(chat.calls.slice(1)).toEqual([["retry", "1"], ["discard", "1"]]);
    chat.set(entries({ ...failed, error: { code: "bad_image", text: "Damaged", retryable: false } }));
    expect(all(".fail .chip").map((chip) => chip.textContent)).toEqual([words.discard]);
    chat.set(entries(own("1", { state: "uploading", progress: 0.4 })));
    expect(one(".fail").childElementCount).toBe(0);
    expect(one(".foot").textContent).toContain("40%");
  });

  it("shows people, changes of who answers, and final errors", () => {
    open();
    const people: Entry[] = [
      own("1"),
      { kind: "state", state: "human", at: NOON, offset: 3 },
      { kind: "other", id: "h", author: "human", text: "I am *Mia*", at: NOON, offset: 4 },
      { kind: "other", id: "t", author: "customer", text: "from another tab", at: NOON, offset: 5 },
      { kind: "error", id: "2", code: "timeout", text: "It took too long", at: NOON },
    ];
    chat.set({ ...entries(...people), state: "human", typing: true });
    expect(one(".note").textContent).toBe(words.human);
    expect(one(".human .md em").textContent).toBe("Mia");
    expect(all(".own .bubble").at(-1)?.textContent).toBe("from another tab");
    expect(one(".error .bubble").textContent).toBe("It took too long");
    button(words.retry).click();
    expect(chat.calls).toContainEqual(["retry", "2"]);
    expect(all(".human .dots").length).toBe(1);
    expect(one(".who .status").textContent).toBe(words.typing);
  });

  it("offers to ask again where that may help", () => {
    open();
    const error = (code: string): Entry => ({ kind: "error", id: "1", code, text: code, at: NOON });
    chat.set(entries(own("1"), error("bad_image")));
    expect(all(".error .chip").length).toBe(0);
    chat.set(entries(own("1"), error("timeout")));
    expect(all(".error .chip").length).toBe(1);
    chat.set(entries(own("1"), error("timeout"), own("2")));
    expect(all(".error .chip").length).toBe(0);
  });

  it("goes back into the field when it cannot even be kept", async () => {
    open();
    chat.failNext({ code: "storage", text: "The browser keeps nothing" });
    const field = one<HTMLTextAreaElement>("textarea");
    field.value = "hello";
    one<HTMLFormElement>("form.composer").requestSubmit();
    await vi.waitFor(() => expect(field.value).toBe("hello"));
    expect(one(".hint").textContent).toBe("The browser keeps nothing");
  });

  it("keeps no more in the document than can be looked at", () => {
    open();
    chat.set({ entries: Array.from({ length: 500 }, (_, index) => own(String(index))) });
    expect(all(".row").length).toBe(80);
    button(words.earlier).click();
    expect(all(".row").length).toBe(160);
    chat.set(entries(own("new")));
    expect(all(".row").length).toBe(1);
  });

  it("stops the answer that is being made", () => {
    open();
    chat.set(entries(own("7", { stage: "answering" })));
    button(words.stop).click();
    expect(chat.calls).toContainEqual(["cancel", "7"]);
  });
});

describe("pictures", () => {
  const file = new File([new Uint8Array(4)], "a.png", { type: "image/png" });
  function carry(type: string, files: File[], types = ["Files"]): Event {
    const event = new Event(type, { bubbles: true, cancelable: true, composed: true });
    const transfer = { files, types };
    Object.defineProperty(event, type === "paste" ? "clipboardData" : "dataTransfer", { value: transfer });
    one(".panel").dispatchEvent(event);
    return event;
  }
  it("can be pasted, unless they only picture the text", () => {
    open();
    expect(carry("paste", [file]).defaultPrevented).toBe(true);
    expect(all(".tray li").length).toBe(1);
    expect(carry("paste", [file], ["Files", "text/plain"]).defaultPrevented).toBe(false);
    expect(carry("paste", []).defaultPrevented).toBe(false);
    expect(all(".tray li").length).toBe(1);
  });
  it("can be dropped on the whole chat, which shows where", () => {
    open();
    carry("dragover", []);
    expect(seen(one(".drop"))).toBe(true);
    carry("dragleave", []);
    expect(seen(one(".drop"))).toBe(false);
    carry("dragover", []);
    expect(carry("drop", [file]).defaultPrevented).toBe(true);
    expect(seen(one(".drop"))).toBe(false);
    expect(all(".tray li").length).toBe(1);
    expect(carry("dragover", [], ["text/plain"]).defaultPrevented).toBe(false);
    expect(carry("drop", [], ["text/plain"]).defaultPrevented).toBe(false);
  });
  it("of an answer are shown with what was seen as their name", () => {
    open();
    chat.set(entries(own("1", { text: "", picture: { url: "blob:x", width: 800, height: 600 } }), reply("1", { picture: { url: "https://chat.example/media/r", width: 640, height: 480 }, analysis: "A box." })));
    expect(all(".pic").map((node) => node.getAttribute("aria-label"))).toEqual(["Enlarge: Picture", "Enlarge: A box."]);
    expect(seen(one(".own .bubble"))).toBe(false);
    all(".pic")[1]?.click();
    expect(one<HTMLDialogElement>(".lightbox").open).toBe(true);
    expect(one(".count").textContent).toBe("2 / 2");
  });
});

describe("the connection", () => {
  it("is spoken of once it is away for a while", () => {
    open();
    chat.set({ connection: "waiting", retryAt: Date.now() + 9000 });
    expect(seen(one(".banner"))).toBe(false);
    vi.advanceTimersByTime(1000);
    expect(one(".banner span[aria-hidden]").textContent).toBe("No connection. Retrying in 8\u00a0s");
    const said = one(".banner [role=status]").textContent;
    vi.advanceTimersByTime(2000);
    expect(one(".banner span[aria-hidden]").textContent).toBe("No connection. Retrying in 6\u00a0s");
    expect(one(".banner [role=status]").textContent).toBe(said); // nobody hears the countdown
    button(words.again).click();
    expect(chat.calls.filter(([name]) => name === "start").length).toBe(2);
    chat.set({ connection: "connecting" });
    expect(seen(one(".banner"))).toBe(true);
    chat.set({ connection: "online" });
    expect(seen(one(".banner"))).toBe(false);
    chat.set({ connection: "offline" });
    vi.advanceTimersByTime(1000);
    expect(one(".banner").textContent).toContain(words.offline);
  });
  it("that is back at once is not spoken of", () => {
    open();
    chat.set({ connection: "waiting", retryAt: Date.now() + 200 });
    vi.advanceTimersByTime(300);
    chat.set({ connection: "online" });
    vi.advanceTimersByTime(5000);
    expect(seen(one(".banner"))).toBe(false);
  });
  it("that is refused says why", () => {
    open();
    chat.set({ connection: "refused", problem: { code: "forbidden", text: "Guests are not admitted", retryable: false } });
    expect(one(".banner").textContent).toContain("Guests are not admitted");
  });
});

describe("the menu", () => {
  it("has a person, a new conversation, and two switches that are remembered", async () => {
    open();
    chat.set(entries(own("1"), reply("1", { analysis: "About an order.", timing: { total: 2 } })));
    const more = button(words.menu);
    more.click();
    expect(more.getAttribute("aria-expanded")).toBe("true");
    expect(all(".details").length).toBe(0);
    button(words.details, ".menu").click();
    expect(button(words.details, ".menu").getAttribute("aria-checked")).toBe("true");
    expect(one(".details").textContent).toContain("About an order.");
    expect(localStorage.getItem("csgate.details")).toBe("1");
    button(words.handoff, ".menu").click();
    expect(chat.calls).toContainEqual(["handoff"]);
    more.click();
    button(words.fresh, ".menu").click();
    expect(one<HTMLDialogElement>(".confirm").open).toBe(true);
    button(words.cancel, ".confirm").click();
    expect(chat.calls).not.toContainEqual(["reset"]);
    button(words.fresh, ".menu").click();
    button(words.freshYes).click();
    expect(chat.calls).toContainEqual(["reset"]);
    chat.set({ state: "human" });
    expect(seen(button(words.handoff, ".menu"))).toBe(false);
  });
  it("closes by Escape and by a click elsewhere", () => {
    open();
    const more = button(words.menu);
    more.click();
    one(".menu").dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    expect(one(".menu").hidden).toBe(true);
    expect(element.shadowRoot?.activeElement).toBe(more);
    more.click();
    one(".log").dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    expect(one(".menu").hidden).toBe(true);
  });
  it("sound is off until it is turned on, and then only news make it", () => {
    const tones = vi.fn();
    const param = { setValueAtTime() {}, linearRampToValueAtTime() {}, exponentialRampToValueAtTime() {} };
    const connect = (to: unknown): unknown => to;
    vi.stubGlobal("AudioContext", class {
      currentTime = 0;
      destination = { connect };
      async resume(): Promise<void> {}
      createGain = (): unknown => ({ gain: param, connect });
      createOscillator = (): unknown => ({ frequency: {}, connect: (to: { connect: unknown }) => to, start: tones, stop() {} });
    });
    open();
    chat.set(entries(own("1"), reply("1")));
    expect(tones).not.toHaveBeenCalled();
    button(words.sound, ".menu").click();
    expect(tones).toHaveBeenCalledTimes(2); // so that one knows how it sounds
    chat.set(entries(own("1"), reply("1"), own("2"), reply("2")));
    expect(tones).toHaveBeenCalledTimes(4);
  });
});

describe("in a corner", () => {
  it("opens and closes, with the focus where it belongs, and asks nothing of the gateway before", () => {
    media.set("(hover: hover)", true);
    open({});
    const opened = vi.fn();
    element.addEventListener("csgate-open", opened);
    const launcher = one(".launcher");
    expect(launcher.getAttribute("aria-label")).toBe(words.open);
    expect(chat.calls).toEqual([]);
    launcher.click();
    expect(element.isOpen).toBe(true);
    expect(chat.calls).toEqual([["start"]]);
    expect(opened).toHaveBeenCalledOnce();
    expect(launcher.getAttribute("aria-expanded")).toBe("true");
    expect(element.shadowRoot?.activeElement).toBe(one("textarea"));
    element.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    expect(element.isOpen).toBe(false);
    expect(element.shadowRoot?.activeElement).toBe(launcher);
    expect(one(".panel").inert).toBe(true);
  });

  it("counts what nobody has seen, across a reload", async () => {
    open({});
    const counted = vi.fn();
    element.addEventListener("csgate-unread", (event) => counted((event as CustomEvent<{ count: number }>).detail.count));
    chat.set(entries(own("1"), reply("1", { offset: 2 })));
    expect(element.unread).toBe(1);
    expect(one(".badge").textContent).toBe("1");
    expect(one(".launcher").getAttribute("aria-label")).toBe("Open the chat, 1 unread");
    element.show();
    expect(element.unread).toBe(0);
    element.hide();
    element.remove();
    await Promise.resolve();
    chat = fakeChat();
    open({});
    chat.set(entries(own("1"), reply("1", { offset: 2 }), own("2"), reply("2", { offset: 4 })));
    expect(element.unread).toBe(1);
    expect(counted.mock.calls).toEqual([[1], [0]]);
  });

  it("tells its page of each answer once: not of what was said earlier, nor when it is rated", () => {
    open({});
    const heard: unknown[] = [];
    element.addEventListener("csgate-message", (event) => heard.push((event as CustomEvent<Entry>).detail));
    chat.set(entries(own("1")));
    chat.set(entries(own("1"), reply("1")));
    expect(heard).toEqual([reply("1")]);
    chat.set(entries(own("1"), reply("1", { rating: 5 })));
    expect(heard.length).toBe(1);
    chat.set(entries());
    chat.set(entries(own("8"), reply("8")));
    expect(heard.length).toBe(1);
    chat.set(entries(own("8"), reply("8"), own("9"), reply("9")));
    expect(heard.length).toBe(2);
  });

  it("keeps a token's source that was set before the script came", () => {
    const early = document.createElement("late-chat") as CsgateChat;
    const source = (): string => "token";
    early.tokenCallback = source;
    document.body.append(early);
    customElements.define("late-chat", class extends (customElements.get("csgate-chat") as typeof CsgateChat) {
      override get chat(): FakeChat {
        return chat;
      }
    });
    expect(early.tokenCallback).toBe(source);
    expect(early.shadowRoot).not.toBeNull();
    early.remove();
    open({});
    expect(element.tokenCallback).toBeNull();
  });

  it("comes back by itself where there is a conversation", () => {
    localStorage.setItem("csgate.used", "1");
    open({});
    expect(chat.calls).toEqual([["start"]]);
  });

  it("covers a phone, and keeps the focus within", () => {
    media.set("(max-width: 480px), (max-height: 480px)", true);
    open({});
    element.show();
    expect(one(".frame").classList.contains("full")).toBe(true);
    expect(one(".panel").getAttribute("aria-modal")).toBe("true");
  });
});

describe("the element", () => {
  it("shows pictures in texts from its gateways only", () => {
    open({ mode: "page", server: "https://chat.example 127.0.0.1:8080" });
    const text = "![a](https://chat.example/media/a) ![b](http://127.0.0.1:8080/media/b) ![c](https://else.example/media/c)";
    chat.set(entries(own("1"), reply("1", { text })));
    expect(all<HTMLImageElement>(".md img").map((image) => image.alt)).toEqual(["a", "b"]);
    expect(all<HTMLAnchorElement>(".md a").map((link) => link.textContent)).toEqual(["c"]);
  });
  it("takes its title, and leaves no tooltip", () => {
    open({ mode: "page", title: "Shop <help>" });
    expect(one("h2").textContent).toBe("Shop <help>");
    expect(element.hasAttribute("title")).toBe(false);
  });
  it("speaks another language when told", async () => {
    open();
    element.setAttribute("locale", "zh-CN");
    await Promise.resolve();
    expect(one("textarea").getAttribute("aria-label")).toBe("输入消息");
    expect(one(".frame").lang).toBe("zh-CN");
    expect(all(".panel").length).toBe(1);
  });
  it("is light or dark as told, else as the system", () => {
    media.set("(prefers-color-scheme: dark)", true);
    open();
    const dark = (): boolean => one(".frame").classList.contains("dark");
    expect(dark()).toBe(true);
    element.setAttribute("theme", "light");
    expect(dark()).toBe(false);
    media.set("(prefers-color-scheme: dark)", false);
    element.setAttribute("theme", "dark");
    expect(dark()).toBe(true);
  });
  it("closes its chat when it is taken away, not when it is moved", async () => {
    open();
    const box = document.createElement("div");
    document.body.append(box);
    box.append(element);
    await Promise.resolve();
    expect(chat.calls).not.toContainEqual(["close"]);
    element.remove();
    await Promise.resolve();
    expect(chat.calls).toContainEqual(["close"]);
  });
  it("has no inline style in its markup, and a name on every control", () => {
    open({});
    chat.set(entries(own("1", { picture: { url: "blob:x" } }), reply("1", { quickReplies: ["a"] })));
    for (const control of all("button, textarea, input:not([type=file])")) {
      expect(control.getAttribute("aria-label") || control.textContent, control.outerHTML).toBeTruthy();
    }
    expect(element.shadowRoot?.querySelector("style, script, [onclick]")).toBeNull();
  });
});
