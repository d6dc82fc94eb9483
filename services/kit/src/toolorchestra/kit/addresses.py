"""Which addresses a tenant's URL may lead to, and how the platform's admin opens others. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from toolorchestra.core.errors import InvalidRequestError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_PORT: Final = 65_535

# Never opened, whatever the allow-list says: no tool has business there.
_METADATA: Final[frozenset[Address]] = frozenset(
    ip_address(text) for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254")
)

# What the allow-list may open, by address or range; names open all of it but link-local ranges.
_BLOCKED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared (carrier) address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a reserved address"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a reserved address"),
        ("198.51.100.0/24", "a reserved address"),
        ("203.0.113.0/24", "a reserved address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "a reserved address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a reserved address"),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_UNOPENABLE: Final = ("a cloud metadata address", "an unspecified address", "a multicast address")
_LINK_LOCAL: Final = "a link-local address"


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of the allow-list: a name, an address or a range, with a port or without."""

    host: str | None
    network: Network | None
    port: int | None

    def opens(self, host: str, address: Address, port: int, what: str) -> bool:
        """Whether this entry opens ``address``, which is ``what``, to a URL that says ``host``."""
        if not openable(what) or (self.port is not None and self.port != port):
            return False
        if self.network is not None:
            return address in self.network
        return self.host == host and not what.startswith(_LINK_LOCAL)


def parse_opening(text: str) -> Opening:
    """Read ``host``, ``host:port``, an address or a CIDR range. Raises InvalidRequestError."""
    try:
        return Opening(None, ip_network(text, strict=False), None)
    except ValueError:
        host, port = _split_port(text)
    try:
        return Opening(None, ip_network(host), port)
    except ValueError:
        if not host or "/" in host or ":" in host:
            raise InvalidRequestError(
                f"egress.allow: {text!r} is not a host, a host:port or a range",
                param="egress.allow",
                hint='write "models.example.org", "10.0.0.5:8000", "[fd00::5]:8000" or "10.0.0.0/8"',
            ) from None
    return Opening(host.lower().rstrip("."), None, port)


def what_is(address: Address) -> str | None:
    """What keeps ``address`` from being called ("a loopback address"); None for a public one."""
    if address in _METADATA:
        return "a cloud metadata address"
    if isinstance(address, IPv6Address):
        return _what_is_v6(address)
    return next((what for network, what in _BLOCKED if address in network), None)


def openable(what: str) -> bool:
    """Whether the allow-list may open an address that is ``what``."""
    return not what.startswith(_UNOPENABLE)


def read_address(text: str) -> Address:
    """An address as a resolver writes it; of an IPv4-mapped one the IPv4 part: that is where the packets go."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def write_entry(address: Address, port: int) -> str:
    """The entry of the allow-list that opens this address and port."""
    return f"[{address}]:{port}" if isinstance(address, IPv6Address) else f"{address}:{port}"


def _what_is_v6(address: IPv6Address) -> str | None:
    if address.ipv4_mapped is not None:
        return what_is(address.ipv4_mapped)
    if address in _NAT64:
        inner = what_is(IPv4Address(int(address) & 0xFFFFFFFF))
        return inner and f"{inner} behind NAT64"
    known = next((what for network, what in _BLOCKED if address in network), None)
    return known or (None if address in _GLOBAL_V6 else "a reserved address")


def _split_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        return text.strip("[]"), None
    if not port.isdigit() or not 0 < int(port) <= MAX_PORT:
        return text, None
    return host.strip("[]"), int(port)
