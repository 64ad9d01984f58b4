"""Which credentials of a handshake count, and which mode it asks for."""

import pytest

from csgate.auth import Credentials, bearer_from, choose_mode
from csgate.errors import BadEnvelope, Unauthorized

TOKEN, TICKET = "token", "ticket"
HEADER = [(b"host", b"x"), (b"authorization", b"Bearer from-header")]
OFFERED = ("csgate.v1", "csgate.bearer.from.sub-protocol_1", "csgate.bearer.second")
QUERY = {"ticket": "from-ticket", "token": "from-query"}


def test_the_order() -> None:
    assert bearer_from(HEADER, OFFERED, QUERY, True) == Credentials(TOKEN, "from-header")
    assert bearer_from([], OFFERED, QUERY, True) == Credentials(TOKEN, "from.sub-protocol_1")
    assert bearer_from([], ("csgate.v1",), QUERY, True) == Credentials(TICKET, "from-ticket")
    assert bearer_from([], (), {"token": "from-query"}, True) == Credentials(TOKEN, "from-query")
    assert bearer_from([], (), {"token": "from-query"}, False) is None
    assert bearer_from([], (), {"ticket": "", "token": ""}, True) is None
    assert bearer_from([]) is None


@pytest.mark.parametrize("value", [b"Bearer abc", b"bearer abc", b"BEARER   abc ", b" Bearer abc"])
@pytest.mark.parametrize("name", [b"authorization", b"Authorization"])
def test_the_header_is_read_as_http_has_it(name: bytes, value: bytes) -> None:
    assert bearer_from([(name, value)]) == Credentials(TOKEN, "abc")


@pytest.mark.parametrize("value", [b"Basic dTpw", b"", b"Bearertoken", b"Digest Bearer x", b"\xff"])
def test_another_scheme_is_passed_over(value: bytes) -> None:
    assert bearer_from([(b"authorization", value)]) is None
    assert bearer_from([(b"authorization", value), *HEADER]) == Credentials(TOKEN, "from-header")
    assert bearer_from([(b"authorization", value)], OFFERED) == Credentials(TOKEN, "from.sub-protocol_1")


def test_an_ambiguous_or_empty_header_is_refused() -> None:
    with pytest.raises(Unauthorized, match="more than one"):
        bearer_from([*HEADER, *HEADER])
    for empty in (b"Bearer", b"Bearer ", b"bearer \t"):
        with pytest.raises(Unauthorized, match="without a token"):
            bearer_from([(b"authorization", empty)], OFFERED, QUERY, True)


def test_token_or_ticket() -> None:
    assert Credentials(TOKEN, "x").token == "x"
    assert Credentials(TICKET, "x").token is None


def test_repr_keeps_the_value() -> None:
    assert "SECRET" not in repr(Credentials(TOKEN, "SECRET"))


@pytest.mark.parametrize(
    ("offered", "selected", "mode"),
    [
        ((), None, "simple"),
        (("csgate.v1",), "csgate.v1", "v1"),
        (("csgate.simple",), "csgate.simple", "simple"),
        (("csgate.simple", "csgate.v1"), "csgate.v1", "v1"),
        (("chat", "csgate.v1"), "csgate.v1", "v1"),
        (("csgate.bearer.x", "csgate.v1"), "csgate.v1", "v1"),
        (("csgate.bearer.x", "csgate.simple"), "csgate.simple", "simple"),
        (("csgate.bearer.x",), None, "simple"),
        (("csgate.bearer.csgate.v1",), None, "simple"),
    ],
)
def test_mode(offered: tuple[str, ...], selected: str | None, mode: str) -> None:
    assert choose_mode(offered) == (selected, mode)


@pytest.mark.parametrize("offered", [("chat",), ("csgate.v2", "csgate.bearer.x"), ("CSGATE.V1",), ("csgate.bearer",)])
def test_nothing_known_is_refused(offered: tuple[str, ...]) -> None:
    with pytest.raises(BadEnvelope) as caught:
        choose_mode(offered)
    assert caught.value.http_status == 400
    assert "csgate.v1" in caught.value.text()
    assert "bearer" not in caught.value.text()
