"""Find the journal files of an agent, and the journalctl command that reads them.

Files are chosen by where they lie and never by their content: root in a container can write any
field into the container's own journal, so `journalctl --merge` would show its lines among those
of another agent.
"""

import asyncio
import itertools
import os
import re
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from hivectl.host import journal_output
from hivectl.host.journal_reader import Reader
from wire import names

HOST_ID = Path("/etc/machine-id")
DATA: Final = Path("/var/lib/hyperhive/agents")
"""The directory of the agents' files. hivectl does not import lifecycle's paths."""
JOURNALS = (Path("/var/log/journal"), Path("/run/log/journal"))

DEFAULT_LINES: Final = 100

MAX_FILES: Final = 64
"""The most journal files that are read, newest first: a container may have any number."""

OPEN_SECONDS: Final = 5

_FILE: Final = re.compile(r"[A-Za-z0-9@.~_-]+\.journal")
"""The names that journald gives its files. journalctl takes other ones for patterns of names."""
_DESCRIPTORS: Final = Path("/proc/self/fd")


@dataclass(frozen=True)
class Machine:
    """A container; its machine id (32 hex digits) and its leader's pid are None if unknown."""

    agent: str
    unit: str
    id: str | None = None
    leader: int | None = None


@dataclass(frozen=True)
class Place:
    """A directory: `below`, which may belong to an agent, in `base`, which belongs to root."""

    base: Path
    below: str
    is_agents: bool = False
    """Whether the agent decides what is there."""


class Part(StrEnum):
    """A source of an agent's journal."""

    CONTAINER = "container"
    ENDPOINT = "endpoint"
    GATEWAY = "gateway"
    JOBS = "jobs"
    """The jobs that lifecycle ran for the agent."""
    BUILD = "build"
    """The builds of the agent's configurations."""


@dataclass(frozen=True)
class Wanted:
    """The lines to show, and how.

    `since` is in µs since 1970. `lines` counts the newest; None is 100, or all with `since`.
    """

    part: Part | None = None
    lines: int | None = None
    since: int | None = None
    follow: bool = False
    as_json: bool = False
    priority: int | None = None
    """Only lines of this priority or of a more urgent one: 0 to 7."""
    pattern: str | None = None
    """Only lines that match this regular expression, as journalctl reads it."""


def units_of(agent: str, container: str) -> dict[Part, list[str]]:
    """Return the units of each part of an agent; `container` is the unit of its container."""
    return {
        Part.CONTAINER: [container],
        Part.ENDPOINT: [names.endpoint_unit(agent), names.socket_unit(agent)],
        Part.GATEWAY: [
            names.gateway_unit(agent),
            names.api_socket_unit(agent),
            names.proxy_socket_unit(agent),
        ],
        Part.JOBS: [],
        Part.BUILD: [names.build_unit(agent)],
    }


def matches(agent: str, machine: Machine, part: Part | None = None) -> list[str]:
    """Return the matches for journalctl that select the agent's lines, on host and in container."""
    units = units_of(agent, machine.unit)
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


def directories(machine: Machine, host_id: str, part: Part | None = None) -> Iterator[Place]:
    """Yield the directories of the host's journal and, if `part` wants it, the container's."""
    for place in JOURNALS:
        yield Place(place, host_id)
    if part in (None, Part.CONTAINER):
        yield from _of_container(machine)


def _of_container(machine: Machine) -> Iterator[Place]:
    if not machine.id:
        return
    for place in JOURNALS:
        yield Place(place, machine.id)
    yield Place(DATA / machine.agent, f"var/log/journal/{machine.id}", is_agents=True)
    if machine.leader:
        # A volatile journal lies on the container's own tmpfs.
        root = Path(f"/proc/{machine.leader}/root")
        yield Place(root, f"run/log/journal/{machine.id}", is_agents=True)


def files(places: Iterable[Place]) -> list[Path]:
    """Return the journal files in `places`, each once even if several places have it.

    An agent can put links in its directories, and replace them at any time. So the directories are
    opened one by one, without following links, and the paths begin with a descriptor, which stays
    open. A program that is to read the files must inherit `descriptors` of them. The agent can also
    put a link in the place of a file later: see `reader`.
    """
    found: dict[tuple[int, int], Path] = {}
    for place in places:
        try:
            folder = _opened(place)
        except OSError:
            continue  # it does not exist, or this user may not read it
        if place.is_agents and os.fstat(folder).st_uid == 0:
            os.close(folder)
            continue  # a mount of the container: its own directories never belong to root
        with os.scandir(folder) as entries:
            names_there = sorted(entry.name for entry in entries if _FILE.fullmatch(entry.name))
        for name in names_there:
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue  # rotated away meanwhile
            if stat.S_ISREG(status.st_mode):
                path = _DESCRIPTORS / str(folder) / name
                found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def descriptors(paths: Iterable[Path]) -> set[int]:
    """Return the descriptors with which the paths begin."""
    return {int(path.parts[4]) for path in paths}


