"""The socket that systemd passes to the dashboard: the only one that it ever serves."""

import ipaddress
import socket
from collections.abc import Mapping

from systemd import daemon

SOCKET_UNIT = "hive-dashboard.socket"


class ListenerError(Exception):
    """There is no socket to serve; the text says why, and what to do."""


def inherited_socket(*, behind_proxy: bool = False) -> socket.socket:
    """Return the listening socket of hive-dashboard.socket. Call this once: it consumes the socket.

    Args:
        behind_proxy: whether the socket may be on an address that other hosts can reach.

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
    return checked(socket.socket(fileno=next(iter(fds))), behind_proxy=behind_proxy)


def checked(listener: socket.socket, *, behind_proxy: bool = False) -> socket.socket:
    """Return `listener`, not blocking, if only this host or a proxy with TLS can reach it.

    Args:
        listener: the socket.
        behind_proxy: whether the operator says that there is a proxy with TLS.

    Raises:
        ListenerError: it is not a TCP socket, or not on an address that may be served.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise ListenerError(
            f"The dashboard serves TCP only: set ListenStream= of {SOCKET_UNIT} to a loopback "
            "address and a port."
        )
    if not is_local(listener) and not behind_proxy:
        raise ListenerError(
            f"The dashboard refuses to listen on {listener.getsockname()[0]}: anybody who logs in "
            f"there controls the hive, and HTTP is not encrypted. Set ListenStream= of "
            f"{SOCKET_UNIT} to a loopback address, and reach it through ssh or a proxy with TLS. "
            "If the proxy is on another host, set dashboard.behind_proxy and "
            "dashboard.trusted_proxies in /etc/hyperhive/hyperhive.toml."
        )
    listener.setblocking(False)
    return listener


def is_local(listener: socket.socket) -> bool:
    """Return whether only this host can reach a socket."""
    host = listener.getsockname()[0]
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def base_url(listener: socket.socket) -> str:
    """Return the address of the dashboard for a browser on this host, without a final slash."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
