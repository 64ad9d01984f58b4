// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { createLightbox } from "../../src/widget/lightbox.js";
import { boxOf, pictureBox, safePicture, sizeOf } from "../../src/widget/picture.js";
import { LANGUAGES } from "../../src/widget/words.js";
import { prepareBrowser } from "./setup.js";

const words = LANGUAGES.en;
const data = (bytes: Uint8Array | readonly number[], type = "png"): string => `data:image/${type};base64,${Buffer.from(Uint8Array.from(bytes)).toString("base64")}`;
const padded = (...bytes: number[]): number[] => [...bytes, ...Array<number>(40).fill(0)];
const text = (letters: string): number[] => [...letters].map((letter) => letter.charCodeAt(0));
const sample = (name: string): Uint8Array => readFileSync(join(process.cwd(), "../models/samples", name));

beforeEach(prepareBrowser);

describe("sizes", () => {
  const png = padded(0x89, ...text("PNG\r\n\x1a\n"), 0, 0, 0, 13, ...text("IHDR"), 0, 0, 1, 44, 0, 0, 0, 200);
  const cases: [string, string, { width: number; height: number } | undefined][] = [
    ["PNG", data(png), { width: 300, height: 200 }],
    ["GIF", data(padded(...text("GIF89a"), 64, 1, 10, 0), "gif"), { width: 320, height: 10 }],
    ["WebP, extended", data(padded(...text("RIFF\0\0\0\0WEBPVP8X"), 10, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 49, 0, 0), "webp"), { width: 100, height: 50 }],
    ["WebP, lossy", data(padded(...text("RIFF\0\0\0\0WEBPVP8 "), 0, 0, 0, 0, 0, 0, 0, 0x9d, 1, 0x2a, 80, 0, 40, 0), "webp"), { width: 80, height: 40 }],
    ["WebP, lossless", data(padded(...text("RIFF\0\0\0\0WEBPVP8L"), 0, 0, 0, 0, 0x2f, 79, 0xc0, 9, 0), "webp"), { width: 80, height: 40 }],
    ["JPEG", data(padded(0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc2, 0, 17, 8, 1, 0, 2, 0), "jpeg"), { width: 512, height: 256 }],
    ["JPEG without a size", data(padded(0xff, 0xd8, 0xff, 0xe0, 0, 0), "jpeg"), undefined],
    ["JPEG that ends", data([0xff, 0xd8, 0xff, 0xe0, 1, 0, ...Array<number>(30).fill(7)], "jpeg"), undefined],
    ["nothing", data(padded(1, 2, 3)), undefined],
    ["no size", data(padded(0x89, ...text("PNG"))), undefined],
    ["an address", "https://chat.example/media/x.png", undefined],
    ["damaged", "data:image/png;base64,", undefined],
  ];
  it.each(cases)("%s", (_, address, expected) => {
    if (expected) expect(sizeOf(address)).toMatchObject(expected);
    else expect(sizeOf(address)).toBeUndefined();
  });
  it("of real files", () => {
    expect(sizeOf("/media/results/ab?e=1&s=x#848x620")).toEqual({ width: 848, height: 620 });
    expect(sizeOf("/media/results/ab?e=1#0x620")).toBeUndefined();
    expect(sizeOf(data(sample("party-popper.png")))).toMatchObject({ width: expect.any(Number) as number });
    expect(sizeOf(data(sample("photo.jpg"), "jpeg"))).toMatchObject({ height: expect.any(Number) as number });
  });
});

