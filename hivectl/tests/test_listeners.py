"""`login-link` names the program that has the dashboard's port."""

import os
import socket
from pathlib import Path

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl, with_socket_unit


async def test_a_taken_port_is_the_reason(hivectl: Hivectl, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        ran = await hivectl("login-link", **with_socket_unit(tmp_path, listen))
    assert ran.code == Exit.UNAVAILABLE
    assert f"{listen} is in use by " in ran.err
    assert f"(pid {os.getpid()}, user " in ran.err
    assert "systemctl edit hive-dashboard.socket" in ran.err
    assert ran.err.count("\n") == 1
