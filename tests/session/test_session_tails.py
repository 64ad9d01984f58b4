"""The newest events in memory: what they answer, and that they are never wrong."""

from csgate.events import MessageEvent
from csgate.session import Page
from csgate.session.sqlite_tails import Tails


def event(offset: int, size: int = 2) -> MessageEvent:
    return MessageEvent(f"m{offset}", offset, "customer", "x" * size, "now")


def page(first: int, last: int, start: int) -> Page:
    return Page(first, last, tuple(event(offset) for offset in range(start + 1, last + 1)))


def test_a_conversation_from_its_first_event_on() -> None:
    tails = Tails(100_000, 3)
    for offset in range(1, 6):
        tails.add("c", 1, event(offset))
    assert tails.page("c", 0, 3) == page(1, 5, 2)
    assert tails.page("c", 3, None) == page(1, 5, 3)
    assert tails.page("c", 9, None) == page(1, 5, 9)
    assert tails.page("c", 0, None) is None
    assert tails.page("c", 1, None) is None
    assert tails.page("other", 0, 1) is None


def test_what_the_log_does_not_retain_is_not_missing() -> None:
    tails = Tails(100_000, 3)
    for offset in range(1, 6):
        tails.add("c", max(1, offset - 2), event(offset))
    assert tails.page("c", 0, None) == page(3, 5, 2)


def test_a_page_that_was_read_is_kept_and_goes_on() -> None:
    tails = Tails(100_000, 3)
    tails.add("c", 1, event(7))  # of a conversation that is not here: nothing to keep it with
    assert tails.page("c", 0, 1) is None
    assert tails.read_begins("c")
    assert not tails.read_begins("c")
    tails.read_ends("c", page(1, 8, 2))
    assert tails.page("c", 0, 3) == page(1, 8, 5)
    # Committed when the page was read, and told only now.
    tails.add("c", 1, event(8))
    tails.add("c", 1, event(9))
    assert tails.page("c", 0, 3) == page(1, 9, 6)


def test_a_page_that_changed_while_it_was_read_is_not_kept() -> None:
    for change in (lambda tails: tails.add("c", 1, event(9)), lambda tails: tails.drop("c")):
        tails = Tails(100_000, 3)
        assert tails.read_begins("c")
        change(tails)
        tails.read_ends("c", page(1, 8, 2))
        assert tails.page("c", 0, 1) is None
        assert tails.read_begins("c")
        tails.read_ends("c", None)
        assert tails.page("c", 0, 1) is None
        assert tails.bytes == 0


def test_the_one_used_longest_ago_goes_first() -> None:
    tails = Tails(10_000, 3)
    for name in "abc":
        tails.add(name, 1, event(1, 2_000))
    assert tails.page("a", 0, 1) is not None
    tails.add("d", 1, event(1, 2_000))
    assert [name for name in "abcd" if tails.page(name, 0, 1)] == ["a", "c", "d"]
    assert tails.bytes <= 10_000
    tails.add("e", 1, event(1, 20_000))
    assert tails.bytes == 0
    tails.drop("e")
