"""The container that a message was handed to, and whether that container has ended."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.broker.clients import LifecycleWatcher
from services.broker.messages.broker import Broker
from services.broker.messages.invocations import Container, Invocations
from services.broker.parts import Parts
from services.broker.tests.room import ALICE, BOB, holder, make_room
from wire import names
from wire.bus import Bus
from wire.fake_agent import FakeAgent, properties
from wire.fixtures import Connect
from wire.principal import THE_OPERATOR
from wire.records.broker import Message
from wire.records.lifecycle import AgentState

ONE, TWO, THREE = "1" * 32, "2" * 32, "3" * 32


def runs(invocation: str, state: str = "running") -> Container:
    return Container(AgentState(state), invocation)


def containers(**agents: Container) -> dict[str, Container]:
    return {names.agent_path(name): container for name, container in agents.items()}


def test_reports_of_lifecycle_are_known() -> None:
    invocations = Invocations()
    assert (invocations.current("bob"), invocations.has_ended("bob", ONE)) == ("", False)
    invocations.learn(
        containers(bob=runs(ONE), alice=runs(TWO, "stopped"), carol=runs(THREE, "sleeping"))
    )
    assert (invocations.current("bob"), invocations.current("alice")) == (ONE, "")
    assert not invocations.has_ended("bob", ONE)
    assert not invocations.has_ended("bob", "")
    assert invocations.has_ended("bob", TWO)
    assert invocations.has_ended("alice", TWO)
    assert invocations.has_ended("carol", THREE)
    assert invocations.has_ended("gone", THREE)
    invocations.changed(names.agent_path("bob"), runs(TWO, "starting"))
    assert (invocations.current("bob"), invocations.has_ended("bob", ONE)) == (TWO, True)
    invocations.changed(names.agent_path("bob"), runs(TWO, "failed"))
    assert (invocations.current("bob"), invocations.has_ended("bob", TWO)) == ("", True)
    invocations.changed(names.agent_path("bob"), runs(THREE))
    invocations.removed(names.agent_path("bob"))
    assert (invocations.current("bob"), invocations.has_ended("bob", THREE)) == ("", True)


def test_without_lifecycle_nothing_is_known() -> None:
    invocations = Invocations()
    invocations.learn(containers(bob=runs(ONE)))
    invocations.forget()
    assert (invocations.current("bob"), invocations.has_ended("bob", TWO)) == ("", False)


def test_a_signal_is_newer_than_the_answer_it_overtakes() -> None:
    invocations = Invocations()
    invocations.changed(names.agent_path("bob"), runs(TWO))
    invocations.removed(names.agent_path("alice"))
    invocations.learn(containers(bob=runs(ONE), alice=runs(ONE)))
    assert (invocations.current("bob"), invocations.current("alice")) == (TWO, "")


async def listed(room: Parts) -> Message:
    [message] = await room.history.list_messages(THE_OPERATOR, {}, 1)
    return message


def container(message: Message) -> tuple[str, bool]:
    return message.invocation, message.earlier_life


async def test_a_message_carries_the_earlier_invocation(
    room: Parts, broker: Broker, invocations: Invocations
) -> None:
    invocations.learn(containers(bob=runs(ONE)))
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    [message] = await broker.receive(BOB, at, 1, 0)
    assert container(message) == ("", False)
    assert container(await listed(room)) == (ONE, False)
    await broker.release(BOB, at.name, [first])
    [message] = await broker.receive(BOB, at, 1, 0)
    assert container(message) == (ONE, False)
    invocations.changed(names.agent_path("bob"), runs(TWO))
    assert container(await listed(room)) == (ONE, True)
    await broker.release(BOB, at.name, [first])
    [message] = await broker.receive(BOB, at, 1, 0)
    assert container(message) == (ONE, True)
    assert container(await listed(room)) == (TWO, False)
    again = Invocations()
    another = make_room(room.database, invocations=again)
    again.learn(containers(bob=runs(THREE)))
    [message] = await another.broker.receive(BOB, at, 1, 0)
    assert container(message) == (TWO, True)


async def test_a_message_handed_to_an_unknown_container(
    room: Parts, broker: Broker, invocations: Invocations
) -> None:
    invocations.learn(containers(bob=runs(ONE)))
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    await broker.receive(BOB, at, 1, 0)
    await broker.release(BOB, at.name, [first])
    invocations.forget()
    [message] = await broker.receive(BOB, at, 1, 0)
    assert container(message) == (ONE, False)
    assert container(await listed(room)) == ("", False)


class Lifecycle:
    """Lifecycle on the bus, with one agent, bob."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.bob = FakeAgent(properties("bob", invocation_id=ONE))
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.agent_path("bob"), self.bob)

    async def appear(self) -> None:
        await self.bus.own(names.LIFECYCLE)


@pytest.fixture
async def watcher_on_bus(connect: Connect) -> AsyncIterator[tuple[Invocations, LifecycleWatcher]]:
    invocations = Invocations()
    on_bus = LifecycleWatcher(await connect(), invocations)
    yield invocations, on_bus
    await on_bus.close()


async def until(invocations: Invocations, current: str, *, known: bool = True) -> None:
    """Wait until so much is known of bob."""
    async with asyncio.timeout(5):
        # Invocations has no event for a change, so these tests look.
        while (invocations.current("bob"), invocations.known) != (current, known):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_over_the_bus(
    connect: Connect, watcher_on_bus: tuple[Invocations, LifecycleWatcher]
) -> None:
    invocations, on_bus = watcher_on_bus
    await on_bus.start()
    assert not invocations.known
    lifecycle = Lifecycle(await connect())
    await lifecycle.appear()
    await until(invocations, ONE)
    lifecycle.bob.show(state=AgentState.STARTING, invocation_id=TWO)
    await until(invocations, TWO)
    lifecycle.bob.show(since=1)  # says nothing of the container
    lifecycle.bob.show(state=AgentState.STOPPED, invocation_id=TWO)
    await until(invocations, "")
    lifecycle.bob.show(state=AgentState.RUNNING, invocation_id=THREE)
    await until(invocations, THREE)
    lifecycle.bus.unexport(names.agent_path("bob"))
    await until(invocations, "")
    assert invocations.has_ended("bob", THREE)
    await lifecycle.bus.close()
    await until(invocations, "", known=False)
    again = Lifecycle(await connect())
    await again.appear()
    await until(invocations, ONE)


async def test_a_running_lifecycle_is_asked_during_the_start(
    connect: Connect, watcher_on_bus: tuple[Invocations, LifecycleWatcher]
) -> None:
    invocations, on_bus = watcher_on_bus
    await Lifecycle(await connect()).appear()
    await on_bus.start()
    assert invocations.current("bob") == ONE
