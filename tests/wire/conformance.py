"""RFC 6455, section by section, as data: what a client sends to an echo server, and every byte that comes back.

The echo server sends each message back in one frame. ``CASES`` is run without I/O, whole, byte by byte and in chosen
pieces, and against the real echo server over a real socket.
"""

from dataclasses import dataclass

from tests.wire import client_frames as c
from tests.wire.client_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    answer,
    close,
    closed,
    fragments,
    frame,
)


@dataclass(frozen=True)
class Case:
    """``back`` is exactly what comes back, no more and no less.

    ``at``: ``back`` is whole as soon as this many bytes were sent, and nothing of its last frame came before; ``None``
    says nothing about when. ``ends``: the server ends the connection afterwards; otherwise it goes on serving.
    """

    name: str
    section: str
    sent: bytes
    back: bytes
    ends: bool = False
    at: int | None = None


CASES: list[Case] = []


def case(section: str, name: str, sent: bytes, back: bytes, *, ends: bool = False, at: int | None = None) -> None:
    CASES.append(Case(name, section, sent, back, ends, at))


def refused(section: str, name: str, sent: bytes, code: int, reason: str, *, at: int | None = None) -> None:
    """A connection that is failed (section 7.1.7)."""
    case(section, name, sent, closed(code, reason), ends=True, at=at)


KINDS = {"text": TEXT, "binary": BINARY}

# --- 5.2 Base framing protocol: payload lengths ---

