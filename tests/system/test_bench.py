"""The bench of messages runs on a hive; what it measures is not judged here."""

import json

import pytest

from tests.system.conftest import REPO, Hive
from tests.system.inside import PYTHON

pytestmark = pytest.mark.system


def module(hive: Hive, *arguments: str) -> dict[str, float]:
    command = ["env", f"PYTHONPATH={REPO}", PYTHON, "-B", "-m", *arguments]
    figures: dict[str, float] = json.loads(hive.run(*command).stdout.splitlines()[-1])
    return figures


def test_messages_are_measured_from_socket_to_socket(hive: Hive) -> None:
    module(hive, "bench.messages.agents", "RegisterAgent", "2")
    try:
        figures = module(hive, "bench.messages.driver", "hive", "1", "3")
    finally:
        module(hive, "bench.messages.agents", "UnregisterAgent", "2")
    assert figures.keys() == {"p50", "p99", "one", "many", "cpu"}
    assert 0 < figures["p50"] <= figures["p99"]
