// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import { decodeHTML, decodeHTMLStrict } from "../../src/widget/standins/entities.js";
import { findLinks } from "../../src/widget/standins/linkify.js";
import { decode, encode, format, parse } from "../../src/widget/standins/mdurl.js";
import { Any, Cc, Cf, P, S, Z } from "../../src/widget/standins/uc.micro.js";

describe("entities", () => {
  it.each([
    ["&amp;", "&"],
    ["&lt;", "<"],
    ["&nbsp;", "\u00a0"],
    ["&szlig;", "ß"],
    ["&CounterClockwiseContourIntegral;", "∳"],
    ["&frac34;", "¾"],
    ["&foo;", "&foo;"],
    ["&constructor;", "&constructor;"],
    ["&amp", "&amp"],
    ["</textarea><b>&amp;", "</textarea><b>&amp;"],
  ])("%s", (text, expected) => {
    expect(decodeHTMLStrict(text)).toBe(expected);
    expect(decodeHTML(text)).toBe(expected);
  });
  it("stay where a page's policy forbids markup from strings", () => {
    const forbid = vi.spyOn(Element.prototype, "innerHTML", "set").mockImplementation(() => {
      throw new TypeError("requires TrustedHTML");
    });
    expect(decodeHTMLStrict("&lt;")).toBe("&lt;");
    forbid.mockRestore();
  });
});

describe("links in running text", () => {
  it.each<[string, string[]]>([
    ["https://a.example/x?y=z#w", ["https://a.example/x?y=z#w"]],
    ["(see https://a.example/b_(c)).", ["https://a.example/b_(c)"]],
    ["https://a.example, https://b.example!", ["https://a.example", "https://b.example"]],
    ["看https://a.example/订单，谢谢", ["https://a.example/订单"]],
    ["（https://a.example）", ["https://a.example"]],
    ["HTTPS://A.example", ["HTTPS://A.example"]],
    ["https://[::1]:8080/x", ["https://[::1]:8080/x"]],
    ["www.shop.example/a", ["https://www.shop.example/a"]],
    ["me@shop.example.", ["mailto:me@shop.example"]],
    ["file.txt and e.g. 1.2.3 and a@b", []],
    ["http://", []],
    ["https://-", []],
    ["javascript://a.example/%0aalert(1)", []],
    ["https://a.example/\"onclick=x", ["https://a.example/"]],
  ])("%j", (text, expected) => {
    expect(findLinks(text).map((one) => one.url)).toEqual(expected);
    for (const { index, text: raw } of findLinks(text)) expect(text.slice(index, index + raw.length)).toBe(raw);
  });
});

it("addresses are encoded where they must be, once", () => {
  expect(encode("https://a.example/a b/ü/%20/%zz/\ud800")).toBe("https://a.example/a%20b/%C3%BC/%20/%25zz/%EF%BF%BD");
  expect(format(parse("https://a.example/b?c#d"))).toBe("https://a.example/b?c#d");
  expect(decode("https://a.example/%C3%BC")).toBe("https://a.example/%C3%BC");
});

it("categories of characters", () => {
  expect([P.test("。"), S.test("€"), Z.test("\u3000"), Cc.test("\u0007"), Cf.test("\u200d"), Any.test("\n")]).toEqual(Array(6).fill(true));
  expect([P.test("a"), S.test("."), Z.test("a"), Cc.test(" "), Cf.test("a")]).toEqual(Array(5).fill(false));
});
