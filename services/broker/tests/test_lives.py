"""Which life of its container a message was handed to, and whether that life is over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.broker.broker import Broker
from services.broker.history import History
from services.broker.lives import Lives
from services.broker.message import Message
from services.broker.neighbours import LivesOnBus
from services.broker.tests.test_broker import ALICE, BOB, holder, restart
from wire import names
from wire.bus import Bus
from wire.fixtures import Connect
from wire.interface import Interface, prop
from wire.principal import THE_OPERATOR
from wire.types import Int64, Str

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32


def runs(life: str, state: str = "running") -> dict[str, Any]:
    return {"State": state, "Since": 1, "InvocationId": life}


def objects(**agents: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {names.agent_path(a): {names.AGENT_INTERFACE: p} for a, p in agents.items()} | {
        names.job_path(1): {names.JOB_INTERFACE: {"State": "running"}}
    }


def test_what_lifecycle_tells_is_known() -> None:
    lives = Lives()
    assert (lives.current("bob"), lives.is_over("bob", ONE)) == ("", False)
    lives.learn(objects(bob=runs(ONE), alice=runs(TWO, "stopped"), carol=runs(THREE, "sleeping")))
    assert (lives.current("bob"), lives.current("alice")) == (ONE, "")
    assert not lives.is_over("bob", ONE)
    assert not lives.is_over("bob", "")
    assert lives.is_over("bob", TWO)
    assert lives.is_over("alice", TWO)
    assert lives.is_over("carol", THREE)
    assert lives.is_over("gone", THREE)
    lives.changed(names.agent_path("bob"), {"TurnState": "thinking"})
    assert lives.current("bob") == ONE
    lives.changed(names.agent_path("bob"), runs(TWO, "starting"))
    assert (lives.current("bob"), lives.is_over("bob", ONE)) == (TWO, True)
    lives.changed(names.agent_path("bob"), runs(TWO, "failed"))
    assert (lives.current("bob"), lives.is_over("bob", TWO)) == ("", True)
    lives.changed(names.agent_path("bob"), runs(THREE))
    lives.removed(names.agent_path("bob"))
    assert (lives.current("bob"), lives.is_over("bob", THREE)) == ("", True)


def test_without_lifecycle_nothing_is_known() -> None:
    lives = Lives()
    lives.learn(objects(bob=runs(ONE)))
    lives.forget()
    assert (lives.current("bob"), lives.is_over("bob", TWO)) == ("", False)


def test_a_signal_is_newer_than_the_answer_it_overtakes() -> None:
    lives = Lives()
    lives.changed(names.agent_path("bob"), runs(TWO))
    lives.removed(names.agent_path("alice"))
    lives.learn(objects(bob=runs(ONE), alice=runs(ONE)))
    assert (lives.current("bob"), lives.current("alice")) == (TWO, "")


async def listed(broker: Broker, lives: Lives) -> Message:
    history = History(broker._store._database, broker.leased, lives)
    [message] = await history.list_messages(THE_OPERATOR, {}, 1)
    return message


def life(message: Message) -> tuple[str, bool]:
    return message.invocation, message.earlier_life


async def test_a_message_tells_the_life_before_this_one(broker: Broker, lives: Lives) -> None:
    lives.learn(objects(bob=runs(ONE)))
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    [message] = await broker.receive(BOB, at, 1, 0)
    assert life(message) == ("", False)
    assert life(await listed(broker, lives)) == (ONE, False)
    await broker.release(BOB, at.name, [first])
    [message] = await broker.receive(BOB, at, 1, 0)
    assert life(message) == (ONE, False)
    lives.changed(names.agent_path("bob"), runs(TWO))
    assert life(await listed(broker, lives)) == (ONE, True)
    await broker.release(BOB, at.name, [first])
    [message] = await broker.receive(BOB, at, 1, 0)
    assert life(message) == (ONE, True)
    assert life(await listed(broker, lives)) == (TWO, False)
    again = Lives()
    another = await restart(broker, again)
    again.learn(objects(bob=runs(THREE)))
    [message] = await another.receive(BOB, at, 1, 0)
    assert life(message) == (TWO, True)


async def test_handed_to_a_life_that_is_not_known(broker: Broker, lives: Lives) -> None:
    lives.learn(objects(bob=runs(ONE)))
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    await broker.receive(BOB, at, 1, 0)
    await broker.release(BOB, at.name, [first])
    lives.forget()
    [message] = await broker.receive(BOB, at, 1, 0)
    assert life(message) == (ONE, False)
    assert life(await listed(broker, lives)) == ("", False)


class FakeAgent(Interface, name=names.AGENT_INTERFACE):
    """An agent's container, with as much of it as the broker asks for."""

    def __init__(self, state: str, invocation: str) -> None:
        self.state, self.invocation = state, invocation

    @prop()
    def State(self) -> Str:  # noqa: N802
        return self.state

    @prop()
    def Since(self) -> Int64:  # noqa: N802
        return 1

    @prop()
    def InvocationId(self) -> Str:  # noqa: N802
        return self.invocation

    def become(self, state: str, invocation: str) -> None:
        self.state, self.invocation = state, invocation
        self.emit_changed("State", "Since", "InvocationId")


class Lifecycle:
    """Lifecycle on the bus, with one agent, bob."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.bob = FakeAgent("running", ONE)
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.agent_path("bob"), self.bob)

    async def appear(self) -> None:
        await self.bus.own(names.LIFECYCLE)


@pytest.fixture
async def lives_on_bus(connect: Connect) -> AsyncIterator[tuple[Lives, LivesOnBus]]:
    lives = Lives()
    on_bus = LivesOnBus(await connect(), lives)
    yield lives, on_bus
    await on_bus.close()


async def until(lives: Lives, current: str, *, known: bool = True) -> None:
    """Wait until so much is known of bob."""
    async with asyncio.timeout(5):
        # Lives tells nobody when it changes: in these tests only, look.
        while (lives.current("bob"), lives._known) != (current, known):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_over_the_bus(connect: Connect, lives_on_bus: tuple[Lives, LivesOnBus]) -> None:
    lives, on_bus = lives_on_bus
    await on_bus.start()
    assert not lives._known
    lifecycle = Lifecycle(await connect())
    await lifecycle.appear()
    await until(lives, ONE)
    lifecycle.bob.become("starting", TWO)
    await until(lives, TWO)
    lifecycle.bob.become("stopped", TWO)
    await until(lives, "")
    lifecycle.bob.become("running", THREE)
    await until(lives, THREE)
    lifecycle.bus.unexport(names.agent_path("bob"))
    await until(lives, "")
    assert lives.is_over("bob", THREE)
    await lifecycle.bus.close()
    await until(lives, "", known=False)
    again = Lifecycle(await connect())
    await again.appear()
    await until(lives, ONE)


async def test_who_is_there_already_is_asked_before_the_start_is_over(
    connect: Connect, lives_on_bus: tuple[Lives, LivesOnBus]
) -> None:
    lives, on_bus = lives_on_bus
    await Lifecycle(await connect()).appear()
    await on_bus.start()
    assert lives.current("bob") == ONE
