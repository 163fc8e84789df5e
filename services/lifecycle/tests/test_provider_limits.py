"""The limits of providers, shared by the agents with one credential."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.agentfile import AgentFile
from services.lifecycle.agents.provider_limit import SECOND, TRIAL, LimitReport
from services.lifecycle.agents.turn import now
from services.lifecycle.commands import Peer
from services.lifecycle.options import DEPLOY
from services.lifecycle.tests.room import DONE, Room
from services.lifecycle.watch import provider_limits
from services.lifecycle.watch.provider_limits import LONGEST, PACE, RETRIAL, end_for
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

        self.harnesses.connected(agent(name), name, Peer(f":1.{name}", send, lambda: gone))

    def report(self, name: str, report: Report) -> None:
        self.harnesses.report(agent(name), name, report)

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


async def test_a_short_limit_does_not_silence_the_one_of_another_agent(hive: Hive) -> None:
    await hive.add("alice", "bob")
    before = len(hive.broker.sent)
    hive.limit("alice", now() + HOUR)
    hive.limit("alice", 0)
    hive.limit("bob", now() + HOUR)
    await hive.told(before + 2)
    mine = [notice for notice in hive.broker.sent[before:] if notice.kind == "provider-limit"]
    assert [notice.body.split()[0] for notice in mine] == ["alice", "bob"]
    # The broker stores a message of the same key once.
    assert len({notice.dedupe_key for notice in mine}) == 2


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


class Clock:
    """The time, which the test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0
        monkeypatch.setattr(provider_limits, "now", self.now)

    def now(self) -> int:
        return now() + self._ahead

    def wait(self, time: int) -> None:
        self._ahead += time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_an_agents_limits_are_taken_at_a_pace(hive: Hive, clock: Clock) -> None:
    await hive.add("alice", "bob")
    first = clock.now() + HOUR
    hive.limit("alice", first)
    for number in range(1, 50):
        hive.limit("alice", first + number * SECOND)
    assert hive.holds["alice"] == [seconds(first)]
    assert len(hive.holds["bob"]) == 1
    assert [limit.until for limit in hive.store.limits()] == [first]
    clock.wait(PACE)
    hive.report("alice", Report(turn_state="rate-limited"))
    assert hive.holds["alice"] == [seconds(first), seconds(first + 49 * SECOND)]
    hive.report("alice", Report(turn_state="rate-limited"))
    assert len(hive.holds["alice"]) == 2


async def test_an_end_is_taken_at_once_and_nothing_comes_after_it(hive: Hive, clock: Clock) -> None:
    await hive.add("alice", "bob")
    for number in range(50):
        hive.limit("alice", clock.now() + HOUR + number * SECOND)
        hive.limit("alice", 0)
    assert len(hive.holds["bob"]) == 2
    clock.wait(PACE)
    hive.report("alice", Report(turn_state="idle"))
    assert hive.holds["bob"][1:] == [0]
    assert hive.parts.provider_limits.until("alice") == 0


async def test_a_limit_that_flaps_slowly_is_one_trial(hive: Hive, clock: Clock) -> None:
    await hive.add("alice", "bob")
    end = clock.now() + 30 * SECOND
    hive.limit("alice", end)
    for number in range(1, 5):
        clock.wait(PACE)
        hive.limit("alice", end + number * HOUR)
    assert hive.holds["bob"] in ([seconds(end)], [seconds(end), 0])
    hive.limit("alice", 0)
    clock.wait(PACE)
    before = len(hive.holds["bob"])
    hive.limit("alice", clock.now() + HOUR)
    assert len(hive.holds["bob"]) == before
    assert hive.parts.provider_limits.until("bob") == 0
    assert hive.parts.provider_limits.until("alice") > clock.now()


async def test_one_report_holds_nobody_else_who_waits_for_the_operator(hive: Hive) -> None:
    await hive.add("alice", "bob")
    for name in ("alice", "bob"):
        await deploy_without_resuming(hive, name)
    hive.limit("alice", now() + HOUR)
    await until_held(hive, "alice")
    await asyncio.sleep(0)
    assert [hold.agent for hold in hive.broker.held] == ["alice"]
    hive.limit("bob", now() + HOUR)
    await until_held(hive, "bob")
    assert [hold.agent for hold in hive.broker.held] == ["alice", "bob"]


async def test_a_confirmed_limit_holds_who_waits_for_the_operator(hive: Hive) -> None:
    await hive.add("alice", "bob", "carol")
    await deploy_without_resuming(hive, "carol")
    hive.limit("alice", now() + HOUR)
    hive.limit("bob", now() + HOUR)
    await until_held(hive, "carol")


async def deploy_without_resuming(hive: Hive, name: str) -> None:
    commit = "b" * 40
    hive.backend.configurations[commit] = AgentFile(resume_after_limit=False)
    job = hive.orders.deploy(name, commit, DEPLOY.parse({}))
    assert await hive.diary.end_of(job) == DONE
    hive.report(name, Report(turn_state="idle"))


async def until_held(hive: Hive, name: str) -> None:
    async with asyncio.timeout(5):
        while name not in {hold.agent for hold in hive.broker.held}:
            await hive.diary.news()


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
    assert hive.parts.provider_limits.until("alice") > now()
    [kept] = hive.store.limits()
    assert kept.reported == long_ago
    assert RETRIAL > TRIAL


async def test_a_limit_has_a_longest_end(hive: Hive) -> None:
    await hive.add("alice")
    hive.limit("alice", now() + 1000 * HOUR)
    assert hive.parts.provider_limits.until("alice") <= now() + LONGEST


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
    assert hive.jobs.of("bob") is None
    assert hive.state("bob") == "sleeping"
    async with asyncio.timeout(10):
        while hive.state("bob") != "running":
            await hive.diary.news()


async def test_a_provider_that_answers_again_ends_the_wait(hive: Hive) -> None:
    await hive.add("alice", "bob")
    hive.limit("alice", now() + HOUR)
    hive.limit("alice", 0)
    assert hive.holds["bob"][1:] == [0]
    assert hive.parts.provider_limits.until("bob") == 0


async def test_the_operator_lifts_all_limits(hive: Hive) -> None:
    await hive.add("alice", "bob")
    assert hive.parts.provider_limits.lift() == []
    hive.limit("alice", now() + HOUR)
    assert hive.parts.provider_limits.lift() == ["alice", "bob"]
    assert (hive.holds["alice"][1:], hive.holds["bob"][1:]) == ([0], [0])
    assert hive.store.limits() == []
    hive.limit("alice", now() + HOUR)
    assert hive.parts.provider_limits.until("bob") > now()


async def test_the_operator_has_agents_try_again_at_once(hive: Hive) -> None:
    """The provider has not said when its limit ends: the harness tries again and again."""
    await hive.add("alice", "bob")
    hive.report("alice", Report(turn_state="rate-limited", in_turn=False))
    hive.report("bob", Report(turn_state="rate-limited", in_turn=True))  # Claude Code tries again
    assert hive.parts.provider_limits.lift() == ["alice"]
    assert (hive.holds["alice"], hive.holds["bob"]) == ([0], [])


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
