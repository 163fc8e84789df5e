"""The broker's process is killed; its store is spoilt: nothing is lost, nothing is said twice."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

from services.broker.tests.test_interface import Client
from wire import names
from wire.errors import HiveError
from wire.fixtures import Connect

ROOT = Path(__file__).parents[3]
CLIENTS, EACH, IN_FLIGHT = 4, 250, 8
KILLS_AT = (150, 450, 750)  # sends that have returned


class Brokers:
    """Broker processes, one after the other, on the same store."""

    def __init__(self, address: str, state: Path) -> None:
        self._address = address
        self._state = state
        self._process: Process | None = None
        self.up = asyncio.Event()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.broker.tests.child",
            self._address,
            cwd=ROOT,
            env=os.environ | {"STATE_DIRECTORY": str(self._state)},
            stdout=PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            assert await self._process.stdout.readline() == b"ready\n"
        self.up.set()

    async def kill(self) -> None:
        assert self._process is not None
        self.up.clear()
        self._process.send_signal(signal.SIGKILL)
        await self._process.communicate()


class Traffic:
    """Sends and receives, over the deaths of the broker, and notes what returned."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self.ids: dict[str, int] = {}
        self.received: list[tuple[int, str, int]] = []
        self.acknowledged: set[int] = set()
        self.received_after: list[int] = []
        self.returned = asyncio.Condition()

    def has_sent(self, count: int) -> bool:
        return len(self.ids) >= count

    async def send(self, client: Client, bodies: list[str]) -> None:
        while bodies:
            body = bodies.pop()
            await self._send(client, body)

    async def _send(self, client: Client, body: str) -> None:
        """Send until a call returns; each repetition has the same key."""
        while True:
            await self._brokers.up.wait()
            with suppress(HiveError):
                self.ids[body] = await client.send("operator", body, dedupe_key=body)
                async with self.returned:
                    self.returned.notify_all()
                return

    async def receive(self, client: Client, *, until: int) -> None:
        # Not until all are acknowledged: an acknowledgement may be on disk and its answer lost.
        while len({message_id for message_id, _, _ in self.received}) < until:
            await self._brokers.up.wait()
            with suppress(HiveError):
                messages = await client.receive(10, 2000)
                ids = [message.id for message in messages]
                self.received_after += [i for i in ids if i in self.acknowledged]
                self.received += [(m.id, m.body, m.redeliveries) for m in messages]
                await client.call("Acknowledge", "at", ids)
                self.acknowledged.update(ids)


async def test_kill_9_during_a_thousand_sends(
    bus_address: str, connect: Connect, tmp_path: Path
) -> None:
    brokers = Brokers(bus_address, tmp_path)
    await brokers.start()
    traffic = Traffic(brokers)
    receiver = Client(await connect())
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            client = Client(await connect())
            bodies = [f"{number}/{i}" for i in range(EACH)]
            for _ in range(IN_FLIGHT):
                tasks.create_task(traffic.send(client, bodies))
        tasks.create_task(traffic.receive(receiver, until=CLIENTS * EACH))
        for count in KILLS_AT:
            async with traffic.returned:
                await traffic.returned.wait_for(partial(traffic.has_sent, count))
            await brokers.kill()
            await brokers.start()
    await brokers.kill()

    assert len(traffic.ids) == len(set(traffic.ids.values())) == CLIENTS * EACH
    delivered = {(message_id, body) for message_id, body, _ in traffic.received}
    assert delivered == {(message_id, body) for body, message_id in traffic.ids.items()}
    twice = [k for k, n in Counter((i, n) for i, _, n in traffic.received).items() if n > 1]
    assert not twice, "handed out twice with the same redelivery count"
    assert not traffic.received_after, "handed out after an acknowledgement that returned"


async def start_service(address: str, state: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.broker",
        cwd=ROOT,
        env=os.environ | {"STATE_DIRECTORY": str(state), "DBUS_SYSTEM_BUS_ADDRESS": address},
        stderr=PIPE,
    )


async def test_the_service_starts_and_stops(
    bus_address: str, connect: Connect, tmp_path: Path
) -> None:
    bus = await connect()
    async with asyncio.timeout(20):
        async with bus.subscribe(member="NameOwnerChanged", arg0=names.BROKER) as changes:
            process = await start_service(bus_address, tmp_path)
            async for _ in changes:
                break
        process.send_signal(signal.SIGTERM)
        _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (0, b"")
    # Closed in order: its log is folded into the file.
    assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == ["broker.sqlite", "lock"]


async def test_a_spoilt_store_is_said_in_one_sentence_and_not_touched(
    bus_address: str, tmp_path: Path
) -> None:
    path = tmp_path / "broker.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xde\xad\xbe\xef" * 4000)
    before = path.read_bytes()
    process = await start_service(bus_address, tmp_path)
    async with asyncio.timeout(20):
        _, stderr = await process.communicate()
    assert process.returncode == 78
    [line] = stderr.decode().splitlines()
    assert f"The message store {path} is damaged" in line
    assert "Restore it from a backup, or move it away" in line
    assert path.read_bytes() == before
    assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == [path.name, "lock"]
