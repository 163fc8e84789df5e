"""Containers with a network of their own: their files, their gateway, and how they get there."""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services import agentfile, migration
from services.agentfile import AgentFile
from services.config import (
    AgentSettings,
    BudgetLimits,
    Config,
    ForgeAgent,
    ForgeConfig,
    GatewayAgent,
    GatewayConfig,
    HarnessConfig,
    LifecycleConfig,
)
from services.configvalues import NetworkMode as Mode
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.container_network import variables
from services.lifecycle.backends.effective_config import LOGIN
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.options import DEPLOY
from services.lifecycle.store import MIGRATIONS, Store
from services.lifecycle.tests.room import DONE, Room
from services.lifecycle.tests.test_nspawn import ALICE, UNIT, Host, host
from wire.errors import Unavailable
from wire.records.lifecycle import JobVerb, NetworkMode, SpawnOptions

__all__ = ["host"]

OLD, NEW = "a" * 40, "b" * 40
OWN = replace(ALICE, network=NetworkMode.GATEWAY)
ALONE = replace(ALICE, network=NetworkMode.NONE)
ETC = "alice/etc"
# The group of the directory of the gateways' configurations.
GATEWAYS = 4711


def built(host: Host, spec: Spec, text: str) -> Spec:
    """Make the build of an agent.toml; return the spec with it."""
    folder = host.layout.builds / spec.name / NEW
    folder.mkdir(parents=True)
    (folder / agentfile.NAME).write_text(text)
    return replace(spec, commit=NEW)


def backend(host: Host, **sections: Any) -> Nspawn:
    return Nspawn(host.systemd, Config(**sections), host.root / "prefix", host.layout)


def gateway(host: Host) -> dict[str, Any]:
    return dict(json.loads((host.layout.gateway / "alice.json").read_text()))


def settings(host: Host) -> list[str]:
    return (host.layout.settings / "h-alice.nspawn").read_text().splitlines()


def wanted(host: Host) -> set[str]:
    folder = host.layout.data / ETC / "systemd/system/sockets.target.wants"
    return {path.name for path in folder.iterdir()}


async def test_a_network_of_its_own_has_no_filter_and_no_name_servers(host: Host) -> None:
    await host.backend.configure(OWN)
    assert "Private=yes" in settings(host)
    [dropped] = [line for line in settings(host) if line.startswith("DropCapability=")]
    assert {"CAP_NET_ADMIN", "CAP_NET_RAW"} <= set(dropped.partition("=")[2].split())
    assert "IPAddress" not in (host.layout.units / f"{UNIT}.d/50-hyperhive.conf").read_text()
    required = host.drop_in()["Unit"]["Requires"].split()
    assert required == [f"hive-{kind}@alice.socket" for kind in ("agent", "api", "proxy")]
    assert "nameserver" not in (host.layout.data / ETC / "resolv.conf").read_text()
    network = host.backend.network(OWN)
    assert (network.mode, network.deny, network.filtered) == (NetworkMode.GATEWAY, [], True)
    await host.backend.configure(ALONE)
    assert "Private=yes" in settings(host)
    assert "hive-proxy@alice.socket" not in host.drop_in()["Unit"]["Requires"]
    await host.backend.configure(ALICE)
    assert "Private=no" in settings(host)
    assert "localhost" in host.drop_in()["Service"]["IPAddressDeny"].split()
    assert "10.1.2.3" in (host.layout.data / ETC / "resolv.conf").read_text()


