"""The listening socket that systemd has passed, which only this host can reach."""

import ipaddress
import socket

from systemd import daemon

from services.errors import ConfigError

UNIT = "hive-assistant.socket"


def inherited_socket() -> socket.socket:
    """Return the socket, not blocking.

    Raises:
        ConfigError: there is not exactly one, or other hosts can reach it.
    """
    fds = daemon.listen_fds()
    if len(fds) != 1:
        raise ConfigError(
            f"The assistant serves exactly one socket, and systemd passed {len(fds)}. Give {UNIT} "
            f"one ListenStream=, and start it with: systemctl start {UNIT}"
        )
    return require_loopback(socket.socket(fileno=fds[0]))


def require_loopback(listener: socket.socket) -> socket.socket:
    """Return `listener`, not blocking, if only this host can reach it.

    Raises:
        ConfigError: it is not a TCP socket on a loopback address.
    """
    is_tcp = listener.family in (socket.AF_INET, socket.AF_INET6)
    host = listener.getsockname()[0] if is_tcp else "a unix socket"
    if not is_tcp or not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise ConfigError(
            f"The assistant does not listen on {host}: tokens would cross the network unencrypted. "
            f"Set ListenStream= of {UNIT} to a loopback address and a port, and let others reach "
            "it through ssh or a proxy with TLS."
        )
    listener.setblocking(False)
    return listener
