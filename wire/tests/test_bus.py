"""Calls, properties and signals between two connections on a real bus."""

import asyncio

import pytest

from wire import errors
from wire.fixtures import Connect
from wire.principal import agent
from wire.testing import FixedPrincipals
from wire.tests.lamp import NAME, PATH, Lamp1
from wire.types import U32


async def test_call_with_plain_values(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    await server.own(NAME)
    options = {"a": "b", "n": 3, "u": U32(4), "l": ["x"], "d": {"y": True}, "t": (1, 2)}
    result = await client.call1(NAME, PATH, NAME, "Dim", "ua{sv}", 21, options)
    assert result == 42
    assert lamp.state == "21 {'a': 'b', 'n': 3, 'u': 4, 'l': ['x'], 'd': {'y': True}, 't': [1, 2]}"


async def test_principal_and_sender(connect: Connect, principals: FixedPrincipals) -> None:
    server, client = await connect(), await connect()
    principals.known[client.unique_name] = agent("alice")
    lamp = Lamp1()
    lamp.go_on.set()
    server.export(PATH, lamp)
    await server.own(NAME)
    assert await client.call(NAME, PATH, NAME, "WhoAmI") == ["alice", client.unique_name]
    with pytest.raises(errors.AccessDenied, match=r"Only the operator .* agent alice"):
        await client.call(NAME, PATH, NAME, "Dim", "ua{sv}", 1, {})


async def test_errors_keep_their_class(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    for name in ("NotFound", "Conflict", "Timeout", "CorruptStore"):
        with pytest.raises(getattr(errors, name), match="told so"):
            await client.call(NAME, PATH, NAME, "Fail", "s", name)


async def test_signals(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    await server.own(NAME)
    async with client.subscribe(sender=NAME, arg0="hot") as signals:
        lamp.Broken("cold", 1)
        lamp.Broken("hot", level=2)
        async with asyncio.timeout(5):
            got = await anext(signals)
    assert (got.path, got.interface, got.member, got.args) == (PATH, NAME, "Broken", ["hot", 2])


async def test_properties_changed(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    async with client.subscribe(member="PropertiesChanged", path_namespace="/org") as signals:
        await client.call(NAME, PATH, NAME, "Dim", "ua{sv}", 1, {})
        async with asyncio.timeout(5):
            got = await anext(signals)
    assert got.args == [NAME, {"State": "1 {}"}, []]


async def test_taken_name(connect: Connect) -> None:
    first, second = await connect(), await connect()
    await first.own(NAME)
    with pytest.raises(errors.Conflict, match="Another connection owns"):
        await second.own(NAME)
    await first.own(NAME)


async def test_nobody_there(connect: Connect) -> None:
    client = await connect()
    with pytest.raises(errors.Unavailable):
        await client.call(NAME, PATH, NAME, "Dim", "u", 1)


async def test_watch_sender(connect: Connect) -> None:
    watcher, other = await connect(), await connect()
    gone = watcher.watch_sender(other.unique_name)
    await watcher.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId")
    assert not gone.done()
    await other.close()
    async with asyncio.timeout(5):
        await gone
        await watcher.watch_sender(other.unique_name)
