"""The hosts that agents ask for, in words for the operator who decides."""

import ipaddress
from typing import Final

HOST_ITSELF: Final = "this host itself, not the agent's container"
PRIVATE: Final = "an address of a private network or of this host"

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""The network through which a host without IPv4 reaches IPv4: the last 32 bits are the address."""

_PUBLIC: Final = ipaddress.ip_network("2000::/3")
"""All addresses of IPv6 that are given out."""


def warning(host: str) -> str:
    """Return what an address leads to that is not public; empty for a name, which may not lead
    there."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if address in _NAT64:
        address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.is_loopback or address.is_unspecified:
        return HOST_ITSELF
    if address.version == 6 and address not in _PUBLIC:
        return PRIVATE
    return "" if address.is_global and not address.is_multicast else PRIVATE
