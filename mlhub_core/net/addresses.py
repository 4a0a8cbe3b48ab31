"""Which addresses a remote source may lead to: not to what this machine or its network alone reach.

Whoever writes a catalog could otherwise have us ask the services of this machine, of the network
that it is in, or of the cloud that it runs in (``169.254.169.254``), for whatever they answer. So
each address is looked at when it is connected to, however its host was spelled and whatever a name
server said before. Where the source itself lies at such an address, its neighbours are fine.

A proxy looks names up by itself and connects where it likes: what it may reach is up to it.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from mlhub_core.net.retry import Again, Fault


class Zone(StrEnum):
    """What reaches an address that not everybody reaches."""

    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"


_REACHED = {
    Zone.LOOPBACK: (Zone.LOOPBACK, Zone.PRIVATE),
    Zone.LINK_LOCAL: (Zone.LINK_LOCAL,),
    Zone.PRIVATE: (Zone.PRIVATE,),
}
"""What a source that lies in a zone may lead to."""
_NAT64 = IPv6Network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}


def zone_of(address: str) -> Zone | None:
    """The zone of an address; None for one that everybody reaches."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        found = _within(found)
    if found.is_loopback or found.is_unspecified:
        return Zone.LOOPBACK
    if found.is_link_local:
        return Zone.LINK_LOCAL
    return None if found.is_global and not found.is_multicast else Zone.PRIVATE


def _within(address: IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class Gate:
    """Decides about each address that is about to be connected to.

    Args:
        zones: Which may be reached besides what everybody reaches; None for all.
        learns: Whether the first connection, which is to the source itself, may lead anywhere, and
            says what else may be reached.

    Attributes:
        has_learned: Whether that connection stood.
    """

    def __init__(self, zones: Collection[str] | None = None, *, learns: bool = False) -> None:
        self._zones = () if learns else zones
        self._learns = learns
        self.has_learned = False
        self._proxies: frozenset[tuple[str, int]] | None = None

    @property
    def zones(self) -> tuple[str, ...] | None:
        """What may be reached; what was learned, once the first connection stands."""
        return None if self._zones is None else tuple(self._zones)

    def admits(self, address: str, port: int) -> bool:
        """Whether an address may be connected to."""
        if self._zones is None:
            return True
        learns, self._learns = self._learns, False
        self.has_learned = self.has_learned or learns
        zone = zone_of(address)
        if zone is None or (address, port) in self._proxy_addresses():
            return True
        if learns:
            self._zones = _REACHED[zone]
        return zone in self._zones

    def _proxy_addresses(self) -> frozenset[tuple[str, int]]:
        """Where the proxies of the environment are, which this machine's owner has named."""
        if self._proxies is None:
            urls = getproxies_environment()
            found = (_proxy_at(urls[name]) for name in ("http", "https", "all") if name in urls)
            self._proxies = frozenset(one for several in found for one in several)
        return self._proxies


def _proxy_at(url: str) -> Iterator[tuple[str, int]]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    # Whoever writes no port gets that of libcurl, or of the scheme, by who asks.
    ports = [parts.port] if parts.port else [1080, *filter(None, [_PORTS.get(parts.scheme)])]
    for address in addresses_of(url):
        yield from ((address, port) for port in ports)


_found: dict[str, tuple[str, ...] | None] = {}
"""By host: what a source there may lead to, by the connection that was made to it last."""


def note_zones(url: str, gate: Gate) -> None:
    """Note what a gate has learned from the connection to a source."""
    if gate.has_learned:
        _found[urlsplit(url).netloc] = gate.zones


def noted_zones(url: str) -> tuple[str, ...] | None:
    """What was noted in this process of the host of a URL; None for nothing."""
    return _found.get(urlsplit(url).netloc)


def barred(address: str) -> Fault:
    """What it comes to that an address may not be connected to."""
    detail = f"{address}: if you trust the source, --allow-private-hosts lets it"
    return Fault("leads to a private address", detail, again=Again.NEVER)


def addresses_of(url: str) -> frozenset[str]:
    """The addresses that the host of a URL has just now; none where nobody knows."""
    try:
        host = urlsplit(url if "://" in url else f"http://{url}").hostname or ""
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return frozenset()
    return frozenset(str(entry[4][0]) for entry in found)


def zones_from(url: str) -> tuple[Zone, ...]:
    """The zones that a source may lead to, by where its host lies just now."""
    zones = {zone_of(address) for address in addresses_of(url)} - {None}
    return tuple(dict.fromkeys(one for zone in zones if zone for one in _REACHED[zone]))
