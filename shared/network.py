"""Names and addresses: which only this machine has, which the whole world can reach; how long a connection idles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts that only this machine reaches."""

KEEP_ALIVE_S: Final = 130
"""How long our servers keep a connection on which nothing is asked.

Longer than those who ask keep it: who sends on a connection just as it is closed is answered with a reset, and must not
send a POST again. By their manuals: httpx 5 s, nginx 60 s (`keepalive_timeout` of an upstream), AWS's load balancers
60 s (`idle_timeout.timeout_seconds`), Traefik 90 s (`idleConnTimeout`), Caddy 120 s (`keepalive`).
"""

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All that is routed (IANA's registry); Python's own list of exceptions depends on its version."""
_NOT_PUBLIC: Final = (IPv6Network("3fff::/20"), IPv4Network("192.88.99.0/24"), IPv4Network("192.0.0.0/24"))
"""Documentation (RFC 9637), the relays of old (RFC 7526), and protocols' own (RFC 6890), where some clouds tell
machines their secrets: not every Python knows of all."""
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address, to which a translator on the way leads."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where we send at others' word: to public addresses, and to networks of the operator's choice."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Self:
        """Allow networks such as `10.1.0.0/16`. Raises ValueError."""
        return cls(tuple(ip_network(network) for network in networks))

    def permits(self, address: Address) -> bool:
        """True for an address that may be connected to."""
        return self.is_chosen(address) or all(_is_public(one) for one in (address, *_within(address)))

    def is_chosen(self, address: Address) -> bool:
        """True for an address of the operator's networks."""
        return any(one in network for one in (address, *_mapped(address)) for network in self.allowed)


def address_of(host: str) -> Address | None:
    """Read a host that is an address; None for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return bool(_translated(address))  # which is looked at for itself
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)


def _mapped(address: Address) -> tuple[IPv4Address, ...]:
    """`::ffff:127.0.0.1` is 127.0.0.1 to a socket."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped,) if mapped else ()


def _translated(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 address for which this one stands, if it does."""
    return (IPv4Address(int(address) & 0xFFFFFFFF),) if address in _TRANSLATED else _mapped(address)


def _within(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses to which this one may lead, by whatever translation or tunnel."""
    if not isinstance(address, IPv6Address):
        return ()
    tunneled = (address.sixtofour, *(address.teredo or ()))
    return (*_translated(address), *(one for one in tunneled if one))
