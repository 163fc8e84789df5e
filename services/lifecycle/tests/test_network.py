"""Network filters: the effective lists, the drop-in, and hosts that cannot filter."""

import ipaddress
import logging
import socket
from pathlib import Path

import pytest

from services.config import AgentSettings, Config, LifecycleConfig
from services.lifecycle.agents.agent import Spec
from services.lifecycle.agents.network import is_unenforced, name_servers, network_of
from services.lifecycle.backends import unit_files
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.host import canfilter, systemd
from services.lifecycle.tests.room import Room
from services.lifecycle.tests.test_nspawn import ALICE, UNIT, Host, host
from services.nameservers import IPAddress
from wire.errors import Conflict
from wire.records.lifecycle import Network, Resources

__all__ = ["host"]

BOB = Spec("bob", ALICE.uid_base, ALICE.machine_id)
CONFIG = Config(
    lifecycle=LifecycleConfig(
        network_deny=("localhost", "10.0.0.0/8"),
        network_allow=("10.9.9.9",),
        agents={
            "alice": AgentSettings(network_deny=("any",), network_allow=("192.0.2.0/24",)),
            "bob": AgentSettings(network_allow=()),
            "carol": AgentSettings(network_deny=()),
        },
    )
)


def addresses(*texts: str) -> list[IPAddress]:
    return [ipaddress.ip_address(text) for text in texts]


@pytest.mark.parametrize(
    ("name", "deny", "allow", "servers"),
    [
        ("alice", ("any",), ("192.0.2.0/24",), ("10.1.1.1", "9.9.9.9")),
        ("bob", ("localhost", "10.0.0.0/8", "255.255.255.255"), (), ("10.1.1.1",)),
        ("carol", (), (), ()),
        (
            "dave",
            ("localhost", "10.0.0.0/8", "255.255.255.255"),
            ("10.9.9.9",),
            ("10.1.1.1",),
        ),
    ],
)
def test_an_agents_own_lists_replace_those_of_all(
    name: str, deny: tuple[str, ...], allow: tuple[str, ...], servers: tuple[str, ...]
) -> None:
    resolv_conf = "nameserver 10.1.1.1\nnameserver 9.9.9.9\n"
    network = network_of(name, CONFIG, resolv_conf, (), can_filter=True)
    assert network == Network(list(deny), list(allow), list(servers), bool(deny))
    assert not is_unenforced(network)
    open_host = network_of(name, CONFIG, "", (), can_filter=False)
    assert not open_host.filtered
    assert is_unenforced(open_host) == bool(deny)


def test_the_hosts_own_addresses_are_denied_except_to_those_to_whom_nothing_is() -> None:
    own = addresses("2001:db8::7", "127.0.0.1", "203.0.113.5", "10.0.0.5")
    common = network_of("dave", CONFIG, "", own, can_filter=True)
    own_denied = ["203.0.113.5", "255.255.255.255", "2001:db8::7"]
    assert common.deny == ["localhost", "10.0.0.0/8", *own_denied]
    assert network_of("alice", CONFIG, "", own, can_filter=True).deny == ["any"]
    assert network_of("carol", CONFIG, "", own, can_filter=True).deny == []


def test_a_name_server_of_the_host_is_reached_for_dns_only() -> None:
    own, resolv_conf = addresses("203.0.113.5"), "nameserver 203.0.113.5\nnameserver 9.9.9.9\n"
    network = network_of("dave", CONFIG, resolv_conf, own, can_filter=True)
    assert network.name_servers == ["203.0.113.5"]
    assert "203.0.113.5" not in network.allow


def test_a_name_server_that_is_allowed_is_reached_on_all_ports() -> None:
    for allowed in ("10.9.9.9", "10.9.9.0/24"):
        config = Config(lifecycle=LifecycleConfig(network_allow=(allowed,)))
        network = network_of("dave", config, "nameserver 10.9.9.9\n", (), can_filter=True)
        assert network.name_servers == []


def test_name_servers_are_read_with_care() -> None:
    text = "# nameserver 1.1.1.1\nnameserver 10.1.2.3 \nnameserver fe80::1%eth0\nnameserver x\n"
    assert name_servers(text + "nameserver\n") == addresses("10.1.2.3", "fe80::1")
    many = "".join(f"nameserver 10.0.0.{number}\n" for number in range(5))
    assert name_servers(many) == addresses("10.0.0.0", "10.0.0.1", "10.0.0.2")


