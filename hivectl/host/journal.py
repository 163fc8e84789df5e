"""Where the journal of an agent lies, and the journalctl command line that reads it.

Files are chosen by where they lie and never by what they claim: root of a container can write
any field into the container's own journal, and would appear among another agent's lines in
`journalctl --merge`.
"""

import asyncio
import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from hivectl.exit_codes import CommandError, Exit
from wire import names

HOST_ID = Path("/etc/machine-id")
JOURNALS = (Path("/var/log/journal"), Path("/run/log/journal"))

DEFAULT_LINES: Final = 100

MAX_FILES: Final = 64
"""Journal files that are looked at, the newest: a container may have planted any number."""

OPEN_SECONDS: Final = 5


@dataclass(frozen=True)
class Machine:
    """A container: its machine id (32 hex digits) and its leader's pid, each as far as known."""

    name: str
    unit: str
    id: str | None = None
    leader: int | None = None


class Part(StrEnum):
    """Whose lines of an agent are wanted."""

    CONTAINER = "container"
    ENDPOINT = "endpoint"
    JOBS = "jobs"
    """What lifecycle did to the agent."""
    BUILD = "build"
    """What was built for it of its configurations."""


@dataclass(frozen=True)
class Wanted:
    """Which lines, and how: `since` in µs since 1970; `lines` None: 100, or all since then."""

    part: Part | None = None
    lines: int | None = None
    since: int | None = None
    follow: bool = False
    as_json: bool = False


def matches(agent: str, machine: Machine, part: Part | None = None) -> list[str]:
    """What journalctl has to match for the agent's lines, on the host and in the container."""
    units = {
        Part.CONTAINER: [machine.unit],
        Part.ENDPOINT: [names.endpoint_unit(agent), names.socket_unit(agent)],
        Part.JOBS: [],
        Part.BUILD: [names.build_unit(agent)],
    }
    wanted = [] if part else [["HIVE_AGENT=" + agent]]
    if part is Part.JOBS:
        wanted.append(["HIVE_AGENT=" + agent, "_SYSTEMD_UNIT=hive-lifecycle.service"])
    for unit in units[part] if part else itertools.chain(*units.values()):
        wanted += [["_SYSTEMD_UNIT=" + unit], ["_PID=1", "UNIT=" + unit]]
    if machine.id and part in (None, Part.CONTAINER):
        wanted.append(["_MACHINE_ID=" + machine.id])
    line = wanted[0]
    for alternative in wanted[1:]:
        line = [*line, "+", *alternative]
    return line


def directories(machine: Machine, host_id: str, part: Part | None = None) -> Iterator[Path]:
    """Where the host's journal and, if it is wanted, the container's journal may lie."""
    for place in JOURNALS:
        yield place / host_id
    if part in (None, Part.CONTAINER):
        yield from _of_container(machine)


def _of_container(machine: Machine) -> Iterator[Path]:
    for place in JOURNALS:
        if machine.id:
            yield place / machine.id
    if machine.id:
        root = Path("/var/lib/machines", machine.name)
        yield root / "var/log/journal" / machine.id
        if machine.leader:
            # A journal that is not persistent lies on the container's own tmpfs.
            yield Path(f"/proc/{machine.leader}/root/run/log/journal") / machine.id


def files(places: Iterator[Path]) -> list[Path]:
    """The journal files there, each one once, although one may be linked into several places."""
    found: dict[tuple[int, int], Path] = {}
    for place in places:
        try:
            there = sorted(place.iterdir())
        except OSError:
            continue  # not there, or not ours to read
        for path in [path for path in there if path.suffix == ".journal"]:
            try:
                status = path.stat()
            except OSError:
                continue  # rotated away between the two calls, or not ours to read
            found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def opens(path: Path) -> bool:
    """Whether journalctl opens `path`; given one that it cannot, it shows none of the others.

    The container may have planted it: a pipe, a damaged file, one from another journald.
    """
    try:
        tried = subprocess.run(
            ["journalctl", "--quiet", "--lines=0", f"--file={path}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=OPEN_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def command_line(agent: str, machine: Machine, paths: Sequence[Path], wanted: Wanted) -> list[str]:
    """The journalctl command that shows what is `wanted` of the agent's lines."""
    since, lines = wanted.since, wanted.lines
    if lines is None:
        lines = DEFAULT_LINES if since is None else None
    options = ["--no-hostname", "--quiet", f"--lines={'all' if lines is None else lines}"]
    options += [] if since is None else [f"--since=@{since // 10**6}.{since % 10**6:06}"]
    # Only the host's boot is followed, unless merged, and a container has a boot of its own.
    # No file is read but those that are named.
    options += ["--follow", "--merge"] if wanted.follow else []
    options += ["--output=json"] if wanted.as_json else []
    options += [f"--file={path}" for path in paths]
    return ["journalctl", *options, *matches(agent, machine, wanted.part)]


def journalctl(agent: str, wanted: Wanted) -> None:
    """Become a journalctl that shows the agent's journal.

    Raises NotFound for an agent that the hive does not know, CommandError when no journal can
    be read.
    """
    machine = asyncio.run(_find(agent))
    host_id = HOST_ID.read_text().strip()
    newest = sorted(files(directories(machine, host_id, wanted.part)), key=_age)[:MAX_FILES]
    paths = [path for path in newest if opens(path)]
    if not paths:
        raise CommandError(
            Exit.DENIED, "There is no journal you may read; root and group systemd-journal may."
        )
    line = command_line(agent, machine, paths, wanted)
    try:
        os.execvp(line[0], line)  # noqa: S606 -- a list, no shell
    except OSError as error:
        raise CommandError(Exit.FAILED, f"journalctl does not run: {error}.") from error


async def _find(agent: str) -> Machine:
    from hivectl.clients.hive import Hive
    from wire.errors import NotFound, Unavailable

    if not names.AGENT_NAME.fullmatch(agent):
        raise NotFound(f"{agent!r} is no name of an agent.")
    default = names.machine_name(agent)
    guess = Machine(default, f"systemd-nspawn@{default}.service", _written_id(default))
    try:
        async with Hive.connect() as hive:
            known = await hive.lifecycle.agent(agent)
            number, leader = await hive.machined.machine(known.machine)
    except Unavailable:
        return guess  # the journal is most wanted when the hive is down
    return Machine(known.machine, known.unit, number or _written_id(known.machine), leader)


def _written_id(machine: str) -> str | None:
    try:
        return checked_id(read_some(Path("/var/lib/machines", machine, "etc/machine-id")))
    except (OSError, UnicodeDecodeError):
        return None


def read_some(path: Path) -> str:
    """The first 64 bytes of a file that a container may have made a pipe, or endless."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 64).decode()
    finally:
        os.close(descriptor)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def checked_id(written: str) -> str | None:
    """The machine id in a file that the container may have written; None when it is none.

    It becomes part of paths and of matches.
    """
    number = written.strip()
    return number if re.fullmatch("[0-9a-f]{32}", number) else None
