"""Calls to a service that nobody owns: they wait for one that systemd starts, or say why not."""

import asyncio
from typing import Annotated, Any

import pytest

from wire import names
from wire.bus import Bus
from wire.errors import Unavailable
from wire.fixtures import Connect
from wire.interface import Interface, method, prop
from wire.principal import EVERYBODY
from wire.types import Int32, Signature, Str, StrList, UInt32

UNIT = "org.freedesktop.systemd1.Unit"
BROKER = (names.BROKER, names.BROKER_PATH, names.BROKER, "Count")


class Unit(Interface, name=UNIT):
    """A unit of systemd, with or without a job."""

    def __init__(
        self, state: str, job: str = "", load: str = "loaded", needs: tuple[str, ...] = ()
    ) -> None:
        self.state, self.job, self.load, self.needs = state, job, load, needs

    @prop()
    def ActiveState(self) -> Str:
        return self.state

    @prop()
    def LoadState(self) -> Str:
        return self.load

    @prop()
    def Job(self) -> Annotated[list[Any], Signature("(uo)")]:
        return [7, f"/job/{self.job.replace('-', '_')}"] if self.job else [0, "/"]

    @prop()
    def Requires(self) -> StrList:
        return list(self.needs)


class Service(Interface, name="org.freedesktop.systemd1.Service"):
    """The process of a service, as systemd remembers it."""

    def __init__(self, exit_status: int, text: str) -> None:
        self.exit_status, self.text = exit_status, text

    @prop()
    def ExecMainStatus(self) -> Int32:
        return self.exit_status

    @prop()
    def StatusText(self) -> Str:
        return self.text


class Job(Interface, name="org.freedesktop.systemd1.Job"):
    """A job of systemd."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @prop()
    def JobType(self) -> Str:
        return self.kind


class Broker(Interface, name=names.BROKER):
    """A broker that counts its calls."""

    def __init__(self) -> None:
        self.count = 0

    @method(allow=EVERYBODY)
    async def Count(self) -> UInt32:
        self.count += 1
        return self.count


async def systemd(connect: Connect, broker: Unit, target: Unit, **others: Interface) -> None:
    """Serve the units; `others` are those of the broker's service and of its socket."""
    bus = await connect()
    units: list[tuple[str, Interface]] = [("hive-broker.service", broker), ("hive.target", target)]
    units += [(f"hive-broker.{kind}", other) for kind, other in others.items()]
    for unit, fake in units:
        bus.export(f"/org/freedesktop/systemd1/unit/{names.escape(unit)}", fake)
    for kind in ("start", "stop", "restart"):
        bus.export(f"/job/{kind}", Job(kind))
    await bus.own("org.freedesktop.systemd1")


async def broker(connect: Connect) -> Bus:
    bus = await connect()
    bus.export(names.BROKER_PATH, Broker())
    await bus.own(names.BROKER)
    return bus


DOWN, UP = Unit("inactive"), Unit("active")


@pytest.mark.parametrize(
    ("unit", "target", "sentence"),
    [
        (Unit("inactive"), DOWN, "The hive is stopped. Start it with: systemctl start hive.target"),
        (Unit("failed"), DOWN, "The hive is stopped."),
        (Unit("deactivating", "stop"), DOWN, "The hive is stopped."),
        (Unit("deactivating", "stop"), UP, "hive-broker.service is stopped."),
        (
            Unit("inactive"),
            UP,
            "hive-broker.service is stopped. Start it with: systemctl start hive-broker",
        ),
        (Unit("failed"), UP, "has failed; `systemctl status hive-broker.service` shows why."),
        (Unit("inactive", load="not-found"), DOWN, "hive-broker.service is not installed"),
    ],
)
async def test_a_service_that_does_not_start_is_reported_at_once(
    connect: Connect, unit: Unit, target: Unit, sentence: str
) -> None:
    await systemd(connect, unit, target)
    client = await connect()
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable) as raised:
            await client.call(*BROKER)
    assert sentence in str(raised.value)


async def refusal(connect: Connect) -> str:
    client = await connect()
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable) as raised:
            await client.call(*BROKER)
    return str(raised.value)


async def test_a_service_says_itself_why_it_cannot_run(connect: Connect) -> None:
    reason = "/etc/hyperhive/hyperhive.toml, line 3: broker.x is not a setting."
    await systemd(connect, Unit("failed"), UP, service=Service(78, reason))
    assert f"hive-broker.service has failed: {reason} When" in await refusal(connect)


async def test_the_last_status_of_a_crashed_service_is_not_its_reason(connect: Connect) -> None:
    await systemd(connect, Unit("failed"), UP, service=Service(11, "Running."))
    assert "has failed; `systemctl status hive-broker.service` shows why." in await refusal(connect)


async def test_a_unit_without_which_the_service_does_not_start_is_named(connect: Connect) -> None:
    needs = ("hive-broker.socket", "hive.target")
    await systemd(connect, Unit("inactive", needs=needs), UP, socket=Unit("failed"))
    sentence = "stopped, because it needs hive-broker.socket, which has failed; `systemctl status"
    assert sentence in await refusal(connect)


async def test_a_start_that_fails_ends_the_calls_that_wait_for_it(connect: Connect) -> None:
    unit = Unit("activating", "start")
    await systemd(connect, unit, UP, service=Service(78, "The store is damaged."))
    client = await connect()
    call = asyncio.create_task(client.call(*BROKER, timeout=60))
    await asyncio.wait([call], timeout=0.3)
    unit.state, unit.job = "failed", ""
    unit.emit_changed("ActiveState")
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match=r"failed: The store is damaged\."):
            await call


@pytest.mark.parametrize(
    "unit",
    [
        Unit("inactive", "start"),
        Unit("activating", "start"),
        Unit("activating"),  # systemd waits before it starts a failed service again
        Unit("active"),  # systemd has not noticed yet that the process ended
        Unit("deactivating", "restart"),
    ],
)
async def test_a_call_waits_for_a_service_that_systemd_starts(connect: Connect, unit: Unit) -> None:
    await systemd(connect, unit, UP)
    client = await connect()
    calls = [asyncio.create_task(client.call1(*BROKER)) for _ in range(100)]
    _, pending = await asyncio.wait(calls, timeout=0.3)
    assert len(pending) == 100
    await broker(connect)
    async with asyncio.timeout(10):
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 101))
    # Nothing is left of the wait: the next absence is noticed, too.
    assert await client.call1(*BROKER) == 101


async def test_a_service_that_takes_too_long_ends_the_call_in_its_time(connect: Connect) -> None:
    await systemd(connect, Unit("activating", "start"), UP)
    client = await connect()
    with pytest.raises(Unavailable, match=r"hive-broker.service is still starting\."):
        await client.call(*BROKER, timeout=0.2)
    served = await broker(connect)
    assert await client.call1(*BROKER) == 1
    await served.close()


async def test_a_bus_that_is_closed_meanwhile_ends_the_call(connect: Connect) -> None:
    await systemd(connect, Unit("activating", "start"), UP)
    client = await connect()
    call = asyncio.create_task(client.call(*BROKER))
    await asyncio.wait([call], timeout=0.3)
    await client.close()
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="lost"):
            await call


async def test_without_systemd_the_daemons_sentence_remains(connect: Connect) -> None:
    client = await connect()
    with pytest.raises(Unavailable, match="was not provided by any"):
        await client.call(*BROKER)
