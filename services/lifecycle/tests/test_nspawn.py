"""The backends nspawn and nixos: real files in a folder, a fake systemd on a private bus."""

import asyncio
import configparser
import json
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.config import BackendName, Config, HarnessConfig, LifecycleConfig, TelemetryConfig
from services.lifecycle.agents.agent import Spec, UnitStatus
from services.lifecycle.agents.start import Start
from services.lifecycle.backends import image
from services.lifecycle.backends.layout import Layout, container_unit
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.host import systemd
from services.lifecycle.tests.fake_systemd import Machined, Manager
from wire.clients import machined as machined_api
from wire.clients import systemd as systemd_api
from wire.errors import Conflict
from wire.fixtures import Connect

BASE = 0x1234_0000
ALICE = Spec("alice", BASE, "5" * 32)
MANAGER = Spec("manager", BASE + 65536, "6" * 32)
UNIT = "systemd-nspawn@h-alice.service"
SYSTEM = f"/nix/store/{'a' * 32}-nixos-system-agent-25.11"
PACKAGE = Path(f"/nix/store/{'d' * 32}-hyperhive")
BACKENDS: tuple[BackendName, ...] = ("nspawn", "nixos")
BOTH = pytest.mark.parametrize("host", BACKENDS, indirect=True)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")


