"""The limits of providers, shared by the agents with one credential."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.lifecycle.agents.provider_limit import LimitReport
from services.lifecycle.agents.turn import now
from services.lifecycle.commands import Peer
from services.lifecycle.tests.room import Room
from services.lifecycle.watch.provider_limits import LONGEST, RETRIAL, SECOND, TRIAL, end_for
from wire.principal import agent
from wire.records.lifecycle import CommandIssued, CommandVerb, JobVerb, Report

HOUR = 3600 * SECOND


class Hive(Room):
    """A lifecycle with the endpoints of its agents."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.holds: dict[str, list[int]] = {}

    async def add(self, *names: str, credential: str = "key") -> None:
        for name in names:
            await self.spawn(name)
            self.connect(name)
            self.report(name, Report(turn_state="idle", credential=credential))

    def connect(self, name: str) -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        told = self.holds.setdefault(name, [])

        def send(issued: CommandIssued) -> None:
            assert issued.verb is CommandVerb.HOLD_UNTIL
            told.append(int(issued.arguments.value))

        self.lifecycle.harness_connected(agent(name), name, Peer(f":1.{name}", send, gone))

    def report(self, name: str, report: Report) -> None:
        self.lifecycle.report(agent(name), name, report)

    def limit(self, name: str, until: int) -> None:
        self.report(name, Report(provider_limit_until=until))


@pytest.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Hive]:
    hive = Hive(tmp_path)
    await hive.open()
    yield hive
    await hive.close()


def seconds(time: int) -> int:
    return -(-time // SECOND)


async def test_a_limit_holds_all_with_the_same_credential(hive: Hive) -> None:
    await hive.add("alice", "bob")
    await hive.add("carol", credential="login")
    end, before = now() + HOUR, now()
    hive.limit("alice", end)
    assert hive.holds["alice"] == [seconds(end)]
    [trial] = hive.holds["bob"]
    assert seconds(before + TRIAL) <= trial <= seconds(now() + TRIAL) + 1
    assert hive.holds["carol"] == []
    hive.limit("bob", end - SECOND)
    assert hive.holds["alice"] == [seconds(end)]
    assert hive.holds["bob"][1:] == [seconds(end - SECOND)], "two agents vouch for it"
    await hive.told(4)
    to_operator = [notice.kind for notice in hive.broker.sent if notice.recipient == "operator"]
    assert to_operator == ["provider-limit"], "the operator is told once"


def test_one_agent_alone_cannot_stop_the_others_for_long() -> None:
    alice = LimitReport("key", "alice", until=8 * HOUR, reported=0)
    assert end_for("alice", [alice], SECOND) == 8 * HOUR
    assert end_for("bob", [alice], SECOND) == TRIAL
    assert end_for("bob", [alice], TRIAL) == 0
    bob = LimitReport("key", "bob", until=5 * HOUR, reported=TRIAL)
    assert end_for("carol", [alice, bob], 2 * TRIAL) == 5 * HOUR
    assert end_for("carol", [alice, bob], 6 * HOUR) == 0
    assert end_for("alice", [alice, bob], 9 * HOUR) == 0


async def test_a_repeated_report_does_not_hold_the_others_again(hive: Hive) -> None:
    await hive.add("alice", "bob")
    long_ago = now() - TRIAL - SECOND
    hive.store.save_limit(LimitReport("key", "alice", now() - SECOND, long_ago))
    await hive.close()
    await hive.open()
    hive.holds.clear()
    hive.connect("bob")
    hive.limit("alice", now() + HOUR)
    assert hive.holds["bob"] == []
    assert hive.lifecycle.provider_limits.until("alice") > now()
    [kept] = hive.store.limits()
    assert kept.reported == long_ago
    assert RETRIAL > TRIAL


async def test_a_limit_has_a_longest_end(hive: Hive) -> None:
    await hive.add("alice")
    hive.limit("alice", now() + 1000 * HOUR)
    assert hive.lifecycle.provider_limits.until("alice") <= now() + LONGEST


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_limit_is_kept_over_restarts_and_told_to_a_new_harness(
    hive: Hive, how: str
) -> None:
    await hive.add("alice", "bob")
    end = now() + HOUR
    hive.limit("alice", end)
    hive.limit("bob", end)
    await (hive.kill() if how == "kill" else hive.close())
    await hive.open()
    hive.holds.clear()
    hive.connect("bob")
    assert hive.holds["bob"] == [seconds(end)]


async def test_a_sleeping_agent_is_woken_when_the_limit_ends(hive: Hive) -> None:
    await hive.add("alice", "bob")
    await hive.order(JobVerb.SLEEP, "bob")
    hive.limit("alice", now() + SECOND // 2)
    hive.broker.write("bob")
    assert hive.lifecycle.jobs.of("bob") is None
    assert hive.state("bob") == "sleeping"
    async with asyncio.timeout(10):
        while hive.state("bob") != "running":
            await hive.diary.news()


async def test_a_provider_that_answers_again_ends_the_wait(hive: Hive) -> None:
    await hive.add("alice", "bob")
    hive.limit("alice", now() + HOUR)
    hive.limit("alice", 0)
    assert hive.holds["bob"][1:] == [0]
    assert hive.lifecycle.provider_limits.until("bob") == 0


async def test_the_operator_lifts_all_limits(hive: Hive) -> None:
    await hive.add("alice", "bob")
    assert hive.lifecycle.provider_limits.lift() == []
    hive.limit("alice", now() + HOUR)
    assert hive.lifecycle.provider_limits.lift() == ["alice", "bob"]
    assert (hive.holds["alice"][1:], hive.holds["bob"][1:]) == ([0], [0])
    assert hive.store.limits() == []
    hive.limit("alice", now() + HOUR)
    assert hive.lifecycle.provider_limits.until("bob") > now()


async def test_a_harness_that_still_waits_for_a_limit_that_is_over_is_let_go(hive: Hive) -> None:
    await hive.add("alice")
    hive.report("alice", Report(turn_state="rate-limited"))
    await hive.kill()
    await hive.open()
    hive.holds.clear()
    hive.connect("alice")
    assert hive.holds["alice"] == [0]
    hive.report("alice", Report(turn_state="idle"))
    hive.connect("alice")
    assert hive.holds["alice"] == [0]


@pytest.mark.parametrize(("shared", "together"), [("key", True), ("scripted", True), ("", False)])
async def test_a_harness_that_names_no_credential(hive: Hive, shared: str, together: bool) -> None:
    hive.backend.shared = shared
    for name in ("alice", "bob"):
        await hive.spawn(name)
        hive.connect(name)
    hive.limit("alice", now() + HOUR)
    assert bool(hive.holds["bob"]) is together
