"""Connecting to the sockets on which the harness in a container shows what its agent does, and on
which the programs of the agent are reached.

The container owns the directory of the socket, and may put anything there: a link to another
socket, a pipe, a socket on which nobody answers. So no link is followed: what is connected to is
the entry that was looked at, by its descriptor. What comes from such a socket is the agent's own
word.
"""

import os
import socket
import stat
from pathlib import Path
from typing import Final

from wire import names
from wire.errors import AccessDenied, Unavailable

DIRECTORY: Final = Path("/var/lib/hyperhive/web")
"""The directory of all agents. Operators and the dashboard may enter it."""

SOCKET: Final = "web.sock"

PORT: Final = "port-{}.sock"
"""The socket of a port of the container's loopback."""

TERMINAL: Final = "terminal.sock"
"""The socket of a shell in the container."""

EXEC: Final = "exec.sock"
"""The socket of a command in the container."""

_ENTRY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def connect(name: str, directory: Path = DIRECTORY) -> socket.socket:
    """Connect to the harness of an agent; return the socket, which does not block.

    Args:
        name: the agent.
        directory: the directory of all agents; it belongs to root.

    Raises:
        InvalidArgument: no agent may have that name.
        AccessDenied: this user may not watch agents.
        Unavailable: no harness listens; the sentence says why.
    """
    return _open(name, directory, SOCKET, _away(name))


def connect_port(name: str, port: int, directory: Path = DIRECTORY) -> socket.socket:
    """Connect to a port of the loopback of an agent's container; return the socket, which does not
    block.

    Args:
        name: the agent.
        port: one of the `ports` of its agent.toml.
        directory: the directory of all agents; it belongs to root.

    Raises:
        InvalidArgument: no agent may have that name.
        AccessDenied: this user may not watch agents.
        Unavailable: the port is not offered; the sentence says why.
    """
    absent = Unavailable(
        f"Port {port} of {name} is not offered: the agent does not run, its agent.toml does not "
        "have the port in `ports`, or its network is that of the host."
    )
    return _open(name, directory, PORT.format(port), absent)


def connect_terminal(name: str, directory: Path = DIRECTORY) -> socket.socket:
    """Connect to a new shell in an agent's container; return the socket, which does not block.

    Args:
        name: the agent.
        directory: the directory of all agents; it belongs to root.

    Raises:
        InvalidArgument: no agent may have that name.
        AccessDenied: this user may not watch agents.
        Unavailable: no shell is offered; the sentence says why.
    """
    absent = Unavailable(
        f"The container of {name} offers no terminal: it does not run, or an earlier version of "
        f"Hyperhive has started it. Start it, or run `hivectl update {name}`."
    )
    return _open(name, directory, TERMINAL, absent)


def connect_exec(name: str, directory: Path = DIRECTORY) -> socket.socket:
    """Connect to a new command in an agent's container; return the socket, which does not block.

    Args:
        name: the agent.
        directory: the directory of all agents; it belongs to root.

    Raises:
        InvalidArgument: no agent may have that name.
        AccessDenied: this user may not watch agents.
        Unavailable: no commands are run; the sentence says why.
    """
    absent = Unavailable(
        f"The container of {name} runs no commands: it is not up, or an earlier version of "
        f"Hyperhive has started it. Start it (`hivectl start {name}`), or run `hivectl update "
        f"{name}`."
    )
    return _open(name, directory, EXEC, absent)


def _open(name: str, directory: Path, file: str, absent: Unavailable) -> socket.socket:
    names.check_agent_name(name)
    try:
        folder = os.open(directory / name, _ENTRY | os.O_DIRECTORY)
    except PermissionError:
        raise AccessDenied(
            f"You may not watch agents: {directory} is open to root and to members of the group "
            "hive."
        ) from None
    except OSError:
        raise absent from None
    try:
        entry = os.open(file, _ENTRY, dir_fd=folder)
    except OSError:
        raise absent from None
    finally:
        os.close(folder)
    try:
        if not stat.S_ISSOCK(os.fstat(entry).st_mode):
            raise absent
        return _connected(f"/proc/self/fd/{entry}", name, absent)
    finally:
        os.close(entry)


def _connected(path: str, name: str, absent: Unavailable) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A unix socket connects at once, or says that its queue is full.
    connection.setblocking(False)
    try:
        connection.connect(path)
    except BlockingIOError:
        connection.close()
        raise Unavailable(
            f"The container of {name} does not take connections. Try again."
        ) from None
    except OSError:
        connection.close()
        raise absent from None
    return connection


def _away(name: str) -> Unavailable:
    return Unavailable(
        f"The harness of {name} is away: `hivectl status {name}` shows whether the agent runs."
    )
