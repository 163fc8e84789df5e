"""The program that has the port of a socket unit: `python -m services.listeners UNIT`.

Prints the program on one line and the remedy on a second, and exits with 0, if another program
listens at the address of the unit; exits with 3 if none does. systemd only says that the address is
in use. Processes of other users are named for root only.
"""

import ipaddress
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

LISTENING: Final = "0A"
"""The state of a listening socket in /proc/net/tcp."""
FREE: Final = 3

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Listener(NamedTuple):
    """A TCP socket that listens."""

    address: Address
    port: int
    uid: int
    inode: str

    def occupies(self, address: Address, port: int) -> bool:
        """Return whether nobody else can listen at an address."""
        if port != self.port:
            return False
        ours, theirs = _plain(address), _plain(self.address)
        # A socket on all addresses of IPv6 takes those of IPv4, too.
        return ours == theirs or theirs.is_unspecified or ours.is_unspecified


def main(arguments: list[str]) -> int:
    """Say who has the port of the unit that is named; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m services.listeners UNIT\n")
        return 2
    found = occupant(arguments[0])
    if not found:
        return FREE
    sys.stdout.write(f"{found}\n")
    return 0


def occupant(unit: str, proc: Path = Path("/proc")) -> str:
    """Return a line about the program that keeps a socket unit from listening, and a line with the
    remedy; empty if there is no such program."""
    asked = ["systemctl", "show", "--property=Listen", "--property=ActiveState", unit]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    if "ActiveState=active" in answer:
        return ""
    for address, port in addresses(answer):
        for listener in listeners(proc):
            if listener.occupies(address, port):
                shown = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
                return (
                    f"{shown} is in use by {_owner(listener, proc)}, so {unit} cannot listen "
                    f"there.\nStop that program, or choose another address with `systemctl edit "
                    f"{unit}`. Then run `systemctl start hive.target`."
                )
    return ""


def addresses(shown: str) -> Iterator[tuple[Address, int]]:
    """Yield the TCP addresses of a unit, as `systemctl show` lists them."""
    for host, port in re.findall(r"^Listen=\[?([\da-fA-F:.]+?)\]?:(\d+) \(Stream\)", shown, re.M):
        yield ipaddress.ip_address(host), int(port)


def listeners(proc: Path = Path("/proc")) -> Iterator[Listener]:
    """Yield the TCP sockets of this network that listen."""
    for name in ("tcp", "tcp6"):
        path = proc / "net" / name
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == LISTENING:
                host, _, port = fields[1].partition(":")
                yield Listener(_address(host), int(port, 16), int(fields[7]), fields[9])


def _address(text: str) -> Address:
    """Return an address that the kernel has written as words in its own byte order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(words))


def _plain(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def _owner(listener: Listener, proc: Path) -> str:
    """Return the program and the user of a socket, as far as this process may see them."""
    try:
        user = pwd.getpwuid(listener.uid).pw_name
    except KeyError:
        user = str(listener.uid)
    for process in proc.glob("[1-9]*"):
        if _has(process, f"socket:[{listener.inode}]"):
            # A program chooses this name itself.
            name = (process / "comm").read_text(errors="replace").strip()
            shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
            return f"{shown} (pid {process.name}, user {user})"
    return f"a program of the user {user}"


def _has(process: Path, file: str) -> bool:
    try:
        return any(str(entry.readlink()) == file for entry in list((process / "fd").iterdir()))
    except OSError:  # the process has ended, or is somebody else's
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
