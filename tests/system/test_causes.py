"""Every cause of a container's end, really provoked, and the message to the manager."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl, probe, until_told

pytestmark = pytest.mark.system

UNIT = "systemd-nspawn@h-bob.service"
MAIN = f"$(systemctl show --value --property=MainPID {UNIT})"
INIT = "$(machinectl show h-bob --property=Leader --value)"
ENTER = f"nsenter --target {INIT} --all"
HANG = "/var/lib/hyperhive/agents/bob/etc/systemd/system/hive-harness.service.d"
DROP_IN = f"/run/systemd/system/{UNIT}.d/zzz-test.conf"  # after the drop-in of each backend

CRASHED = "The container of bob crashed (result {}). systemd restarts it, unless it keeps crashing."
STAYS_STOPPED = "It stays stopped until it is started."


@dataclass(frozen=True)
class Cause:
    """A cause: the command that provokes it, the message, and the agent's state afterwards."""

    command: str
    sentence: str
    state: str = "running"
    settings: str = ""
    """Settings of the container's unit, for causes that would take too long otherwise."""


CAUSES = {
    "exit-code": Cause(f"{ENTER} systemctl exit 7", CRASHED.format("exit-code, exit status 7")),
    "init": Cause(
        f"kill -KILL {INIT}",
        CRASHED.format("exit-code, exit status 1: its init was killed by a signal, or failed"),
    ),
    "signal": Cause(f"kill -KILL {MAIN}", CRASHED.format("signal, killed by SIGKILL")),
    "core-dump": Cause(
        f"prlimit --pid {MAIN} --core=unlimited && kill -ABRT {MAIN}",
        CRASHED.format("core-dump, killed by SIGABRT"),
        settings="WorkingDirectory=/tmp",  # the kernel writes the core there; / is read-only
    ),
    "watchdog": Cause(
        f"kill -STOP {MAIN}",
        CRASHED.format("watchdog"),
        settings="WatchdogSec=3s",
    ),
    "timeout": Cause(
        f"kill -STOP {INIT} && systemctl stop {UNIT}",
        CRASHED.format("timeout"),
        state="failed",
        settings="TimeoutStopSec=2s",
    ),
    "poweroff": Cause(
        f"{ENTER} systemctl poweroff",
        "The container of bob was powered off, but not by the hive "
        f"(result success, exit status 0). {STAYS_STOPPED}",
        state="stopped",
    ),
}
FIRST = ("watchdog", "poweroff")
"""The causes that are tried with each change: one that is a failure, and one that is none."""


@pytest.fixture
def bob(swarm: Hive) -> Iterator[Hive]:
    """Restore bob's unit afterwards, and start bob."""
    yield swarm
    swarm.run("sh", "-c", f"rm -rf {DROP_IN} {HANG}; systemctl daemon-reload")
    swarm.hivectl("start", "bob", timeout=120)


@pytest.mark.parametrize(
    "cause",
    [
        pytest.param(cause, id=name, marks=[] if name in FIRST else pytest.mark.long)
        for name, cause in CAUSES.items()
    ],
)
def test_the_manager_is_told_the_cause(bob: Hive, cause: Cause) -> None:
    text = f"[Service]\n{cause.settings}\n"
    bob.run("install", "-D", "-m", "0644", "/dev/stdin", DROP_IN, input=text)
    bob.run("systemctl", "daemon-reload")
    # It forgets the ends before this one, too, of which five in a minute are too many.
    bob.hivectl("restart", "bob", timeout=120)
    told = probe(bob, "provoke", "bob", cause.state, cause.command)
    assert told["body"] == cause.sentence
    assert hivectl(bob, "status", "bob")["state"] == cause.state


def test_the_manager_is_told_of_memory_that_ran_out(bob: Hive) -> None:
    controllers = bob.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split()
    if "memory" not in controllers:
        pytest.skip("this machine gives the sandbox no memory controller: no limit is enforced")
    hivectl(bob, "limits", "bob", "memory_max=64M")
    eat = f"{ENTER} python3 -c 'bytearray(2 ** 30)' & kill -STOP {INIT}"
    try:
        told = probe(bob, "provoke", "bob", "running", eat)
    finally:
        hivectl(bob, "limits", "bob", "memory_max=default")
    assert "result oom-kill" in told["body"]


@pytest.mark.long
def test_a_restart_that_hangs_is_the_last_one_and_told(bob: Hive) -> None:
    for path, text in (
        (DROP_IN, "[Service]\nTimeoutStartSec=5s\n"),
        # As its own root could do it, and then crash.
        (f"{HANG}/hang.conf", "[Service]\nExecStartPre=/bin/sleep infinity\n"),
    ):
        bob.run("install", "-D", "-m", "0644", "/dev/stdin", path, input=text)
    bob.run("systemctl", "daemon-reload")
    probe(bob, "provoke", "bob", "failed", f"kill -KILL {INIT}")
    gave_up = "The container of bob keeps crashing (result timeout"
    assert "then start it" in until_told(bob, "manager", "container-crash", gave_up)
    # The operator is told rarely: maybe of an end that another test has caused.
    shown = hivectl(bob, "history", "--to", "operator", "--kind", "container-crash")
    assert any("The container of bob keeps crashing" in message["body"] for message in shown)
