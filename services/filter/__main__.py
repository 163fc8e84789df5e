"""The composition root of hive-filter@INSTANCE.service: `python -m services.filter INSTANCE`."""

import sys
from typing import Final

from services import nameservers
from services.filter import bpf, program

FAILED: Final = 1
WRONG: Final = 2


def main() -> int:
    """Load and pin the program for the addresses in the instance; return the exit status."""
    instance = sys.argv[1]
    try:
        addresses = nameservers.addresses_of(instance)
    except ValueError as error:
        print(f"{instance!r} does not name addresses: {error}.", file=sys.stderr)  # noqa: T201
        return WRONG
    try:
        bpf.pin(bpf.load(program.assemble(addresses)), nameservers.PROGRAMS / instance)
    except OSError as error:
        print(f"This kernel does not filter ports for containers: {error}.", file=sys.stderr)  # noqa: T201
        return FAILED
    shown = ", ".join(map(str, addresses))
    print(f"Packets to {shown} are sent to port {program.DNS_PORT} only.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
