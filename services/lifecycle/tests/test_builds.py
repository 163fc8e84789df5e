"""Builds of configurations: real files in a folder, a fake systemd on a private bus."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from services import agentfile
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.layout import Layout
from services.lifecycle.host import systemd
from services.lifecycle.host.journal import Journal
from services.lifecycle.tests.fake_systemd import Manager
from services.lifecycle.tests.test_journal import Entries
from wire.clients import systemd as systemd_api
from wire.errors import Conflict
from wire.fixtures import Connect

COMMIT = "c" * 40
ALICE = Spec("alice", 0x1234_0000, "5" * 32, commit=COMMIT)
UNIT = "hive-build@alice.service"
BUILDER = 4711

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")


async def synced() -> None:
    """Do nothing: this journal has stored everything."""


def ignored(_lines: list[str]) -> None:
    """Take no notice of the output."""


class Host:
    """A host whose systemd runs builds that produce `content`."""

    def __init__(self, root: Path, manager: Manager, client: systemd.Systemd) -> None:
        self.layout = Layout(root)
        self.manager = manager
        self.content = "model = 'm'\n"
        self.orders: list[str] = []
        self.entries = Entries("Reading package lists...", "E: Unable to locate package nope")
        for folder in (self.layout.builds, self.layout.orders):
            folder.mkdir(parents=True)
        os.chown(self.layout.builds, BUILDER, BUILDER)
        manager.starting = self._build
        self.client = client
        self.builds = self.with_stamp("")

    def with_stamp(self, stamp: str) -> Builds:
        """Return the builds of a host with other inputs; "" has no systems."""
        return Builds(self.client, Journal(self.entries.open, synced), self.layout, stamp)

    @property
    def file(self) -> Path:
        return self.layout.builds / "alice" / COMMIT / agentfile.NAME

    def _build(self, _unit: str) -> None:
        self.orders.append((self.layout.orders / "alice.env").read_text())
        if self.manager.result == "done":
            self.file.parent.mkdir(parents=True)
            self.file.write_text(self.content)

    def called(self) -> list[str]:
        return [call[0] for call in self.manager.calls]


@pytest.fixture
async def host(tmp_path: Path, connect: Connect) -> Host:
    server, client = await connect(), await connect()
    manager = Manager(server)
    server.export(systemd_api.SYSTEMD_PATH, manager)
    manager.unit(UNIT)
    await server.own(systemd_api.SYSTEMD)
    return Host(tmp_path, manager, systemd.Systemd(client))


async def test_a_commit_is_built_once(host: Host) -> None:
    assert await host.builds.make(ALICE, 7, ignored)
    assert host.orders == [f"HIVE_AGENT=alice\nHIVE_COMMIT={COMMIT}\nHIVE_JOB=7\n"]
    assert host.builds.configuration(ALICE).model == "m"
    assert not await host.builds.make(ALICE, 8, ignored)
    assert len(host.orders) == 1


async def test_nothing_is_built_for_whom_nothing_was_deployed(host: Host) -> None:
    nobody = Spec("alice", ALICE.uid_base, ALICE.machine_id)
    assert not await host.builds.make(nobody, 7, ignored)
    assert host.builds.read(nobody) == agentfile.AgentFile()
    assert host.manager.calls == []


async def test_the_build_of_an_interrupted_job_is_joined(host: Host) -> None:
    host.manager.result = "failed"
    with pytest.raises(Conflict):
        await host.builds.make(ALICE, 7, ignored)
    host.manager.result = "done"
    host.manager.calls.clear()
    assert await host.builds.make(ALICE, 7, ignored)
    assert "StopUnit" not in host.called()


async def test_one_for_another_order_is_ended_first(host: Host) -> None:
    assert await host.builds.make(ALICE, 7, ignored)
    host.manager.calls.clear()
    host.file.unlink()
    assert await host.builds.make(ALICE, 8, ignored)
    assert [call for call in host.called() if call != "ResetFailedUnit"] == [
        "StopUnit",
        "StartUnit",
    ]


async def test_one_that_fails_says_what_it_said_last(host: Host) -> None:
    host.manager.result = "failed"
    host.manager.units[UNIT][0].values["invocation"] = "cd" * 16
    with pytest.raises(Conflict) as failure:
        await host.builds.make(ALICE, 7, ignored)
    assert str(failure.value).splitlines() == [
        "The configuration of alice at cccccccccccc could not be built: "
        "E: Unable to locate package nope.",
        "Reading package lists...",
        "E: Unable to locate package nope",
    ]
    assert host.entries.matches == [
        (f"_SYSTEMD_UNIT={UNIT}", f"_SYSTEMD_INVOCATION_ID={'cd' * 16}")
    ]


@pytest.mark.parametrize(
    ("result", "status", "why"),
    [
        ("oom-kill", 9, f"it used up the memory that {UNIT} may have (MemoryMax=)."),
        ("timeout", 15, f"it took longer than {UNIT} may take (TimeoutStartSec=)."),
        ("signal", 9, f"a process of {UNIT} was killed by signal 9."),
        ("exit-code", 1, "E: Unable to locate package nope."),
    ],
)
async def test_one_that_was_ended_says_by_what(
    host: Host, result: str, status: int, why: str
) -> None:
    host.manager.result = "failed"
    host.manager.change(UNIT, active="failed", result=result, status=status)
    with pytest.raises(Conflict) as failure:
        await host.builds.make(ALICE, 7, ignored)
    first, *_, last = str(failure.value).splitlines()
    assert first == f"The configuration of alice at cccccccccccc could not be built: {why}"
    assert last == "E: Unable to locate package nope"


@pytest.mark.parametrize("content", ["modle = 'm'", "\0", "x" * (agentfile.MAX_BYTES + 10)])
async def test_one_that_is_damaged_is_built_again(host: Host, content: str) -> None:
    await host.builds.make(ALICE, 7, ignored)
    host.file.write_text(content)
    with pytest.raises(Conflict, match="cannot be used"):
        host.builds.read(ALICE)
    assert await host.builds.make(ALICE, 8, ignored)
    assert host.builds.read(ALICE).model == "m"
    assert host.file.parent.parent.stat().st_uid == BUILDER


async def test_only_a_damaged_build_is_logged(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    assert host.builds.configuration(ALICE) == agentfile.AgentFile()
    assert not caplog.records
    await host.builds.make(ALICE, 7, ignored)
    host.file.write_text("modle = 'm'")
    other = replace(ALICE, commit="d" * 40)
    host.builds.configuration(other)
    assert not caplog.records
    assert host.builds.configuration(ALICE) == agentfile.AgentFile()
    assert "cannot be used" in caplog.text


async def test_a_build_that_makes_nothing_usable_is_no_success(host: Host) -> None:
    host.content = "modle = 'm'"
    with pytest.raises(Conflict, match="modle"):
        await host.builds.make(ALICE, 7, ignored)


async def test_links_lead_nowhere(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / COMMIT).mkdir(parents=True)
    (outside / COMMIT / agentfile.NAME).write_text("model = 'foreign'\n")
    (host.layout.builds / "alice").symlink_to(outside)
    with pytest.raises(Conflict, match="cannot be used"):
        host.builds.read(ALICE)
    assert await host.builds.make(ALICE, 7, ignored)
    assert host.builds.read(ALICE).model == "m"

    host.file.unlink()
    os.mkfifo(host.file)
    with pytest.raises(Conflict, match="not a regular file"):
        host.builds.read(ALICE)
    host.file.unlink()
    host.file.symlink_to(outside / COMMIT / agentfile.NAME)
    with pytest.raises(Conflict, match="cannot be used"):
        host.builds.read(ALICE)
    await host.builds.forget("alice", purge=True)
    assert (outside / COMMIT / agentfile.NAME).read_text() == "model = 'foreign'\n"


async def test_what_cannot_be_read_is_shown_as_the_default(host: Host) -> None:
    assert host.builds.configuration(ALICE) == agentfile.AgentFile()
    await host.builds.make(ALICE, 7, ignored)
    assert host.builds.configuration(ALICE).model == "m"
    other = Spec("alice", ALICE.uid_base, ALICE.machine_id, commit="d" * 40)
    assert host.builds.configuration(other).model is None


async def test_what_is_forgotten_leaves_nothing(host: Host) -> None:
    await host.builds.make(ALICE, 7, ignored)
    await host.builds.forget("alice", purge=False)
    assert host.file.is_file()
    assert not list(host.layout.orders.iterdir())
    await host.builds.forget("alice", purge=True)
    assert not list(host.layout.builds.iterdir())


async def test_a_build_can_be_stopped(host: Host) -> None:
    await host.builds.stop("alice")
    assert host.manager.calls == [("StopUnit", UNIT), ("ResetFailedUnit", UNIT)]


STAMP, OTHER = "1" * 64, "2" * 64
SYSTEM = f"/nix/store/{'b' * 32}-nixos-system-alice"


def with_system(host: Host) -> None:
    """Make the build of alice, with a system, as hive-build does."""
    host.file.parent.mkdir(parents=True)
    host.file.write_text(host.content)
    (host.file.parent / "inputs").write_text(f"{STAMP}\n")
    (host.file.parent / "system").symlink_to(SYSTEM)
    (host.layout.root / SYSTEM.lstrip("/")).mkdir(parents=True)


async def test_a_system_of_other_inputs_is_renewed_when_asked(host: Host) -> None:
    with_system(host)
    current, outdated = host.with_stamp(STAMP), host.with_stamp(OTHER)
    assert current.is_current(ALICE)
    assert not await current.make(ALICE, 7, ignored, renew=True)
    assert not outdated.is_current(ALICE)
    assert not await outdated.make(ALICE, 7, ignored), "a start waits for no build"
    assert host.orders == []
    host.manager.starting = lambda _unit: host.orders.append("again")
    assert await outdated.make(ALICE, 7, ignored, renew=True)
    assert host.orders == ["again"]
    assert host.file.exists(), "the build is replaced when it is complete"


async def test_a_build_of_a_version_without_systems_is_outdated(host: Host) -> None:
    await host.builds.make(ALICE, 7, ignored)
    assert host.builds.is_current(ALICE)
    assert not host.with_stamp(STAMP).is_current(ALICE)
    assert host.with_stamp(STAMP).is_current(replace(ALICE, commit=""))


@pytest.mark.parametrize("gone", ["system", "target"])
async def test_a_system_that_is_gone_is_built_again(host: Host, gone: str) -> None:
    with_system(host)
    if gone == "target":
        (host.layout.root / SYSTEM.lstrip("/")).rmdir()
    else:
        (host.file.parent / "system").unlink()
        (host.file.parent / "system").mkdir()
    host.manager.starting = lambda _unit: host.orders.append("again")
    assert await host.with_stamp(STAMP).make(ALICE, 7, ignored)
    assert host.orders == ["again"]
