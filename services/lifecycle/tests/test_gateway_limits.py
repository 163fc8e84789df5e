"""The limits of providers that gateways have seen."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.lifecycle.agents.provider_limit import SECOND
from services.lifecycle.agents.turn import now
from services.lifecycle.tests.test_provider_limits import Hive, seconds
from services.lifecycle.watch.gateway_limits import SHORT
from wire.errors import Unavailable

HOUR = 3600 * SECOND


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Hive]:
    hive = Hive(tmp_path)
    await hive.open()
    yield hive
    await hive.close()


async def test_an_agent_waits_for_the_limit_that_its_gateway_has_seen(hive: Hive) -> None:
    await hive.add("alice", "bob")
    end = now() + HOUR
    hive.parts.gateway_limits.changed("alice", end)
    hive.parts.gateway_limits.changed("nobody", end)
    assert hive.holds == {"alice": [seconds(end)], "bob": []}
    assert hive.parts.provider_limits.until("alice") == end
    hive.parts.gateway_limits.changed("alice", 0)
    assert hive.holds["alice"][1:] == [0]


async def test_a_short_limit_is_left_to_the_gateway(hive: Hive) -> None:
    await hive.add("alice")
    hive.parts.gateway_limits.changed("alice", now() + SHORT // 2)
    assert hive.holds["alice"] == []


async def test_a_ledger_that_comes_is_asked(hive: Hive) -> None:
    await hive.add("alice")
    hive.ledger.error = Unavailable("Nobody owns the name.")
    hive.parts.gateway_limits.ledger_appeared()
    await hive.parts.gateway_limits.settle()
    assert hive.holds["alice"] == []
    end = now() + HOUR
    hive.ledger.error, hive.ledger.limited = None, {"alice": end}
    hive.parts.gateway_limits.ledger_appeared()
    await hive.parts.gateway_limits.settle()
    assert hive.holds["alice"] == [seconds(end)]
    hive.connect("alice")
    assert hive.holds["alice"] == [seconds(end)] * 2, "a harness that has just come is told"


async def test_the_operator_lifts_the_limits_of_gateways(hive: Hive) -> None:
    await hive.add("alice", "bob")
    hive.ledger.limited = {"alice": now() + HOUR}
    hive.parts.gateway_limits.changed("alice", now() + HOUR)
    assert await hive.parts.gateway_limits.lift() == ["alice"]
    assert hive.ledger.limited == {}
    assert hive.holds["alice"][1:] == [0]
    hive.ledger.error = Unavailable("Nobody owns the name.")
    hive.limit("bob", now() + HOUR)
    assert await hive.parts.gateway_limits.lift() == ["alice", "bob"], "as far as it can"