async def test_programs_find_the_proxy_only_where_there_is_one(host: Host) -> None:
    etc = host.layout.data / ETC
    files = ("environment", "npmrc", "ssh/ssh_config", "apt/apt.conf.d/hyperhive")
    await host.backend.configure(OWN)
    assert wanted(host) == {"hive-proxy.socket"}
    given = variables("alice")
    assert f"HTTPS_PROXY={given['HTTPS_PROXY']}" in (etc / "environment").read_text()
    local = given["NO_PROXY"].split(",")
    assert {"localhost", "127.0.0.1", "::1", "0.0.0.0", "alice"} <= set(local)
    assert "[::1]" not in local, "httpx would not start"
    assert f"noproxy={given['NO_PROXY']}\n" in (etc / "npmrc").read_text()
    assert '"NODE_USE_ENV_PROXY=1"' in (etc / "systemd/system.conf.d/hyperhive.conf").read_text()
    assert "proxy = http://127.0.0.1:3128" in (etc / "gitconfig").read_text()
    command = f"ProxyCommand {host.root}/prefix/bin/python -P -m harness.connect %h %p"
    assert command in (etc / "ssh/ssh_config").read_text()
    assert all((etc / file).is_file() for file in files)
    for spec in (ALONE, ALICE):
        await host.backend.configure(spec)
        assert not any((etc / file).exists() for file in files)
        assert not (etc / "systemd/system.conf.d/hyperhive.conf").exists()
        assert "proxy" not in (etc / "gitconfig").read_text()
        assert wanted(host) == set()


async def test_ports_are_units_of_the_container(host: Host) -> None:
    spec = built(host, OWN, "ports = [3000, 8080]")
    await host.backend.configure(spec)
    ports = {"hive-port@3000.socket", "hive-port@8080.socket"}
    assert wanted(host) == {"hive-proxy.socket", *ports}
    folder = host.layout.data / ETC / "systemd/system/sockets.target.wants"
    assert (folder / "hive-port@3000.socket").readlink() == Path("../hive-port@.socket")
    await host.backend.configure(replace(spec, network=NetworkMode.NONE))
    assert wanted(host) == ports
    # The port of the agent's page is one of them, and the harness is told of it.
    paged = replace(spec, network=NetworkMode.NONE, port=8123)
    await host.backend.configure(paged)
    assert wanted(host) == {"hive-port@8123.socket", *ports}
    assert host.backend.network(paged).ports == (8123, 3000, 8080)
    assert host.backend.network(replace(paged, network=NetworkMode.HOST)).ports == ()
    harness = host.layout.data / ETC / "hyperhive/harness.json"
    assert json.loads(harness.read_text())["port"] == 8123
    await host.backend.configure(replace(spec, network=NetworkMode.HOST))
    assert wanted(host) == set()
    assert (await host.backend.reconcile(spec, running=False)).changes != []
    assert (await host.backend.reconcile(spec, running=False)).changes == []


async def test_the_operators_proxies_stay_where_the_host_is_reached(host: Host) -> None:
    environment = {"HTTPS_PROXY": "http://proxy.example.org:3128", "LANG": "C.UTF-8"}
    other = backend(host, harness=HarnessConfig(environment=environment))
    harness = host.layout.data / ETC / "hyperhive/harness.json"
    await other.configure(OWN)
    assert json.loads(harness.read_text())["environment"] == {"LANG": "C.UTF-8"}
    await other.configure(ALICE)
    assert json.loads(harness.read_text())["environment"] == environment


async def test_the_gateway_is_told_all_rules_together(host: Host) -> None:
    spec = built(host, OWN, "egress = ['GitHub.com', 'pypi.org']\nports = [3000, 8080]")
    key = host.layout.credentials / "gateway/agents/alice.cred"
    key.parent.mkdir(parents=True)
    key.write_text("x")
    config = GatewayConfig(egress=("pypi.org", "10.1.2.3:80"), upstream="https://a.example")
    other = backend(host, gateway=config)
    os.chown(host.layout.gateway, 0, GATEWAYS)
    await other.configure(spec)
    assert gateway(host) == {
        "network": "gateway",
        "egress": ["pypi.org", "10.1.2.3:80", "github.com"],
        "upstream": "https://a.example",
        "auth": "auto",
        "scripted": False,
        "own_upstream": False,
        "forge": None,
    }
    status = (host.layout.gateway / "alice.json").stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, 0, GATEWAYS)
    assert other.network(spec).egress == ("pypi.org", "10.1.2.3:80", "github.com")
    assert other.network(spec).ports == (3000, 8080)
    assert other.network(replace(spec, network=NetworkMode.HOST)).ports == ()
    for mode in (NetworkMode.HOST, NetworkMode.NONE):
        await other.configure(replace(spec, network=mode))
        assert (gateway(host)["network"], gateway(host)["egress"]) == (mode.value, [])
    own = GatewayAgent(upstream="http://127.0.0.1:9", auth="bearer", egress=())
    await backend(host, gateway=GatewayConfig(agents={"alice": own})).limit(spec)
    assert gateway(host)["egress"] == ["github.com", "pypi.org"]
    assert (gateway(host)["upstream"], gateway(host)["auth"]) == ("http://127.0.0.1:9", "bearer")
    assert gateway(host)["own_upstream"]
    await other.destroy(spec, purge=False)
    assert not (host.layout.gateway / "alice.json").exists()


