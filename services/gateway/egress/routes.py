"""The kernel's route to an address: whether it leads away from this host."""

import socket
import struct
from typing import Final

from services.egress import Address

# linux/netlink.h and linux/rtnetlink.h
_NLM_F_REQUEST: Final = 1
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_RTA_DST: Final = 1
_RTN_UNICAST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_TYPE_OFFSET: Final = _HEADER.size + 7
_ANSWER: Final = 4096
_SECONDS: Final = 1.0


def leads_away(address: Address) -> bool:
    """Return whether the kernel sends packets for `address` to another host.

    It does not for the addresses of this host, which may be public ones, nor for broadcast. Without
    a route there is nothing to reach.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.packed
    message = (
        _HEADER.pack(
            _HEADER.size + _ROUTE.size + _ATTRIBUTE.size + len(packed),
            _RTM_GETROUTE,
            _NLM_F_REQUEST,
            1,
            0,
        )
        + _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
        + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST)
        + packed
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as netlink:
        netlink.settimeout(_SECONDS)  # the kernel answers within the call
        netlink.bind((0, 0))
        netlink.send(message)
        answer = netlink.recv(_ANSWER)
    if len(answer) <= _TYPE_OFFSET or _HEADER.unpack_from(answer)[1] != _RTM_NEWROUTE:
        return False
    return answer[_TYPE_OFFSET] == _RTN_UNICAST
