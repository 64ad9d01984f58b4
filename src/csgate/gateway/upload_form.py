"""The file in a form: ``multipart/form-data`` (RFC 7578) as its bytes come, without I/O.

Only the field ``file`` is handed on; others may come, a few and short ones, and are dropped.
"""

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from csgate.errors import BadEnvelope

FIELD: Final = b"file"
MAX_PARTS: Final = 8
MAX_OTHER_BYTES: Final = 16 * 1024
MAX_FORM_BYTES: Final = 64 * 1024
"""Of a form beside its file: other fields, heads, boundaries."""
_FORM: Final = b"multipart/form-data"


class FileField:
    """The content of the one field ``file``, piece by piece.

    ``whole``: the form has come to its end.
    """

    def __init__(self, boundary: bytes) -> None:
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )
        self._name = bytearray()
        self._value = bytearray()
        self._pieces: list[bytes] = []
        self._parts = 0
        self._other_bytes = 0
        self._inside = False
        self._found = False
        self.whole = False

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes of the form, and returns what they hold of the file.

        Raises:
            BadEnvelope: this is not the form, or there is too much beside the file.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _bad(str(error)) from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """To be called at the end of the body.

        Raises:
            BadEnvelope: the form is not whole, or had no file.
        """
        if not self.whole:
            raise _bad("the form breaks off")
        if not self._found:
            raise _bad("no field 'file'")

    def _begin(self) -> None:
        self._parts += 1
        self._inside = False
        if self._parts > MAX_PARTS:
            raise _bad("too many fields")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            if options.get(b"name") == FIELD:
                if self._found:
                    raise _bad("two files")
                self._found = self._inside = True
        self._name.clear()
        self._value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._pieces.append(data[start:end])
            return
        self._other_bytes += end - start
        if self._other_bytes > MAX_OTHER_BYTES:
            raise _bad("fields beside the file are too large")

    def _end(self) -> None:
        self.whole = True


def file_field(content_type: str) -> FileField | None:
    """The reader for a body of that type; None where it is no form, thus the file itself.

    Raises:
        BadEnvelope: it is a form without a usable boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != _FORM:
        return None
    boundary = options.get(b"boundary")
    if not boundary:
        raise _bad("no boundary")
    try:
        return FileField(boundary)
    except FormParserError as error:
        raise _bad(str(error)) from None


def _bad(detail: str) -> BadEnvelope:
    return BadEnvelope(
        detail,
        public="Send a form with one file in the field 'file', or the file alone.",
        public_zh="请发送仅在 'file' 字段中包含一个文件的表单，或直接发送文件。",
    )