for kind, opcode in KINDS.items():
    for size in (0, 1, 2, 3, 4, 5, 7, 8, 16, 124, 125, 126, 127, 128, 255, 256, 1000, 65534, 65535, 65536, 65537):
        payload = (b"csgate*" * (size // 7 + 1))[:size]
        sent = frame(opcode, payload)
        case("5.2", f"{kind} of {size} bytes", sent, answer(opcode, payload), at=len(sent))

for kind, opcode in KINDS.items():
    for size, form, known in (
        (0, 16, 4),
        (1, 16, 4),
        (125, 16, 4),
        (0, 64, 10),
        (125, 64, 10),
        (126, 64, 10),
        (65535, 64, 10),
    ):
        refused(
            "5.2",
            f"{kind} of {size} bytes with a {form}-bit length: not minimal",
            frame(opcode, b"*" * size, form=form),
            1002,
            "length not minimally encoded",
            at=known,
        )
    for name, field in (
        ("only the top bit", "8000000000000000"),
        ("all bits", "ffffffffffffffff"),
        ("top bit and 5", "8000000000000005"),
    ):
        refused(
            "5.2",
            f"{kind} with a 64-bit length of {name}",
            bytes((0x80 | opcode, 0xFF)) + bytes.fromhex(field) + KEY + b"*****",
            1002,
            "length with the top bit set",
            at=3,
        )
    for name, length in (("1 GB", 10**9), ("1 TB", 10**12), ("2**63 - 1 bytes", 2**63 - 1), ("4 GiB + 5", 2**32 + 5)):
        refused(
            "5.2",
            f"{kind} announcing {name}",
            bytes((0x80 | opcode,)) + c.length_field(length),
            1009,
            "message too big",
            at=10,
        )

# --- 5.2 reserved bits and opcodes  ---

for bits in range(1, 8):
    for kind, opcode in (*KINDS.items(), ("ping", PING), ("pong", PONG), ("close", CLOSE)):
        refused(
            "5.2",
            f"{kind} with reserved bits {bits:03b}",
            frame(opcode, b"", rsv=bits),
            1002,
            "reserved bit set",
            at=1,
        )
    case(
        "5.2",
        f"continuation with reserved bits {bits:03b}",
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=bits),
        closed(1002, "reserved bit set"),
        ends=True,
        at=8,
    )
    case(
        "5.2",
        f"reserved bits {bits:03b} after a good message",
        frame(TEXT, b"good") + frame(TEXT, b"bad", rsv=bits) + frame(TEXT, b"unseen"),
        answer(TEXT, b"good") + closed(1002, "reserved bit set"),
        ends=True,
        at=11,
    )

for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    for name, payload in (("empty", b""), ("with payload", b"payload")):
        refused("5.2", f"opcode {opcode:#x}, {name}", frame(opcode, payload), 1002, "reserved opcode", at=1)
    case(
        "5.2",
        f"opcode {opcode:#x} after a good message and before a ping",
        frame(TEXT, b"good") + frame(opcode, b"") + frame(PING, b"unseen"),
        answer(TEXT, b"good") + closed(1002, "reserved opcode"),
        ends=True,
        at=11,
    )

# --- 5.1 and 5.3 masking  ---

for name, opcode in (*KINDS.items(), ("ping", PING), ("pong", PONG), ("close", CLOSE)):
    for size in (0, 5):
        refused(
            "5.1",
            f"{name} of {size} bytes, not masked",
            frame(opcode, b"*" * size, key=None),
            1002,
            "frame not masked",
            at=2,
        )
refused("5.1", "text of 300 bytes, not masked", frame(TEXT, b"*" * 300, key=None), 1002, "frame not masked", at=2)
case(
    "5.1",
    "second frame not masked",
    frame(TEXT, b"good") + frame(TEXT, b"bad", key=None),
    answer(TEXT, b"good") + closed(1002, "frame not masked"),
    ends=True,
    at=12,
)
for key in ("00000000", "ffffffff", "00ff00ff", "01020304", "80808080"):
    for size in (1, 6, 255, 4099):
        payload = bytes(range(256)) * (size // 256 + 1)
        sent = frame(BINARY, payload[:size], key=bytes.fromhex(key))
        case("5.3", f"{size} bytes masked with {key}", sent, answer(BINARY, payload[:size]), at=len(sent))
case("5.7", "masked Hello of the RFC", bytes.fromhex("818537fa213d7f9f4d5158"), answer(TEXT, b"Hello"), at=11)

# --- 5.4 Fragmentation  ---

SENTENCE = "Wo ist 我的订单?".encode()
for kind, opcode in KINDS.items():
    for cut in range(len(SENTENCE) + 1):
        sent = frame(opcode, SENTENCE[:cut], fin=False) + frame(CONTINUATION, SENTENCE[cut:])
        case("5.4", f"{kind} in two, cut at {cut}", sent, answer(opcode, SENTENCE), at=len(sent))
    for size in (1, 2, 3, 4, 5, 7, 11):
        sent = b"".join(fragments(opcode, SENTENCE, size))
        case("5.4", f"{kind} in fragments of {size}", sent, answer(opcode, SENTENCE), at=len(sent))
    for count in (1, 2, 5):
        sent = frame(opcode, fin=False) + frame(CONTINUATION, fin=False) * count + frame(CONTINUATION)
        case("5.4", f"{kind} of {count + 2} empty fragments", sent, answer(opcode), at=len(sent))
    case(
        "5.4",
        f"{kind} with content in the middle fragment only",
        frame(opcode, fin=False) + frame(CONTINUATION, b"middle", fin=False) + frame(CONTINUATION),
        answer(opcode, b"middle"),
    )
    case(
        "5.4",
        f"two fragmented {kind} messages in a row",
        b"".join(fragments(opcode, b"first one", 4) + fragments(opcode, b"second one", 3)),
        answer(opcode, b"first one") + answer(opcode, b"second one"),
    )
    case(
        "5.4",
        f"{kind} in 500 fragments of a byte",
        b"".join(fragments(opcode, b"*" * 500, 1)),
        answer(opcode, b"*" * 500),
    )
    case(
        "5.4",
        f"{kind} with a key of its own in each fragment",
        frame(opcode, b"abc", fin=False, key=b"\1\2\3\4")
        + frame(CONTINUATION, b"defgh", fin=False, key=b"\xf0\xe1\xd2\xc3")
        + frame(CONTINUATION, b"i", key=b"\0\0\0\0"),
        answer(opcode, b"abcdefghi"),
    )
    for second, second_opcode in KINDS.items():
        for fin in (True, False):
            case(
                "5.4",
                f"{second} frame (fin {fin:d}) inside a fragmented {kind} message",
                frame(opcode, b"a", fin=False) + frame(second_opcode, b"b", fin=fin) + frame(CONTINUATION, b"c"),
                closed(1002, "new message inside a fragmented one"),
                ends=True,
                at=13,
            )
    for fin in (True, False):
        case(
            "5.4",
            f"continuation (fin {fin:d}) after a whole {kind} message",
            frame(opcode, b"good") + frame(CONTINUATION, b"bad", fin=fin),
            answer(opcode, b"good") + closed(1002, "continuation of nothing"),
            ends=True,
            at=16,
        )
for fin in (True, False):
    for payload in (b"", b"orphan"):
        refused(
            "5.4",
            f"continuation (fin {fin:d}) of {len(payload)} bytes first",
            frame(CONTINUATION, payload, fin=fin),
            1002,
            "continuation of nothing",
            at=6,
        )
case(
    "5.4",
    "messages of both kinds by turns, whole and fragmented",
    frame(TEXT, b"1")
    + b"".join(fragments(BINARY, b"22", 1))
    + frame(BINARY, b"3")
    + b"".join(fragments(TEXT, b"44", 1)),
    answer(TEXT, b"1") + answer(BINARY, b"22") + answer(BINARY, b"3") + answer(TEXT, b"44"),
)
case("5.4", "a hundred whole messages at once", frame(TEXT, b"again") * 100, answer(TEXT, b"again") * 100)

# --- 5.5 Control frames  ---

for size in (0, 1, 2, 10, 124, 125):
    payload = bytes(range(0xFF, 0xFF - size, -1))
    sent = frame(PING, payload)
    case("5.5.2", f"ping of {size} bytes", sent, answer(PONG, payload), at=len(sent))
    case("5.5.3", f"unasked pong of {size} bytes", frame(PONG, payload), b"")
for name, opcode in (("ping", PING), ("pong", PONG), ("close", CLOSE)):
    for size, form in ((126, None), (127, None), (65536, None), (5, 16), (5, 64)):
        refused(
            "5.5",
            f"{name} of {size} bytes with a {form or 'minimal'}-bit length",
            frame(opcode, b"\x03\xe8" + b"*" * (size - 2), form=form),
            1002,
            "control frame of more than 125 bytes",
            at=2,
        )
    refused("5.5", f"{name} that is not final", frame(opcode, b"", fin=False), 1002, "fragmented control frame", at=1)
    case(
        "5.5",
        f"{name} that is not final, inside a message",
        frame(TEXT, b"a", fin=False) + frame(opcode, b"", fin=False),
        closed(1002, "fragmented control frame"),
        ends=True,
        at=8,
    )
case(
    "5.5.2",
    "ten pings in a row",
    b"".join(frame(PING, b"%d" % i) for i in range(10)),
    b"".join(answer(PONG, b"%d" % i) for i in range(10)),
)
case("5.5.2", "ping and message", frame(PING, b"p") + frame(TEXT, b"m"), answer(PONG, b"p") + answer(TEXT, b"m"))
case("5.5.3", "pong and ping", frame(PONG, b"x") + frame(PING, b"y"), answer(PONG, b"y"))
for kind, opcode in KINDS.items():
    case(
        "5.4",
        f"ping between two fragments of {kind}",
        frame(opcode, b"ab", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"cd"),
        answer(PONG, b"p") + answer(opcode, b"abcd"),
    )
    case(
        "5.4",
        f"pong between two fragments of {kind}",
        frame(opcode, b"ab", fin=False) + frame(PONG, b"p") + frame(CONTINUATION, b"cd"),
        answer(opcode, b"abcd"),
    )
    pieces = fragments(opcode, SENTENCE, 1)
    case(
        "5.4",
        f"ping after each byte of {kind}",
        b"".join(piece + frame(PING, b"p") for piece in pieces),
        answer(PONG, b"p") * (len(pieces) - 1) + answer(opcode, SENTENCE) + answer(PONG, b"p"),
    )
    case(
        "5.4",
        f"close inside fragmented {kind}",
        frame(opcode, b"ab", fin=False) + close(1000),
        closed(1000),
        ends=True,
    )

# --- 8.1 and 5.6 UTF-8  ---

VALID = {
    "Greek": "κόσμε".encode(),
    "Chinese": "我的订单在哪里？".encode(),
    "emoji": "🚚📦💬".encode(),
    "NUL": b"\x00",
    "U+007F": b"\x7f",
    "U+0080, first of two bytes": b"\xc2\x80",
    "U+07FF, last of two bytes": b"\xdf\xbf",
    "U+0800, first of three bytes": b"\xe0\xa0\x80",
    "U+0FFF": b"\xe0\xbf\xbf",
    "U+D7FF, before the surrogates": b"\xed\x9f\xbf",
    "U+E000, after the surrogates": b"\xee\x80\x80",
    "U+FFFD": b"\xef\xbf\xbd",
    "U+FFFE, a noncharacter": b"\xef\xbf\xbe",
    "U+FFFF, last of three bytes": b"\xef\xbf\xbf",
    "U+10000, first of four bytes": b"\xf0\x90\x80\x80",
    "U+1FFFE, a noncharacter": b"\xf0\x9f\xbf\xbe",
    "U+FFFFF": b"\xf3\xbf\xbf\xbf",
    "U+10FFFF, the last": b"\xf4\x8f\xbf\xbf",
    "U+FEFF in front": b"\xef\xbb\xbfa",
    "combining marks": "é̶ñ".encode(),
}
for name, text in VALID.items():
    sent = frame(TEXT, text)
    case("8.1", f"valid: {name}", sent, answer(TEXT, text), at=len(sent))
    case("8.1", f"valid, a fragment a byte: {name}", b"".join(fragments(TEXT, text, 1)), answer(TEXT, text))

# The wrong bytes, and the index of the first one that cannot stand (its own length: it only ends too soon).
INVALID = {
    "continuation byte 80 alone": (b"\x80", 0),
    "continuation byte bf alone": (b"\xbf", 0),
    "two continuation bytes": (b"\x80\xbf", 0),
    "c0, overlong": (b"\xc0\xaf", 0),
    "c1, overlong": (b"\xc1\xbf", 0),
    "e0 80, overlong": (b"\xe0\x80\xaf", 1),
    "e0 9f, overlong": (b"\xe0\x9f\xbf", 1),
    "f0 80, overlong": (b"\xf0\x80\x80\xaf", 1),
    "f0 8f, overlong": (b"\xf0\x8f\xbf\xbf", 1),
    "f8, five bytes": (b"\xf8\x88\x80\x80\x80", 0),
    "fc, six bytes": (b"\xfc\x84\x80\x80\x80\x80", 0),
    "NUL as c0 80": (b"\xc0\x80", 0),
    "NUL as e0 80 80": (b"\xe0\x80\x80", 1),
    "NUL as f0 80 80 80": (b"\xf0\x80\x80\x80", 1),
    "surrogate D800": (b"\xed\xa0\x80", 1),
    "surrogate DB7F": (b"\xed\xad\xbf", 1),
    "surrogate DBFF": (b"\xed\xaf\xbf", 1),
    "surrogate DC00": (b"\xed\xb0\x80", 1),
    "surrogate DFFF": (b"\xed\xbf\xbf", 1),
    "surrogate pair": (b"\xed\xa0\x80\xed\xb0\x80", 1),
    "U+110000": (b"\xf4\x90\x80\x80", 1),
    "f5": (b"\xf5\x80\x80\x80", 0),
    "f7": (b"\xf7\xbf\xbf\xbf", 0),
    "fe": (b"\xfe", 0),
    "ff": (b"\xff", 0),
    "fe fe ff ff": (b"\xfe\xfe\xff\xff", 0),
    "c2 and ASCII": (b"\xc2a", 1),
    "e1 80 and ASCII": (b"\xe1\x80a", 2),
    "f1 80 80 and ASCII": (b"\xf1\x80\x80a", 3),
    "e1 and a first byte": (b"\xe1\xc2\x80", 1),
    "Greek, then a surrogate": (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 12),
    "Greek, then above the last": (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
    "ISO 8859-1": ("Größe".encode("latin-1"), 2),
    "GB 18030": ("订单".encode("gb18030"), 0),
}
for name, (text, wrong) in INVALID.items():
    refused("8.1", f"invalid: {name}", frame(TEXT, text), 1007, "text is not UTF-8", at=6 + wrong + 1)
    # In a frame that is far from whole: nothing may be waited for.
    unfinished = frame(TEXT, b"ok, " + text + b" and much more to come" * 9)[: 8 + 4 + wrong + 1]
    refused("8.1", f"invalid in an unfinished frame: {name}", unfinished, 1007, "text is not UTF-8", at=len(unfinished))
for name, (text, wrong) in list(INVALID.items())[:27]:
    pieces = fragments(TEXT, b"ab" + text + b"cd", 1)
    refused(
        "8.1",
        f"invalid, a fragment a byte: {name}",
        b"".join(pieces),
        1007,
        "text is not UTF-8",
        at=sum(len(piece) for piece in pieces[: 2 + wrong + 1]),
    )
for name, text in (
    ("one of two", b"\xc2"),
    ("one of three", b"\xe1"),
    ("two of three", b"\xe1\x80"),
    ("one of four", b"\xf1"),
    ("two of four", b"\xf1\x80"),
    ("three of four", b"\xf1\x80\x80"),
):
    sent = frame(TEXT, b"a" + text)
    refused("8.1", f"ends inside a character: {name}", sent, 1007, "text ends inside a character", at=len(sent))
    sent = frame(TEXT, b"a" + text, fin=False) + frame(CONTINUATION)
    refused(
        "8.1",
        f"ends inside a character, in fragments: {name}",
        sent,
        1007,
        "text ends inside a character",
        at=len(sent),
    )
case("5.6", "binary need not be UTF-8", frame(BINARY, b"\xff\xfe\x80\xc0"), answer(BINARY, b"\xff\xfe\x80\xc0"))
case(
    "8.1",
    "a ping with such bytes between the bytes of a character",
    frame(TEXT, b"\xe6\x88", fin=False) + frame(PING, b"\xff\x80") + frame(CONTINUATION, b"\x91"),
    answer(PONG, b"\xff\x80") + answer(TEXT, "我".encode()),
)

# --- 5.5.1, 7.1.5, 7.4 Closing  ---

case("5.5.1", "empty close", close(), closed(), ends=True, at=6)
for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3500, 3999, 4000, 4500, 4999):
    case("7.4", f"close {code}", close(code), closed(code), ends=True, at=8)
for code in (1000, 1001, 1011, 3000, 4999):
    case("7.1.6", f"close {code} with a reason", close(code, "再见, bye"), closed(code), ends=True)
case("7.1.6", "close with a reason of 123 bytes", close(1000, "*" * 123), closed(1000), ends=True)
for code in (0, 1, 500, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32768, 65535):
    refused("7.4", f"close {code}: not to be sent", close(code), 1002, "close code not allowed", at=8)
    refused("7.4", f"close {code} with a reason", close(code, "bye"), 1002, "close code not allowed")
refused("5.5.1", "close of one byte", frame(CLOSE, b"\x03"), 1002, "close payload of one byte", at=7)
refused("5.5.1", "close of 126 bytes", close(1000, "*" * 124), 1002, "control frame of more than 125 bytes", at=2)
for name in ("continuation byte 80 alone", "surrogate D800", "U+110000", "c0, overlong", "c2 and ASCII"):
    text = INVALID[name][0]
    refused("5.5.1", f"close reason is not UTF-8: {name}", close(1000, text), 1007, "close reason is not UTF-8")
refused("5.5.1", "close reason ends inside a character", close(1000, b"\xe6\x88"), 1007, "close reason is not UTF-8")
for name, rest in (
    ("text", frame(TEXT, b"late")),
    ("ping", frame(PING, b"late")),
    ("another close", close(1001)),
    ("garbage", b"\xff\xff\xff\xff"),
):
    case("5.5.1", f"nothing is answered after the close: {name}", close(1000) + rest, closed(1000), ends=True, at=8)
case(
    "5.5.1",
    "message, ping, close in one packet",
    frame(TEXT, b"m") + frame(PING, b"p") + close(4001, "x"),
    answer(TEXT, b"m") + answer(PONG, b"p") + closed(4001),
    ends=True,
)
case(
    "7.1.7",
    "after a violation nothing is answered",
    frame(3) + frame(TEXT, b"x") + close(1000),
    closed(1002, "reserved opcode"),
    ends=True,
)

# --- 5.2, 5.4 Large messages  ---

MIB = 2**20
PATTERN = bytes(range(256)) * 4096
CHINESE = ("客服你好，我的包裹到了吗？" * 30000).encode()
LARGE: list[Case] = []
"""Cases of a quarter MiB and more: they are in ``CASES`` as well, but run in fewer ways."""

for kind, opcode in KINDS.items():
    source = PATTERN if opcode == BINARY else CHINESE[: MIB // 3 * 3]
    for size, chops in (
        (MIB // 4, (64, 256, 1024, 4096, 16384, 65536)),
        (MIB // 3 * 3, (1024, 4096, 16384, 65536, 262144, MIB - 1)),
    ):
        payload = source[: size // 3 * 3]
        case("5.2", f"{kind} of {len(payload)} bytes", frame(opcode, payload), answer(opcode, payload))
        for chop in chops:
            case(
                "5.4",
                f"{kind} of {len(payload)} bytes in fragments of {chop}",
                b"".join(fragments(opcode, payload, chop)),
                answer(opcode, payload),
            )
    payload = (source * 17)[: 16 * MIB // len(source) * len(source)] if opcode == TEXT else source * 16
    case("5.2", f"{kind} of {len(payload)} bytes", frame(opcode, payload), answer(opcode, payload))
    for chop in (65536, 4 * MIB):
        case(
            "5.4",
            f"{kind} of {len(payload)} bytes in fragments of {chop}",
            b"".join(fragments(opcode, payload, chop)),
            answer(opcode, payload),
        )
# A wrong byte a quarter MiB into a frame of a MiB of which half has come.
SPOILT = frame(TEXT, b"a" * (MIB // 4) + b"\xff" + b"a" * (3 * MIB // 4 - 1))
refused("8.1", "invalid a quarter MiB into a frame of one MiB", SPOILT[: MIB // 2], 1007, "text is not UTF-8")
refused("8.1", "invalid at the last byte that came of a MiB", SPOILT[: 14 + MIB // 4 + 1], 1007, "text is not UTF-8")

LARGE = [one for one in CASES if len(one.sent) >= MIB // 4]
SMALL = [one for one in CASES if len(one.sent) < MIB // 4]
BYTEWISE = [one for one in CASES if len(one.sent) <= 5000]
