"""The addresses to which no name may lead, unless a rule names the address."""

import ipaddress
from typing import Final

from services.egress import Address

_V4: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, with the metadata of some clouds
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the metadata of a cloud, at an address that looks public
        "169.254.0.0/16",  # link-local, with the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, with the metadata of a cloud
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_V6_PUBLIC: Final = ipaddress.ip_network("2000::/3")
"""All addresses that are given out. Loopback, unspecified, mapped, compatible, link-local, unique
local, site-local, multicast and future ones lie outside."""
_V6: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments, with Teredo, which contains an address of IPv4
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which contains an address of IPv4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""The network through which a host without IPv4 reaches IPv4: the last 32 bits are the address."""


def is_public(address: Address) -> bool:
    """Return whether `address` is one of the public internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _V4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _V6_PUBLIC and not any(address in network for network in _V6)
