"""doctor and top: what is wrong with its remedy, and what agents use."""

import os
import socket
from pathlib import Path

import pytest

from hivectl.clients.units import UNITS
from hivectl.exit_codes import Exit
from hivectl.host import checks
from hivectl.host.checks import Verdict
from hivectl.tests.conftest import Hivectl, with_socket_unit
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.errors import CorruptStore
from wire.records.lifecycle import TurnState


async def test_doctor_finds_nothing_wrong(hive: FakeHive, hivectl: Hivectl) -> None:
    found = (await hivectl("doctor", "--json")).json
    verdicts = {one["name"]: one["verdict"] for one in found}
    assert {verdicts[name] for name in ("services", "stores", "agents", "versions", "filter")} == {
        Verdict.GOOD
    }
    assert {"credentials", "limits", "inotify", "disk", "clock"} <= set(verdicts)


async def test_a_stopped_hive_has_one_remedy(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.systemd.states = dict.fromkeys(UNITS, "inactive")
    found = (await hivectl("doctor", "--json")).json
    bad = [one for one in found if one["verdict"] == Verdict.BAD and one["name"] != "disk"]
    assert [one["remedy"] for one in bad] == ["systemctl start hive.target"]
    assert not {"stores", "agents"} & {one["name"] for one in found}


async def test_doctor_says_the_remedy_for_each_fault(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    network = alice.shown.network._replace(filtered=False)
    alice.show(turn_state=TurnState.ERROR, turn_reason=HOSTILE, stale=True, network=network)
    hive.systemd.fail("hive-notify.service", "The webhook has no address.")
    hive.ledger.error = CorruptStore("ledger.sqlite is damaged.")
    ran = await hivectl("doctor")
    assert ran.code == Exit.DEGRADED
    assert_harmless(ran.out)
    for told in (
        " BAD  services    hive-notify.service is failed: The webhook has no address.",
        " BAD  stores      ledger: ledger.sqlite is damaged.",
        " BAD  agents      alice: error, ",
        "remedy: `hivectl logs alice` shows more",
        "note  versions    another version of Hyperhive made alice",
        "remedy: hivectl update-all",
        " BAD  filter      this host does not filter addresses, so alice can reach",
    ):
        assert told in ran.out, told


async def test_doctor_names_the_program_that_has_the_port_of_the_dashboard(
    hive: FakeHive, hivectl: Hivectl, tmp_path: Path
) -> None:
    hive.systemd.states["hive-dashboard.service"] = "inactive"
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        ran = await hivectl("doctor", "--json", **with_socket_unit(tmp_path, listen))
    [services] = [one for one in ran.json if one["name"] == "services"]
    assert (ran.code, services["verdict"]) == (Exit.DEGRADED, Verdict.BAD)
    named = f"hive-dashboard.service is inactive: {listen} is in use by "
    assert services["what"].startswith(named)
    assert f"(pid {os.getpid()}, user " in services["what"]
    assert "systemctl edit hive-dashboard.socket" in services["remedy"]
    assert "systemctl start hive.target" in services["remedy"]
    # The port is free again.
    ran = await hivectl("doctor", "--json", **with_socket_unit(tmp_path, listen))
    [services] = [one for one in ran.json if one["name"] == "services"]
    assert services["what"] == "hive-dashboard.service is inactive"


def test_inotify_must_suffice_for_all_agents(tmp_path: Path) -> None:
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")
    assert checks.inotify(16, file).verdict is Verdict.GOOD
    bad = checks.inotify(25, file)
    assert (bad.verdict, "max_user_instances=346" in bad.remedy) == (Verdict.BAD, True)
    assert checks.inotify(1, tmp_path / "none").verdict is Verdict.SKIPPED


def test_a_full_disk_and_a_clock_that_was_set_back_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = os.statvfs(tmp_path)
    few = list(found)
    few[4] = few[3] = 10  # f_bavail, f_bfree
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(few))
    assert checks.disk(tmp_path).verdict is Verdict.BAD
    back = checks.clock(newest_message=200_000_000, now=100_000_000)
    assert (back.verdict, "100 s in the future" in back.what) == (Verdict.BAD, True)
    assert checks.clock(newest_message=100, now=200_000_000).verdict is not Verdict.BAD


def test_limits_without_controllers_are_a_note(tmp_path: Path) -> None:
    file = tmp_path / "cgroup.controllers"
    file.write_text("cpu io memory pids\n")
    assert checks.controllers(file).verdict is Verdict.GOOD
    file.write_text("\n")
    found = checks.controllers(file)
    assert (found.verdict, "memory_max" in found.what) == (Verdict.WARNING, True)


async def test_top_shows_the_share_of_the_processor(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("top", "-d", "0.05")
    assert ran.code == Exit.OK
    head, *rows = ran.out.splitlines()
    assert head.split() == ["NAME", "STATE", "TURN", "CPU", "MEMORY", "TASKS", "DISK", "NOW"]
    assert [row.split() for row in rows[:1]] == [
        ["alice", "running", "idle", "0.0", "3.0", "MiB", "-", "9.0", "GiB"]
    ]
    hive.lifecycle.agents["bob-2"].cpu_step = 10_000_000
    twice = await hivectl("top", "-d", "0.05", "-n", "2", "-o", "json")
    first, _second = twice.out.splitlines()
    assert first.startswith('[{"name": "bob-2"')
