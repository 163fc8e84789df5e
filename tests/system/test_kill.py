"""kill -9 of any process under load: no message is lost, none is repeated without a count."""

import json
import os
import random
from collections.abc import Callable

import pytest

from tests.system.hive import PYTHON, REPO, Hive
from tests.system.inside import probe
from wire import names

pytestmark = pytest.mark.system


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_nothing_is_lost_or_doubled_whatever_is_killed(
    swarm: Hive, measured: Callable[[str], None], rounds: int
) -> None:
    seed = os.environ.get("HIVE_SEED") or str(random.randrange(10**6))
    python = ["env", f"PYTHONPATH={REPO}", "PYTHONDONTWRITEBYTECODE=1", PYTHON]
    chaos = [*python, "-m", "bench.chaos.driver", str(rounds), seed]
    done = swarm.run(*chaos, check=False, timeout=1200)
    said = f"seed {seed} (HIVE_SEED={seed} repeats its choices)\n{done.stderr}"
    assert done.returncode == 0, said
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["violations"] == [], said
    assert sum(outcome["kills"].values()) >= rounds // 2, said
    assert outcome["messages"] >= rounds, said
    measured(
        f"chaos: {sum(outcome['kills'].values())} kills, {outcome['messages']} messages, "
        f"{outcome['redeliveries']} redeliveries, none lost, none doubled"
    )


@pytest.mark.long
def test_a_broker_that_is_killed_again_and_again_is_back_each_time(swarm: Hive) -> None:
    # A start limit would keep it down until somebody looks.
    for _ in range(8):
        probe(swarm, "kill_service", "hive-broker.service", names.BROKER)
        swarm.hivectl("history", "--limit", "1", timeout=20)
