"""The server of what the agent does: nothing is missed or sent twice, and nothing grows."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from harness.events import server
from harness.events.server import WebServer
from harness.events.store import EventStore
from harness.events.turns import Cause, TurnStats


class Web:
    """A store, its server, and a client of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "web.sock"
        self.store = EventStore(folder)
        self.task = asyncio.create_task(WebServer(self.store, self.path).run())
        self.client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.path)))

    async def get(self, path: str, status: int = 200) -> Any:
        async with asyncio.timeout(20), self.client.get(f"http://hive{path}") as response:
            assert response.status == status
            return await response.json()

    @asynccontextmanager
    async def stream(self, query: str = "") -> AsyncIterator["Reader"]:
        async with self.client.get(f"http://hive/v1/stream{query}") as response:
            yield Reader(response)

    async def close(self) -> None:
        await self.client.close()
        self.task.cancel()
        await asyncio.wait({self.task})
        self.store.close()


class Reader:
    """The reader of a stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.status = response.status

    async def next(self, kind: str) -> Any:
        """Return the data of the next event of this kind."""
        name = ""
        async with asyncio.timeout(20):
            while line := (await self.response.content.readuntil(b"\n")).decode().rstrip("\n"):
                if line.startswith("event: "):
                    name = line[7:]
                if line.startswith("data: ") and name == kind:
                    return json.loads(line[6:])
                if line.startswith("data: "):
                    return await self._after_blank(kind)
            return await self.next(kind)

    async def _after_blank(self, kind: str) -> Any:
        await self.response.content.readuntil(b"\n")
        return await self.next(kind)


@pytest_asyncio.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    web = Web(tmp_path)
    await asyncio.sleep(0)
    yield web
    await web.close()


async def test_a_stream_has_no_gap_and_no_repeat(web: Web) -> None:
    before = [web.store.event("text", text=str(n)) for n in range(700)]

    async def write() -> None:
        for number in range(700):
            web.store.event("text", text=str(number))
            if number % 7 == 0:
                await asyncio.sleep(0.001)

    writing = asyncio.create_task(write())
    async with web.stream(f"?after={before[99]}") as stream:
        seen = [(await stream.next("event"))["seq"] for _ in range(1300)]
    await writing
    assert seen == list(range(before[100], before[100] + 1300))


async def test_a_stream_begins_with_the_state_and_follows_it(web: Web) -> None:
    web.store.event("text", text="old")
    async with web.stream() as stream:
        assert (await stream.next("state"))["state"] == "idle"
        web.store.report(turn_state="thinking", activity="Bash")
        state = await stream.next("state")
        assert (state["state"], state["activity"]) == ("thinking", "Bash")
        number = web.store.event("text", text="new")
        while (event := await stream.next("event"))["type"] == "state":
            pass
        assert event["seq"] == number
        assert event["data"] == {"text": "new"}


async def test_a_stream_shows_the_text_that_is_being_written(web: Web) -> None:
    async with web.stream() as stream:
        web.store.partial("text", "Hel")
        assert (await stream.next("partial"))["text"] == "Hel"
        web.store.partial("text", "lo")
        assert await stream.next("partial") == {"turn": None, "kind": "text", "text": "Hello"}
        web.store.report(turn_state="thinking", activity="writing")
        web.store.partial("text", ".")
        assert (await stream.next("partial"))["text"] == "Hello.", "only its own event ends it"
        web.store.event("text", text="Hello.")
        web.store.partial("thinking", "hm")
        assert (await stream.next("partial"))["text"] == "hm"
        web.store.partial("thinking", " an answer that is cut off")
        web.store.begin_block()
        web.store.partial("thinking", "again")
        while (text := (await stream.next("partial"))["text"]) != "again":
            assert text.startswith("hm")


async def test_a_number_of_a_lost_record_does_not_wait_for_ever(web: Web) -> None:
    async with web.stream(f"?after={2**60}") as stream:
        await stream.next("state")
        number = web.store.event("text", text="x")
        assert (await stream.next("event"))["seq"] == number


async def test_pages_turns_and_sums(web: Web) -> None:
    for number in range(5):
        turn = web.store.begin([Cause(number, "alice", "message")])
        web.store.event("text", text=str(number))
        web.store.end(TurnStats("done", model="m", cost_usd=0.5, tools={"Bash": 2}))
    found = await web.get(f"/v1/events?turn={turn}")
    assert [event["data"]["text"] for event in found["events"]] == ["4"]
    page = await web.get("/v1/events?limit=2")
    assert [event["data"]["text"] for event in page["events"]] == ["3", "4"]
    older = await web.get(f"/v1/events?limit=2&before={page['events'][0]['seq']}")
    assert [event["data"]["text"] for event in older["events"]] == ["1", "2"]
    newer = await web.get(f"/v1/events?limit=1&after={older['events'][-1]['seq']}")
    assert newer["events"] == page["events"][:1]
    of_turn = await web.get(f"/v1/events?turn={turn}&after=0")
    assert of_turn["events"] == found["events"]
    assert page["first_seq"] < page["events"][0]["seq"] < page["last_seq"]
    turns = (await web.get("/v1/turns?limit=2"))["turns"]
    assert [entry["id"] for entry in turns] == [turn, turn - 1]
    older = (await web.get(f"/v1/turns?limit=2&before={turn - 1}"))["turns"]
    assert [entry["id"] for entry in older] == [turn - 2, turn - 3]
    assert (await web.get(f"/v1/turns/{turn}"))["woken_by"][0]["from"] == "alice"
    await web.get("/v1/turns/999", 404)
    [day] = (await web.get("/v1/stats?days=3"))["days"]
    assert (day["turns"], day["cost_usd"], day["tools"]) == (5, 2.5, {"Bash": 10})
    state = await web.get("/v1/state")
    assert state["cost_today_usd"] == 2.5
    assert state["stored"] is True
    assert await web.get("/v1/todo") == {"items": []}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?before=x&limit=-1&turn=%00",
        "/v1/events?limit=99999999999999999999",
        "/v1/turns?before=²&limit=1.5",
        "/v1/stats?days=100000",
        "/v1/stats?days=0",
    ],
)
async def test_bad_parameters_are_ignored(web: Web, path: str) -> None:
    await web.get(path)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(web: Web, method: str) -> None:
    async with web.client.request(method, "http://hive/v1/state") as response:
        assert response.status == 405


async def test_there_are_only_so_many_streams_and_connections(web: Web) -> None:
    streams = [await web.client.get("http://hive/v1/stream") for _ in range(server.MAX_STREAMS)]
    async with web.client.get("http://hive/v1/stream") as refused:
        assert refused.status == 503
    for stream in streams:
        stream.close()
    async with asyncio.timeout(20):
        while True:  # a closed one is noticed when something is written
            web.store.event("text", text="x")
            async with web.client.get("http://hive/v1/stream") as again:
                if again.status == 200:
                    break
    idle: list[asyncio.StreamWriter] = []
    async with asyncio.timeout(20):
        while len(idle) < 2 * server.MAX_CONNECTIONS:
            reader, writer = await asyncio.open_unix_connection(str(web.path))
            idle.append(writer)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    if await reader.read(1) == b"":
                        break
    assert len(idle) <= server.MAX_CONNECTIONS + 1
    for writer in idle:
        writer.close()


async def test_a_client_that_does_not_read_is_dropped(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT", 0.2)
    for _ in range(100):
        web.store.event("text", text="x" * 100_000)
    _, writer = await asyncio.open_unix_connection(str(web.path), limit=1)
    writer.write(b"GET /v1/stream?after=1 HTTP/1.1\r\nHost: hive\r\n\r\n")
    async with asyncio.timeout(20):
        # It holds a stream until it is dropped.
        others = [
            await web.client.get("http://hive/v1/stream") for _ in range(server.MAX_STREAMS - 1)
        ]
        while True:
            async with web.client.get("http://hive/v1/stream") as response:
                if response.status == 200:
                    break
            await asyncio.sleep(0.05)
    for other in others:
        other.close()
    writer.close()


async def test_without_a_directory_nobody_can_watch_and_nothing_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EventStore(tmp_path)
    async with asyncio.timeout(5):
        await WebServer(store, tmp_path / "missing/web.sock").run()
    assert "nobody can watch this agent" in caplog.text
    store.close()


async def test_a_socket_of_a_killed_harness_is_replaced_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    web = Web(tmp_path)
    await asyncio.sleep(0)
    assert (await web.get("/v1/state"))["state"] == "idle"
    await web.close()
    assert not path.exists()


def test_a_harness_that_nobody_watches_does_not_load_aiohttp() -> None:
    code = "import sys, harness.__main__; sys.exit('aiohttp' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


MANY = """
import asyncio, resource, sqlite3, sys
from pathlib import Path
import aiohttp.web
from harness.events.server import WebServer
from harness.events.store import EventStore

async def connect(folder):
    reader, writer = await asyncio.open_unix_connection(str(folder / "web.sock"))
    writer.write(b"GET /v1/stream?after=1 HTTP/1.1\\r\\nHost: hive\\r\\n\\r\\n")
    return reader, writer

async def main(folder):
    store = EventStore(folder)
    other = sqlite3.connect(folder / "hyperhive-events.sqlite")
    rows = ((f'{{"text": "{"x" * 500}"}}',) for _ in range(100_000))
    other.executemany("INSERT INTO events (at, type, data) VALUES (1, 'text', ?)", rows)
    other.commit()
    other.close()
    task = asyncio.create_task(WebServer(store, folder / "web.sock").run())
    await asyncio.sleep(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slow = await connect(folder)
    quick, _ = await connect(folder)
    last = store.event("text", text="the last one")
    while f"id: {last}" not in (await quick.readline()).decode():
        pass
    for _ in range(1000):
        store.event("text", text="x" * 500)
        await asyncio.sleep(0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 30_000, f"{grown} kB more"
    task.cancel()
    await asyncio.wait({task})

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.long
def test_a_hundred_thousand_events_take_no_memory(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MANY, str(tmp_path)], check=True, timeout=120)
