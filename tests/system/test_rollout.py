"""Agents are updated after Hyperhive itself, on real units."""

from collections.abc import Iterator

import pytest

from tests.system.hive import AGENTS, Hive
from tests.system.inside import hivectl, leader, probe, until_idle, wait_for_inbox
from tests.system.sleeping import settings

pytestmark = pytest.mark.system

HARNESS = "/usr/lib/hyperhive/lib/python3*/site-packages/harness/__init__.py"
CHANGED = "/run/another-harness.py"


@pytest.fixture
def upgraded(swarm: Hive) -> Iterator[Hive]:
    """Change the installed harness, so that all containers are stale; undo that afterwards."""
    file = swarm.run("sh", "-c", f"echo {HARNESS}").stdout.strip()
    swarm.run("sh", "-c", f"cp {file} {CHANGED}; echo '# another version' >> {CHANGED}")
    swarm.run("mount", "--bind", CHANGED, file)
    try:
        swarm.run("systemctl", "restart", "hive-lifecycle.service")
        yield swarm
    finally:
        swarm.run("umount", "--lazy", file)
        swarm.run("systemctl", "restart", "hive-lifecycle.service")
        for name in AGENTS:
            swarm.hivectl("start", name, timeout=120)
            swarm.hivectl("update", name, timeout=120)


def stale(hive: Hive) -> list[str]:
    return [name for name in AGENTS if hivectl(hive, "status", name)["stale"]]


@pytest.mark.long
def test_all_are_updated_one_after_the_other(upgraded: Hive) -> None:
    assert stale(upgraded) == list(AGENTS)
    before = {name: leader(upgraded, name) for name in AGENTS}
    upgraded.hivectl("stop", "bob", timeout=120)
    since = upgraded.run("date", "+%F %T.%6N").stdout.strip()
    with settings(upgraded, ("auto_update = false", "auto_update = true")):
        probe(upgraded, "until_current", *AGENTS)
        until_idle(upgraded)  # an agent is current before it is restarted
        assert stale(upgraded) == []
        assert hivectl(upgraded, "status", "bob")["state"] == "stopped"
        for name in ("manager", "alice"):
            assert leader(upgraded, name) != before[name]
    journal = ["journalctl", "--unit=hive-lifecycle", "--output=cat", f"--since={since}"]
    lines = upgraded.run(*journal).stdout.splitlines()
    steps = [line for line in lines if "repairing the files" in line or "update of " in line]
    began, ended = steps[::2], steps[1::2]
    names = [line.partition(":")[0] for line in began]
    assert sorted(names) == sorted(AGENTS)
    for name, line in zip(names, ended, strict=True):
        assert line.startswith(f"update of {name} done")


def test_the_first_failure_ends_it(upgraded: Hive) -> None:
    before = {name: leader(upgraded, name) for name in ("bob", "manager")}
    # Each container that is started now fails at once.
    drop_in = "/run/systemd/system/systemd-nspawn@h-alice.service.d/99-broken.conf"
    broken = "[Service]\nExecStartPre=/bin/false\n"
    upgraded.run("install", "-D", "/dev/stdin", drop_in, input=broken)
    try:
        assert hivectl(upgraded, "update-all")["agents"] == sorted(AGENTS)
        told = wait_for_inbox(upgraded, "The update of alice failed")["body"]
        assert "not updated: bob, manager;" in told
        assert {name: leader(upgraded, name) for name in before} == before
        assert stale(upgraded) == ["manager", "bob"]
    finally:
        upgraded.run("rm", drop_in)
        upgraded.run("systemctl", "daemon-reload")
