"""The recording in README.md: `python -m sandbox.recording`, as root, with a host of its own.

A test makes it again, and compares it with the README but for the moment.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandbox import hive, inside, lifecycle
from sandbox.instance import REPO, Instance

README: Final = REPO / "README.md"
COMMANDS: Final = (
    'hivectl send manager "ask bob for six times seven" --wait',
    "hivectl history --limit 4",
    'hivectl send manager "spawn carol because the docs need a writer" --wait',
    "hivectl pending",
)
"""The commands of an operator who meets the hive for the first time."""

_BEGIN: Final = "<!-- `make recording` writes these lines -->\n"
_END: Final = "<!-- the end of the recording -->\n"
_PORTS: Final = hive.Ports(dashboard=7020, model=7120)
"""Ports beside those of `make up`."""
_MOMENT: Final = re.compile(
    r"\b[0-9a-f]{12}\b|\d[\d.,:]*( ?([KMGT]?i?B|ms|s|min|h)\b)?|\b(queued|leased|acknowledged)\b"
)
"""Times, numbers, sizes, commits, and how far a message is."""


def record(instance: Instance) -> str:
    """Run the commands in the hive of a sandbox, and return what a terminal shows.

    Raises:
        SandboxError: a command failed.
    """
    shown = []
    for command in COMMANDS:
        done = inside.run(instance, *shlex.split(command))
        shown += [f"$ {command}", *(done.stderr + done.stdout).splitlines()]
    return "".join(f"    {line}".rstrip() + "\n" for line in shown)


def start(instance: Instance) -> None:
    """Start the hive that is recorded."""
    hive.start(instance, _PORTS, hive.AGENTS)


def recorded(readme: str) -> str:
    """Return the recording in the text of README.md.

    Raises:
        ValueError: there is none.
    """
    _, begin, rest = readme.partition(_BEGIN)
    recording, end, _ = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"README.md has no {_BEGIN.strip()}, or not {_END.strip()} after it.")
    return recording


def without_moments(recording: str) -> list[str]:
    """Return the lines of a recording without all that depends on the moment."""
    return [" ".join(_MOMENT.sub("#", line).split()) for line in recording.splitlines()]


def _written(readme: str, recording: str) -> Iterator[str]:
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    yield from (before, _BEGIN, recording, _END, after)


def main(path: Path = README) -> None:
    """Start a hive, write its recording into README.md, and remove the hive."""
    instance = Instance("recording")
    readme = path.read_text()
    recorded(readme)
    try:
        start(instance)
        made = record(instance)
    finally:
        lifecycle.down(instance)
    path.write_text("".join(_written(readme, made)))
    sys.stdout.write(made)


if __name__ == "__main__":
    main()
