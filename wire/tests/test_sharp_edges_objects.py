"""Sharp edges of dbus-next, numbered as in wire/README.md: properties, paths, introspection."""

import asyncio
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from wire import errors
from wire.bus import Bus
from wire.fixtures import Connect
from wire.tests.lamp import NAME, PATH, Lamp1

PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"


async def get_all(client: Bus, path: str = PATH) -> dict[str, Any]:
    result: dict[str, Any] = await client.call1(NAME, path, PROPERTIES, "GetAll", "s", NAME)
    return result


async def introspect(client: Bus, path: str) -> ET.Element:
    interface = "org.freedesktop.DBus.Introspectable"
    return ET.fromstring(await client.call1(NAME, path, interface, "Introspect"))


def children(node: ET.Element) -> list[str | None]:
    return [child.get("name") for child in node.findall("node")]


async def test_edge_12_an_unknown_property_is_not_dropped_silently(connect: Connect) -> None:
    server, client = await connect(), await connect()
    lamp = Lamp1()
    server.export(PATH, lamp)
    for wrong in ("state", "Colour", "name"):
        with pytest.raises(errors.InvalidArgument, match=f"no changing property '{wrong}'"):
            lamp.emit_changed(wrong)
    async with client.subscribe(member="PropertiesChanged") as signals, asyncio.timeout(5):
        lamp.emit_changed("State")
        assert (await anext(signals)).args == [NAME, {"State": "off"}, []]


async def test_edge_13_a_raising_getter_hides_only_itself(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = await connect(), await connect()
    lamp, root = Lamp1(), PATH.rpartition("/")[0]
    lamp.broken_getter = True
    server.export_object_manager(root)
    server.export(PATH, lamp)
    await server.own(NAME)
    assert set(await get_all(client)) == {"Reader", "name"}
    assert "property org.hyperhive.Lamp1.State cannot be read" in caplog.text
    managed = await client.call1(NAME, root, OBJECT_MANAGER, "GetManagedObjects")
    assert set(managed[PATH][NAME]) == {"Reader", "name"}
    with pytest.raises(errors.Internal):
        await client.call(NAME, PATH, PROPERTIES, "Get", "ss", NAME, "State")
    async with client.subscribe(member="PropertiesChanged") as signals, asyncio.timeout(5):
        lamp.emit_changed("State")
        assert (await anext(signals)).args == [NAME, {}, ["State"]]


async def test_edge_14_a_property_may_be_called_name(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    assert await client.call1(NAME, PATH, PROPERTIES, "Get", "ss", NAME, "name") == "lamp"


async def test_edge_15_one_object_a_path(connect: Connect) -> None:
    server, client = await connect(), await connect()
    first, second = Lamp1(), Lamp1()
    server.export("/a", first)
    server.export("/b", second)
    with pytest.raises(ValueError, match="one object has one path"):
        server.export("/c", first)
    async with client.subscribe(member="Broken") as signals, asyncio.timeout(5):
        first.Broken("x", 1)
        second.Broken("x", 2)
        assert [(await anext(signals)).path for _ in range(2)] == ["/a", "/b"]


async def test_edge_16_introspection_invents_no_children(connect: Connect) -> None:
    server, client = await connect(), await connect()
    for path in ("/x/b", "/x/bc", "/x/b/d/e"):
        server.export(path, Lamp1())
    await server.own(NAME)
    assert children(await introspect(client, "/")) == ["x"]
    assert children(await introspect(client, "/x")) == ["b", "bc"]
    assert children(await introspect(client, "/x/b")) == ["d"]
    assert children(await introspect(client, "/x/bc")) == []
    with pytest.raises(errors.NotFound, match="no object /y"):
        await introspect(client, "/y")


async def test_edge_16_the_hand_written_document_is_shown(connect: Connect) -> None:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    node = await introspect(client, PATH)
    argument = node.find(f"interface[@name='{NAME}']/method[@name='Dim']/arg")
    assert argument is not None
    assert argument.get("name") == "brightness"
    annotation = node.find(f"interface[@name='{NAME}']/property/annotation")
    assert annotation is not None
    assert annotation.get("value") == "const"
