"""`python -m harness.connect HOST PORT`: connects standard input and output to another host.

ssh uses it as its ProxyCommand (ssh_config(5)). The way leads through the gateway, which answers a
refusal with a sentence; that goes to standard error.
"""

import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

SOCKET: Final = "/run/hive/proxy.sock"
MAX_HEAD: Final = 16 * 1024
MAX_BODY: Final = 4 * 1024
CHUNK: Final = 64 * 1024
PATIENCE: Final = 60.0
"""Seconds that the gateway has to answer."""


def main() -> int:
    """Connect, and copy in both directions to the end; return the exit status."""
    host, port = sys.argv[1], int(sys.argv[2])
    path = os.environ.get("HIVE_PROXY", SOCKET)
    try:
        gateway = socket.socket(socket.AF_UNIX)
        gateway.settimeout(PATIENCE)
        gateway.connect(str(Path(path)))
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        gateway.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        status, rest = _answer(gateway)
    except (OSError, ValueError) as exc:
        print(f"The gateway cannot be reached: {exc}.", file=sys.stderr)  # noqa: T201
        return 1
    if not 200 <= status < 300:
        _complain(gateway, status, rest)
        return 1
    gateway.settimeout(None)
    _write(rest)
    threading.Thread(target=_send, args=(gateway,), daemon=True).start()
    while data := gateway.recv(CHUNK):
        _write(data)
    return 0


def _answer(gateway: socket.socket) -> tuple[int, bytes]:
    """Return the status of the gateway's answer, and the bytes that follow its head."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = gateway.recv(4096)
        if not data or len(head) > MAX_HEAD:
            raise ValueError("it does not answer as a proxy does")
        head += data
    lines, _, rest = head.partition(b"\r\n\r\n")
    words = lines.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("it does not answer as a proxy does")
    return int(words[1]), rest


def _complain(gateway: socket.socket, status: int, body: bytes) -> None:
    """Show the body of a refusal, which is one sentence."""
    gateway.settimeout(2.0)
    with suppress(OSError):
        while len(body) < MAX_BODY and (data := gateway.recv(4096)):
            body += data
    text = body[:MAX_BODY].decode(errors="replace").strip()
    print(text or f"The gateway answered {status}.", file=sys.stderr)  # noqa: T201


def _send(gateway: socket.socket) -> None:
    with suppress(OSError):
        while data := os.read(0, CHUNK):
            gateway.sendall(data)
        gateway.shutdown(socket.SHUT_WR)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
