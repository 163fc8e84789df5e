"""Many agents at once, and many orders at once: each agent ends up as its last job says."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.hive import PYTHON, REPO, Hive

pytestmark = pytest.mark.system

AGENTS = 20
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_OF_AGENT = 4
"""The inotify instances of each container's systemd; all processes of root share the limit."""
INOTIFY_OF_OTHERS = 12
SECONDS = 60
CLIENTS = 4
SEEN = {
    "mount": "/mnt/h-ghost is mounted",
    "container unit": "systemd-nspawn@h-ghost.service is active, but ghost is gone",
    "socket unit": "hive-agent@ghost.socket is active, but ghost is gone",
    "endpoint": "hive-agent@ghost.service is active, but ghost is gone",
    "process": "is left, with the uid 268468224 of no agent that runs",
    "machine": "machined has a machine of ghost, which is gone",
    "control group": "systemd-nspawn@h-ghost.service is left, but ghost does not run",
    "settings": "/etc/systemd/nspawn/h-ghost.nspawn is left",
    "socket folder": "/run/hyperhive/agents/ghost is left",
    "drop-in": "/etc/systemd/system/systemd-nspawn@h-ghost.service.d is left",
    "limits": "/run/systemd/system.control/systemd-nspawn@h-ghost.service.d is left",
    "root": "/var/lib/machines/h-ghost is left",
    "data": "/var/lib/hyperhive/agents/ghost/state is left",
    "build": "/var/lib/hyperhive/builds/ghost is left",
    "runs, and is said to be stopped": "alive is running, and should be stopped",
    "runs, and is said to be kept": "/var/lib/machines/h-alive is left, but alive is kept",
    "runs, and is said to be gone": "state is left, but alive is gone",
    "is gone, and is said to run": "alive is None, and should be running",
}
"""The audit's finding for each thing that bench.lifecycle.sabotage leaves behind."""


def module(hive: Hive, *arguments: str) -> dict[str, Any]:
    python = ["env", f"PYTHONPATH={REPO}", "PYTHONDONTWRITEBYTECODE=1", PYTHON]
    done = hive.run(*python, "-m", *arguments, timeout=900)
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def room_for_agents() -> int:
    """Return how many agents the machine has room for now."""
    taken = sum(_is_inotify(file) for file in Path("/proc").glob("[0-9]*/fd/*"))
    free = int(INOTIFY_LIMIT.read_text()) - taken - INOTIFY_OF_OTHERS
    return min(AGENTS, free // INOTIFY_OF_AGENT)


def _is_inotify(file: Path) -> bool:
    try:
        return str(file.readlink()) == "anon_inode:inotify"
    except OSError:
        return False  # closed meanwhile


@pytest.mark.long
def test_twenty_agents_come_and_go_at_once(swarm: Hive, measured: Callable[[str], None]) -> None:
    agents = room_for_agents()
    if agents < 2:
        pytest.skip(f"{INOTIFY_LIMIT} is used up by what else runs on this machine")
    outcome = module(swarm, "bench.lifecycle.many", str(agents))
    measured(f"{agents} agents at once: READY after {outcome['ready']:.1f} s")
    assert outcome["wrong"] == []
    assert outcome["ready"] < 250


@pytest.mark.long
def test_after_any_orders_each_agent_is_what_its_last_job_says(
    swarm: Hive, measured: Callable[[str], None]
) -> None:
    seed = os.environ.get("HIVE_SEED") or str(random.randrange(10**6))
    outcome = module(swarm, "bench.lifecycle.verbs", str(SECONDS), str(CLIENTS), seed)
    said = f"seed {seed} (HIVE_SEED={seed} gives the same orders): {outcome['count']}"
    assert outcome["wrong"] == [], said
    assert outcome["jobs"] >= CLIENTS, said
    measured(f"{outcome['jobs']} jobs of {CLIENTS} clients in {SECONDS} s, nothing left behind")


@pytest.mark.long
def test_the_audit_sees_whatever_is_left_behind(swarm: Hive) -> None:
    outcome = module(swarm, "bench.lifecycle.sabotage")
    assert outcome["clean"] == []
    said = {what: "\n".join(sentences) for what, sentences in outcome["said"].items()}
    assert {what: sentence in said[what] for what, sentence in SEEN.items()} == dict.fromkeys(
        said, True
    ), said
