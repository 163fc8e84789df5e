"""Typed clients, and the owners of names, on a real bus."""

import asyncio

import pytest

from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.clients.lifecycle import LifecycleClient
from wire.errors import NotFound, Timeout, Unavailable
from wire.fixtures import Connect
from wire.interface import Interface, method
from wire.principal import EVERYBODY
from wire.records.broker import Message, MessageFilter, MessageState, SendOptions
from wire.types import Dict, Str, UInt32, UInt64

MESSAGE = Message(1, "alice", "bob", "message", "hello", 5, 0, False, 0, MessageState.QUEUED)


class FakeBroker(Interface, name=names.BROKER):
    """A broker that remembers the options it was given."""

    def __init__(self) -> None:
        self.options: dict[str, object] = {}

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        self.options = options
        if to == "nobody":
            raise NotFound("There is no such agent.")
        return len(body)

    @method(allow=EVERYBODY)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        self.options = filter
        return [MESSAGE] * limit

    @method(allow=EVERYBODY)
    async def Vacuum(self) -> UInt64:
        await asyncio.Event().wait()
        return 0


@pytest.fixture
async def served(connect: Connect) -> tuple[FakeBroker, Bus, Bus]:
    fake, server, caller = FakeBroker(), await connect(), await connect()
    server.export(names.BROKER_PATH, fake)
    await server.own(names.BROKER)
    return fake, server, caller


async def test_a_client_sends_and_answers_records(served: tuple[FakeBroker, Bus, Bus]) -> None:
    fake, _, caller = served
    broker = BrokerClient(caller)
    assert await broker.send("bob", "hello", SendOptions(urgent=True)) == 5
    assert fake.options == {"urgent": True}
    wanted = MessageFilter(sender="alice", state=MessageState.QUEUED)
    assert await broker.list_messages(wanted, 2) == [MESSAGE, MESSAGE]
    assert fake.options == {"from": "alice", "state": "queued"}


async def test_a_client_raises_the_error_of_the_service(
    served: tuple[FakeBroker, Bus, Bus],
) -> None:
    with pytest.raises(NotFound, match=r"There is no such agent\."):
        await BrokerClient(served[2]).send("nobody", "hello", SendOptions())


async def test_a_client_waits_as_long_as_it_is_told(served: tuple[FakeBroker, Bus, Bus]) -> None:
    with pytest.raises(Timeout):
        await BrokerClient(served[2]).within(0.05).vacuum()


async def test_a_client_takes_positional_arguments_only(
    served: tuple[FakeBroker, Bus, Bus],
) -> None:
    with pytest.raises(TypeError, match="positional"):
        await BrokerClient(served[2]).send("bob", body="hello", options=SendOptions())


async def test_managed_objects_are_asked_of_the_object_manager(connect: Connect) -> None:
    server, caller = await connect(), await connect()
    server.export_object_manager(names.LIFECYCLE_PATH)
    await server.own(names.LIFECYCLE)
    found = await LifecycleClient(caller).managed_objects()
    assert (found.agents, found.jobs) == ({}, {})


async def test_a_client_of_a_unique_name_does_not_reach_the_next_owner(
    served: tuple[FakeBroker, Bus, Bus], connect: Connect
) -> None:
    _, server, caller = served
    broker = BrokerClient(caller).at(await caller.owner_of(names.BROKER))
    assert await broker.send("bob", "hello", SendOptions()) == 5
    left = caller.watch_sender(server.unique_name)
    await server.close()
    await left
    assert await caller.owner_of(names.BROKER) == ""
    successor = await connect()
    successor.export(names.BROKER_PATH, FakeBroker())
    await successor.own(names.BROKER)
    with pytest.raises(Unavailable):
        await broker.send("bob", "hello", SendOptions())


async def test_owners_of_a_name_come_and_go(connect: Connect) -> None:
    watcher, first, second = await connect(), await connect(), await connect()
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    following = await watcher.on_owner(
        names.BROKER,
        came=lambda owner: told.put_nowait(("came", owner)),
        went=lambda owner: told.put_nowait(("went", owner)),
    )
    async with asyncio.timeout(10):
        await first.own(names.BROKER)
        assert await told.get() == ("came", first.unique_name)
        await first.close()
        assert await told.get() == ("went", first.unique_name)
        await second.own(names.BROKER)
        assert await told.get() == ("came", second.unique_name)
        await following.close()
        left = watcher.watch_sender(second.unique_name)
        await second.close()
        await left
        assert await watcher.owner_of(names.BROKER) == ""
    assert told.empty()


async def test_only_what_is_wanted_of_an_owner_is_told(connect: Connect) -> None:
    watcher, owner = await connect(), await connect()
    came: asyncio.Queue[str] = asyncio.Queue()
    await watcher.on_owner(names.BROKER, came=came.put_nowait)
    async with asyncio.timeout(10):
        await owner.own(names.BROKER)
        assert await came.get() == owner.unique_name
