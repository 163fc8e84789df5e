"""Sharp edges of dbus-next, numbered as in wire/README.md: methods and their errors."""

import asyncio
import logging
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Message
from dbus_next.aio import MessageBus

from wire import errors
from wire.fixtures import Connect
from wire.interface import Interface, calling, method
from wire.principal import EVERYBODY, THE_OPERATOR, agent
from wire.testing import FixedPrincipals
from wire.tests.lamp import NAME, PATH, SECRET, Lamp1, hang_up

PROPERTIES = "org.freedesktop.DBus.Properties"


async def serve(connect: Connect) -> tuple[Any, Any, Lamp1]:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    await server.own(NAME)
    return server, client, lamp


async def test_edge_02_an_exception_stays_in_the_journal(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    _, client, _ = await serve(connect)
    with pytest.raises(errors.Internal) as caught:
        await client.call(NAME, PATH, NAME, "Crash")
    assert SECRET not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    found = re.search(r"HIVE_ERROR_ID=([0-9a-f]{8})", str(caught.value))
    assert found is not None
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert found[1] == record.HIVE_ERROR_ID  # type: ignore[attr-defined]
    assert SECRET in caplog.text
    assert "Traceback" in caplog.text


async def test_edge_02_a_result_that_does_not_fit_is_internal(connect: Connect) -> None:
    _, client, _ = await serve(connect)
    with pytest.raises(errors.Internal, match="Wrong failed unexpectedly"):
        await client.call(NAME, PATH, NAME, "Wrong")


async def test_edge_03_an_expected_error_is_not_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    _, client, _ = await serve(connect)
    with pytest.raises(errors.NotFound, match="told so"):
        await client.call(NAME, PATH, NAME, "Fail", "s", "NotFound")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_edge_04_a_cancelled_method_answers_stopping(connect: Connect) -> None:
    _, client, _ = await serve(connect)
    with pytest.raises(errors.Stopping):
        await client.call(NAME, PATH, NAME, "BeCancelled", timeout=5)


async def test_edge_09_members_stay_ordinary_python() -> None:
    lamp = Lamp1()
    with calling(THE_OPERATOR, ":1.7"):
        assert await lamp.Dim(4, {}) == 8
        assert lamp.State == "4 {}"
        assert lamp.Reader == "the operator :1.7"
    lamp.Broken("nobody hears it", 1)


def test_edge_10_signatures_come_from_annotated_types() -> None:
    assert {m.name: (m.arguments, m.result) for m in Lamp1.methods.values()}["Dim"] == (
        "ua{sv}",
        "t",
    )
    assert Lamp1.signals["Broken"].signature == "su"
    assert Lamp1.properties["State"].signature == "s"
    with pytest.raises(TypeError, match=r"not of wire.types"):

        class Bad1(Interface, name="org.hyperhive.Bad1"):
            @method(allow=EVERYBODY)
            async def Bad(self, value: int) -> None: ...


async def test_edge_11_tuples_are_structs_and_several_results(connect: Connect) -> None:
    _, client, _ = await serve(connect)
    assert await client.call(NAME, PATH, NAME, "Tuples") == [[["a", 1], ["b", 2]], ["c", "d"]]


async def test_edge_17_a_wrong_signature_is_named(connect: Connect) -> None:
    _, client, _ = await serve(connect)
    with pytest.raises(errors.InvalidArgument, match=r'signature "ua{sv}", not "su"'):
        await client.call(NAME, PATH, NAME, "Dim", "su", "much", 1)
    with pytest.raises(errors.InvalidArgument, match='signature "ss", not "s"'):
        await client.call(NAME, PATH, PROPERTIES, "Get", "s", NAME)


async def test_edge_17_a_missing_interface_is_found(connect: Connect, bus_address: str) -> None:
    server, _, _ = await serve(connect)
    plain = await MessageBus(bus_address).connect()
    reply = await plain.call(Message(NAME, PATH, member="Echo", signature="s", body=["hello"]))
    assert reply is not None
    assert reply.body == ["hello"]

    class Twin1(Interface, name="org.hyperhive.Twin1"):
        @method(allow=EVERYBODY)
        async def Echo(self) -> None: ...

    server.export(PATH, Twin1())
    reply = await plain.call(Message(NAME, PATH, member="Echo"))
    assert reply is not None
    assert reply.error_name == errors.InvalidArgument.name
    assert NAME in reply.body[0]
    assert "Twin1" in reply.body[0]
    hang_up(plain)


def test_edge_18_the_deprecated_decorator_is_filtered_and_python_bounded() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert pyproject["project"]["requires-python"].endswith("<3.15")
    filters = pyproject["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert any("no_type_check_decorator" in rule for rule in filters)


async def test_edge_20_concurrent_callers_are_told_apart(
    connect: Connect, principals: FixedPrincipals
) -> None:
    server, lamp = await connect(), Lamp1()
    server.export(PATH, lamp)
    await server.own(NAME)
    clients = {f"a{number}": await connect() for number in range(8)}
    for name, client in clients.items():
        principals.known[client.unique_name] = agent(name)
    calls = {
        name: asyncio.create_task(client.call(NAME, PATH, NAME, "WhoAmI"))
        for name, client in clients.items()
        for _ in range(4)
    }
    for name, client in clients.items():
        reader = await client.call1(NAME, PATH, PROPERTIES, "Get", "ss", NAME, "Reader")
        assert reader == f"agent {name} {client.unique_name}"
    lamp.go_on.set()
    for name, call in calls.items():
        assert await call == [name, clients[name].unique_name]
