import pytest

from csgate.errors import ConfigError
from csgate.gateway.address import client_address, is_trusted, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", [b"1.2.3.4"], "203.0.113.9"),  # not our proxy: its word counts for nothing
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [b"198.51.100.4"], "198.51.100.4"),
        ("10.1.2.3", [b"6.6.6.6, 198.51.100.4"], "198.51.100.4"),  # the left part is the client's own invention
        ("10.1.2.3", [b"6.6.6.6", b"198.51.100.4, 192.0.2.7"], "198.51.100.4"),
        ("10.1.2.3", [b"10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        ("10.1.2.3", [b"198.51.100.4, nonsense"], "10.1.2.3"),
        ("10.1.2.3", [b"198.51.100.4:5123"], "198.51.100.4"),
        ("2001:db8:1::1", [b"[2001:db8:ffff:1:2:3:4:5]:443"], "2001:db8:ffff:1::/64"),
        ("2001:db8:ffff:1::9%eth0", [], "2001:db8:ffff:1::/64"),
        ("::ffff:10.1.2.3", [b"198.51.100.4"], "198.51.100.4"),
        ("", [], "unknown"),
        ("unix", [], "unix"),
    ],
)
def test_client_address(peer: str, forwarded: list[bytes], expected: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected


def test_trust_is_by_network() -> None:
    assert is_trusted("10.255.0.1", PROXIES)
    assert is_trusted("192.0.2.7", PROXIES)
    assert not is_trusted("192.0.2.8", PROXIES)
    assert not is_trusted("not an address", PROXIES)


def test_a_wrong_network_names_itself() -> None:
    with pytest.raises(ConfigError, match=r"'proxy\.local' is not an address"):
        parse_networks(["proxy.local"])
