"""Principals: the rule, and the lookup on a bus with a fake systemd."""

import grp
import os
import pwd
from typing import NamedTuple

import pytest

from wire import errors
from wire.bus import Bus
from wire.principal import (
    AGENTS,
    EVERYBODY,
    GATEWAYS,
    MANAGER,
    OPERATOR,
    THE_MANAGER,
    THE_OPERATOR,
    Kind,
    Principal,
    agent,
    gateway,
    service,
)
from wire.resolver import SystemdResolver, principal_of, unescape
from wire.testing import FakeSystemd, FixedPrincipals
from wire.tests.lamp import NAME, PATH, Lamp1

LIFECYCLE = Principal(Kind.SERVICE, "lifecycle")
BROKER = Principal(Kind.SERVICE, "broker")
DASHBOARD = Principal(Kind.SERVICE, "dashboard")
ASSISTANT = Principal(Kind.SERVICE, "assistant")
BROKER_UID, HIVE_GID, ALICE_UID = 801, 850, 1000
AGENTS_UID = os.getuid() or 802  # some tests here play an endpoint
GATEWAY_UID = 805


class User(NamedTuple):
    pw_uid: int
    pw_gid: int
    pw_name: str


class Group(NamedTuple):
    gr_gid: int


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with the users hive-broker, hive-agents and alice, who is in the group hive."""
    known = [
        User(BROKER_UID, BROKER_UID, "hive-broker"),
        User(AGENTS_UID, AGENTS_UID, "hive-agents"),
        User(GATEWAY_UID, GATEWAY_UID, "hive-gateway"),
        User(ALICE_UID, ALICE_UID, "alice"),
    ]

    def find(field: str, value: object) -> User:
        for user in known:
            if getattr(user, field) == value:
                return user
        raise KeyError(value)

    monkeypatch.setattr(pwd, "getpwnam", lambda name: find("pw_name", name))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: find("pw_uid", uid))
    monkeypatch.setattr(grp, "getgrnam", lambda name: {"hive": Group(HIVE_GID)}[name])
    monkeypatch.setattr(
        os, "getgrouplist", lambda name, gid: [gid, HIVE_GID] if name == "alice" else [gid]
    )


@pytest.mark.parametrize(
    ("unit", "uid", "groups", "expected"),
    [
        ("hive-agent@bob.service", AGENTS_UID, [], agent("bob")),
        ("hive-agent@bob.service", 0, [], agent("bob")),
        ("hive-agent@bob.service", ALICE_UID, [ALICE_UID, HIVE_GID], None),
        ("hive-agent@bob.service", BROKER_UID, [], None),
        ("hive-agent@manager.service", AGENTS_UID, [], THE_MANAGER),
        ("hive-agent@Bob.service", 0, [], None),
        ("hive-agent@much-too-long.service", 0, [], None),
        ("hive-agent@operator.service", AGENTS_UID, [], None),
        ("hive-agent@system.service", AGENTS_UID, [], None),
        ("hive-agent@bob.socket", AGENTS_UID, [], None),
        ("hive-gateway@bob.service", GATEWAY_UID, [], gateway("bob")),
        ("hive-gateway@manager.service", 0, [], gateway("manager")),
        ("hive-gateway@bob.service", AGENTS_UID, [], None),
        ("hive-gateway@operator.service", GATEWAY_UID, [], None),
        ("hive-gateway@bob.socket", GATEWAY_UID, [], None),
        ("hive-gateway.service", GATEWAY_UID, [], None),
        ("hive-broker.service", BROKER_UID, [], BROKER),
        ("hive-broker.service", 0, [], BROKER),
        ("hive-broker.service", ALICE_UID, [HIVE_GID], None),
        ("hive-lifecycle.service", 0, [], LIFECYCLE),
        ("hive-lifecycle.service", BROKER_UID, [], None),
        ("hive-model.service", AGENTS_UID, [], None),
        ("session-1.scope", 0, [], THE_OPERATOR),
        ("session-1.scope", ALICE_UID, [ALICE_UID, HIVE_GID], THE_OPERATOR),
        ("session-1.scope", ALICE_UID, [ALICE_UID], None),
        ("session-1.scope", ALICE_UID, None, THE_OPERATOR),
        ("session-1.scope", BROKER_UID, None, None),
        ("user@1000.service", 4242, None, None),
        ("", 0, None, THE_OPERATOR),
        ("", AGENTS_UID, [], None),
    ],
)
def test_the_rule(
    unit: str, uid: int, groups: list[int] | None, expected: Principal | None
) -> None:
    assert principal_of(unit, uid, groups) == expected


def test_sets() -> None:
    everyone = [THE_OPERATOR, THE_MANAGER, agent("bob"), LIFECYCLE, BROKER, DASHBOARD, ASSISTANT]

    def members(allow: object) -> list[str]:
        return [p.name for p in everyone if p in allow]  # type: ignore[operator]

    assert members(OPERATOR) == ["operator", "dashboard", "assistant"]
    assert members(MANAGER) == ["manager"]
    assert members(AGENTS) == ["manager", "bob"]
    assert members(service("lifecycle") | MANAGER) == ["manager", "lifecycle"]
    assert members(EVERYBODY) == [p.name for p in everyone]
    assert [p for p in (gateway("bob"), agent("bob")) if p in GATEWAYS] == [gateway("bob")]
    assert gateway("bob") not in EVERYBODY
    assert gateway("bob") not in AGENTS
    assert str(AGENTS | OPERATOR) == "an agent or the operator"


def test_voices() -> None:
    voices = [p.voice for p in (THE_OPERATOR, DASHBOARD, THE_MANAGER, agent("bob"), BROKER)]
    assert voices == ["operator", "operator", "manager", "bob", "system"]


def test_unescape() -> None:
    assert unescape("hive_2dagent_40bob_2eservice") == "hive-agent@bob.service"


async def hive(address: str) -> tuple[FakeSystemd, list[Bus]]:
    """systemd, a lamp that asks it, and two clients."""
    buses = [
        await Bus.connect(address, FixedPrincipals()),
        *[await Bus.connect(address) for _ in range(3)],
    ]
    systemd, lamp = FakeSystemd("hive-agent@bob.service"), Lamp1()
    lamp.go_on.set()
    buses[0].export("/org/freedesktop/systemd1", systemd)
    await buses[0].own("org.freedesktop.systemd1")
    buses[1].export(PATH, lamp)
    await buses[1].own(NAME)
    return systemd, buses


async def test_lookup_is_made_once_a_connection(bus_address: str) -> None:
    systemd, buses = await hive(bus_address)
    _, _, bob, root = buses
    for _ in range(3):
        assert await bob.call(NAME, PATH, NAME, "WhoAmI") == ["bob", bob.unique_name]
    assert systemd.asked == [os.getpid()]
    systemd.unit = ""
    with pytest.raises(errors.AccessDenied):
        await bob.call(NAME, PATH, NAME, "Dim", "ua{sv}", 1, {})
    if os.getuid() == 0:
        assert await root.call1(NAME, PATH, NAME, "Dim", "ua{sv}", 1, {}) == 2
    for bus in reversed(buses):
        await bus.close()


async def test_a_connection_that_is_gone_after_the_lookup_is_nobody(bus_address: str) -> None:
    systemd, buses = await hive(bus_address)
    resolver, leaver = SystemdResolver(), buses[2]
    assert await resolver.resolve(buses[1], leaver.unique_name) == agent("bob")

    systemd.before_answer = leaver.close
    assert await resolver.resolve(buses[1], leaver.unique_name) is None
    for bus in reversed(buses):
        await bus.close()


async def test_without_systemd_nobody_is_let_in(bus_address: str) -> None:
    server, client = await Bus.connect(bus_address), await Bus.connect(bus_address)
    server.export(PATH, Lamp1())
    await server.own(NAME)
    with pytest.raises(errors.Unavailable, match="could not be identified"):
        await client.call(NAME, PATH, NAME, "Echo", "s", "x")
    await client.close()
    await server.close()