describe("boxes", () => {
  it.each([
    [{ url: "blob:x", width: 4000, height: 3000 }, 260, 195],
    [{ url: "blob:x", width: 300, height: 3000 }, 96, 300],
    [{ url: "blob:x", width: 3000, height: 100 }, 260, 64],
    [{ url: "blob:x", width: 128, height: 128 }, 112, 112],
    [{ url: "https://chat.example/media/a" }, 240, 180],
  ])("%j", (view, width, height) => {
    expect(boxOf(view)).toMatchObject({ width, height });
  });

  it("have their size before the picture is there, and keep what is shown when its address changes", () => {
    const enlarge = vi.fn();
    const { node, update } = pictureBox({ url: "blob:https://page.example/1", width: 800, height: 400 }, 'a "name"', { words, enlarge });
    expect(node.classList.contains("sticker")).toBe(false);
    expect(node.style.width).toBe("260px");
    expect(node.style.aspectRatio.replaceAll(" ", "")).toBe("260/130");
    expect(node.getAttribute("aria-label")).toBe('Enlarge: a "name"');
    update({ url: "https://chat.example/media/a" });
    const image = node.querySelector("img");
    expect(image?.src).toBe("blob:https://page.example/1");
    expect(node.dataset["url"]).toBe("https://chat.example/media/a");
    node.click();
    expect(enlarge).toHaveBeenCalledWith(node);
    image?.dispatchEvent(new Event("error"));
    expect(image?.src).toBe("https://chat.example/media/a");
    image?.dispatchEvent(new Event("error"));
    expect(node.textContent).toBe(words.broken);
  });

  it("wait for what comes over the network", () => {
    const { node } = pictureBox({ url: "https://chat.example/media/a" }, "x", { words, enlarge() {} });
    expect(node.classList.contains("wait")).toBe(true);
    node.querySelector("img")?.dispatchEvent(new Event("load"));
    expect(node.classList.contains("wait")).toBe(false);
  });

  it("of one's own are measured when they are there, once", () => {
    const { node, update } = pictureBox({ url: "blob:https://page.example/1" }, "x", { words, enlarge() {} });
    expect(node.classList.contains("unknown")).toBe(true);
    const image = node.querySelector("img");
    Object.defineProperties(image, { naturalWidth: { value: 128 }, naturalHeight: { value: 128 } });
    image?.dispatchEvent(new Event("load"));
    expect([node.style.width, node.classList.contains("sticker"), node.classList.contains("unknown")]).toEqual(["112px", true, false]);
    update({ url: "https://chat.example/media/a", width: 800, height: 800 });
    expect(node.style.width).toBe("112px");
  });

  it("hold pictures only", () => {
    expect(["javascript:alert(1)", "data:text/html,x", "data:image/svg+xml,<svg/>", "file:///etc/passwd", "//x", ""].map(safePicture)).toEqual(Array(6).fill(undefined));
    expect(["https://a/b", "http://a/b", "blob:x", "data:image/png;base64,AA"].every((url) => safePicture(url) === url)).toBe(true);
    expect(pictureBox({ url: "javascript:alert(1)" }, "x", { words, enlarge() {} }).node.querySelector("img")?.getAttribute("src")).toBeNull();
  });
});

it("the lightbox walks through all pictures and gives the focus back", () => {
  const box = createLightbox(words);
  const openers = ["a", "b"].map((name) => pictureBox({ url: `https://chat.example/media/${name}` }, name, { words, enlarge() {} }).node);
  document.body.append(box.node, ...openers);
  const [first, second] = openers as [HTMLButtonElement, HTMLButtonElement];
  box.open(openers, first);
  const shown = (): string | null | undefined => box.node.querySelector("img")?.getAttribute("alt");
  const press = (key: string): boolean => box.node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, composed: true }));
  expect(shown()).toBe("a");
  press("ArrowRight");
  expect(shown()).toBe("b");
  press("ArrowRight");
  expect(shown()).toBe("b");
  press("ArrowLeft");
  expect(shown()).toBe("a");
  press("ArrowRight");
  box.node.querySelector("img")?.click();
  expect(box.node.open).toBe(true);
  box.node.querySelector<HTMLElement>(".stage")?.click();
  expect(box.node.open).toBe(false);
  expect(document.activeElement).toBe(second);
  box.open([], first);
  expect(box.node.querySelector<HTMLElement>(".count")?.hidden).toBe(true);
});
