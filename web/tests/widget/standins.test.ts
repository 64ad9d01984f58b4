// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import { decodeHTML, decodeHTMLStrict } from "../../src/widget/standins/entities.js";
import LinkifyIt from "../../src/widget/standins/linkify-it.js";
import { decode, encode, format, parse } from "../../src/widget/standins/mdurl.js";
import { toASCII, toUnicode } from "../../src/widget/standins/punycode.js";
import { Any, Cc, Cf, P, S, Z } from "../../src/widget/standins/uc.micro.js";

const linkify = new LinkifyIt().set();

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
  const urls = (text: string): string[] => linkify.match(text).map((one) => one.url);
  it.each<[string, string[]]>([
    ["https://a.example/x?y=z#w", ["https://a.example/x?y=z#w"]],
    ["(see https://a.example/b_(c)).", ["https://a.example/b_(c)"]],
    ["https://a.example, https://b.example!", ["https://a.example", "https://b.example"]],
    ["看https://a.example/订单，谢谢", ["https://a.example/订单"]],
    ["（https://a.example）", ["https://a.example"]],
    ["www.shop.example/a", ["https://www.shop.example/a"]],
    ["me@shop.example.", ["mailto:me@shop.example"]],
    ["file.txt and e.g. 1.2.3 and a@b", []],
    ["http://", []],
    ["https://-", []],
    ["javascript://a.example/%0aalert(1)", []],
    ["https://a.example/\"onclick=x", ["https://a.example/"]],
  ])("%j", (text, expected) => {
    expect(urls(text)).toEqual(expected);
    expect(linkify.test(text)).toBe(expected.length > 0);
  });

  it("tells where they are", () => {
    const [match] = linkify.match("go to https://a.example now");
    expect(match).toMatchObject({ index: 6, lastIndex: 23, schema: "https:", raw: "https://a.example" });
    expect(linkify.matchAtStart("https://a.example now")?.url).toBe("https://a.example");
    expect(linkify.matchAtStart("at https://a.example")).toBeNull();
    expect(linkify.matchAtStart("www.a.example")).toBeNull();
  });
});

describe("addresses", () => {
  it("encodes what may not stand in one, once", () => {
    expect(encode("https://a.example/a b/ü/%20/%zz/\ud800")).toBe("https://a.example/a%20b/%C3%BC/%20/%25zz/%EF%BF%BD");
    expect(encode("https://[::1]/[x]")).toBe("https://[::1]/[x]");
    expect(decode("https://a.example/%C3%BC")).toBe("https://a.example/ü");
    expect(decode("%E0%A4%A")).toBe("%E0%A4%A");
  });
  it.each(["https://a.example/b?c#d", "mailto:a@b.example", "/relative", "//host/path", "https://a.example", "tel:+49"])("%s survives being taken apart", (address) => {
    expect(format(parse(address))).toBe(address);
  });
  it("host names", () => {
    expect(toASCII("bücher.example")).toBe("xn--bcher-kva.example");
    expect(toASCII("a b")).toBe("a b");
    expect(toUnicode("xn--bcher-kva.example")).toBe("xn--bcher-kva.example");
  });
});

it("categories of characters", () => {
  expect([P.test("。"), S.test("€"), Z.test("\u3000"), Cc.test("\u0007"), Cf.test("\u200d"), Any.test("\n")]).toEqual(Array(6).fill(true));
  expect([P.test("a"), S.test("."), Z.test("a"), Cc.test(" "), Cf.test("a")]).toEqual(Array(5).fill(false));
});
