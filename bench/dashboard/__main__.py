"""The cost of the dashboard: a cold load, an event to all clients, memory, and slow clients.

`python -m bench.dashboard [--quick]`; README.md describes the figures. The dashboard is the real
program as a process of its own; the services are fakes on a bus of their own.
`python -m bench.dashboard look DIRECTORY` measures nothing: it writes pictures of all pages.
"""

import argparse
import asyncio
import select
import socket
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, monotonic_ns
from typing import Final

import aiohttp

from bench.dashboard import look, pages
from bench.dashboard.stage import Program, Size, Stage, program, stage
from bench.gateway.__main__ import resident
from bench.report import Floor, Report
from wire.records.broker import PREVIEW

CLIENTS: Final = 200
EVENTS: Final = 200
PAUSE: Final = 0.03
"""Seconds between two events."""
LOADS: Final = 15
STATES: Final = 50
MEGABYTE: Final = 1_000_000

AIMS: Final = {"the state, p50": 100.0, "an event to all clients, p99": 200.0}
"""Milliseconds; the bench fails when a figure is greater."""


def main() -> int:
    """Measure and publish; return 1 if an aim is missed."""
    parser = argparse.ArgumentParser(prog="bench.dashboard", description="Measure the dashboard.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    pictures = parser.add_subparsers(dest="command", metavar="look").add_parser(
        "look", description="Write pictures of all pages, or of some."
    )
    pictures.add_argument("directory", type=Path, help="takes the pictures")
    pictures.add_argument("views", nargs="*", metavar="VIEW", help="the beginning of a view's name")
    pictures.add_argument("--hive", action="append", choices=look.HIVES)
    pictures.add_argument("--theme", action="append", choices=look.THEMES)
    pictures.add_argument("--width", action="append", type=int, choices=look.SIZES)
    given = parser.parse_args()
    quick = given.quick
    with tempfile.TemporaryDirectory(prefix="hive-dashboard-") as folder:
        if given.command == "look":
            wanted = look.Wanted(
                given.hive or look.HIVES,
                given.theme or look.THEMES,
                given.width or tuple(look.SIZES),
                given.views,
            )
            asyncio.run(look.look(given.directory, Path(folder), wanted))
            return 0
        report = asyncio.run(measured(Path(folder), quick=quick))
    report.publish(quick=quick)
    missed = [one for one in report.figures if one.value > AIMS.get(one.what, float("inf"))]
    for one in missed:
        print(f"{one.what}: {one.value} ms, and the aim is {AIMS[one.what]} ms.", file=sys.stderr)
    return 1 if missed and not quick else 0


async def measured(folder: Path, *, quick: bool) -> Report:
    """Return all figures."""
    size = Size(5, 200, 5) if quick else Size(100, 10_000, 50)
    clients = 5 if quick else CLIENTS
    parameters = {"agents": size.agents, "messages": size.messages, "questions": size.questions}
    report = Report("dashboard", {**parameters, "clients": clients})
    async with stage(folder, size) as running:
        state = await current_state(running)
        (folder / "state.json").write_bytes(state)
        async with program("bench.dashboard.bare", str(folder / "state.json")) as bare:
            port = int(await bare.line())
            await add_state(report, running, port, len(state), times=3 if quick else STATES)
            found, floors = await pages.loads(running, folder / "browser", 2 if quick else LOADS)
            add_loads(report, found, floors)
            await add_events(
                report, running, bare, port, clients=clients, events=5 if quick else EVENTS
            )
            await add_slow(report, running, clients=clients, quick=quick)
    return report


async def current_state(running: Stage) -> bytes:
    """Return the state's JSON."""
    headers = {"Hyperhive-Session": running.session}
    async with aiohttp.ClientSession(headers=headers) as http:
        return await fetched(http, f"{running.url}/api/state")


async def fetched(http: aiohttp.ClientSession, url: str) -> bytes:
    """Return an answer."""
    async with http.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


async def add_state(report: Report, running: Stage, port: int, length: int, *, times: int) -> None:
    """Measure the state's JSON, and the same bytes from a server that only writes, in turn."""
    urls = {"state": f"{running.url}/api/state", "bare": f"http://127.0.0.1:{port}/state"}
    found: dict[str, list[float]] = {name: [] for name in urls}
    headers = {"Hyperhive-Session": running.session}
    async with aiohttp.ClientSession(headers=headers) as http:
        for _ in range(times):
            for name, url in urls.items():
                began = monotonic()
                await fetched(http, url)
                found[name].append(1000 * (monotonic() - began))
    for name, pick in (("p50", median), ("p99", p99)):
        floor = Floor("the same bytes, written", pick(found["bare"]))
        report.add(f"the state, {name}", pick(found["state"]), "ms", floor)
    report.add("the state, size", length / MEGABYTE, "MB")


