"""Pages of Markdown in passages: headings, notes, and what must not be cut apart."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.dialog.knowledge_pages import (
    MAX_PASSAGE_WORDS,
    Passage,
    count_words,
    plain_heading,
    read_page,
    split_page,
)
from csgate.errors import PackError
from csgate.events import Language

LONG = MAX_PASSAGE_WORDS * 2 + 20


def split(text: str, language: Language = "en") -> list[Passage]:
    return list(split_page(text, "page", language))


def bodies(text: str) -> list[str]:
    return [passage.text for passage in split(text)]


def test_headings_are_the_path() -> None:
    found = split("# Returns\nIntro.\n\n## Time limits ##\nThirty days.\n### Gifts\nMore.\n## Costs\nFree.\n")
    assert [(passage.source, passage.text) for passage in found] == [
        ("Returns", "Intro."),
        ("Returns › Time limits", "Thirty days."),
        ("Returns › Time limits › Gifts", "More."),
        ("Returns › Costs", "Free."),
    ]
    assert found[0] == Passage("page", "en", ("Returns",), "Intro.")


def test_a_heading_without_text_has_no_passage() -> None:
    assert bodies("# A\n## B\n\n## C\nText.") == ["Text."]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("*Fast* and `safe`", "Fast and safe"),
        ("[Terms](https://example.org/terms)  here", "Terms here"),
        (r"5 \* 3", "5 * 3"),
        ("![Logo](logo.png)", "Logo"),
    ],
)
def test_a_heading_is_plain_text(written: str, read: str) -> None:
    assert plain_heading(written) == read
    assert split(f"# {written}\nText.")[0].path == (read,)


def test_comments_are_left_out() -> None:
    text = "<!-- to do -->\n# A\nSeen <!-- not --> text.\n<!-- over\n# no heading\nlines -->behind\n\nNext <!-- open\n"
    assert bodies(text) == ["Seen  text.\nbehind\n\nNext"]


def test_notes_help_the_search_and_are_not_shown() -> None:
    text = (
        "# A\n<!-- intents: one, two -->\n\n## B\n<!-- also: bee -->\n<!-- also: buzz -->\nText.\n"
        "## C\n<!-- intents: three -->\nText.\n# D\nText."
    )
    assert [(one.path[-1], one.also, one.intents, one.text) for one in split(text)] == [
        ("B", "bee buzz", ("one", "two"), "Text."),
        ("C", "", ("three",), "Text."),
        ("D", "", (), "Text."),
    ]


@pytest.mark.parametrize("fence", ["```", "~~~~"])
def test_code_is_never_cut_or_read(fence: str) -> None:
    code = "\n".join([f"{fence}text", "# no heading", "<!-- kept -->", "", *["word " * 10] * 30, "``", fence])
    found = bodies(f"# A\nBefore.\n\n{code}\n\nBehind.")
    assert found[0] == "Before."
    assert found[1].startswith(fence)
    assert found[1].rstrip().endswith(fence)
    assert "<!-- kept -->" in found[1]
    assert found[2] == "Behind."


def test_a_fence_left_open_runs_to_the_end() -> None:
    assert bodies("# A\n```\ncode\n\n# still code") == ["```\ncode\n\n# still code"]


def test_a_long_table_keeps_its_head() -> None:
    head = "| region | price |\n|---|:-:|\n"
    rows = [f"| place number {row} | {row} euros |" for row in range(60)]
    found = bodies("# A\n" + head + "\n".join(rows))
    assert len(found) > 1
    assert all(body.startswith(head) for body in found)
    assert [row for body in found for row in body.splitlines()[2:]] == rows


def test_a_long_list_is_cut_between_items() -> None:
    items = [f"- item {number} " + "word " * 8 + "\n  goes on" for number in range(30)]
    found = bodies("# A\n" + "\n".join(items))
    assert len(found) > 1
    assert all(body.startswith("- item") for body in found)
    assert "\n".join(found) == "\n".join(items)


def test_the_second_paragraph_of_an_item_stays_with_it() -> None:
    assert bodies("# A\n- one\n\n  more of one\n- two\n\nnot of it") == ["- one\n\n  more of one\n- two\n\nnot of it"]


@pytest.mark.parametrize(("sentence", "joint"), [("Some words make a sentence.", " "), ("这里有一个很长的句子。", "")])
def test_a_long_paragraph_is_cut_between_sentences(sentence: str, joint: str) -> None:
    found = bodies("# A\n" + joint.join([sentence] * 80))
    assert len(found) > 1
    assert all(body.endswith(sentence) and count_words(body) <= MAX_PASSAGE_WORDS for body in found)
    assert joint.join(found) == joint.join([sentence] * 80)


def test_short_paragraphs_share_a_passage() -> None:
    assert bodies("# A\nOne.\n\nTwo.\n\n" + "word " * 119) == ["One.\n\nTwo.", ("word " * 119)]


def test_words() -> None:
    assert count_words("It's 5 days") == 4
    assert count_words("七天无理由退货吧") == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("Hello.\n# A", "has text before its first heading"), ("# A\nx\n##\ny", "has a heading without words")],
)
def test_wrong_pages(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=f"page.md {sentence}"):
        read_page(file, "en")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    with pytest.raises(PackError, match="No such file"):
        read_page(file, "en")
    file.write_bytes(b"# A\n\xff")
    with pytest.raises(PackError, match="is not UTF-8"):
        read_page(file, "en")
    file.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(PackError, match="larger than"):
        read_page(file, "en")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_bytes("\ufeff# A\r\nText.\r\n".encode())
    assert [passage.text for passage in read_page(file, "en")] == ["Text."]


words = st.text(alphabet="ab \n#|-`~*.。退", max_size=200)


@given(words)
def test_any_markdown_is_split_or_refused(text: str) -> None:
    try:
        found = split("# A\n" + text)
    except ValueError:
        return
    assert all(passage.text.strip() and passage.path for passage in found)


def test_no_word_is_lost() -> None:
    text = "\n\n".join(f"para {number} " + "word " * 50 for number in range(LONG // 60))
    assert " ".join(bodies(f"# A\n{text}")).split() == text.split()
