"""`login-link` names the program that has the dashboard's port."""

import os
import socket
from pathlib import Path

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl


async def test_a_taken_port_is_the_reason(hivectl: Hivectl, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        program = tmp_path / "systemctl"
        program.write_text(f"#!/bin/sh\necho 'Listen={listen} (Stream)'\necho ActiveState=failed\n")
        program.chmod(0o755)
        ran = await hivectl("login-link", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ran.code == Exit.UNAVAILABLE
    assert f"{listen} is in use by " in ran.err
    assert f"(pid {os.getpid()}, user " in ran.err
    assert "systemctl edit hive-dashboard.socket" in ran.err
