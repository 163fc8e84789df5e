"""Calls and their order, callers that leave, the end of a service, the standard interfaces."""

import asyncio
from typing import Any

import pytest

from wire import errors
from wire.bus import Bus
from wire.fixtures import Connect
from wire.interface import method
from wire.principal import EVERYBODY, Principal
from wire.testing import FixedPrincipals
from wire.tests.lamp import NAME, PATH, Lamp1
from wire.types import Dict, Str, UInt32, UInt64

PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
ROOT = "/org/hyperhive"


async def serve(connect: Connect) -> tuple[Bus, Bus, Lamp1]:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export_object_manager(ROOT)
    server.export(PATH, lamp)
    await server.own(NAME)
    return server, client, lamp


async def test_calls_of_one_caller_start_in_order(
    connect: Connect, principals: FixedPrincipals, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, lamp = await serve(connect)
    resolve, release = principals.resolve, asyncio.Event()

    async def slowly(bus: Bus, connection: str) -> Principal | None:
        await release.wait()
        return await resolve(bus, connection)

    monkeypatch.setattr(principals, "resolve", slowly)
    calls = [
        asyncio.create_task(client.call(NAME, PATH, NAME, "Tell", "u", number))
        for number in range(50)
    ]
    asyncio.get_running_loop().call_later(0.05, release.set)
    await asyncio.gather(*calls)
    assert lamp.told == list(range(50))


async def test_what_waits_until_it_is_known_who_calls_is_bounded(
    connect: Connect, principals: FixedPrincipals, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, _ = await serve(connect)
    resolve, release = principals.resolve, asyncio.Event()

    async def slowly(bus: Bus, connection: str) -> Principal | None:
        await release.wait()
        return await resolve(bus, connection)

    async def echo(text: str) -> Any:
        return await client.call1(NAME, PATH, NAME, "Echo", "s", text)

    monkeypatch.setattr(principals, "resolve", slowly)
    monkeypatch.setattr("wire.dispatch.MAX_HELD", 250_000)
    large = "x" * 100_000
    texts = (large, large, large, "small")
    first, second, third, small = (asyncio.create_task(echo(text)) for text in texts)
    with pytest.raises(errors.LimitExceeded, match="sent too much before it was identified"):
        await third
    release.set()
    held = [first, second, small]
    assert await asyncio.gather(*held) == [large, large, "small"]
    assert await echo(large) == large


async def test_a_waiting_call_holds_up_nobody(connect: Connect) -> None:
    _, client, lamp = await serve(connect)
    waiting = asyncio.create_task(client.call1(NAME, PATH, NAME, "Wait"))
    await lamp.waiting.wait()
    assert await client.call1(NAME, PATH, NAME, "Echo", "s", "x") == "x"
    lamp.go_on.set()
    assert await waiting == "done"


async def test_a_caller_that_leaves_cancels_its_calls(connect: Connect) -> None:
    server, client, lamp = await serve(connect)
    other = await connect()
    call = asyncio.create_task(client.call(NAME, PATH, NAME, "Wait"))
    async with asyncio.timeout(5):
        await lamp.waiting.wait()
        await client.close()
        await lamp.cancelled.wait()
    with pytest.raises(errors.Unavailable):
        await call
    async with asyncio.timeout(5):
        await server.watch_sender(client.unique_name)  # would wait, were it still a caller
    assert await other.call1(NAME, PATH, NAME, "Echo", "s", "x") == "x"


async def test_a_time_limit_of_the_caller_does_not_cancel_the_handler(connect: Connect) -> None:
    _, client, lamp = await serve(connect)
    with pytest.raises(errors.Timeout):
        await client.call(NAME, PATH, NAME, "Wait", timeout=0.05)
    assert lamp.waiting.is_set()
    assert not lamp.cancelled.is_set()


async def test_the_end_of_a_service(connect: Connect) -> None:
    server, client, lamp = await serve(connect)
    early = asyncio.create_task(client.call1(NAME, PATH, NAME, "Wait"))
    await lamp.waiting.wait()
    draining = asyncio.create_task(server.drain(30))
    await asyncio.sleep(0)
    with pytest.raises(errors.Stopping):
        await client.call(NAME, PATH, NAME, "Echo", "s", "new")
    assert not draining.done()
    lamp.go_on.set()
    assert await early == "done"
    await draining


async def test_a_call_that_outlasts_the_drain_is_answered_stopping(connect: Connect) -> None:
    server, client, lamp = await serve(connect)
    late = asyncio.create_task(client.call(NAME, PATH, NAME, "Wait"))
    await lamp.waiting.wait()
    await server.close(grace=0.05)
    with pytest.raises(errors.Stopping):
        await late
    assert lamp.cancelled.is_set()


async def test_a_stranger_may_do_nothing(connect: Connect, principals: FixedPrincipals) -> None:
    _, client, lamp = await serve(connect)
    principals.default = None
    calls: list[tuple[Any, ...]] = [
        (PATH, NAME, "Echo", "s", "x"),
        (PATH, PROPERTIES, "GetAll", "s", NAME),
        (PATH, PROPERTIES, "Get", "ss", NAME, "State"),
        (ROOT, OBJECT_MANAGER, "GetManagedObjects"),
        (PATH, "org.freedesktop.DBus.Peer", "Ping"),
        (PATH, "org.freedesktop.DBus.Introspectable", "Introspect"),
        ("/nowhere", NAME, "Echo", "s", "x"),
    ]
    for call in calls:
        with pytest.raises(errors.AccessDenied, match="Only services and agents of the hive"):
            await client.call(NAME, *call)
    assert lamp.state == "off"


async def test_a_principal_that_cannot_be_found_out_is_asked_for_again(
    connect: Connect, principals: FixedPrincipals, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client, _ = await serve(connect)

    async def fail(bus: Bus, connection: str) -> Principal | None:
        raise errors.Timeout("systemd sleeps")

    with monkeypatch.context() as patch:
        patch.setattr(principals, "resolve", fail)
        with pytest.raises(errors.Unavailable, match="could not be identified"):
            await client.call(NAME, PATH, NAME, "Echo", "s", "x")
    assert await client.call1(NAME, PATH, NAME, "Echo", "s", "x") == "x"


@pytest.mark.parametrize(
    ("path", "interface", "member", "arguments", "name"),
    [
        ("/nowhere", NAME, "Echo", ("s", "x"), "UnknownObject"),
        (PATH, "org.hyperhive.Other1", "Echo", ("s", "x"), "UnknownInterface"),
        (ROOT, NAME, "Echo", ("s", "x"), "UnknownInterface"),
        (PATH, NAME, "Sing", (), "UnknownMethod"),
        (PATH, PROPERTIES, "Get", ("ss", NAME, "Colour"), "UnknownProperty"),
        (PATH, PROPERTIES, "Set", ("ssv", NAME, "State", "on"), "PropertyReadOnly"),
        (PATH, OBJECT_MANAGER, "GetManagedObjects", (), "UnknownInterface"),
    ],
)
async def test_what_is_not_there(
    connect: Connect, path: str, interface: str, member: str, arguments: Any, name: str
) -> None:
    _, client, _ = await serve(connect)
    expected = errors.NotFound if name == "UnknownObject" else errors.RemoteError
    with pytest.raises(expected) as caught:
        await client.call(NAME, path, interface, member, *arguments)
    if name != "UnknownObject":
        assert caught.value.name == f"org.freedesktop.DBus.Error.{name}"
    assert str(caught.value).endswith(".")


async def test_properties(connect: Connect) -> None:
    _, client, lamp = await serve(connect)
    lamp.state = "on"
    assert await client.call1(NAME, PATH, PROPERTIES, "Get", "ss", NAME, "State") == "on"
    values = await client.call1(NAME, PATH, PROPERTIES, "GetAll", "s", NAME)
    assert (values["State"], values["name"]) == ("on", "lamp")
    assert await client.call1(NAME, PATH, PROPERTIES, "GetAll", "s", PROPERTIES) == {}


async def test_the_object_manager(connect: Connect) -> None:
    server, client, _ = await serve(connect)
    path = ROOT + "/other"
    async with client.subscribe(path=ROOT) as signals, asyncio.timeout(5):
        server.export(path, Lamp1())
        added = await anext(signals)
        assert (added.member, added.args[0]) == ("InterfacesAdded", path)
        assert added.args[1][NAME]["State"] == "off"
        managed = await client.call1(NAME, ROOT, OBJECT_MANAGER, "GetManagedObjects")
        assert set(managed) == {PATH, path}
        server.unexport(path)
        removed = await anext(signals)
        assert (removed.member, removed.args) == ("InterfacesRemoved", [path, [NAME]])
    with pytest.raises(errors.NotFound):
        await client.call(NAME, path, NAME, "Echo", "s", "x")


async def test_an_unexported_object_says_nothing_and_may_come_back(connect: Connect) -> None:
    server, client, lamp = await serve(connect)
    server.unexport(PATH)
    server.unexport(PATH)
    async with client.subscribe(member="Broken") as signals, asyncio.timeout(5):
        lamp.Broken("unheard", 1)
        server.export(PATH, lamp)
        lamp.Broken("heard", 2)
        assert (await anext(signals)).args == ["heard", 2]


class BrighterLamp1(Lamp1, name=NAME):
    """A lamp that has one method more, and another Dim."""

    @method(allow=EVERYBODY)
    async def Shine(self) -> Str:
        return "bright"

    @method(allow=EVERYBODY)
    async def Dim(self, level: UInt32, options: Dict) -> UInt64:
        return level


async def test_an_interface_has_the_members_of_the_one_that_it_extends(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, BrighterLamp1())
    await server.own(NAME)
    assert await client.call1(NAME, PATH, NAME, "Shine") == "bright"
    assert await client.call1(NAME, PATH, NAME, "Dim", "ua{sv}", 3, {}) == 3
    assert await client.call1(NAME, PATH, NAME, "Echo", "s", "hello") == "hello"
    assert "Shine" not in Lamp1.methods
