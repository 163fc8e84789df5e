"""The socket that systemd passes to the dashboard: the only one that it ever serves."""

import ipaddress
import socket
from collections.abc import Mapping

from systemd import daemon

SOCKET_UNIT = "hive-dashboard.socket"


class ListenerError(Exception):
    """There is no socket to serve; the text says why, and what to do."""


def inherited_socket() -> socket.socket:
    """Return the listening socket of hive-dashboard.socket. Call this once: it consumes the socket.

    Raises:
        ListenerError: systemd passed none, several, or one that other hosts can reach.
    """
    fds: Mapping[int, str] = daemon.listen_fds_with_names()
    if len(fds) != 1:
        raise ListenerError(
            f"The dashboard serves exactly one socket, and systemd passed {len(fds)}. Give "
            f"{SOCKET_UNIT} one ListenStream=, and start the dashboard with: "
            f"systemctl start {SOCKET_UNIT}"
        )
    return require_loopback(socket.socket(fileno=next(iter(fds))))


def require_loopback(listener: socket.socket) -> socket.socket:
    """Return `listener`, not blocking, if only this host can reach it.

    Raises:
        ListenerError: it is not a TCP socket on a loopback address.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise ListenerError(
            f"The dashboard serves TCP only: set ListenStream= of {SOCKET_UNIT} to a loopback "
            "address and a port."
        )
    host = listener.getsockname()[0]
    if not _is_loopback(host):
        raise ListenerError(
            f"The dashboard refuses to listen on {host}: anybody who logs in there controls the "
            f"hive, and HTTP is not encrypted. Set ListenStream= of {SOCKET_UNIT} to a loopback "
            "address, and reach it through ssh or a proxy with TLS."
        )
    listener.setblocking(False)
    return listener


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def base_url(listener: socket.socket) -> str:
    """Return the address of the dashboard for a browser on this host, without a final slash."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
