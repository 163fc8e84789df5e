"""Agents that fall asleep: the configuration for it, and what is left of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl, until_asleep

CONFIG = "/etc/hyperhive/hyperhive.toml"


@contextmanager
def settings(hive: Hive, *changes: tuple[str, str]) -> Iterator[None]:
    """Replace parts of the configuration while the block runs."""
    before = after = hive.run("cat", CONFIG).stdout
    for old, new in changes:
        after = after.replace(old, new) if old else f"{after}\n{new}\n"
    assert after != before
    configure(hive, after)
    try:
        yield
    finally:
        configure(hive, before)


def configure(hive: Hive, text: str) -> None:
    hive.run("tee", CONFIG, input=text)
    hive.run("systemctl", "restart", "hive-lifecycle.service")


@pytest.fixture
def sleepy(swarm: Hive) -> Iterator[Hive]:
    """Make bob fall asleep after two idle seconds."""
    swarm.hivectl("start", "bob", timeout=120)
    try:
        with settings(swarm, ("", "[lifecycle.agents.bob]\nsleep_after = 2")):
            yield swarm
    finally:
        # He may be falling asleep just then: no start comes between.
        if swarm.hivectl("start", "bob", check=False, timeout=120).returncode:
            until_asleep(swarm, "bob")
            swarm.hivectl("start", "bob", timeout=120)


def state(hive: Hive, agent: str) -> str:
    return str(hivectl(hive, "status", agent)["state"])


def runs(hive: Hive, agent: str) -> list[str]:
    """Return the active units of `agent`, without slices."""
    units = [f"systemd-nspawn@h-{agent}.service", f"hive-*@{agent}.*"]
    listing = ["systemctl", "list-units", "--plain", "--no-legend"]
    active = hive.run(*listing, "--state=active,activating,deactivating", *units).stdout
    return [line.split()[0] for line in active.splitlines()]


def told(hive: Hive, kind: str) -> int:
    return len(hivectl(hive, "history", "--to", "manager", "--kind", kind))
