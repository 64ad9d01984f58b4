// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from "vitest";
import { CATEGORIES, createStickerPicker, drawSticker, findStickers, nameOf, STICKER_BYTES, stickersOf } from "../../src/widget/stickers.js";
import { LANGUAGES } from "../../src/widget/words.js";
import { media, prepareBrowser } from "./setup.js";

beforeEach(prepareBrowser);

describe("the table", () => {
  const all = CATEGORIES.flatMap(stickersOf);
  it("is whole: an emoji and words in both languages each, none twice", () => {
    for (const category of CATEGORIES) expect(stickersOf(category).length, category).toBeGreaterThanOrEqual(8);
    for (const sticker of all) {
      expect(sticker.emoji).toMatch(/^\p{Extended_Pictographic}[\ufe0f\u200d]*$/u);
      expect(sticker.en).toMatch(/^[A-Za-z][A-Za-z ,-]*$/);
      expect(sticker.zh).toMatch(/^[\u4e00-\u9fff,]+$/);
    }
    expect(new Set(all.map((sticker) => sticker.emoji)).size).toBe(all.length);
    expect(new Set(all.map((sticker) => nameOf(sticker, "en"))).size).toBe(all.length);
  });
});

it.each([
  ["heart", "❤️"],
  ["HEART", "💔"],
  ["refund", "💰"],
  ["包裹", "📦"],
  ["谢", "🙏"],
  ["📦", "📦"],
])("searching %j finds %s", (query, emoji) => {
  expect(findStickers(query).map((sticker) => sticker.emoji)).toContain(emoji);
});

it("searching for nothing that there is finds nothing", () => {
  expect(findStickers("zzzz")).toEqual([]);
});

it("the picker: one stop for Tab, arrows within, Escape closes", () => {
  media.set("(hover: hover)", true);
  const choose = vi.fn();
  const opened = vi.fn();
  const picker = createStickerPicker(LANGUAGES.zh, "zh", choose, opened);
  document.body.replaceChildren(picker.node);
  picker.toggle();
  expect(opened).toHaveBeenLastCalledWith(true);
  const search = picker.node.querySelector("input") as HTMLInputElement;
  expect(document.activeElement).toBe(search);
  const grid = (): HTMLButtonElement[] => [...picker.node.querySelectorAll<HTMLButtonElement>(".grid button")];
  const press = (key: string): boolean => (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  press("ArrowDown");
  expect(document.activeElement).toBe(grid()[0]);
  press("ArrowRight");
  expect(document.activeElement).toBe(grid()[1]);
  press("End");
  expect(document.activeElement).toBe(grid().at(-1));
  press("Home");
  press("ArrowUp");
  expect(document.activeElement).toBe(search);
  expect(grid().filter((button) => button.tabIndex === 0).length).toBe(1);
  search.value = "包裹";
  search.dispatchEvent(new Event("input"));
  expect(grid().map((button) => button.textContent)).toEqual(["📦"]);
  expect(grid()[0]?.getAttribute("aria-label")).toBe("表情：包裹");
  search.value = "nothing like it";
  search.dispatchEvent(new Event("input"));
  expect(picker.node.querySelector(".grid")?.textContent).toBe(LANGUAGES.zh.noStickers);
  picker.node.querySelectorAll<HTMLElement>(".tabs button")[5]?.click();
  expect(grid()[0]?.textContent).toBe("📦");
  grid()[0]?.click();
  expect(choose).toHaveBeenCalledWith(expect.objectContaining({ emoji: "📦" }));
  expect(picker.isOpen).toBe(false);
  picker.toggle(true);
  press("Escape");
  expect(picker.isOpen).toBe(false);
  expect(opened).toHaveBeenLastCalledWith(false);
});

it("draws as large as five kilobytes allow", async () => {
  const drawn: number[] = [];
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue({
    measureText: () => ({ actualBoundingBoxAscent: 10, actualBoundingBoxDescent: 2 }),
    fillText() {},
  } as never);
  vi.spyOn(HTMLCanvasElement.prototype, "toBlob").mockImplementation(function (this: HTMLCanvasElement, done) {
    drawn.push(this.width);
    done(new Blob([new Uint8Array(this.width * 50)], { type: "image/png" }));
  });
  const blob = await drawSticker("📦");
  expect(blob.size).toBeLessThanOrEqual(STICKER_BYTES);
  expect(drawn).toEqual([128, 112, 96]);
});

it("says that it cannot draw", async () => {
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
  await expect(drawSticker("📦")).rejects.toThrow("draw");
});
