"""What strangers and models write stays text."""

import pytest
from playwright.sync_api import expect

from ..conftest import Server
from .conftest import Visit
from .dictation import Dictation
from .visitor import answers

pytestmark = pytest.mark.browser
QUESTION = "Where is my order 12345?"
HOSTILE = (
    "<script>window.hacked = 1; alert(1)</script>\n\n<img src=x onerror=alert(2)> ",
    "![pixel](https://tracker.example/p.gif) ![s](javascript:alert(3)) ",
    "![d](data:image/svg+xml,<svg onload=alert(4)>)\n\n",
    "[a](javascript:alert(5)) [b](JaVaScRiPt&colon;alert(6)) [c](vbscript:x) ",
    "[d](data:text/html,<script>alert(7)</script>)\n\n",
    '[e](https://e.example/"onmouseover="alert(8)) <https://f.example/> [g]: https://g.example "x" ',
    "[h](//h.example) &#106;avascript:alert(9) https://ok.example/ mail@ok.example\n\n",
    "<style>@import 'https://css.example/x.css'</style><link rel=stylesheet href=https://css.example/y.css>\n\n",
    "<iframe srcdoc='<script>parent.hacked = 2</script>'></iframe>",
    "<form action=https://form.example><button>Go</button></form>\n\n",
    "<svg><animate onbegin=alert(10) attributeName=x></svg>",
    "<math><mtext></p><style><img src onerror=alert(11)></style>\n\n",
    "| a | b |\n|:--|--:|\n| <b onclick=alert(12)>x</b> | ![](https://t.example/q.png) |\n\n",
    "```html\n<script>alert(13)</script>\n```\n\n> <object data=https://o.example></object>\n\n",
    "".join("*_`[(" for _ in range(60)) + "\u202egnp.exe\u202c\n\nThat is all.",
)
"""Each has gone wrong somewhere before."""


def test_what_a_model_writes_runs_nothing_and_asks_nobody(writer: Server, dictation: Dictation, visit: Visit) -> None:
    """Whatever a model was talked into: no script, no element beyond those of Markdown, no request to anybody else."""
    visitor = visit(writer)
    page = visitor.page
    dictation.dictate(list(HOSTILE), 1)
    visitor.say(QUESTION)
    for _ in HOSTILE:  # each state of the answer, also those with an open bracket or quote
        dictation.allow(1)
        expect(page.locator(".row.reply .md")).not_to_be_empty()
    expect(answers(page)).to_contain_text("That is all.")
    found: list[str] = answers(page).evaluate("body => [...body.querySelectorAll('*')].map(one => one.localName)")
    assert set(found) <= {"p", "br", "a", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "h3", "h4"} | {
        *("h5", "h6", "hr", "table", "thead", "tbody", "tr", "th", "td")
    }
    attributes: list[str] = answers(page).evaluate(
        "body => [...body.querySelectorAll('*')].flatMap(one => one.getAttributeNames())"
    )
    assert set(attributes) <= {"href", "target", "rel", "start", "align", "tabindex"}
    links: list[list[str]] = (
        answers(page)
        .locator("a[href]")
        .evaluate_all("links => links.map(link => [link.protocol, link.rel, link.target])")
    )
    assert len(links) >= 3
    assert {tuple(link) for link in links} <= {
        (protocol, "noopener noreferrer", "_blank") for protocol in ("https:", "http:", "mailto:")
    }
    page.reload()
    expect(answers(page)).to_contain_text("That is all.")
    assert page.evaluate("() => window.hacked") is None
