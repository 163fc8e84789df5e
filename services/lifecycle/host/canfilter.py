"""The probe of hive-canfilter.service: does this host filter addresses?

The unit denies every address. So a packet to the loopback is sent only if systemd could not
attach its filter, which systemd reports in the journal only.
"""

import socket
import sys
from enum import IntEnum


class Outcome(IntEnum):
    """The result, which is the exit status."""

    FILTERED = 0
    OPEN = 3


def probe() -> Outcome:
    """Send a datagram to the loopback, where nothing needs to listen, and return the result."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"", ("127.0.0.1", 9))
        except PermissionError:
            return Outcome.FILTERED
    return Outcome.OPEN


if __name__ == "__main__":
    sys.exit(probe())