def test_a_damaged_resolv_conf_does_not_hide_the_network(host: Host) -> None:
    file = host.root / "etc/resolv.conf"
    file.write_bytes(b"search caf\xe9.example\nnameserver 10.1.2.3\n")
    assert "10.1.2.3" in host.backend.network(ALICE).name_servers
    file.unlink()
    file.symlink_to("resolv.conf")
    assert "10.1.2.3" not in host.backend.network(ALICE).name_servers


def test_a_packet_that_leaves_says_that_nothing_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert canfilter.probe() is canfilter.Outcome.OPEN

    def refuse(*_arguments: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "sendto", refuse)
    assert canfilter.probe() is canfilter.Outcome.FILTERED


@pytest.mark.parametrize("open_address", [canfilter.DENIED, canfilter.DNS_ONLY])
def test_both_filters_must_hold(monkeypatch: pytest.MonkeyPatch, open_address: str) -> None:
    def refuse(_socket: object, _data: bytes, address: tuple[str, int]) -> int:
        if address[0] == open_address:
            return 0
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "sendto", refuse)
    assert canfilter.probe() is canfilter.Outcome.OPEN


def can_filter(host: Host, **values: object) -> None:
    host.manager.unit(systemd.CAN_FILTER)
    host.manager.change(systemd.CAN_FILTER, **values)


@pytest.mark.parametrize(
    ("values", "filters"),
    [
        ({"code": 1, "status": 0}, True),
        ({"code": 1, "status": 3}, False),
        ({"code": 0, "status": 0}, False),
        ({"code": 2, "status": 9}, False),
    ],
)
async def test_only_a_clear_yes_is_one(
    host: Host, values: dict[str, int], filters: bool, caplog: pytest.LogCaptureFixture
) -> None:
    can_filter(host, **values)
    with caplog.at_level(logging.ERROR):
        await host.backend.probe()
    assert host.backend.network(ALICE).filtered is filters
    assert ("does not filter addresses" in caplog.text) is not filters


async def test_a_probe_that_fails_is_no_yes(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    can_filter(host, code=1, status=0)
    host.manager.result = "failed"
    await host.backend.probe()
    assert is_unenforced(host.backend.network(ALICE))
    assert "cannot find out" in caplog.text


async def test_nobody_starts_unfiltered_where_filters_are_required(host: Host) -> None:
    config = Config(
        lifecycle=LifecycleConfig(
            require_filter=True, agents={"bob": AgentSettings(network_deny=())}
        )
    )
    client = host.systemd
    backend = Nspawn(client, config, host.root / "prefix", host.layout)
    can_filter(host, code=1, status=3)
    await backend.probe()
    with pytest.raises(Conflict, match=r"alice is not started.*lifecycle\.require_filter"):
        await backend.start(ALICE)
    assert ("StartUnit", UNIT) not in host.manager.calls
    host.manager.unit("systemd-nspawn@h-bob.service")
    await backend.start(BOB)  # nothing is denied him that he could reach
    host.manager.change(systemd.CAN_FILTER, status=0)
    await backend.probe()
    await backend.start(ALICE)


async def test_addresses_that_nat64_translates_are_denied_with_those_it_leads_to(
    host: Host,
) -> None:
    await host.backend.configure(ALICE)
    denied = host.drop_in()["Service"]["IPAddressDeny"].split()
    assert {"64:ff9b::7f00:0/104", "64:ff9b::a00:0/104", "64:ff9b::a83f:8110/128"} <= set(denied)
    assert "64:ff9b::c000:207/128" in host.drop_in()["Service"]["IPAddressAllow"].split()


async def test_what_is_opened_has_no_filter(host: Host) -> None:
    client = host.systemd
    await Nspawn(client, CONFIG, host.root / "prefix", host.layout).configure(ALICE)
    service = host.drop_in()["Service"]
    assert service["IPAddressDeny"] == "any"
    assert service["IPAddressAllow"] == "192.0.2.0/24 64:ff9b::c000:200/120 10.1.2.3 fe80::1"
    carol = Spec("carol", ALICE.uid_base, ALICE.machine_id)
    limits = unit_files.Limits(
        1, 1, network_of("carol", CONFIG, "", (), can_filter=True), Resources()
    )
    assert "IPAddress" not in unit_files.drop_in(carol, limits, None, [])


async def test_what_runs_obeys_the_configuration_of_a_new_lifecycle(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    await room.spawn("alice")
    await room.spawn("bob")
    room.backend.set("bob", "inactive")
    await room.close()
    room.backend.calls.clear()
    room.backend.fail["limit"] = Conflict("systemd would not.")
    await room.open()
    assert room.backend.probed
    assert room.backend.calls[0] == ("limit", "alice")
    assert ("limit", "bob") not in room.backend.calls
    await room.close()