async def test_only_an_agent_with_an_account_and_the_proxy_reaches_the_forge(host: Host) -> None:
    forge = ForgeConfig.model_validate(
        {"url": "https://forge.example/x/", "agents": {"alice": {"account": "Alice_B"}}}
    )
    made = backend(host, forge=forge)
    harness = host.layout.data / ETC / "hyperhive/harness.json"
    await made.configure(OWN)
    assert gateway(host)["forge"] == {"url": "https://forge.example/x", "account": "Alice_B"}
    assert json.loads(harness.read_text())["forge"] == "Alice_B"
    for config, spec in (
        (forge, replace(OWN, network=NetworkMode.HOST)),
        (forge, replace(OWN, network=NetworkMode.NONE)),
        (ForgeConfig(agents=forge.agents), OWN),
        (ForgeConfig(url=forge.url, agents={"bob": ForgeAgent()}), OWN),
    ):
        await backend(host, forge=config).configure(spec)
        assert gateway(host)["forge"] is None
        assert "forge" not in json.loads(harness.read_text())


async def test_the_key_for_all_is_not_one_for_an_upstream_of_ones_own(host: Host) -> None:
    (host.layout.credentials / "anthropic_api_key").write_text("x")
    own = GatewayAgent(upstream="https://api.anthropic.com")
    config = GatewayConfig(upstream="https://a.example", agents={"alice": own})
    made = backend(host, gateway=config)
    assert made.has_own_credential("alice")
    assert not made.has_own_credential("bob")
    await made.configure(OWN)
    assert gateway(host)["own_upstream"]
    assert set(LOGIN) <= set(gateway(host)["egress"])


async def test_who_may_log_in_reaches_the_hosts_of_a_login(host: Host) -> None:
    none = backend(host, gateway=GatewayConfig(egress=()))
    await none.configure(OWN)
    assert gateway(host)["egress"] == list(LOGIN)
    assert (gateway(host)["upstream"], gateway(host)["scripted"]) == (
        "https://api.anthropic.com",
        False,
    )
    await host.backend.configure(OWN)
    assert (gateway(host)["upstream"], gateway(host)["scripted"]) == ("http://127.0.0.1:7100", True)
    assert set(LOGIN) <= set(gateway(host)["egress"])
    (host.layout.credentials / "anthropic_api_key").write_text("x")
    await host.backend.configure(OWN)
    assert not gateway(host)["scripted"]
    assert not set(LOGIN) & set(gateway(host)["egress"])
    assert host.backend.shared_credential() == "key"


@pytest.mark.parametrize(
    ("common", "deployed", "own", "mode"),
    [
        ("gateway", None, None, "gateway"),
        ("host", None, None, "host"),
        ("gateway", "none", None, "none"),
        ("gateway", "host", "gateway", "gateway"),
    ],
)
async def test_later_settings_take_precedence(
    host: Host, common: Mode, deployed: Mode | None, own: Mode | None, mode: str
) -> None:
    spec = built(host, OWN, f"network = '{deployed}'" if deployed else "")
    agents = {"alice": AgentSettings(network=own)}
    other = backend(host, lifecycle=LifecycleConfig(network=common, agents=agents))
    assert other.network_mode(spec) == mode


async def test_one_of_an_earlier_version_keeps_the_hosts_network_and_says_so(host: Host) -> None:
    old = replace(ALICE, keeps_host=True)
    assert host.backend.network_mode(old) is NetworkMode.HOST
    assert host.backend.network(old).until_deploy
    assert not host.backend.network(OWN).until_deploy
    said = host.backend.network(ALICE)
    assert (said.mode, said.next_mode) == (NetworkMode.HOST, NetworkMode.GATEWAY)
    assert host.backend.network(OWN).next_mode is None
    agents = {"alice": AgentSettings(network="none")}
    other = backend(host, lifecycle=LifecycleConfig(agents=agents))
    assert other.network_mode(old) is NetworkMode.NONE


