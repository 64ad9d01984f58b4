import { describe, expect, it } from "vitest";
import { PAGE_WORDS } from "../../src/page/words.js";
import { fill, LANGUAGES, languageOf, midnight, Tongue } from "../../src/widget/words.js";

const holes = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

describe.each([
  ["the widget", LANGUAGES],
  ["the page", PAGE_WORDS],
])("the words of %s", (_, { en, zh }) => {
  const table = Object.entries(en) as [string, string][];
  const other = zh as Record<string, string>;
  it("are complete in both languages", () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
    for (const [name, text] of table) {
      expect(text.trim(), name).not.toBe("");
      expect(other[name]?.trim(), name).toBeTruthy();
      expect(holes(other[name] ?? ""), name).toEqual(holes(text));
    }
  });
  it("are in their language", () => {
    for (const [name, text] of table) if (name !== "prompts") expect(text, name).not.toMatch(/[\u4e00-\u9fff]/);
    for (const [name, text] of Object.entries(other)) expect(text, name).toMatch(/[\u4e00-\u9fff]/);
  });
});

it("chooses the language by the locale", () => {
  expect(["zh", "zh-CN", "ZH-hant-TW", "en", "en-GB", "de", "", "zhuang", "x y"].map(languageOf)).toEqual(["zh", "zh", "zh", "en", "en", "en", "en", "en", "en"]);
  expect(new Tongue("de-DE").tag).toBe("en");
  expect(new Tongue("en_broken!").tag).toBe("en");
  expect(new Tongue("en-GB").time(new Date(2026, 0, 1, 15, 5).getTime())).toBe("15:05");
});

it("fills in what it knows", () => {
  expect(fill("{a} of {b}, {c}", { a: 1, b: "two" })).toBe("1 of two, {c}");
});

describe("days", () => {
  const now = new Date(2026, 4, 20, 0, 30).getTime();
  const at = (year: number, month: number, day: number, hour = 12): number => new Date(year, month - 1, day, hour).getTime();
  it.each([
    [at(2026, 5, 20, 0), "Today", "今天"],
    [at(2026, 5, 19, 23), "Yesterday", "昨天"],
    [at(2026, 5, 18), "Monday", "星期一"],
    [at(2026, 5, 14), "Thursday", "星期四"],
    [at(2026, 5, 13), "May 13", "5月13日"],
    [at(2025, 12, 31), "December 31, 2025", "2025年12月31日"],
    [at(2026, 5, 22), "May 22", "5月22日"],
  ])("%s is %s", (then, english, chinese) => {
    expect(new Tongue("en").day(then, now)).toBe(english);
    expect(new Tongue("zh-CN").day(then, now)).toBe(chinese);
  });
  it("are whole, whatever the clocks do", () => {
    for (let day = 0; day < 366; day++) {
      const one = new Date(2026, 0, 1 + day, 3).getTime();
      expect((midnight(new Date(2026, 0, 2 + day, 1).getTime()) - midnight(one)) / 86_400_000).toBe(1);
    }
  });
});

it("names intents and failures in the language of the reader", () => {
  const zh = new Tongue("zh");
  const en = new Tongue("en");
  expect([zh.intent("track_order"), zh.intent("order"), zh.intent("place_order"), zh.intent("my.*own")]).toEqual(["查询订单", "order", "下单", "my.*own"]);
  expect(en.intent("track_order")).toBe("track order");
  const failure = { code: "too_large", text: "the text is too long" };
  expect(en.failure(failure)).toBe("the text is too long");
  expect(zh.failure(failure)).toBe("消息过长或文件过大。");
  expect(zh.failure({ code: "new_code", text: "something" })).toBe("something");
  expect(en.failure({ code: "x", text: "" })).toBe("Not sent");
});

it("writes numbers as people do", () => {
  const en = new Tongue("en");
  expect([en.percent(0.934), en.number(2.27), en.number(1234.5)]).toEqual(["93%", "2.3", "1,235"]);
});
