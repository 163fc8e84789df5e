"""The socket that systemd hands over: the only one the dashboard ever serves."""

import ipaddress
import socket
from collections.abc import Mapping

from systemd import daemon

SOCKET_UNIT = "hive-dashboard.socket"


class ListenerError(Exception):
    """There is no socket to serve; the text says why and what to do."""


def inherited() -> socket.socket:
    """The listening socket of hive-dashboard.socket. To be called once: it is consumed.

    Raises:
        ListenerError: none or several were handed over, or one that others than this host reach.
    """
    fds: Mapping[int, str] = daemon.listen_fds_with_names()
    if len(fds) != 1:
        raise ListenerError(
            f"The dashboard serves exactly one socket and was given {len(fds)}: start it with "
            f"`systemctl start {SOCKET_UNIT}`, which has one ListenStream=."
        )
    return checked(socket.socket(fileno=next(iter(fds))))


def checked(listener: socket.socket) -> socket.socket:
    """`listener` itself, if only this host can reach it.

    Raises:
        ListenerError: it is not a TCP socket on a loopback address.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise ListenerError(
            f"The dashboard serves TCP only: change ListenStream= of {SOCKET_UNIT}."
        )
    host = listener.getsockname()[0]
    if not _is_loopback(host):
        raise ListenerError(
            f"The dashboard refuses to listen on {host}: whoever logs in there commands the hive, "
            f"and HTTP hides nothing. Set ListenStream= of {SOCKET_UNIT} to a loopback address "
            "and reach it through ssh or a proxy with TLS."
        )
    listener.setblocking(False)
    return listener


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def base_url(listener: socket.socket) -> str:
    """The address a browser on this host finds the dashboard at, without a slash at its end."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
