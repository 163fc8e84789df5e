"""Connecting to the socket on which the harness in a container shows what its agent does.

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
from wire.errors import Unavailable

DIRECTORY: Final = Path("/var/lib/hyperhive/web")
"""The directory of all agents. Operators and the dashboard may enter it."""

SOCKET: Final = "web.sock"

_ENTRY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def connect(name: str, directory: Path = DIRECTORY) -> socket.socket:
    """Connect to the harness of an agent; return the socket, which does not block.

    Args:
        name: the agent.
        directory: the directory of all agents; it belongs to root.

    Raises:
        InvalidArgument: no agent may have that name.
        Unavailable: no harness listens; the sentence says why.
    """
    names.check_agent_name(name)
    try:
        folder = os.open(directory / name, _ENTRY | os.O_DIRECTORY)
    except PermissionError:
        raise Unavailable(
            f"You may not watch agents: {directory} is open to root and to members of the group "
            "hive."
        ) from None
    except OSError:
        raise _away(name) from None
    try:
        entry = os.open(SOCKET, _ENTRY, dir_fd=folder)
    except OSError:
        raise _away(name) from None
    finally:
        os.close(folder)
    try:
        if not stat.S_ISSOCK(os.fstat(entry).st_mode):
            raise _away(name)
        return _connected(f"/proc/self/fd/{entry}", name)
    finally:
        os.close(entry)


def _connected(path: str, name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A unix socket connects at once, or says that its queue is full.
    connection.setblocking(False)
    try:
        connection.connect(path)
    except BlockingIOError:
        connection.close()
        raise Unavailable(f"The harness of {name} does not take connections. Try again.") from None
    except OSError:
        connection.close()
        raise _away(name) from None
    return connection


def _away(name: str) -> Unavailable:
    return Unavailable(
        f"The harness of {name} is away: `hivectl status {name}` shows whether the agent runs."
    )
