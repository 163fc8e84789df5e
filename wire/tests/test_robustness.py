"""Hostile and unlucky values; the numbered edges have tests of their own."""

import asyncio
import gc
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from wire import errors, message
from wire.bus import Bus
from wire.connection import MAX_MESSAGE, MAX_RECEIVED, frame_size
from wire.connection import connect as connection_to
from wire.decoding import MAX_VALUES
from wire.encoding import MAX_DEPTH, encode
from wire.fixtures import Connect
from wire.interface import method
from wire.principal import EVERYBODY
from wire.testing import private_bus
from wire.tests.lamp import NAME, PATH, Lamp1
from wire.types import Str

DAEMON = "org.freedesktop.DBus"


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def frame_of(text: str) -> bytes:
    signal = message.signal("/a", NAME, "Broken", "s", [text])
    signal.serial, signal.sender = 2, ":1.2"
    return encode(signal)


async def be_a_bus(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    refusal: errors.HiveError | None = None,
) -> None:
    """Accept a connection as the daemon does, or answer its Hello with an error."""
    await reader.readline()
    writer.write(b"OK 1234deadbeef\r\n")
    await reader.readuntil(b"BEGIN\r\n")
    hello = message.call(DAEMON, "/", DAEMON, "Hello", "", [])
    hello.serial, hello.sender = 1, ":1.1"
    answer = message.answer(hello, "s", [":1.1"])
    if refusal is not None:
        answer = message.refusal(hello, refusal.name, str(refusal))
    answer.serial, answer.sender = 1, DAEMON
    writer.write(encode(answer))


async def serve(connect: Connect) -> tuple[Bus, Bus]:
    server, client = await connect(), await connect()
    server.export(PATH, Lamp1())
    await server.own(NAME)
    return server, client


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\ud800a\0"])
async def test_text_that_the_daemon_cuts_off_is_refused(connect: Connect, text: str) -> None:
    _, client = await serve(connect)
    with pytest.raises(errors.InvalidArgument, match="Text must"):
        await client.call(NAME, PATH, NAME, "Echo", "s", text)
    with pytest.raises(errors.InvalidArgument, match="Text must"):
        await client.call(NAME, PATH, NAME, "Dim", "ua{sv}", 1, {"k": [{text: 1}]})
    assert await client.call1(NAME, PATH, NAME, "Echo", "s", "ä\U0001f600") == "ä\U0001f600"


