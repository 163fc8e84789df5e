"""The program that has the port of a socket unit: it is found in /proc, and named."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from services import listeners
from services.listeners import Listener


@pytest.fixture
def busy() -> Iterator[socket.socket]:
    """Listen on a port of the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def shown(port: int, state: str = "failed") -> str:
    return f"Listen=127.0.0.1:{port} (Stream)\nActiveState={state}\n"


def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Put a systemctl with one answer in the way of the real one."""
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_the_program_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: socket.socket
) -> None:
    port = busy.getsockname()[1]
    systemctl(tmp_path, monkeypatch, shown(port))
    what, remedy = listeners.occupant("hive-dashboard.socket").splitlines()
    assert what.startswith(f"127.0.0.1:{port} is in use by ")
    assert f"(pid {os.getpid()}, user " in what
    assert "systemctl edit hive-dashboard.socket" in remedy


def test_a_unit_that_listens_itself_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: socket.socket
) -> None:
    systemctl(tmp_path, monkeypatch, shown(busy.getsockname()[1], "active"))
    assert listeners.occupant("hive-dashboard.socket") == ""


def test_a_free_port_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    systemctl(tmp_path, monkeypatch, shown(port))
    assert listeners.main(["hive-dashboard.socket"]) == listeners.FREE
    assert capsys.readouterr().out == ""


def test_addresses_of_all_forms_are_read() -> None:
    answer = "Listen=127.0.0.1:7000 (Stream)\nListen=[::1]:7001 (Stream)\nListen=/run/x (Stream)\n"
    assert list(listeners.addresses(answer)) == [
        (ip_address("127.0.0.1"), 7000),
        (ip_address("::1"), 7001),
    ]


@pytest.mark.parametrize(
    ("address", "occupies"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("::", True), ("::ffff:127.0.0.1", True),
     ("127.0.0.2", False), ("::1", False)],
)  # fmt: skip
def test_a_socket_on_all_addresses_is_in_the_way_too(address: str, occupies: bool) -> None:
    listener = Listener(ip_address(address), 7000, 0, "1")
    assert listener.occupies(ip_address("127.0.0.1"), 7000) is occupies
    assert not listener.occupies(ip_address("127.0.0.1"), 7001)


def test_a_process_that_cannot_be_seen_leaves_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is in a sandbox, where the machine's processes have no number."""
    (tmp_path / "net").mkdir()
    line = "   0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 77 1 x"
    (tmp_path / "net/tcp").write_text(f"head\n{line}\n")
    systemctl(tmp_path, monkeypatch, shown(7000))
    sentence = listeners.occupant("hive-dashboard.socket", tmp_path)
    assert "is in use by a program of the user root, so" in sentence
