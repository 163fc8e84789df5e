"""Limits: requests, effective values, and the properties of the unit."""

from pathlib import Path

import pytest

from services.config import Config, ResourceLimits
from services.errors import ConfigError
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Spec
from services.lifecycle.host.cgroup import usage
from services.lifecycle.options import RESOURCES
from services.lifecycle.tests.room import DONE, Room
from services.lifecycle.tests.test_nspawn import ALICE, UNIT, Host, host
from wire.errors import Conflict, HiveError, InvalidArgument, NotFound
from wire.records.lifecycle import AgentState, JobVerb, ResourceChanges, Resources, Usage

__all__ = ["host"]

GIB = 2**30


def test_the_later_counts_more_and_max_lifts_a_limit() -> None:
    everybody = ResourceLimits(tasks_max=4096, memory_max=GIB)
    alice = ResourceLimits(memory_max=2 * GIB, cpu_weight=20)
    limits = resources.effective(everybody, alice, {"tasks_max": "max", "cpu_quota": 50})
    assert limits == Resources(memory_max=2 * GIB, cpu_weight=20, cpu_quota=50)


def test_default_goes_back_to_the_configuration() -> None:
    assert resources.merged({"tasks_max": 64, "cpu_quota": 5}, {"tasks_max": "default"}) == {
        "cpu_quota": 5
    }


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"memory": 1}, "'memory' is not a valid resource. Use one of: memory_high, memory_max"),
        (
            {"memory_max": 1},
            "1 is not a valid memory_max. Use a number of bytes from 16777216 .16M. to",
        ),
        ({"cpu_weight": 0}, "0 is not a valid cpu_weight. Use a number from 1 to 10000, 'max'"),
        ({"cpu_quota": True}, "The resource 'cpu_quota' is not valid"),
        ({"cpu_quota": "much"}, "'much' is not a valid cpu_quota"),
        ({"tasks_max": 1.5}, "The resource 'tasks_max' is not valid"),
    ],
)
def test_what_is_no_limit_is_refused(asked: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        resources.checked(RESOURCES.parse(asked))


def test_systemd_is_told_all_of_them() -> None:
    limits = Resources(memory_max=GIB, cpu_quota=150)
    assert list(resources.lines(limits)) == ["MemoryMax=1073741824", "CPUQuota=150%"]
    told = dict(resources.properties(limits))
    assert told.pop("MemoryMax") == GIB
    assert told.pop("CPUQuotaPerSecUSec") == 1_500_000
    assert set(told.values()) == {resources.UNLIMITED}
    assert len(told) == len(resources.KINDS) - 3  # disk_max is not systemd's


def test_sizes_may_be_written_with_a_unit(tmp_path: Path) -> None:
    file = tmp_path / "hyperhive.toml"
    file.write_text('[lifecycle.agents.alice.resources]\nmemory_max = "4G"\n')
    assert Config.load(file).lifecycle.agents["alice"].resources.memory_max == 4 * GIB
    for bad in ('"4 G"', '"lots"', "1024", "-1"):
        file.write_text(f"[lifecycle.resources]\nmemory_max = {bad}\n")
        with pytest.raises(ConfigError, match=r"lifecycle\.resources\.memory_max"):
            Config.load(file)


def test_a_setting_leaves_the_defaults_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "hyperhive.toml"
    file.write_text("[lifecycle.resources]\ncpu_quota = 150\nmemory_max = '2G'\n")
    limits = Config.load(file).lifecycle.resources
    assert (limits.cpu_quota, limits.memory_max) == (150, 2 * GIB)
    assert (limits.tasks_max, limits.disk_max) == (4096, 16 * GIB)


async def test_a_running_container_is_limited_at_once_and_at_its_next_start(host: Host) -> None:
    await host.backend.configure(ALICE)
    assert host.drop_in()["Service"]["TasksMax"] == "4096"
    less = Spec("alice", ALICE.uid_base, ALICE.machine_id, resources={"tasks_max": 100})
    await host.backend.limit(less)
    assert host.drop_in()["Service"]["TasksMax"] == "100"
    assert host.manager.limited[UNIT]["TasksMax"] == 100
    await host.backend.start(ALICE)
    assert host.manager.limited[UNIT]["TasksMax"] == 4096


def test_usage_is_what_the_host_counts(tmp_path: Path) -> None:
    group = tmp_path / "hive.slice/x.service"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 1234\nuser_usec 1000\n")
    (group / "memory.current").write_text("4096\n")
    (group / "pids.peak").write_text("what\n")
    assert usage("/hive.slice/x.service", tmp_path) == Usage(cpu=1234, memory=4096)
    assert usage("", tmp_path) == Usage()
    assert usage("/gone.service", tmp_path) == Usage()


async def test_limits_are_remembered(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    await room.spawn("alice")
    await room.parts.settings.set_resources(
        "alice", ResourceChanges(tasks_max=100, memory_max="max")
    )
    assert room.parts.settings.resources("alice") == Resources(tasks_max=100)
    assert room.backend.calls[-1] == ("limit", "alice")
    await room.close()
    await room.open()
    assert room.parts.settings.resources("alice") == Resources(tasks_max=100)
    await room.parts.settings.set_resources("alice", ResourceChanges(tasks_max="default"))
    assert room.parts.settings.resources("alice") == Resources(tasks_max=4096)
    with pytest.raises(NotFound):
        await room.parts.settings.set_resources("bob", ResourceChanges())
    room.backend.gate.clear()
    job = room.orders.order(JobVerb.STOP, "alice")
    with pytest.raises(Conflict, match=f"job {job.number}"):
        await room.parts.settings.set_resources("alice", ResourceChanges())
    room.backend.gate.set()
    await room.diary.end_of(job)
    await room.close()


async def test_a_paused_agent_is_shown_so_and_goes_on(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    await room.spawn("alice")
    await room.parts.runtime.pause("alice")
    assert room.state("alice") is AgentState.PAUSED
    assert not room.diary.crashes
    await room.parts.runtime.resume("alice")
    assert room.state("alice") is AgentState.RUNNING
    assert await room.diary.end_of(room.orders.order(JobVerb.STOP, "alice")) == DONE
    with pytest.raises(Conflict, match="is not running"):
        await room.parts.runtime.pause("alice")
    await room.parts.runtime.resume("alice")  # nothing to do
    with pytest.raises(HiveError):
        await room.parts.runtime.pause("bob")
    await room.close()