def _opened(place: Place) -> int:
    folder = os.open(place.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    for part in place.below.split("/"):
        try:
            deeper = os.open(part, flags, dir_fd=folder)
        finally:
            os.close(folder)
        folder = deeper
    return folder


def opens(path: Path, reader: Reader) -> bool:
    """Tell whether journalctl can open `path`.

    A single file that it cannot open keeps journalctl from showing any. The container may have
    planted one: a pipe, a damaged file, a file of another journald.
    """
    try:
        tried = subprocess.run(
            ["journalctl", "--quiet", "--lines=0", f"--file={path}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=OPEN_SECONDS,
            pass_fds=descriptors([path]),
            user=reader.user,
            group=reader.user,
            extra_groups=reader.groups,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def command_line(agent: str, machine: Machine, paths: Sequence[Path], wanted: Wanted) -> list[str]:
    """Return the journalctl command that shows the `wanted` lines of the agent."""
    since, lines = wanted.since, _lines(wanted)
    options = ["--no-hostname", "--quiet", f"--lines={'all' if lines is None else lines}"]
    options += [] if since is None else [f"--since=@{since // 10**6}.{since % 10**6:06}"]
    # Without --merge, only lines of the host's boot are followed, and a container has its own
    # boot. Only the files that --file names are read.
    options += ["--follow", "--merge"] if wanted.follow else []
    options += ["--output=json"] if wanted.as_json else []
    options += [] if wanted.priority is None else [f"--priority={wanted.priority}"]
    options += [] if wanted.pattern is None else [f"--grep={wanted.pattern}"]
    options += [f"--file={path}" for path in paths]
    return ["journalctl", *options, *matches(agent, machine, wanted.part)]


def _lines(wanted: Wanted) -> int | None:
    """Return the number of lines to show; None for all."""
    if wanted.lines is not None or wanted.since is not None:
        return wanted.lines
    return DEFAULT_LINES


def journalctl(agent: str, wanted: Wanted) -> int:
    """Show the agent's journal with journalctl, and return its exit status.

    Raises:
        NotFound: the hive does not know the agent.
        CommandError: journalctl could not be started, or nobody may select these lines.
        Unavailable: the journal is not readable, and the hive is down.
        ReaderLeftError: the reader of standard output closed the pipe.
    """
    machine = asyncio.run(_find(agent))
    host_id = HOST_ID.read_text().strip()
    newest = sorted(files(directories(machine, host_id, wanted.part)), key=_age)[:MAX_FILES]
    reader = Reader.of(descriptors(newest))
    paths = [path for path in newest if opens(path, reader)]
    # Everybody can read a journal of their own, in which nothing of the hive is.
    if not any(path.name.startswith("system") for path in paths):
        from hivectl.host import journal_service

        return journal_service.show(agent, wanted, _lines(wanted))
    line = command_line(agent, machine, paths, wanted)
    return journal_output.show(
        line,
        as_json=wanted.as_json,
        follow=wanted.follow,
        inherited=descriptors(paths),
        reader=reader,
    )


async def _find(agent: str) -> Machine:
    from hivectl.clients.hive import Hive
    from wire.errors import NotFound, Unavailable

    if not names.AGENT_NAME.fullmatch(agent):
        raise NotFound(f"{agent!r} is not a valid agent name.")
    default = names.machine_name(agent)
    guess = Machine(agent, f"systemd-nspawn@{default}.service", _written_id(agent))
    try:
        async with Hive.connect() as hive:
            known = await hive.agents.get(agent)
            running = await hive.machined.machine(known.machine)
    except Unavailable:
        return guess  # the journal is needed most when the hive is down
    return Machine(agent, known.unit, running.id or _written_id(agent), running.leader)


def _written_id(agent: str) -> str | None:
    try:
        return checked_id(read_some(DATA / agent / "etc/machine-id"))
    except (OSError, UnicodeDecodeError):
        return None


def read_some(path: Path) -> str:
    """Read the first 64 bytes of a file that a container may have made a pipe, or endless."""
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
    """Return the machine id that a container's file holds, None if it is not a valid one.

    The container may have written the file, and the id becomes part of paths and of matches.
    """
    number = written.strip()
    return number if re.fullmatch("[0-9a-f]{32}", number) else None
