import socket

import pytest

from services.dashboard.http.listener import ListenerError, base_url, checked, is_local


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_loopback_is_served_under_its_own_address(host: str, shown: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert checked(listener) is listener
        assert base_url(listener) == f"http://{shown}:{port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_any_other_address_is_refused_with_a_sentence(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as listener,
        pytest.raises(ListenerError, match=r"refuses to listen on .* ListenStream="),
    ):
        checked(listener)


def test_a_unix_socket_is_refused() -> None:
    with (
        socket.socket(socket.AF_UNIX) as listener,
        pytest.raises(ListenerError, match="TCP only"),
    ):
        checked(listener)


def test_behind_a_proxy_other_hosts_may_reach_it() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert checked(listener, behind_proxy=True) is listener
        assert not is_local(listener)
