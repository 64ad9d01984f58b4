"""Close codes and payloads; what a peer may send is in the conformance cases."""

import pytest

from csgate.errors import CloseCode
from csgate.wire.closing import close_payload, may_be_sent, read_close


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_code_of_ours_may_be_sent(code: CloseCode) -> None:
    assert may_be_sent(code)
    assert read_close(close_payload(code, "because")) == (code, "because")


@pytest.mark.parametrize("code", [999, 1004, 1006, 1015, 2000, 5000])
def test_codes_that_may_not_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match="may not be sent"):
        close_payload(code)


def test_no_status_is_an_empty_payload() -> None:
    assert close_payload(1005) == b""
    assert read_close(b"") == (1005, "")


@pytest.mark.parametrize(("reason", "kept"), [("x" * 200, 123), ("é" * 100, 122), ("我" * 60, 123), ("🚚" * 40, 120)])
def test_a_long_reason_is_cut_at_a_character(reason: str, kept: int) -> None:
    payload = close_payload(1000, reason)
    assert len(payload) == 2 + kept
    code, text = read_close(payload)
    assert (code, text) == (1000, reason[: len(text)])