async def test_a_running_container_gets_new_name_servers_and_their_filter(host: Host) -> None:
    await host.backend.configure(ALICE)
    changed = asyncio.Event()
    # Its part that follows addresses needs a socket of systemd.
    await host.backend.watch_network(changed.set)
    (host.root / "etc/resolv.conf").write_text("nameserver 10.4.5.6\n")
    async with asyncio.timeout(5):
        await changed.wait()
    await host.backend.limit(ALICE)
    host.backend.stop_watching()
    assert (host.layout.data / ETC / "resolv.conf").read_text() == "nameserver 10.4.5.6\n"
    allowed = host.drop_in()["Service"]["IPAddressAllow"].split()
    assert "10.4.5.6" in allowed
    assert "10.1.2.3" not in allowed


async def test_the_filter_that_is_shown_is_the_one_that_holds(host: Host) -> None:
    await host.backend.configure(ALICE)
    assert "10.1.2.3" in host.backend.network(ALICE).name_servers
    (host.root / "etc/resolv.conf").write_text("nameserver 10.4.5.6\n")
    host.manager.reloads = False
    with pytest.raises(Unavailable):
        await host.backend.limit(ALICE)
    assert "10.1.2.3" in host.backend.network(ALICE).name_servers
    assert (host.layout.data / ETC / "resolv.conf").read_text() != "nameserver 10.4.5.6\n"
    host.manager.reloads = True
    before = host.manager.calls.count(("Reload",))
    await host.backend.limit(ALICE)
    assert host.manager.calls.count(("Reload",)) == before + 1, "nobody has read the new filter"
    assert host.backend.network(ALICE).name_servers == ["10.4.5.6"]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.open()
    await room.spawn("alice")
    yield room
    await room.close()


async def test_a_new_container_has_a_network_of_its_own(room: Room) -> None:
    assert room.backend.modes == {"alice": NetworkMode.GATEWAY}
    assert room.record("alice").network is NetworkMode.GATEWAY
    room.backend.mode = NetworkMode.HOST
    await room.order(JobVerb.REBUILD, "alice")
    assert room.record("alice").network is NetworkMode.GATEWAY, "its files are for the present one"
    await room.order(JobVerb.RESTART, "alice")
    assert room.backend.modes == {"alice": NetworkMode.HOST}
    assert room.record("alice").network is NetworkMode.HOST


async def test_an_agent_of_an_earlier_version_changes_with_its_next_deployment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "lifecycle.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        migration.migrate(old, file, MIGRATIONS[:4])
        row = "('{}', {}, '5', '{}', '', 1, '', '', 'boot-1')"
        rows = [row.format("alice", 1 << 28, "present"), row.format("bob", 2 << 28, "kept")]
        columns = "name, uid_base, machine_id, phase, model, enabled, seen, excused, boot"
        old.execute(f"insert into agent ({columns}) values {', '.join(rows)}")
    store = Store(file)
    assert [(r.network, r.keeps_host) for r in store.records()] == [
        (NetworkMode.HOST, True),
        (NetworkMode.HOST, False),
    ]
    store.close()
    room = Room(tmp_path)
    await room.open()
    started = room.jobs.of("alice")
    assert started is not None
    assert await room.diary.end_of(started) == DONE
    assert room.backend.modes["alice"] is NetworkMode.HOST
    room.backend.broken.add(OLD)
    failed = room.orders.deploy("alice", OLD, DEPLOY.parse({}))
    assert (await room.diary.end_of(failed))[0] == "failed"
    assert room.backend.modes["alice"] is NetworkMode.HOST, "the deployment was taken back"
    assert room.record("alice").keeps_host
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({}))) == DONE
    assert str(room.backend.modes["alice"]) == "gateway"
    assert not room.record("alice").keeps_host
    await room.close()


RULES = AgentFile(egress=("github.com",), budget=BudgetLimits(day=5.0))


