"""The probe of hive-canfilter.service: does this host filter addresses and ports?

The unit denies DENIED, and limits DNS_ONLY to port 53. So a packet to another port of either is
sent only if systemd could not attach its filter or ours, which systemd reports in the journal only.
"""

import socket
import sys
from enum import IntEnum
from typing import Final

DENIED: Final = "127.0.0.1"
DNS_ONLY: Final = "127.255.255.53"
DISCARD: Final = 9
"""A port on which nothing needs to listen."""


class Outcome(IntEnum):
    """The result, which is the exit status."""

    FILTERED = 0
    OPEN = 3


def probe() -> Outcome:
    """Send datagrams to the loopback, and return the result."""
    blocked = _is_blocked(DENIED) and _is_blocked(DNS_ONLY)
    return Outcome.FILTERED if blocked else Outcome.OPEN


def _is_blocked(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"", (address, DISCARD))
        except PermissionError:
            return True
    return False


if __name__ == "__main__":
    sys.exit(probe())
