"""The file in a form, however its bytes come."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csgate.errors import BadEnvelope
from csgate.gateway.upload_form import MAX_OTHER_BYTES, MAX_PARTS, FileField, file_field

BOUNDARY = b"----form7"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'Content-Disposition: form-data; name="{name}"{named}\r\nContent-Type: image/jpeg\r\n'
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(*chunks: bytes) -> bytes:
    field = FileField(BOUNDARY)
    content = b"".join(piece for chunk in chunks for piece in field.feed(chunk))
    field.finish()
    return content


TRICKY = b"\r\n--" + BOUNDARY[:-1] + b"\r\n\r\n-\x00\xff\r"


@given(st.binary(max_size=50), st.lists(st.integers(0, 400), max_size=6))
def test_the_file_comes_out_whatever_the_pieces(content: bytes, cuts: list[int]) -> None:
    body = form(part("x", b"before"), part("file", content + TRICKY, "a%22; name=x.jpg"), part("y", b"behind"))
    ends = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert read(*[body[start:end] for start, end in pairwise(ends)]) == content + TRICKY


def test_byte_by_byte_and_with_an_epilogue() -> None:
    body = form(part("file", TRICKY)) + b"epilogue"
    assert read(*[bytes([byte]) for byte in body]) == TRICKY
    assert read(body) == TRICKY
    assert read(form(part("file", b""))) == b""


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (form(part("picture", b"x")), "no field"),
        (form(part("file", b"x"), part("file", b"y")), "two files"),
        (form(*[part("x", b"")] * (MAX_PARTS + 1)), "too many"),
        (form(part("x", bytes(MAX_OTHER_BYTES + 1))), "too large"),
        (part("file", b"breaks off"), "breaks off"),
        (b"", "breaks off"),
        (b"no form at all, but long enough to be told from one", "boundary"),
        (b"--" + BOUNDARY + b"\r\nA: " + bytes(9000), "header"),
        (form(b"--" + BOUNDARY + b"\r\nContent-Type: image/png\r\n\r\nx\r\n"), "no field"),
    ],
)
def test_what_is_no_form_with_a_file(body: bytes, detail: str) -> None:
    with pytest.raises(BadEnvelope, match=r"(?i)" + detail) as caught:
        read(body)
    assert "'file'" in caught.value.text()


def test_which_types_are_forms() -> None:
    assert file_field("image/jpeg") is None
    assert file_field("") is None
    assert isinstance(file_field('Multipart/Form-Data; charset=utf-8; boundary="----form7"'), FileField)
    for wrong in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 999}",
    ):
        with pytest.raises(BadEnvelope):
            file_field(wrong)
