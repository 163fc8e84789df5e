"""The unit that limits some addresses to DNS, and its BPF program: names that two rooms share.

The instance of the unit is the addresses themselves, in hex. So a unit never changes its meaning,
and all containers with the same name servers share one.
"""

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST: Final = 3
"""The name servers of a resolv.conf that glibc uses (MAXNS); further ones are ignored."""

PROGRAMS: Final = Path("/run/hyperhive/bpf/fs")
"""The BPF file system of run-hyperhive-bpf-fs.mount. A program has the name of its instance."""


def instance_of(addresses: Iterable[IPAddress]) -> str:
    """Return the instance for `addresses`; empty for none."""
    return "_".join(sorted({address.packed.hex() for address in addresses}))


def addresses_of(instance: str) -> list[IPAddress]:
    """Return the addresses of an instance.

    Raises:
        ValueError: it is not 1 to MOST addresses of 4 or 16 bytes in hex, separated by `_`.
    """
    parts = instance.split("_")
    if len(parts) > MOST:
        raise ValueError(f"{instance!r} has more than {MOST} addresses")
    return [ipaddress.ip_address(bytes.fromhex(part)) for part in parts]


def unit_of(instance: str) -> str:
    """Return the unit that loads the program of `instance`."""
    return f"hive-filter@{instance}.service"
