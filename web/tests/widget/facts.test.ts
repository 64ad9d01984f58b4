// @vitest-environment jsdom
import { expect, it, vi } from "vitest";
import { chips, details } from "../../src/widget/facts.js";
import { createRating } from "../../src/widget/rating.js";
import { LANGUAGES, Tongue } from "../../src/widget/words.js";
import { reply } from "./setup.js";

const en = new Tongue("en");
const zh = new Tongue("zh");
const tag = (name: string, score: number): { name: string; label: string; score: number } => ({ name, label: name, score });
const texts = (node: HTMLElement | null): (string | null)[] => [...(node?.children ?? [])].map((child) => child.textContent);

it("chips say tags that are sure, the intent, and a mood where there is one", () => {
  const full = reply("1", {
    intent: { name: "track_order", confidence: 0.99 },
    sentiment: { label: "negative", score: -0.8 },
    tags: [tag("package", 0.9), tag("box", 0.8), tag("car", 0.05), tag("a", 0.7), tag("b", 0.6), tag("c", 0.5)],
  });
  expect(texts(chips(full, en))).toEqual(["package", "box", "a", "b", "track order", "negative"]);
  expect(texts(chips(full, zh)).slice(-2)).toEqual(["查询订单", "负面"]);
  expect(chips(reply("1", { sentiment: { label: "neutral", score: 0 } }), en)).toBeNull();
  expect(chips(reply("1"), en)).toBeNull();
});

it("chips are text, whatever a tag is called", () => {
  const made = chips(reply("1", { tags: [tag("<img src=x onerror=alert(1)>", 1)], intent: { name: "<b>", confidence: 1 } }), en);
  expect(made?.querySelector("img, b")).toBeNull();
  expect(texts(made)[0]).toBe("<img src=x onerror=alert(1)>");
});

it("details say it all", () => {
  const made = details(
    reply("1", {
      analysis: "A box.",
      intent: { name: "complaint", confidence: 0.934 },
      sentiment: { label: "negative", score: -0.823 },
      tags: [tag("package", 0.05)],
      source: "hand_over",
      timing: { run: 1, total: 4, odd: Number.NaN },
    }),
    en,
  );
  const rows = [...made.querySelectorAll("dl > div")].map((row) => [...row.children].map((cell) => cell.textContent).join("="));
  expect(rows).toEqual(["complaint=93%", "Mood=negative -0.82", "package=5%", "Answer from=hand over", "Time · run=1 ms", "Time · total=4 ms"]);
  expect(made.querySelector("p")?.textContent).toBe("A box.");
  expect([...made.querySelectorAll<HTMLElement>(".bar i")].map((bar) => bar.style.width)).toEqual(["93%", "5%", "25%", "100%"]);
  expect(details(reply("1", { source: "" }), en).childElementCount).toBe(0);
});

it("stars: a click counts, a word may follow, little praise offers a person", () => {
  const rate = vi.fn();
  const handoff = vi.fn();
  const words = LANGUAGES.en;
  const rating = createRating(words, rate, handoff);
  document.body.replaceChildren(rating.node);
  rating.update(0, false);
  expect(rating.node.hidden).toBe(true);
  rating.update(0, true);
  const stars = [...rating.node.querySelectorAll<HTMLElement>(".star")];
  expect(stars.map((star) => star.getAttribute("aria-label"))).toContain("4 of 5 stars");
  stars[1]?.click();
  expect(rate).toHaveBeenLastCalledWith(2);
  expect(stars.map((star) => star.classList.contains("on"))).toEqual([true, true, false, false, false]);
  rating.update(2, false); // a new message came: what is being written stays
  const field = rating.node.querySelector("input");
  expect(field?.placeholder).toBe(words.comment);
  if (field) field.value = " too slow ";
  rating.node.querySelector("form")?.requestSubmit();
  expect(rate).toHaveBeenLastCalledWith(2, "too slow");
  expect(rating.node.querySelector<HTMLElement>(".comment")?.hidden).toBe(true);
  stars[0]?.click();
  rating.node.querySelector<HTMLElement>(".comment .chip")?.click();
  expect(handoff).toHaveBeenCalledOnce();
  stars[4]?.click();
  expect(rating.node.querySelector(".comment .chip")).toBeNull();
  const before = rate.mock.calls.length;
  rating.node.querySelector("form")?.requestSubmit(); // nothing written: nothing sent
  expect(rate.mock.calls.length).toBe(before);
});
