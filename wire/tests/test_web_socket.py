"""Connecting to a harness: nothing that an agent puts in the place of its socket is followed."""

import os
import socket
from pathlib import Path

import pytest

from wire import web_socket
from wire.errors import InvalidArgument, Unavailable


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return the directory of alice, which alice owns."""
    folder = tmp_path / "alice"
    folder.mkdir()
    return folder


def listen(path: Path, backlog: int = 5) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(backlog)
    return listening


def test_it_connects_to_the_socket(tmp_path: Path, own: Path) -> None:
    with listen(own / "web.sock") as listening, web_socket.connect("alice", tmp_path) as client:
        accepted, _ = listening.accept()
        with accepted:
            client.send(b"hello")
            assert accepted.recv(5) == b"hello"
        assert not client.getblocking()


def test_a_port_has_a_socket_of_its_own(tmp_path: Path, own: Path) -> None:
    with listen(own / "port-3000.sock") as listening:
        with web_socket.connect_port("alice", 3000, tmp_path) as client:
            accepted, _ = listening.accept()
            with accepted:
                client.send(b"hello")
                assert accepted.recv(5) == b"hello"
        (own / "port-80.sock").symlink_to("port-3000.sock")
        for port in (80, 81):
            with pytest.raises(Unavailable, match=rf"Port {port} of alice is not offered: .*ports"):
                web_socket.connect_port("alice", port, tmp_path)


def test_a_link_to_another_socket_is_refused(tmp_path: Path, own: Path) -> None:
    with listen(tmp_path / "other.sock"):
        (own / "web.sock").symlink_to(tmp_path / "other.sock")
        with pytest.raises(Unavailable, match="is away"):
            web_socket.connect("alice", tmp_path)


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "alice").symlink_to("bob")
    with listen(tmp_path / "bob/web.sock"), pytest.raises(Unavailable, match="is away"):
        web_socket.connect("alice", tmp_path)


@pytest.mark.parametrize("trap", ["nothing", "file", "pipe", "directory", "deaf"])
def test_anything_else_is_refused_at_once(trap: str, tmp_path: Path, own: Path) -> None:
    path = own / "web.sock"
    match trap:
        case "file":
            path.write_text("")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "deaf":
            listen(path).close()
    with pytest.raises(Unavailable, match="is away"):
        web_socket.connect("alice", tmp_path)


def test_a_socket_that_accepts_nothing_does_not_block(tmp_path: Path, own: Path) -> None:
    with listen(own / "web.sock", 0):
        first = web_socket.connect("alice", tmp_path)
        with first, pytest.raises(Unavailable, match="does not take connections"):
            web_socket.connect("alice", tmp_path)


def test_a_name_is_not_a_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        web_socket.connect("../alice", tmp_path)


def test_descriptors_are_closed(tmp_path: Path, own: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (own / "web.sock").write_text("")
    for _ in range(3):
        with pytest.raises(Unavailable):
            web_socket.connect("alice", tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