def add_loads(report: Report, found: list[pages.Load], floors: list[float]) -> None:
    """Add the times of cold loads."""
    floor = Floor("a page of one sentence", median(floors))
    first = [one.first_paint for one in found]
    report.add("cold load: first paint, p50", median(first), "ms", floor)
    shown = [one.shown for one in found]
    report.add("cold load: until the hive is shown, p50", median(shown), "ms", floor)
    report.add("cold load: until the hive is shown, longest", max(shown), "ms", floor)
    report.add("cold load: scripts, p50", median(one.script for one in found), "ms")
    report.add("cold load: styles and layout, p50", median(one.layout for one in found), "ms")


def readers(port: int, session: str, count: int) -> AbstractAsyncContextManager[Program]:
    """Run clients of event streams."""
    return program("bench.dashboard.readers", str(port), session, str(count))


async def add_events(
    report: Report, running: Stage, bare: Program, port: int, *, clients: int, events: int
) -> None:
    """Measure the time from a signal of the broker until every client has the event."""
    idle = resident(running.pid), resident(bare.process.pid)
    async with (
        program(
            "bench.dashboard.readers", str(running.port), running.session, str(clients)
        ) as ours,
        program("bench.dashboard.readers", str(port), "-", str(clients)) as theirs,
    ):
        assert [await ours.line(), await theirs.line()] == ["ready", "ready"]
        for _ in range(events):
            running.hive.broker.arrive("agent1", "agent2", f"mark:{monotonic_ns()}: done")
            await asyncio.sleep(PAUSE)  # the pace of the events
            bare.write(f"mark:{monotonic_ns()}: done")
            await asyncio.sleep(PAUSE)  # the pace of the events
        memory = resident(running.pid), resident(bare.process.pid)
        await asyncio.sleep(1)  # the last ones are on their way
        found, floor = await ours.finish(), await theirs.finish()
    assert len(found) == len(floor) == clients * events, "a client has missed an event"
    for name, pick in (("p50", median), ("p99", p99)):
        bare_one = Floor("a server that only writes", 1000 * pick(floor))
        report.add(f"an event to all clients, {name}", 1000 * pick(found), "ms", bare_one)
    each = [(now - before) / clients / 1000 for now, before in zip(memory, idle, strict=True)]
    report.add("memory, idle", idle[0] / MEGABYTE, "MB")
    report.add("memory with all clients", memory[0] / MEGABYTE, "MB")
    report.add("memory a client", each[0], "kB", Floor("a server that only writes", each[1]))


async def add_slow(report: Report, running: Stage, *, clients: int, quick: bool) -> None:
    """Measure what clients that do not read cost the others, and when they are dropped."""
    broker, text = running.hive.broker, "x" * (PREVIEW - 100)
    before = resident(running.pid)
    async with readers(running.port, running.session, clients) as honest:
        assert await honest.line() == "ready"
        dead = [stuck(running) for _ in range(1 if quick else 20)]
        gone = asyncio.create_task(asyncio.to_thread(until_dropped, dead))
        began = monotonic()
        # More than the sockets of the dead clients hold: the dashboard waits for them.
        for _ in range(300):
            broker.arrive("agent1", "agent2", f"mark:{monotonic_ns()}: {text}")
            await asyncio.sleep(PAUSE)  # the pace of the events
        most = resident(running.pid)
        await gone
        seconds = monotonic() - began
        found = await honest.finish()
    assert len(found) == clients * 300, "a client has missed an event"
    known = {one.what: one for one in report.figures}
    for name, pick in (("p50", median), ("p99", p99)):
        fast = known[f"an event to all clients, {name}"].value
        floor = Floor("without them, short events", fast)
        what = f"an event of 4 kB beside {len(dead)} clients that read nothing, {name}"
        report.add(what, 1000 * pick(found), "ms", floor)
    report.add("a client that reads nothing is dropped after", seconds, "s")
    report.add("memory meanwhile", most / MEGABYTE, "MB", Floor("idle", before / MEGABYTE))
    for one in dead:
        one.close()


def stuck(running: Stage) -> socket.socket:
    """Return a client that asks for a stream, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or it would hold megabytes
    client.connect(("127.0.0.1", running.port))
    lines = ("GET /api/events HTTP/1.1", "Host: 127.0.0.1", f"Hyperhive-Session: {running.session}")
    client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return client


def until_dropped(clients: list[socket.socket]) -> None:
    """Wait until the dashboard has ended the connections, without reading from them."""
    poll = select.poll()
    left = {client.fileno() for client in clients}
    for number in left:
        poll.register(number, 0)  # an end is reported all the same
    deadline = monotonic() + 120
    while left and monotonic() < deadline:
        for number, _ in poll.poll(1000):
            poll.unregister(number)
            left.discard(number)
    assert not left, "a client that reads nothing was not dropped"


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(values, n=100)[98] if len(values) > 1 else values[0]


if __name__ == "__main__":
    sys.exit(main())