async def test_egress_and_budget_apply_without_a_restart(room: Room) -> None:
    room.backend.configurations[NEW] = RULES
    room.parts.roster.agent("alice").in_turn = True
    room.backend.calls.clear()
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({}))) == DONE
    assert [call[0] for call in room.backend.calls] == ["build", "configure"]
    assert room.backend.laid["alice"] == NEW
    assert room.backend.started["alice"] is None, "the agent is not told of a start"
    assert room.ledger.budgets["alice"] == RULES.budget


async def test_after_a_boot_in_the_middle_of_it_the_agent_runs_with_the_rules(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path)
    await room.open()
    await room.spawn("alice")
    room.backend.configurations[NEW] = RULES
    room.backend.calls.clear()
    # The build takes two points; the third is the beginning of the files.
    room.backend.halt_at = room.backend.points + 3
    room.orders.deploy("alice", NEW, DEPLOY.parse({}))
    async with asyncio.timeout(5):
        await room.backend.halted.wait()
    assert room.backend.calls[-1][0] == "configure"
    await room.kill()
    room.backend.halt_at = 0
    room.backend.boot_id = "boot-2"
    room.backend.units.clear()
    await room.open()
    job = room.jobs.of("alice")
    assert job is not None
    assert await room.diary.end_of(job) == DONE
    assert room.state("alice") == "running"
    assert room.backend.running["alice"] == NEW
    await room.close()


async def test_a_change_of_the_network_needs_a_restart(room: Room) -> None:
    room.backend.configurations[NEW] = RULES
    room.backend.mode = NetworkMode.NONE
    room.backend.calls.clear()
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({}))) == DONE
    assert "start" in [call[0] for call in room.backend.calls]


async def test_a_stopped_agent_has_the_rules_at_its_next_start(room: Room) -> None:
    room.backend.configurations[NEW] = RULES
    await room.order(JobVerb.STOP, "alice")
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({}))) == DONE
    assert room.backend.laid["alice"] == NEW


async def test_rules_that_cannot_be_written_are_taken_back(room: Room) -> None:
    room.backend.configurations[NEW] = RULES
    before = room.record("alice").deployed
    room.backend.fail["configure"] = Unavailable("systemd would not.")
    job = room.orders.deploy("alice", NEW, DEPLOY.parse({}))
    assert (await room.diary.end_of(job))[0] == "failed"
    assert room.record("alice").deployed == before
    assert room.state("alice") == "running"


async def test_a_ledger_that_comes_is_told_all_budgets(room: Room) -> None:
    room.backend.configurations[NEW] = RULES
    room.ledger.error = Unavailable("Nobody owns the name.")
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({}))) == DONE
    assert room.ledger.budgets == {"alice": BudgetLimits()}
    room.ledger.error = None
    room.parts.budgets.ledger_appeared()
    await room.parts.budgets.settle()
    assert room.ledger.budgets == {"alice": RULES.budget}
    assert await room.diary.end_of(room.orders.destroy("alice", purge=False)) == DONE
    assert room.ledger.budgets == {"alice": BudgetLimits()}


async def test_the_ledger_is_told_the_rules_that_a_gateway_follows(room: Room) -> None:
    room.backend.configurations[NEW] = RULES
    assert room.ledger.rules == {"alice": ()}
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({}))) == DONE
    assert room.ledger.rules == {"alice": ("github.com",)}
    assert room.backend.laid["alice"] == NEW


async def test_a_purge_makes_the_ledger_forget(room: Room) -> None:
    assert await room.diary.end_of(room.orders.destroy("alice", purge=False)) == DONE
    assert room.ledger.forgotten == [], "a destroyed agent may come back"
    room.ledger.error = Unavailable("Nobody owns the name.")
    assert (await room.diary.end_of(room.orders.purge("alice")))[0] == "failed"
    room.ledger.error = None
    assert await room.diary.end_of(room.orders.purge("alice")) == DONE
    assert room.ledger.forgotten == ["alice"]


async def test_a_spawn_that_fails_forgets_no_budget(room: Room) -> None:
    """The operator may have set the limits before."""
    room.backend.fail["configure"] = Unavailable("systemd would not.")
    job = room.orders.spawn("bob", SpawnOptions())
    assert (await room.diary.end_of(job))[0] == "failed"
    assert room.ledger.forgotten == []
