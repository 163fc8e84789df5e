"""The notifications that systemd gets, on a real notify socket."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.notify import MAX_STATUS

PROGRAM = """
import json, os, sys
from harness.notify import Notifier
notifier = Notifier()
assert "NOTIFY_SOCKET" not in os.environ, "programs that are started later could notify"
notifier.status(json.load(sys.stdin))
"""


def noted(folder: Path, text: str) -> bytes:
    """Return the notification of a process that sets `text` as its status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
            input=json.dumps(text),
            text=True,
            check=True,
            timeout=60,
        )
        return listener.recv(1_000_000)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("API Error: 529 · try later…", "API Error: 529 · try later…"),
        ("failed\nMAINPID=1\r\nREADY=1", "failed MAINPID=1 READY=1"),
        ("a\u2028b\x1b[2Jc\x00d\ud83d", "a b [2Jc d"),
    ],
)
def test_a_status_is_one_line_of_utf_8(tmp_path: Path, text: str, told: str) -> None:
    assert noted(tmp_path, text) == f"STATUS={told}".encode()


def test_a_long_status_is_cut(tmp_path: Path) -> None:
    note = noted(tmp_path, "💥" * 20_000)
    assert len(note) <= 4096
    assert note.decode() == f"STATUS={'💥' * (MAX_STATUS - 3)}..."
