"""The benches run on a hive; no test judges their figures, but for what a click has to do."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.messages.__main__ import LIMITS
from bench.messages.measure import percentile
from sandbox.hive import MODEL_HOST
from tests.system.hive import PYTHON, REPO, Hive
from tests.system.sleeping import settings

pytestmark = [pytest.mark.system, pytest.mark.long]


def module(hive: Hive, *arguments: str) -> dict[str, Any]:
    command = ["env", f"PYTHONPATH={REPO}", PYTHON, "-B", "-m", *arguments]
    figures: dict[str, Any] = json.loads(hive.run(*command, timeout=600).stdout.splitlines()[-1])
    return figures


@pytest.fixture
def unlimited(hive: Hive) -> Iterator[Hive]:
    """Have the broker's limits raised as the bench does: it repeats the same texts."""
    limits = "\n".join(f"{key} = {value}" for key, value in LIMITS.items())
    with settings(hive, ("", f"[broker]\n{limits}")):
        hive.run("systemctl", "restart", "hive-broker.service")
        yield hive
    hive.run("systemctl", "restart", "hive-broker.service")


def test_messages_are_measured_from_socket_to_socket(unlimited: Hive) -> None:
    module(unlimited, "bench.messages.agents", "register", "2")
    try:
        figures = module(unlimited, "bench.messages.driver", "hive", "1", "3")
    finally:
        module(unlimited, "bench.messages.agents", "unregister", "2")
    assert figures.keys() == {"p50", "p99", "one", "many", "cpu", "synced"}
    assert 0 < figures["p50"] <= figures["p99"]


def test_the_life_of_a_container_is_measured(swarm: Hive) -> None:
    starts = module(swarm, "bench.lifecycle.measure", "starts", "1")
    assert starts.keys() == {"spawn", "stop", "bare start", "bare stop", "start", "destroy"}
    crashes = module(swarm, "bench.lifecycle.measure", "crashes", "1")
    assert crashes.keys() == {"removed", "queued"}
    held = module(swarm, "bench.lifecycle.weigh")
    assert held["agent"] > held["systemd"] > 0
    assert held["endpoint"] > held["python"] > 0


def test_a_deploy_is_measured(swarm: Hive) -> None:
    moments = module(swarm, "bench.deploy.measure", "1")
    assert moments.keys() == {"submitted", "ready", "recorded", "restart", "bare"}
    assert moments["ready"] <= moments["recorded"]


def test_turns_are_measured_both_ways(swarm: Hive) -> None:
    model = f"http://{MODEL_HOST}:{swarm.ports.model}"
    found = module(swarm, "bench.turns.measure", model, "1", "1")
    assert found["hive"]["latency"].keys() == {"first", "later", "resumed"}
    assert found["classic"]["latency"].keys() == {"first", "later"}
    assert found["hive"]["latency"]["later"] < found["classic"]["latency"]["later"]
    assert found["hive"]["idle"] > found["hive"]["closed"] > 0


def test_a_cancelled_turn_is_over_within_a_second(
    swarm: Hive, measured: Callable[[str], None]
) -> None:
    found = module(swarm, "bench.cancel.measure", "50")
    for kind in ("command", "answer"):
        assert len(found[kind]) == 50
        p50, p99, longest = (percentile(found[kind], share) for share in (0.5, 0.99, 1.0))
        figures = f"p50 {p50:.3f} s, p99 {p99:.3f} s, longest {longest:.3f} s"
        measured(f"click to idle ({kind}): {figures}")
        assert p99 < 1, figures
