"""Who is at the other end: the real address behind proxies that the operator trusts, and nobody else's word."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from csgate.errors import ConfigError

Network = IPv4Network | IPv6Network
UNKNOWN_ADDRESS = "unknown"


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks named in ``server.trusted_proxies``.

    Raises:
        ConfigError: an entry is neither an address nor a network in CIDR form.
    """
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError:
            raise ConfigError(
                f"server.trusted_proxies: '{text}' is not an address or network; write 10.0.0.0/8, say."
            ) from None
    return tuple(networks)


def client_address(peer: str, forwarded: Sequence[bytes], trusted: Sequence[Network]) -> str:
    """The address that limits are counted by.

    ``forwarded`` holds the values of every ``X-Forwarded-For`` header in order. They are believed only when ``peer`` is
    trusted; then the last entry that is not itself a trusted proxy is the client (entries further left are the client's
    own words). An IPv6 client is counted by its /64, the least that anybody is given.
    """
    address = _parse(peer)
    if address is None:
        return peer or UNKNOWN_ADDRESS
    if not _is_trusted(address, trusted):
        return _counted(address)
    hops = [part.strip() for value in forwarded for part in value.decode("latin-1").split(",")]
    for hop in reversed(hops):
        parsed = _parse(hop)
        if parsed is None:
            break
        address = parsed
        if not _is_trusted(parsed, trusted):
            break
    return _counted(address)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether ``peer`` is one of the operator's proxies."""
    address = _parse(peer)
    return address is not None and _is_trusted(address, trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    host = text
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_trusted(address: IPv4Address | IPv6Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted if network.version == address.version)


def _counted(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)
