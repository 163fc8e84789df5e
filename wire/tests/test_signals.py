"""Subscriptions: their signals and senders, and the match rules that they own."""

import asyncio
from typing import Any

import pytest

from wire import errors
from wire.bus import Bus
from wire.fixtures import Connect
from wire.message import Kind, Message
from wire.signals import Router, Rule, Signal
from wire.testing import private_bus
from wire.tests.lamp import NAME, PATH, Lamp1


async def test_a_name_is_followed_to_its_new_owner(connect: Connect) -> None:
    first, second, liar, client = [await connect() for _ in range(4)]
    lamps = [Lamp1() for _ in range(3)]
    for bus, lamp in zip((first, second, liar), lamps, strict=True):
        bus.export(PATH, lamp)
    async with (
        client.subscribe(sender=NAME, member="Broken") as signals,
        client.subscribe(member="Broken") as everything,
        asyncio.timeout(5),
    ):
        await first.own(NAME)
        lamps[2].Broken("a lie", 0)
        lamps[0].Broken("first", 1)
        assert (await anext(signals)).args == ["first", 1]
        await first.close()
        await second.own(NAME)
        lamps[2].Broken("a lie", 2)
        lamps[1].Broken("second", 3)
        assert (await anext(signals)).args == ["second", 3]
        heard = [(await anext(everything)).args[1] for _ in range(4)]
    assert sorted(heard) == [0, 1, 2, 3]


async def test_a_subscription_takes_its_rules_back() -> None:
    limit = '<limit name="max_match_rules_per_connection">4</limit>'
    async with private_bus(limit) as address:
        client = await Bus.connect(address)
        for _ in range(4):
            async with (
                client.subscribe(sender=NAME, member="A"),
                client.subscribe(sender=NAME, member="B"),
                client.subscribe(sender=NAME, member="C"),
            ):
                with pytest.raises(errors.LimitExceeded):
                    await client.on_signal(print, member="D")
        await client.close()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"path": "/a/b"}, ["/a/b"]),
        ({"path_namespace": "/a"}, ["/a", "/a/b"]),
        ({"path_namespace": "/a/b"}, ["/a/b"]),
        ({"arg0": "/ab"}, ["/ab"]),
        ({"interface": NAME}, ["/a", "/a/b", "/ab"]),
        ({"interface": "org.hyperhive.Other1"}, []),
    ],
)
async def test_rules(connect: Connect, rule: dict[str, str], expected: list[str]) -> None:
    server, client = await connect(), await connect()
    lamps = {path: Lamp1() for path in ("/a", "/a/b", "/ab")}
    heard: list[str] = []
    last = asyncio.Event()

    one = await client.on_signal(lambda s: heard.append(s.path), member="Broken", **rule)
    end = await client.on_signal(lambda s: last.set(), member="Broken", arg0="last")
    for path, lamp in lamps.items():
        server.export(path, lamp)
        lamp.Broken(path, 1)
    server.export("/last", last_lamp := Lamp1())
    last_lamp.Broken("last", 1)
    await asyncio.wait_for(last.wait(), 5)
    assert [path for path in heard if path != "/last"] == expected
    await one.close()
    await one.close()
    await end.close()


async def test_a_failing_callback_does_not_keep_the_others(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = await connect(), await connect()
    lamp, heard = Lamp1(), asyncio.Event()

    def fail(signal: Signal) -> None:
        raise ZeroDivisionError

    server.export(PATH, lamp)
    await client.on_signal(fail, member="Broken")
    await client.on_signal(lambda s: heard.set(), member="Broken")
    lamp.Broken("x", 1)
    await asyncio.wait_for(heard.wait(), 5)
    assert "ZeroDivisionError" in caplog.text


class SlowDaemon:
    """A daemon that answers who owns a name only when the test lets it."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.rules: list[str] = []

    async def call(self, *args: Any, **options: Any) -> list[Any]:
        if args[3] == "AddMatch":
            self.rules.append(args[5])
            return []
        await self.may_answer.wait()
        return [":1.7"]

    def tell_daemon(self, member: str, value: str) -> None:
        assert member == "RemoveMatch"
        self.rules.remove(value)


async def test_a_second_subscription_waits_until_it_is_known_whom_to_follow() -> None:
    daemon = SlowDaemon()
    router = Router(daemon)
    heard: list[Signal] = []
    adding = [asyncio.create_task(router.add(Rule(sender=NAME), heard.append)) for _ in range(2)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in adding)
    daemon.may_answer.set()
    await asyncio.gather(*adding)
    router.deliver(Message(Kind.SIGNAL, PATH, NAME, "Broken", sender=":1.8"))
    assert heard == []
    router.deliver(Message(Kind.SIGNAL, PATH, NAME, "Broken", sender=":1.7"))
    assert len(heard) == 2


@pytest.mark.parametrize("turns", range(8))
async def test_who_is_cancelled_while_subscribing_leaves_no_rule(turns: int) -> None:
    daemon = SlowDaemon()
    adding = asyncio.create_task(Router(daemon).add(Rule(sender=NAME), lambda signal: None))
    for _ in range(turns):
        await asyncio.sleep(0)
    adding.cancel()
    await asyncio.wait({adding})
    for _ in range(3):
        await asyncio.sleep(0)
    assert daemon.rules == []


async def test_who_is_cancelled_while_following_leaves_it_to_the_next() -> None:
    daemon = SlowDaemon()
    router = Router(daemon)
    heard: list[Signal] = []
    first = asyncio.create_task(router.add(Rule(sender=NAME), heard.append))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    daemon.may_answer.set()
    await router.add(Rule(sender=NAME), heard.append)
    router.deliver(Message(Kind.SIGNAL, PATH, NAME, "Broken", sender=":1.7"))
    assert len(heard) == 1
