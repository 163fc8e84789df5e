"""The real process of the dashboard on a socket that it inherits."""

import asyncio
import socket
import sys
from pathlib import Path

from services.dashboard.tests.browser import TIME_LIMIT

# systemd passes the socket as descriptor 3, and names the pid that it is for.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "services.dashboard"])
"""


class Process:
    """`python -m services.dashboard`, started as systemd starts it."""

    def __init__(self, listener: socket.socket, address: str, state: Path) -> None:
        self._listener = listener
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(state / "notify"))
        self._notify.setblocking(False)
        self._environment = {
            "DBUS_SYSTEM_BUS_ADDRESS": address,
            "STATE_DIRECTORY": str(state),
            "NOTIFY_SOCKET": str(state / "notify"),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "http",
            "HYPERHIVE_CONFIG": str(state / "hyperhive.toml"),
        }
        (state / "hyperhive.toml").touch()

    async def start(self) -> asyncio.subprocess.Process:
        number = self._listener.fileno()
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            AS_SYSTEMD,
            str(number),
            env=self._environment,
            pass_fds=[number],
            stderr=asyncio.subprocess.PIPE,
        )

    async def until_told(self, word: bytes) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIME_LIMIT):
            while word not in await loop.sock_recv(self._notify, 4096):
                pass

    def close(self) -> None:
        self._notify.close()
