"""Many sleeping agents: nothing is left of them but files."""

from collections.abc import Callable, Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import until_asleep
from tests.system.sleeping import settings
from tests.system.test_stress import AGENTS, module, room_for_agents

pytestmark = [pytest.mark.system, pytest.mark.long]

SLICE = "/sys/fs/cgroup/hive.slice/hive-agents.slice"


@pytest.fixture
def sleepers(hive: Hive) -> Iterator[list[str]]:
    """Spawn as many agents as the machine has room for, and wait until all sleep."""
    names = [f"s{number:02}" for number in range(room_for_agents())]
    if len(names) < 2:
        pytest.skip("inotify instances are used up by what else runs on this machine")
    try:
        asleep = "\n".join(f"[lifecycle.agents.{name}]\nsleep_after = 1" for name in names)
        with settings(hive, ("", asleep)):
            for name in names:
                hive.hivectl("spawn", name, timeout=120)
            for name in names:
                until_asleep(hive, name)
            yield names
    finally:
        for name in names:
            hive.hivectl("destroy", name, "--purge", "--yes", check=False, timeout=120)


def test_who_sleeps_uses_nothing(
    hive: Hive, sleepers: list[str], measured: Callable[[str], None]
) -> None:
    groups = hive.run("find", SLICE, "-mindepth", "1", "-type", "d", check=False).stdout.split()
    assert [group for group in groups for name in sleepers if name in group] == []
    machines = hive.run("machinectl", "list", "--no-legend").stdout
    assert [name for name in sleepers if f"h-{name} " in machines] == []
    # Sleeping agents need lifecycle, which watches over them.
    rest = module(hive, "bench.lifecycle.weigh", "10")
    assert rest["wakeups"]["services"] < 100
    measured(
        f"{len(sleepers)} of {AGENTS} agents asleep: the services wake up "
        f"{rest['wakeups']['services']:.1f} times a second"
    )
