"""Which bytes of a file a request wants."""

import pytest

from csgate.gateway.byte_range import Unsatisfiable, is_known, wanted

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "range"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("Bytes= 10-19 ", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=99-99", (99, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes=0-9999999999999999999999", None),
        ("", None),
    ],
)
def test_ranges(header: str, range: tuple[int, int] | None) -> None:
    assert wanted(100, ETAG, {"range": header}) == range
    assert wanted(100, ETAG, {"range": header, "if-range": ETAG}) == range
    assert wanted(100, ETAG, {"range": header, "if-range": '"other"'}) is None
    assert wanted(100, ETAG, {"range": header, "if-range": "Sat, 29 Oct 1994 19:43:31 GMT"}) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999-"])
def test_ranges_behind_the_end(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted(100, ETAG, {"range": header})


@pytest.mark.parametrize(
    ("header", "known"),
    [('"abc"', True), ('W/"abc"', True), ('"x", "abc"', True), (" * ", True), ('"x"', False), ("", False)],
)
def test_what_the_reader_has_already(header: str, known: bool) -> None:
    assert is_known(ETAG, {"if-none-match": header}) is known


def test_no_headers_no_range() -> None:
    assert wanted(100, ETAG, {}) is None
    assert not is_known(ETAG, {})