class Host:
    """A host's folders, its systemd and the backend on them."""

    def __init__(
        self,
        root: Path,
        manager: Manager,
        machined: Machined,
        client: systemd.Systemd,
        backend: BackendName,
    ) -> None:
        self.root = root
        self.manager = manager
        self.machined = machined
        self.systemd = client
        self.layout = Layout(root, in_run=backend == "nixos")
        for folder in (
            "machines",
            "settings",
            "units",
            "data",
            "sockets",
            "credentials",
            "gateway",
            "git",
            "web",
            "projects",
        ):
            getattr(self.layout, folder).mkdir(parents=True)
        (root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
        (root / "etc/resolv.conf").write_text("nameserver 10.1.2.3\nnameserver fe80::1%eth0\n")
        (root / "prefix/share/hyperhive/container").mkdir(parents=True)
        (root / "prefix/share/hyperhive/container/hive-harness.service").write_text("[Service]\n")
        self.prefix, system = root / "prefix", ""
        if backend == "nixos":
            self.prefix = PACKAGE
            system = SYSTEM
            (root / system.lstrip("/")).mkdir(parents=True)
            (root / system.lstrip("/") / "init").touch()
        config = Config(
            lifecycle=LifecycleConfig(
                network_allow=("192.0.2.7",), backend=backend, toplevel=system
            ),
            harness=HarnessConfig(scripted_model_url="http://127.0.0.1:7100", model="m"),
        )
        self.backend = Nspawn(client, config, self.prefix, self.layout)

    def drop_in(self) -> configparser.ConfigParser:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(self.layout.units / f"{UNIT}.d" / self.layout.drop_in)
        return parser


@pytest.fixture
async def host(request: pytest.FixtureRequest, tmp_path: Path, connect: Connect) -> Host:
    """Return a host with the backend nspawn, or with that of a parameter."""
    server, client = await connect(), await connect()
    manager, machined = Manager(server), Machined()
    server.export(systemd_api.SYSTEMD_PATH, manager)
    server.export(machined_api.MACHINED_PATH, machined)
    manager.unit(UNIT)
    await server.own(systemd_api.SYSTEMD)
    await server.own(machined_api.MACHINED)
    backend: BackendName = getattr(request, "param", "nspawn")
    return Host(tmp_path, manager, machined, systemd.Systemd(client), backend)


async def test_a_container_gets_the_extra_servers_of_its_image(host: Host) -> None:
    given = host.layout.root / "etc/hyperhive/extra-mcp.json"
    given.parent.mkdir(parents=True, exist_ok=True)
    given.write_text('{"docs": {"command": "docs"}}')
    copy = host.layout.data / "alice/etc/hyperhive/extra-mcp.json"
    await host.backend.configure(ALICE)
    assert copy.read_text() == given.read_text()
    given.unlink()
    await host.backend.configure(ALICE)
    assert not copy.exists()


@BOTH
async def test_the_sweep_may_pass_to_the_data_of_earlier_versions(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    data = host.layout.data
    for name, base in (("kept", BASE + 2 * 65536), ("stranger", BASE + 7)):
        (data / name / "state").mkdir(parents=True)
        (data / name).chmod(0o700)
        os.chown(data / name / "state", base, base)
    (data / "victim").mkdir(mode=0o700)
    (data / "linked").symlink_to("kept")
    (data / "half").mkdir(mode=0o700)
    (data / "half/state").symlink_to("../kept/state")
    with caplog.at_level(logging.INFO):
        await host.backend.correct_data()
    kept = (data / "kept").stat()
    assert (kept.st_uid, kept.st_gid, kept.st_mode & 0o777) == (0, BASE + 2 * 65536, 0o710)
    assert (data / "linked").is_symlink()
    for name in ("stranger", "victim", "half"):
        other = (data / name).stat()
        assert (other.st_uid, other.st_gid, other.st_mode & 0o777) == (0, 0, 0o700), name
    assert f"{data}/kept owner and mode corrected" in caplog.text
    caplog.clear()
    await host.backend.correct_data()
    assert "corrected" not in caplog.text
    data.rename(data.with_name("gone"))
    await host.backend.correct_data()
    assert "old events of some agents are not deleted" in caplog.text


async def test_a_container_has_its_own_etc_and_its_uids(host: Host) -> None:
    await host.backend.configure(ALICE)
    etc = host.layout.data / "alice/etc"
    assert (etc / "machine-id").read_text().strip() == ALICE.machine_id
    assert (etc / "hostname").read_text() == "alice\n"
    assert json.loads((etc / "hyperhive/harness.json").read_text()) == {
        "name": "alice",
        "manager": False,
        "model": "m",
        "api": "scripted",
        "network": "host",
        "port": 0,
        "session_idle": 600,
        "turn_timeout": 1800,
        "start_timeout": 60,
        "notes_limit": 40_000,
        "environment": {},
        "operator_name": None,
        "operator_pronouns": None,
    }
    started = Start(at=7, verb="restart", by="manager", changes="new tools")
    await host.backend.write_started(replace(ALICE, started=started))
    told = json.loads((etc / "hyperhive/harness.json").read_text())
    assert told["started"] == {
        "at": 7,
        "verb": "restart",
        "by": "manager",
        "changes": "new tools",
    }
    assert (etc / "systemd/system/hive-harness.service").read_text() == "[Service]\n"
    assert (etc / "systemd/system/systemd-sysusers.service").readlink() == Path("/dev/null")
    masked = {path.name: path.readlink() for path in (etc / "systemd/system-generators").iterdir()}
    assert masked == dict.fromkeys(image.generators(Path("/")), Path("/dev/null"))
    assert "systemd-fstab-generator" in masked
    assert (etc / "resolv.conf").read_text() == (host.root / "etc/resolv.conf").read_text()
    assert (etc / "localtime").readlink() == Path("../usr/share/zoneinfo/Europe/Berlin")
    assert sum(p.stat().st_size for p in etc.rglob("*") if p.is_file()) < 8192
    data = host.layout.data / "alice"
    assert (data.stat().st_uid, data.stat().st_gid) == (0, BASE)
    assert data.stat().st_mode & 0o777 == 0o710
    for name in ("claude", "state", "root"):
        assert ((data / name).stat().st_uid, (data / name).stat().st_mode & 0o777) == (BASE, 0o700)


async def test_a_harness_is_told_of_a_collector(host: Host) -> None:
    config = Config(telemetry=TelemetryConfig(endpoint="http://127.0.0.1:4318"))
    backend = Nspawn(host.systemd, config, host.root / "prefix", host.layout)
    await backend.configure(ALICE)
    given = host.layout.data / "alice/etc/hyperhive/harness.json"
    assert json.loads(given.read_text())["telemetry"] is True


@BOTH
async def test_what_nspawn_opens_by_path_is_roots(host: Host) -> None:
    await host.backend.configure(MANAGER)
    check_owners(host)


def check_owners(host: Host) -> None:
    template, own = host.layout.machines / "hm1nd", host.layout.data / "manager"
    readable = [template, own, *template.rglob("*"), *(own / "etc").rglob("*")]
    assert {path.lstat().st_uid for path in readable} == {0}
    assert not [p for p in readable if not p.is_symlink() and p.stat().st_mode & 0o022]
    lines = (host.layout.settings / "hm1nd.nspawn").read_text().splitlines()
    assert "Volatile=yes" in lines
    assert {"ResolvConf=off", "Timezone=off", "LinkJournal=no"} <= set(lines)
    binds = [line.split("=", 1)[1].split(":") for line in lines if line.startswith("Bind")]
    writable = [Path(line.split(":")[1]) for line in lines if line.startswith("Bind=")]
    assert Path("/var") in writable
    for bind in binds:
        # The parents of a source are opened by path.
        above = [path for path in Path(bind[0]).parents if path.is_relative_to(host.root)]
        assert {path.stat().st_uid for path in above} <= {0}, bind
        assert not [path for path in Path(bind[-1]).parents if path in writable], bind


async def test_nspawn_makes_the_links_into_usr(host: Host) -> None:
    await host.backend.configure(ALICE)
    check_template(host.layout.machines / "h-alice/usr")


def check_template(usr: Path) -> None:
    links = [name for name in image.USR_LINKS if Path("/", name).is_symlink()]
    assert sorted(path.name for path in usr.iterdir()) == sorted(links)
    for loader in Path("/usr/lib64").glob("ld-*.so.*"):
        assert (usr / "lib64" / loader.name).is_file()


async def test_settings_bind_only_what_an_agent_may_see(host: Host) -> None:
    await host.backend.configure(ALICE)
    lines = (host.layout.settings / "h-alice.nspawn").read_text().splitlines()
    assert f"PrivateUsers={BASE}:65536" in lines
    assert "PrivateUsersOwnership=off" in lines
    assert "NoNewPrivileges=yes" in lines
    writable = [line.split(":")[1] for line in lines if line.startswith("Bind=")]
    parts = [
        "/run/hive-web",
        "/run/hive-claude",
        "/state",
        "/work",
        "/root",
        "/home",
        "/opt",
        "/srv",
        "/var",
    ]
    assert writable == parts
    shared = [line.removeprefix("BindReadOnly=") for line in lines if "ReadOnly" in line]
    # The socket directory is on the host's /run, which an agent with write access could fill.
    assert shared.pop() == f"{host.layout.sockets}/alice:/run/hive"
    assert shared.pop(0) == f"{host.layout.data}/alice/etc:/etc"
    for path in shared:
        assert path == "/usr" or (path.startswith("/etc/") and path.count("/") > 1)
        assert not path.startswith(("/etc/ssl/private", "/home", "/root", "/etc/hyperhive"))


@BOTH
async def test_the_manager_alone_sees_the_configurations(host: Host) -> None:
    await host.backend.configure(ALICE)
    assert str(host.layout.git) not in (host.layout.settings / "h-alice.nspawn").read_text()
    assert "safe" not in (host.layout.data / "alice/etc/gitconfig").read_text()
    assert not (host.layout.git / "proposed").exists()

    await host.backend.configure(MANAGER)
    git = host.layout.git
    lines = (host.layout.settings / "hm1nd.nspawn").read_text().splitlines()
    # The manager may write its proposals, but not the repositories of approvals.
    assert f"Bind={git}/proposed:/agents" in lines
    assert f"BindReadOnly={git}/applied:/applied" in lines
    assert f"BindReadOnly={git}/meta:/meta" in lines
    assert (git.stat().st_uid, (git / "proposed").stat().st_uid) == (0, MANAGER.uid_base)
    assert "directory = *" in (host.layout.data / "manager/etc/gitconfig").read_text()


@BOTH
async def test_proposals_are_given_back_to_another_manager(host: Host) -> None:
    await host.backend.configure(MANAGER)
    (host.layout.git / "proposed/alice").mkdir()
    changes = (await host.backend.reconcile(MANAGER, running=False)).changes
    assert changes == [f"{host.layout.git}/proposed: owner of 1 files corrected"]
    assert (host.layout.git / "proposed/alice").stat().st_uid == MANAGER.uid_base


@BOTH
async def test_a_link_in_place_of_the_proposals_is_replaced(host: Host) -> None:
    outside = host.root / "outside"
    outside.mkdir()
    (host.layout.git / "proposed").symlink_to(outside)
    await host.backend.configure(MANAGER)
    assert not (host.layout.git / "proposed").is_symlink()
    assert outside.stat().st_uid == 0


@BOTH
async def test_the_drop_in_ties_the_container_to_its_socket(host: Host) -> None:
    await host.backend.configure(ALICE)
    unit, service = host.drop_in()["Unit"], host.drop_in()["Service"]
    sockets = ["hive-agent@alice.socket", "hive-api@alice.socket"]
    assert unit["Requires"].split() == sockets
    # The endpoint and the gateway stop with the container, but after it.
    served = ["hive-agent@alice.service", "hive-gateway@alice.service"]
    assert unit["PropagatesStopTo"].split() == served
    assert unit["After"].split() == [*sockets, *served]
    assert service["Slice"] == "hive-agents.slice"
    # The systemd-nspawn of a paused agent sends no keep-alives.
    assert service["WatchdogSec"] == "0"
    assert "UnregisterMachine s %i" in service["ExecStopPost"]
    assert service["OOMScoreAdjust"] == "300"
    assert service["Environment"] == "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"
    assert "localhost" in service["IPAddressDeny"].split()
    allowed = service["IPAddressAllow"].split()
    translated = [one for one in allowed if one.startswith("64:ff9b::")]
    assert translated == ["64:ff9b::c000:207/128"]
    rest = [one for one in allowed if one not in translated]
    assert rest == ["192.0.2.7", "10.1.2.3", "fe80::1"]


@BOTH
async def test_a_container_is_bounded_in_what_it_leaves_on_the_host(host: Host) -> None:
    await host.backend.configure(ALICE)
    service = host.drop_in()["Service"]
    assert service["SyslogLevelPrefix"] == "no"
    assert 0 < int(service["LogRateLimitBurst"]) <= 1000
    assert 0 < int(service["TasksMax"]) <= 4096
    assert "LimitCORE=0" in (host.layout.settings / "h-alice.nspawn").read_text().splitlines()


@BOTH
@pytest.mark.parametrize("name", ["anthropic_api_key", "gateway/default", "gateway/agents/alice"])
async def test_no_container_gets_a_key(host: Host, name: str) -> None:
    key = host.layout.credentials / name
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("secret")
    await host.backend.configure(ALICE)
    files = [path for path in host.root.rglob("*") if path.is_file() and path != key]
    assert not [path for path in files if b"secret" in path.read_bytes()]
    assert "credential" not in host.drop_in()["Service"]["ExecStart"]
    harness = json.loads((host.layout.data / "alice/etc/hyperhive/harness.json").read_text())
    assert harness["api"] == "gateway"


@BOTH
async def test_systemd_reloads_only_when_a_unit_changed(host: Host) -> None:
    await host.backend.configure(ALICE)
    await host.backend.configure(ALICE)
    assert host.manager.calls == [("Reload",)]


@BOTH
async def test_planted_links_lead_nowhere(host: Host) -> None:
    await host.backend.configure(ALICE)
    outside = host.root / "outside"
    outside.mkdir()
    (outside / "harness.json").write_text("precious")
    etc = host.layout.data / "alice/etc"
    for file in (etc / "hyperhive").iterdir():
        file.unlink()
    (etc / "hyperhive").rmdir()
    (etc / "hyperhive").symlink_to(outside)
    (host.layout.data / "alice/state/link").symlink_to(outside)
    await host.backend.configure(ALICE)
    await host.backend.destroy(ALICE, purge=True)
    assert (outside / "harness.json").read_text() == "precious"
    assert outside.stat().st_uid == 0


@BOTH
async def test_start_waits_for_ready_and_begins_with_a_fresh_socket_folder(host: Host) -> None:
    told: list[tuple[str, UnitStatus]] = []
    heard = asyncio.Event()

    def watcher(name: str, status: UnitStatus) -> None:
        told.append((name, status))
        heard.set()

    await host.backend.watch(watcher)
    assert (await host.backend.status("alice")).active == "inactive"
    planted = host.layout.sockets / "alice/mcp.sock/x"
    planted.mkdir(parents=True)
    async with asyncio.timeout(5):
        await host.backend.start(ALICE)
        await heard.wait()
    folder = host.layout.sockets / "alice"
    assert not list(folder.iterdir())
    status = folder.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, BASE, 0o750)
    assert host.manager.calls[-1] == ("StartUnit", UNIT)
    assert ("ResetFailedUnit", "hive-agent@alice.service") in host.manager.calls
    assert told[-1] == ("alice", UnitStatus("active", "ab" * 16, since=7))


@BOTH
async def test_a_start_that_systemd_began_does_not_fail_for_earlier_crashes(host: Host) -> None:
    await host.backend.start(ALICE, fresh=False)
    calls = host.manager.calls
    assert calls.index(("ResetFailedUnit", UNIT)) < calls.index(("StartUnit", UNIT))


@BOTH
async def test_a_start_that_fails_says_why(host: Host) -> None:
    host.manager.result = "failed"
    with pytest.raises(Conflict, match=r"failed.*journalctl"):
        await host.backend.start(ALICE)


@BOTH
async def test_a_change_carries_the_cause(host: Host) -> None:
    told: asyncio.Queue[tuple[str, UnitStatus]] = asyncio.Queue()
    await host.backend.watch(lambda name, status: told.put_nowait((name, status)))
    await host.backend.status("alice")
    host.manager.change(UNIT, active="failed", result="signal", code=2, status=9)
    async with asyncio.timeout(5):
        assert await told.get() == ("alice", UnitStatus("failed", "", "signal", 2, 9, 7))
    assert told.empty(), "half of a change was told"


@BOTH
async def test_machined_makes_it_look_at_once(host: Host) -> None:
    told: asyncio.Queue[tuple[str, UnitStatus]] = asyncio.Queue()
    await host.backend.watch(lambda name, status: told.put_nowait((name, status)))
    await host.backend.status("alice")
    host.manager.units[UNIT][0].values["active"] = "failed"  # systemd has not told yet
    host.machined.MachineRemoved("somebody", "/org/freedesktop/machine1/machine/x")
    host.machined.MachineRemoved("h-alice", "/org/freedesktop/machine1/machine/x")
    async with asyncio.timeout(5):
        assert (await told.get())[1].active == "failed"


@BOTH
async def test_who_is_forgotten_is_not_told(host: Host) -> None:
    told: list[str] = []
    await host.backend.watch(lambda name, status: told.append(name))
    await host.backend.status("alice")
    await host.backend.forget("alice")
    host.manager.change(UNIT, active="failed")
    await host.backend.boot()  # an answer that comes after the signal would have
    assert not told


@BOTH
async def test_stop_ends_the_container_before_its_socket(host: Host) -> None:
    await host.backend.stop("alice")
    assert [c for c in host.manager.calls if c[0] == "StopUnit"] == [
        ("StopUnit", UNIT),
        ("StopUnit", "hive-agent@alice.socket"),
        ("StopUnit", "hive-api@alice.socket"),
        ("StopUnit", "hive-proxy@alice.socket"),
        ("StopUnit", "hive-agent@alice.service"),
        ("StopUnit", "hive-gateway@alice.service"),
    ]


@BOTH
@pytest.mark.parametrize(("state", "killed"), [("activating", True), ("active", False)])
async def test_what_has_not_come_up_is_killed_before_it_is_stopped(
    host: Host, state: str, killed: bool
) -> None:
    host.manager.change(UNIT, active=state)
    await host.backend.stop("alice")
    kill = ("KillUnit", UNIT, "all", "9")
    expected: list[tuple[str, ...]] = [("StopUnit", UNIT)]
    if killed:  # and is not left failed by that
        expected = [kill, *expected, ("ResetFailedUnit", UNIT)]
    assert host.manager.calls[: len(expected)] == expected
    assert (("ResetFailedUnit", UNIT) in host.manager.calls) is killed


@BOTH
async def test_a_killed_container_is_not_left_failed(host: Host) -> None:
    host.manager.change(UNIT, active="active")
    await host.backend.kill("alice")
    await host.backend.stop("alice")
    assert host.manager.calls[0] == ("KillUnit", UNIT, "all", "9")
    assert host.manager.calls.count(("ResetFailedUnit", UNIT)) == 1
    await host.backend.stop("alice")
    assert host.manager.calls.count(("ResetFailedUnit", UNIT)) == 1


@BOTH
async def test_an_endpoint_ends_with_its_container(host: Host) -> None:
    await host.backend.stop_endpoint("alice")
    assert host.manager.calls == [
        ("StopUnit", "hive-agent@alice.service"),
        ("StopUnit", "hive-gateway@alice.service"),
    ]


@BOTH
async def test_destroy_leaves_only_data(host: Host) -> None:
    await host.backend.configure(ALICE)
    await host.backend.limit(ALICE)
    assert host.manager.limited
    before = {p for p in host.root.rglob("*") if "alice" not in str(p)}
    host.manager.calls.clear()
    await host.backend.destroy(ALICE, purge=False)
    assert host.manager.calls[:2] == [("RevertUnitFiles", UNIT), ("Reload",)]
    left = {p for p in host.root.rglob("*") if "alice" in str(p)}
    assert not host.manager.limited, "systemd keeps what was set for it"
    assert left == {host.layout.data / "alice" / n for n in ("", "claude", "state", "work")}
    assert host.backend.kept_uid("alice") == BASE
    await host.backend.destroy(ALICE, purge=True)
    assert host.backend.kept_uid("alice") is None
    assert set(host.root.rglob("*")) == before


@BOTH
async def test_the_manager_has_a_machine_of_its_own(host: Host) -> None:
    assert container_unit("manager") == "systemd-nspawn@hm1nd.service"
    await host.backend.configure(Spec("manager", BASE, "6" * 32))
    harness = json.loads((host.layout.data / "manager/etc/hyperhive/harness.json").read_text())
    assert harness["manager"] is True


@BOTH
async def test_uids_that_the_host_gives_away_are_taken(host: Host) -> None:
    (host.root / "etc/subuid").write_text("joe:100000:65536\n")
    (host.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    assert host.backend.used_uids() == [range(100000, 165536), range(1)]


@BOTH
async def test_a_stopping_host_is_recognised(host: Host) -> None:
    assert not await host.backend.host_is_stopping()
    host.manager.state = "stopping"
    assert await host.backend.host_is_stopping()
    assert await host.backend.boot() == "42"


@BOTH
async def test_a_stopping_hive_is_recognised(host: Host) -> None:
    host.manager.unit("hive.target")
    assert not await host.backend.host_is_stopping(), "one that never was started does not stop"
    host.manager.change("hive.target", active="active")
    assert not await host.backend.host_is_stopping()
    host.manager.change("hive.target", active="inactive", left=time.time_ns() // 1000)
    assert await host.backend.host_is_stopping()
