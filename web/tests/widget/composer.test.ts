// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Composer, filesOf, isPicture, MAX_PICTURES } from "../../src/widget/composer.js";
import { fill, LANGUAGES } from "../../src/widget/words.js";
import { prepareBrowser } from "./setup.js";

const words = LANGUAGES.en;
const act = { send: vi.fn(), stop: vi.fn(), typing: vi.fn(), stickers: vi.fn() };
let composer: Composer;
const picture = (name = "a.png", type = "image/png"): File => new File([new Uint8Array(3)], name, { type });
const hint = (): string => composer.node.querySelector(".hint")?.textContent ?? "";
function type(text: string): void {
  composer.field.value = text;
  composer.field.dispatchEvent(new Event("input"));
}
function key(init: KeyboardEventInit): boolean {
  return composer.field.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init }));
}

beforeEach(() => {
  prepareBrowser();
  localStorage.clear();
  vi.clearAllMocks();
  composer = new Composer(words, act, "test.draft");
  document.body.replaceChildren(composer.node);
});

describe("Enter", () => {
  it("sends, and leaves an empty field", () => {
    type("  hello  ");
    expect(key({ key: "Enter" })).toBe(false);
    expect(act.send).toHaveBeenCalledExactlyOnceWith({ text: "hello" });
    expect(composer.field.value).toBe("");
  });
  it.each<[string, KeyboardEventInit]>([
    ["with Shift", { shiftKey: true }],
    ["while composing", { isComposing: true }],
    ["at the end of composing, as Safari has it", { keyCode: 229 }],
  ])("%s does not", (_, init) => {
    type("ni hao");
    expect(key({ key: "Enter", ...init })).toBe(true);
    expect(act.send).not.toHaveBeenCalled();
  });
  it("sends no blanks", () => {
    type(" \n ");
    key({ key: "Enter" });
    expect(act.send).not.toHaveBeenCalled();
  });
});

describe("a draft", () => {
  it("outlives the page, and not the sending", () => {
    type("half a sen");
    expect(new Composer(words, act, "test.draft").field.value).toBe("half a sen");
    type("half a sentence");
    composer.submit();
    expect(new Composer(words, act, "test.draft").field.value).toBe("");
  });
  it("is not kept where nothing may be kept", () => {
    const secret = new Composer(words, act, null);
    secret.field.value = "x";
    secret.field.dispatchEvent(new Event("input"));
    expect(localStorage.length).toBe(0);
  });
});

describe("pictures", () => {
  it("go one by one, the text with the first", () => {
    const [one, two] = [picture("1.png"), picture("2.png")];
    composer.add([one, two]);
    type("look");
    composer.submit();
    expect(act.send.mock.calls).toEqual([[{ text: "look", picture: one }], [{ text: "", picture: two }]]);
    expect(composer.node.querySelector<HTMLElement>(".tray")?.hidden).toBe(true);
  });
  it("can be taken out again", () => {
    composer.add([picture("1.png"), picture("2.png")]);
    composer.node.querySelector<HTMLElement>(".tray button")?.click();
    composer.submit();
    expect(act.send.mock.calls.map(([message]) => (message as { picture: File }).picture.name)).toEqual(["2.png"]);
  });
  it("that are none are refused by name, and a name is only text", () => {
    const name = '"><img src=x onerror=alert(1)>.exe';
    composer.add([picture(name, "application/x-msdownload")]);
    expect(hint()).toBe(fill(words.notPicture, { name }));
    expect(composer.node.querySelector(".hint *")).toBeNull();
    composer.add([picture(name)]);
    expect(composer.node.querySelectorAll(".tray img").length).toBe(1);
    expect(composer.node.querySelector(".tray img")?.getAttribute("alt")).toBe(name);
    expect(composer.node.querySelector(".tray button")?.getAttribute("aria-label")).toContain(name);
    expect(isPicture(picture("a.svg", "image/svg+xml"))).toBe(false);
  });
  it("are not too many at once", () => {
    composer.add(Array.from({ length: MAX_PICTURES + 1 }, () => picture()));
    expect(composer.node.querySelectorAll(".tray li").length).toBe(MAX_PICTURES);
    expect(hint()).toBe(fill(words.tooMany, { n: MAX_PICTURES }));
  });
  it("that the browser cannot show go out of the tray", () => {
    composer.add([picture("broken.png")]);
    composer.node.querySelector(".tray img")?.dispatchEvent(new Event("error"));
    expect(composer.node.querySelectorAll(".tray li").length).toBe(0);
    expect(hint()).toContain("broken.png");
  });
  it("are chosen by file or by camera", () => {
    const input = composer.node.querySelector<HTMLInputElement>("input.file");
    expect(composer.node.querySelector("input.photo")?.getAttribute("capture")).toBe("environment");
    Object.defineProperty(input, "files", { value: [picture()] });
    input?.dispatchEvent(new Event("change"));
    expect(composer.node.querySelectorAll(".tray li").length).toBe(1);
    expect(filesOf(null)).toEqual([]);
  });
});

describe("buttons", () => {
  const send = (): HTMLElement => composer.node.querySelector(".send") as HTMLElement;
  const stop = (): HTMLElement => composer.node.querySelector(".stop") as HTMLElement;
  it("stop takes the place of send while an answer comes and nothing is written", () => {
    expect([send().hidden, stop().hidden]).toEqual([false, true]);
    composer.answering = true;
    expect([send().hidden, stop().hidden]).toEqual([true, false]);
    stop().click();
    expect(act.stop).toHaveBeenCalledOnce();
    stop().focus();
    type("more");
    expect([send().hidden, stop().hidden]).toEqual([false, true]);
    expect(document.activeElement).toBe(composer.field);
    type("");
    composer.answering = false;
    expect(send().hidden).toBe(false);
  });
  it("have names", () => {
    for (const button of composer.node.querySelectorAll("button")) expect(button.getAttribute("aria-label")).toBeTruthy();
  });
});

it("typing is told, and its end too", () => {
  type("a");
  type("ab");
  composer.submit();
  type("");
  type("b");
  composer.field.dispatchEvent(new Event("blur"));
  expect(act.typing.mock.calls).toEqual([[true], [true], [false], [true], [false]]);
});

it("says how much is left near the end", () => {
  type("a".repeat(7000));
  expect(hint()).toBe("");
  type("a".repeat(7990));
  expect(hint()).toBe("10 characters left");
});
