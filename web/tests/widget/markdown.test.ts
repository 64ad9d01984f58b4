// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import { createMarkdown, finished, morph, settle } from "../../src/widget/markdown.js";
import { createWriter } from "../../src/widget/writer.js";

const md = createMarkdown(() => ["https://chat.example"]);
const html = (text: string): string => html2(text).trim();

function html2(text: string): string {
  const box = document.createElement("div");
  box.append(md.render(text));
  return box.innerHTML;
}
const settleAll = (text: string): string => text.slice(0, finished(text)) + settle(text.slice(finished(text)));

describe("what people write", () => {
  it.each([
    ["**bold** and *soft* and `code`", "<p><strong>bold</strong> and <em>soft</em> and <code>code</code></p>"],
    ["one\ntwo", "<p>one<br>\ntwo</p>"],
    ["- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"],
    ["3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>'],
    ["```js\nlet a = '<b>';\n```", "<pre tabindex=\"0\"><code>let a = '&lt;b&gt;';\n</code></pre>"],
    ["# Title", "<h3>Title</h3>"],
    ["###### Small", "<h6>Small</h6>"],
    ["above\n---\nbelow", "<p>above</p>\n<hr>\n<p>below</p>"],
    ["    moved in", "<p>moved in</p>"],
    ["~~gone~~", "<p><s>gone</s></p>"],
    ["&copy; &eacute; &#x4f60; &#22909; &unknown; &amp;lt;", "<p>© é 你 好 &amp;unknown; &amp;lt;</p>"],
  ])("%j", (text, expected) => {
    expect(html(text)).toBe(expected);
  });

  it("tables keep the side of their columns without a style attribute", () => {
    const made = html("| a | b |\n|---|--:|\n| 1 | 2 |");
    expect(made).toContain('<td align="right">2</td>');
    expect(made).not.toContain("style");
  });

  it("links open elsewhere and tell nothing", () => {
    const rel = 'target="_blank" rel="noopener noreferrer"';
    expect(html("[shop](https://shop.example/a?b=c&d=e)")).toContain(`<a href="https://shop.example/a?b=c&amp;d=e" ${rel}>shop</a>`);
    expect(html("see https://shop.example/a, please")).toContain(`<a href="https://shop.example/a" ${rel}>https://shop.example/a</a>, please`);
    expect(html("请看https://shop.example/订单。谢谢")).toContain(`${rel}>https://shop.example/订单</a>。谢谢`);
    expect(html("**https://shop.example** [https://a.example](https://b.example)").match(/<a /g)?.length).toBe(2);
    expect(html("`https://shop.example`")).not.toContain("<a");
    expect(html("help@shop.example")).toContain('href="mailto:help@shop.example"');
    expect(html("<tel:+4912345>")).toContain('href="tel:+4912345"');
  });

  it("pictures come from our own gateway only", () => {
    expect(html("![a cat](https://chat.example/media/pictures/abc?e=1&s=2)")).toBe(
      '<p><img src="https://chat.example/media/pictures/abc?e=1&amp;s=2" alt="a cat" loading="lazy"></p>',
    );
    expect(html("![a](data:image/png;base64,AAAA)")).toContain("<img");
    expect(html("![track me](https://spy.example/pixel.png)")).toMatch(/^<p><a href="https:\/\/spy\.example\/pixel\.png"[^>]*>track me<\/a><\/p>$/);
    expect(html("![x](https://chat.example/v1/anything)")).not.toContain("<img");
    expect(html("![x](//spy.example/p.png)")).not.toContain("spy.example/p.png\"");
  });
});

describe("what attackers write", () => {
  const hostile = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java&#x0A;script:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[a](vbscript:msgbox)",
    "![a](data:image/svg+xml;base64,PHN2Zy8+)",
    '![a" onerror="alert(1)](https://chat.example/media/x)',
    '[a](https://x.example/"onmouseover="alert(1))',
    '[a](https://x.example "title\\" onclick=\\"alert(1)")',
    "<https://x.example/<script>alert(1)</script>>",
    "```\"><img src=x onerror=alert(1)>\ncode\n```",
    "`<img src=x onerror=alert(1)>`",
    "<style>*{display:none}</style>",
    "<a href=https://x.example style=position:fixed>x</a>",
    "<form action=https://x.example><input></form>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<svg><a xlink:href=javascript:alert(1)>x</a></svg>",
    "<math><a href=javascript:alert(1)>x</a></math>",
    "[r]: javascript:alert(1)\n\n[r]",
    "<div id=csgate class=x data-x=y>",
    "https://x.example/<img/src=x/onerror=alert(1)>",
    "| <img src=x onerror=alert(1)> |\n|---|\n| [x](javascript:1) |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
  ];
  it.each(hostile)("%j is inert", (text) => {
    const box = document.createElement("div");
    box.append(md.render(text));
    for (const node of box.querySelectorAll("*")) {
      expect("P BR STRONG EM S CODE PRE UL OL LI BLOCKQUOTE H3 H4 H5 H6 HR A IMG TABLE THEAD TBODY TR TH TD".split(" ")).toContain(node.nodeName);
      for (const { name, value } of node.attributes) {
        expect(["href", "src", "alt", "loading", "start", "align", "target", "rel", "tabindex"]).toContain(name);
        if (name === "href") expect(value).toMatch(/^(https?:\/\/|mailto:|tel:)/);
        if (name === "src") expect(value).toMatch(/^(data:image\/png;|https:\/\/chat\.example\/media\/)/);
      }
    }
  });

  it("much nesting and long runs take no time", () => {
    const started = performance.now();
    for (const text of ["[".repeat(8000), "*a ".repeat(2600), "> ".repeat(4000), "`".repeat(8000), "a@".repeat(4000), "https://a.".repeat(800), "((((".repeat(2000), "|".repeat(8000), "&".repeat(8000), "![](".repeat(2000)]) {
      html(text);
      settle(text);
    }
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("a text in the making", () => {
  it.each([
    ["so **bo", "so **bo**"],
    ["so **", "so "],
    ["so *a", "so *a*"],
    ["run `np", "run `np`"],
    ["see [the pa", "see the pa"],
    ["see [the page](https://sho", "see the page"],
    ["see [the page](https://shop.example)", "see [the page](https://shop.example)"],
    ["**done** and *also*", "**done** and *also*"],
    ["```\n**code", "```\n**code"],
    ["* one\n* tw", "* one\n* tw"],
    ["**first**\n\nthen **sec", "**first**\n\nthen **sec**"],
    ["`a*b` c", "`a*b` c"],
    ["", ""],
  ])("%j is shown as %j", (text, shown) => {
    expect(settle(text)).toBe(shown);
  });

  it.each([
    ["one\n\ntwo", 5],
    ["one\n\n", 0],
    ["one\n\n- two", 0],
    ["- one\n\n  more\n\nNext", 15],
    ["- one\n\n1. two", 0],
    ["```\na\n\nb\n```\n\nc", 14],
    ["```\na\n\nb", 0],
    ["一\n\n二\n\n三", 6],
    ["a\n\nb\n\n> c", 3],
  ])("of %j, %i letters are finished", (text, end) => {
    expect(finished(text)).toBe(end);
  });

  it("comes to the same, whatever was finished on the way", () => {
    vi.stubGlobal("matchMedia", () => ({ matches: true }));
    let frame: (() => void) | undefined;
    vi.stubGlobal("requestAnimationFrame", (next: () => void) => ((frame = next), 1));
    vi.stubGlobal("cancelAnimationFrame", () => {});
    vi.spyOn(performance, "now").mockReturnValue(0); // no frame is dear
    const text = "# Title\n\nOne **two**\n\n- a\n\n- b\n\n  c\n\nThen `code`:\n\n```\nx\n\ny\n```\n\nThe end\n\n1. z\n\nReally";
    const box = document.createElement("div");
    const writer = createWriter(box, md);
    for (let end = 1; end < text.length; end++) {
      writer.write(text.slice(0, end), false);
      frame?.();
      frame = undefined;
      expect(box.innerHTML, text.slice(0, end)).toBe(html2(settleAll(text.slice(0, end))));
    }
    writer.write("Another text", false); // a second attempt
    frame?.();
    expect(box.textContent?.trim()).toBe("Another text");
    writer.write(text, true);
    expect(box.innerHTML).toBe(html2(text));
  });

  it("leaves alone what did not change", () => {
    const box = document.createElement("div");
    morph(box, md.render("first\n\nsecond **wor**"));
    const [first, second] = box.children;
    const bold = second?.querySelector("strong");
    morph(box, md.render("first\n\nsecond **word**\n\n- third"));
    expect(box.children[0]).toBe(first);
    expect(box.children[1]).toBe(second);
    expect(box.querySelector("strong")).toBe(bold);
    expect(bold?.textContent).toBe("word");
    expect(box.querySelector("li")?.textContent).toBe("third");
    morph(box, md.render("other"));
    expect(box.textContent?.trim()).toBe("other");
  });
});
