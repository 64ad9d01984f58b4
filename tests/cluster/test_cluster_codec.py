"""What is written in Redis can be read again, by nodes of the version before and after as well."""

import msgspec

from csgate.cluster.codec import decode_turn, encode_turn
from csgate.events import Picture, Principal
from csgate.session import OpenTurn

ANN = Principal("ann", tenant="t1")


def test_an_open_turn_keeps_the_reference_of_its_picture() -> None:
    for picture in (None, Picture(b"\xff", "binary", "pictures/1"), Picture(b"AA", "base64")):
        turn = OpenTurn("m1", "hi", picture, ANN, "zh", attempt=2)
        assert decode_turn(encode_turn(turn), 2) == turn


def test_turns_of_a_version_that_knew_no_references() -> None:
    fields = msgspec.msgpack.decode(encode_turn(OpenTurn("m1", "hi", Picture(b"\xff", "binary", "x"), ANN, "en")))
    old = decode_turn(msgspec.msgpack.encode(fields[:-1]), 1)
    assert old.picture == Picture(b"\xff", "binary")
    newer = decode_turn(msgspec.msgpack.encode([*fields, "of tomorrow"]), 1)
    assert newer.picture == Picture(b"\xff", "binary", "x")
