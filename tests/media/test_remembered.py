"""The bounded memory."""

from csgate.media.remembered import Remembered


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    memory: Remembered[str, int] = Remembered(2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert (memory.get("a"), memory.get("b"), memory.get("c"), len(memory)) == (1, None, 3, 2)
    memory.drop("a")
    memory.drop("a")
    assert len(memory) == 1


def test_bounded_in_bytes() -> None:
    memory: Remembered[str, str] = Remembered(100, 10)
    memory.put("a", "aaaa", 4)
    memory.put("b", "bbbb", 4)
    memory.put("a", "aaaaaa", 6)
    assert memory.bytes == 10
    memory.put("c", "c", 1)
    assert (memory.get("a"), memory.get("b"), memory.bytes) == ("aaaaaa", None, 7)
    memory.put("d", "d" * 11, 11)  # more than there is room for
    assert (memory.get("d"), len(memory)) == (None, 2)