async def test_nesting_is_bounded_below_the_daemons_limit(connect: Connect) -> None:
    _, client = await serve(connect)
    deep = nested(MAX_DEPTH // 2 - 1)
    assert await client.call1(NAME, PATH, NAME, "Dim", "ua{sv}", 1, deep) == 2
    for levels in (MAX_DEPTH, 500):
        with pytest.raises(errors.InvalidArgument, match="nested"):
            await client.call(NAME, PATH, NAME, "Dim", "ua{sv}", 1, nested(levels))
    assert not client.disconnected.done()


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("ua{sv}", [1, {"k": [1] * MAX_VALUES}]),
        ("ua{sv}", [1, {"k": [["x"] * (MAX_VALUES // 2)] * 2}]),
        ("ua{sv}", [1, {str(number): 1 for number in range(MAX_VALUES + 1)}]),
        ("as", [[""] * (MAX_VALUES + 1)]),
        ("aau", [[[]] * (MAX_VALUES + 1)]),
        ("a(uuuu)", [[[1, 2, 3, 4]] * (MAX_VALUES // 4)]),
    ],
)
async def test_a_call_of_very_many_values_is_refused_unread(
    connect: Connect, signature: str, value: list[Any]
) -> None:
    _, client = await serve(connect)
    with pytest.raises(errors.LimitExceeded, match="more than 10000 values"):
        await client.call(NAME, PATH, NAME, "Dim", signature, *value)
    assert await client.call1(NAME, PATH, NAME, "Dim", "ua{sv}", 1, {"k": [1] * 5000}) == 2


async def test_a_message_that_is_too_large_is_refused(connect: Connect) -> None:
    _, client = await serve(connect)
    with pytest.raises(errors.LimitExceeded, match="too large"):
        await client.call(NAME, PATH, NAME, "Echo", "s", "x" * MAX_MESSAGE)
    large = "x" * (8 * 1024 * 1024)
    assert await client.call1(NAME, PATH, NAME, "Echo", "s", large) == large


async def test_a_call_that_is_too_large_is_refused_before_it_is_decoded(connect: Connect) -> None:
    server, client = await serve(connect)
    too_large = b"x" * MAX_RECEIVED
    asked = [
        client.call(NAME, PATH, NAME, "Echo", "ay", too_large),
        client.call(NAME, PATH, NAME, "Echo", "s", "next"),
        client.call(NAME, PATH, NAME, "Echo", "ay", too_large),
    ]
    first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    assert second == ["next"]
    for refused in (first, third):
        assert isinstance(refused, errors.LimitExceeded), refused
        assert f"at most {MAX_RECEIVED} are accepted" in str(refused)
    assert not server.disconnected.done()


async def test_an_awaited_answer_may_be_large(connect: Connect) -> None:
    server, client = await connect(), await connect()

    class Large(Lamp1, name=NAME):
        @method(allow=EVERYBODY)
        async def Echo(self, text: Str) -> Str:
            return text * (MAX_RECEIVED // len(text) + 1)

    server.export(PATH, Large())
    await server.own(NAME)
    answer = await client.call1(NAME, PATH, NAME, "Echo", "s", "x" * 1024)
    assert len(answer) > MAX_RECEIVED
    # Nobody waits any more for this one, and the connection goes on behind it.
    with pytest.raises(errors.Timeout):
        await client.call1(NAME, PATH, NAME, "Echo", "s", "x", timeout=0.0)
    assert len(await client.call1(NAME, PATH, NAME, "Echo", "s", "xy")) > MAX_RECEIVED


@pytest.mark.parametrize(
    ("signature", "value"), [("as", [""] * 20_000), ("s", "x" * 12 * 1024 * 1024)]
)
async def test_a_signal_that_nobody_waits_for_is_dropped_unread(
    bus_address: str,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    signature: str,
    value: Any,
) -> None:
    """Anybody may send a signal to a unique name; that needs no match rule."""
    server, client = await serve(connect)
    stranger = await connection_to(bus_address, lambda _: None)
    heard: list[Any] = []
    await client.on_signal(lambda told: heard.append(told.args), sender=NAME, member="Broken")
    for member in ("Broken", "Unheard"):
        unasked = message.signal(PATH, NAME, member, signature, [value])
        unasked.destination = client.unique_name
        stranger.post(unasked)
    await stranger.ask(message.call(DAEMON, "/", DAEMON, "GetId", "", []), timeout=10)
    # Later messages arrive.
    lamp = Lamp1()
    server.export("/other", lamp)
    lamp.Broken("at last", 1)
    assert await client.call1(NAME, PATH, NAME, "Echo", "s", "x") == "x"
    assert heard == [["at last", 1]]
    assert caplog.records == []
    stranger.close()


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [("s", [3]), ("s", [None]), ("u", [-1]), ("u", [2**32]), ("o", ["no path"]), ("ss", ["one"]),
     ("a{sv}", [{"k": None}]), ("a{sv}", [{"k": object()}]), ("a{sv}", [[]]), ("(", [1])],
)  # fmt: skip
async def test_arguments_that_do_not_fit_are_refused(
    connect: Connect, signature: str, arguments: list[Any]
) -> None:
    client = await connect()
    with pytest.raises(errors.InvalidArgument):
        await client.call(NAME, PATH, NAME, "Echo", signature, *arguments)


@pytest.mark.parametrize("address", [("no name", PATH), (NAME, "no path"), ("", PATH)])
async def test_a_wrong_address_is_refused(connect: Connect, address: tuple[str, str]) -> None:
    client = await connect()
    with pytest.raises(errors.InvalidArgument):
        await client.call(*address, NAME, "Echo", "s", "x")


async def test_a_message_that_cannot_be_read_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = bytearray(frame_of("x"))
    broken[1] = 9  # a message type of the future
    received: asyncio.Queue[message.Message] = asyncio.Queue()
    ended = asyncio.Event()

    async def send_both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await be_a_bus(reader, writer)
        writer.write(broken + frame_of("y"))
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_unix_server(send_both, tmp_path / "bus"), asyncio.timeout(5):
        connection = await connection_to(f"unix:path={tmp_path / 'bus'}", received.put_nowait)
        assert (await received.get()).body == ["y"]
        assert not connection.closed.done()
        connection.close()
        await ended.wait()
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


def test_a_frame_is_measured_in_both_byte_orders() -> None:
    data = bytearray(frame_of("x"))
    assert frame_size(data, 0) == len(data)
    assert frame_size(data[:15], 0) is None
    big = bytearray(b"B\x04\x01\x01\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x0d")
    assert frame_size(big, 0) == 16 + 16 + 8


async def test_a_daemon_that_hangs_up_during_authentication(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    connecting = asyncio.create_task(Bus.connect(f"unix:path={path}"))
    listener.setblocking(False)
    accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
    accepted.close()
    listener.close()
    async with asyncio.timeout(5):
        with pytest.raises(errors.Unavailable):
            await connecting


async def test_a_daemon_that_hangs_up_after_authentication(tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"OK 1234deadbeef\r\n")
        await reader.readuntil(b"BEGIN\r\n")
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async with await asyncio.start_unix_server(hang_up, tmp_path / "bus"), asyncio.timeout(5):
        with pytest.raises(errors.Unavailable):
            await Bus.connect(f"unix:path={tmp_path / 'bus'}")
        await hung_up.wait()


async def test_a_daemon_that_refuses_hello_is_told_in_one_sentence(tmp_path: Path) -> None:
    told = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full = errors.StandardError("org.freedesktop.DBus.Error.LimitsExceeded", "It is full.")
        await be_a_bus(reader, writer, full)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        told.set()

    async with await asyncio.start_unix_server(refuse, tmp_path / "bus"), asyncio.timeout(5):
        with pytest.raises(errors.Unavailable, match=r"refused the connection: It is full\.$"):
            await Bus.connect(f"unix:path={tmp_path / 'bus'}")
        await told.wait()


async def test_a_bus_that_goes_away_leaves_no_complaints_behind() -> None:
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context["message"]))
    async with private_bus() as address:
        bus = await Bus.connect(address)
        call = asyncio.create_task(bus.call(NAME, PATH, NAME, "Echo", "s", "x"))
        bus.watch_sender(":1.999")
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await bus.disconnected is not None
        with pytest.raises(errors.HiveError):
            await call
    await bus.close()
    del bus, call
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_a_refused_authentication_says_so(tmp_path: Path) -> None:
    refused = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"REJECTED EXTERNAL\r\n")
        await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        refused.set()

    async with await asyncio.start_unix_server(refuse, tmp_path / "bus"):
        with pytest.raises(errors.AccessDenied, match="refused"):
            await Bus.connect(f"unix:path={tmp_path / 'bus'}")
        await asyncio.wait_for(refused.wait(), 5)


async def test_a_method_that_nobody_waits_for_answers_nothing(
    connect: Connect, bus_address: str
) -> None:
    await serve(connect)
    client = await connection_to(bus_address, lambda received: None)
    call = message.call(NAME, PATH, NAME, "Crash", "", [])
    call.no_reply = True
    client.post(call)
    echo = message.call(NAME, PATH, NAME, "Echo", "s", ["still here"])
    assert (await client.ask(echo, 5)).body == ["still here"]
    client.close()
