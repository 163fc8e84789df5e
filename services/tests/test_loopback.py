"""The socket of a service that only this host reaches."""

import socket
from collections.abc import Callable

import pytest

from services.errors import ConfigError
from services.loopback import inherited_socket, require_loopback

UNIT = "hive-x.socket"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9"])
def test_a_loopback_is_served(host: str) -> None:
    with socket.create_server((host, 0)) as listener:
        assert require_loopback(listener, UNIT, "x") is listener
        assert not listener.getblocking()


def unix() -> socket.socket:
    return socket.socket(socket.AF_UNIX)


@pytest.mark.parametrize(
    "make", [lambda: socket.create_server(("0.0.0.0", 0)), socket.socket, unix]
)
def test_other_hosts_do_not_reach_it(make: Callable[[], socket.socket]) -> None:
    with make() as listener, pytest.raises(ConfigError) as raised:
        require_loopback(listener, UNIT, "secrets would be seen")
    assert "does not listen on" in str(raised.value)
    assert "secrets would be seen. Set ListenStream= of hive-x.socket" in str(raised.value)


def test_a_service_that_systemd_did_not_start_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with pytest.raises(ConfigError, match="systemctl start hive-x"):
        inherited_socket(UNIT, "x")
