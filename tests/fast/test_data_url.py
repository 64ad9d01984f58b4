"""What stands before the Base64 text of a data: URL: RFC 2397."""

import pytest

from csgate._fast import strip_data_url


@pytest.mark.parametrize(
    ("text", "rest", "media"),
    [
        (b"data:image/png;base64,iVBO", b"iVBO", "image/png"),
        (b"DATA:Image/PNG;name=a.png;BASE64,iVBO", b"iVBO", "image/png"),
        (b"data:;base64,", b"", "text/plain"),
        (b"iVBO", b"iVBO", None),
        (b"", b"", None),
        (b"datum", b"datum", None),
    ],
)
def test_splits(text: bytes, rest: bytes, media: str | None) -> None:
    for data in (text, bytearray(text), memoryview(text)):
        view, found = strip_data_url(data)
        assert bytes(view) == rest
        assert found == media


def test_the_rest_is_a_view() -> None:
    message = bytearray(b"data:image/gif;base64,R0lG")
    view, _ = strip_data_url(message)
    message[-1:] = b"H"
    assert bytes(view) == b"R0lH"


@pytest.mark.parametrize("text", [b"data:image/png,abc", b"data:,abc", b"data:base64,abc", b"data:image/png;base64"])
def test_other_data_urls_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="data: URL"):
        strip_data_url(text)


def test_only_the_beginning_is_looked_at() -> None:
    with pytest.raises(ValueError, match="256"):
        strip_data_url(b"data:" + b"a" * 300 + b";base64,AAAA")
