"""Turns of an agent, and turns of the classic way, measured as root in the host:

`python -m bench.turns.measure MODEL_URL TURNS STARTS`. Its last line is JSON.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.lifecycle.audit import CGROUPS
from bench.lifecycle.orders import Orders, orders
from wire.clients.broker import BrokerClient
from wire.records.broker import SendOptions

AGENT: Final = "alice"
CONTAINER: Final = "systemd-nspawn@h-alice.service"
ENDPOINT: Final = "hive-agent@alice.service"
STATE: Final = Path("/var/lib/hyperhive/agents/alice/state")
WORK: Final = Path("/run/bench-turns")
BODY: Final = "play short-turn"
CLASSIC: Final = "classic"
REPO: Final = Path(__file__).parents[2]
LIMIT: Final = 120.0

Figures = dict[str, Any]


class Model:
    """The journal of the scripted model."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen = 0

    async def catch_up(self) -> None:
        """Skip the requests up to now."""
        await self._read(0.0)

    async def request_of(self, agent: str) -> float:
        """Wait for the next request of an agent; return when it arrived."""
        async with asyncio.timeout(LIMIT):
            while True:
                for entry in await self._read(LIMIT):
                    if entry["agent"] == agent:
                        return float(entry["at"])

    async def _read(self, wait: float) -> list[dict[str, Any]]:
        url = f"{self._url}/requests?after={self._seen}&wait={wait:g}"
        data = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        entries: list[dict[str, Any]] = json.loads(data)
        if entries:
            self._seen = entries[-1]["number"]
        return entries


class Group:
    """The control groups that are charged for a turn."""

    def __init__(self, *groups: Path) -> None:
        self._groups = groups

    @property
    def cpu(self) -> float:
        """The seconds of processor time that the groups have used."""
        usages = (_value(group / "cpu.stat", "usage_usec") for group in self._groups)
        return sum(usages) / 1_000_000

    @property
    def memory(self) -> int:
        """The bytes of memory that the processes have for themselves, or their share of it."""
        return sum(_pss(pid) for pid in self.pids())

    def pids(self) -> Iterable[int]:
        """Yield the processes in the groups."""
        for group in self._groups:
            for file in group.rglob("cgroup.procs"):
                with suppress(OSError):
                    yield from map(int, file.read_text().split())


def unit(name: str) -> Path:
    """Return the control group of a unit."""
    [found] = CGROUPS.glob(f"**/{name}")
    return found


def _value(file: Path, key: str) -> int:
    lines = file.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key} "))


def _pss(pid: int) -> int:
    try:
        return _kib(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:") * 1024
    except OSError:
        return 0


def _kib(text: str, key: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(key)), 0)


async def hive(given: Orders, model: Model, turns: int, starts: int) -> Figures:
    """Measure the turns of an agent."""
    latency: dict[str, list[float]] = defaultdict(list)
    cpu, memory = [], []
    for _ in range(starts):
        await given.done(await given.agent(AGENT).stop())
        (STATE / "hyperhive-session-id").unlink(missing_ok=True)
        await given.done(await given.agent(AGENT).start())
        await given.until(AGENT, "TurnState", "idle")
        latency["first"].append((await _turn(given, model))[0])
    for _ in range(turns):
        group = Group(unit(CONTAINER), unit(ENDPOINT))
        before = group.cpu
        seconds, used = await _turn(given, model)
        latency["later"].append(seconds)
        memory.append(used)
        cpu.append(group.cpu - before)
    idle = Group(unit(CONTAINER), unit(ENDPOINT)).memory
    for _ in range(starts):
        await _close_claude(given)
        closed = Group(unit(CONTAINER), unit(ENDPOINT)).memory
        latency["resumed"].append((await _turn(given, model))[0])
    figures = {"latency": latency, "cpu": cpu, "memory": memory}
    return {**figures, "idle": idle, "closed": closed}


async def _turn(given: Orders, model: Model) -> tuple[float, int]:
    """Give the agent a message; return the seconds to the request, and the memory at that time."""
    await model.catch_up()
    await BrokerClient(given.bus).send(AGENT, BODY, SendOptions())
    sent = time.time()
    arrived = await model.request_of(AGENT)
    used = Group(unit(CONTAINER), unit(ENDPOINT)).memory
    await given.until(AGENT, "TurnState", "idle")
    return arrived - sent, used


async def _close_claude(given: Orders) -> None:
    """Have the harness close its Claude Code, as it does when the session has idled for long."""
    [claude] = [pid for pid in Group(unit(CONTAINER)).pids() if _program(pid) == "claude"]
    descriptor = os.pidfd_open(claude)
    # The harness closes Claude Code, because a level of effort holds from its next start on.
    await given.agent(AGENT).set_effort("")
    await _readable(descriptor)


def _program(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name
    return ""


async def _readable(descriptor: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(LIMIT):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def classic(url: str, model: Model, turns: int, starts: int) -> Figures:
    """Measure a process a turn, which continues the session of the last one."""
    latency: dict[str, list[float]] = defaultdict(list)
    cpu, memory = [], []
    for _ in range(starts):
        shutil.rmtree(WORK, ignore_errors=True)
        latency["first"].append((await _classic_turn(url, model, resume=False))[0])
    for _ in range(turns):
        seconds, used, held = await _classic_turn(url, model, resume=True)
        latency["later"].append(seconds)
        cpu.append(used)
        memory.append(held)
    shutil.rmtree(WORK, ignore_errors=True)
    return {"latency": latency, "cpu": cpu, "memory": memory}


async def _classic_turn(url: str, model: Model, *, resume: bool) -> tuple[float, float, int]:
    """Run a turn; return the seconds to the request, the processor time, and the memory then."""
    WORK.mkdir(exist_ok=True)
    folder = Path(importlib.util.find_spec("claude_agent_sdk").origin or "").parent  # type: ignore[union-attr]
    server = {"command": sys.executable, "args": ["-m", "bench.turns.stdio_server"]}
    servers = {"mcpServers": {"hive": {**server, "env": {"PYTHONPATH": str(REPO)}}}}
    command = [
        str(folder / "_bundled/claude"),
        *("--print", BODY, "--output-format", "stream-json", "--verbose"),
        *("--append-system-prompt", f"\nHyperhive agent: {CLASSIC}\n"),
        *("--mcp-config", json.dumps(servers), "--strict-mcp-config"),
        *("--allowedTools", "Bash,Read,Edit,Write,mcp__hive"),
        *(["--continue"] if resume else []),
    ]
    environment = {
        "HOME": str(WORK),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "scripted",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",
    }
    path = CGROUPS / "bench-classic"
    path.mkdir(exist_ok=True)
    group = Group(path)
    await model.catch_up()
    before, began = group.cpu, time.time()
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=WORK,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        preexec_fn=lambda: (path / "cgroup.procs").write_text("0") and None,
    )
    arrived = await model.request_of(CLASSIC)
    held = group.memory
    async with asyncio.timeout(LIMIT):
        if await process.wait() != 0:
            raise RuntimeError(f"claude ended with {process.returncode}")
    return arrived - began, group.cpu - before, held


async def main(url: str, turns: int, starts: int) -> Figures:
    """Measure both ways."""
    model = Model(url)
    async with orders() as given:
        ours = await hive(given, model, turns, starts)
    return {"hive": ours, "classic": await classic(url, model, turns, starts)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
