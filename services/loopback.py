"""The listening socket that systemd has passed, which only this host can reach."""

import ipaddress
import socket

from systemd import daemon

from services.errors import ConfigError


def inherited_socket(unit: str, because: str) -> socket.socket:
    """Return the socket, not blocking.

    Args:
        unit: the socket's unit, for the sentences of errors.
        because: the reason why other hosts must not reach it.

    Raises:
        ConfigError: there is not exactly one, or other hosts can reach it.
    """
    fds = daemon.listen_fds()
    if len(fds) != 1:
        raise ConfigError(
            f"The service has exactly one socket, and systemd passed {len(fds)}. Give {unit} one "
            f"ListenStream=, and start it with: systemctl start {unit}"
        )
    return require_loopback(socket.socket(fileno=fds[0]), unit, because)


def require_loopback(listener: socket.socket, unit: str, because: str) -> socket.socket:
    """Return `listener`, not blocking, if only this host can reach it.

    Args:
        listener: the socket.
        unit: its unit.
        because: the reason why other hosts must not reach it.

    Raises:
        ConfigError: it is not a TCP socket on a loopback address.
    """
    is_tcp = listener.family in (socket.AF_INET, socket.AF_INET6)
    host = listener.getsockname()[0] if is_tcp else "a unix socket"
    if not is_tcp or not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise ConfigError(
            f"The service does not listen on {host}: {because}. Set ListenStream= of {unit} to a "
            "loopback address and a port, and let others reach it through ssh or a proxy with TLS."
        )
    listener.setblocking(False)
    return listener
