"""Restart the units of a running hive whose code an upgrade has changed, and no others.

`upgrade.py record` notes the code of each running unit before files are replaced, and `upgrade.py
restart` restarts the units whose code is another one now. `make install` and the Debian package run
both. The record is in /run, because every unit runs the installed code after a boot. An interrupted
upgrade leaves its record, and the next upgrade continues with it.

This file is installed below PREFIX, and imports only the standard library.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

PREFIX: Final = Path("/usr/lib/hyperhive")
RECORD: Final = Path("/run/hyperhive-upgrade.json")
TARGET: Final = "hive.target"
OURS: Final = "man:hyperhive(7)"
"""A part of each unit of the hive: other software has units that begin with `hive-`, too."""
PACKAGES: Final = ("wire", "services", "harness", "hivectl")
KINDS: Final = (".service", ".socket", ".timer")
"""The units that have code. A slice is not restarted: all units in it would stop."""
LATER: Final = re.compile(r"hive-\w+@.*\.socket|hive-filter@.*|hive-build@.*")
"""Units that apply a change at the next start of a container or a build: its container needs the
unit, and would be stopped with it."""
IMPORT: Final = re.compile(
    r"^ *(?:from +([\w.]+) +import +(\([^)]*\)|[^(\n]+)|import +([\w., ]+))$", re.MULTILINE
)
"""An import of Python, also of several lines. Parsing all modules would take seconds."""
RUNNING: Final = ("active", "reloading", "activating")


class Code:
    """The installed code."""

    def __init__(self, prefix: Path = PREFIX) -> None:
        self._prefix = prefix
        self._imported: dict[Path, tuple[str, ...]] = {}

    def digest(self, unit: str, text: str) -> str:
        """Return a digest of all that a unit runs.

        Args:
            unit: its name.
            text: its file.
        """
        found = hashlib.sha256(text.encode())
        modules = self.modules(text)
        if modules:
            found.update(self.dependencies.encode())
        for file in sorted(self.files(*modules)):
            found.update(f"\0{file}\0".encode() + file.read_bytes())
        if unit == "hive-lifecycle.service":
            # It starts the harnesses, and notices a new version of them only when it starts itself.
            found.update(self.container.encode())
        return found.hexdigest()

    @staticmethod
    def modules(text: str) -> set[str]:
        """Return the Python modules that a unit starts."""
        return set(re.findall(r"^Exec\w+=.*/python .*-m ([.\w]+)", text, re.MULTILINE))

    @cached_property
    def container(self) -> str:
        """A digest of what lifecycle puts into containers."""
        found = hashlib.sha256()
        data = self._prefix / "share/hyperhive"
        for place in (self._site / "harness", data / "container", data / "hive-init.sh"):
            for file in _files(place):
                found.update(f"\0{file.name}\0".encode() + file.read_bytes())
        # The package has Claude Code in it.
        names = sorted(path.name for path in self._site.glob("claude_agent_sdk-*.dist-info"))
        return found.hexdigest() + "".join(names)

    @cached_property
    def dependencies(self) -> str:
        """The packages of others, with their versions."""
        names = {path.name for path in self._site.glob("*.dist-info")}
        return " ".join(sorted(name for name in names if not name.startswith("hyperhive-")))

    def files(self, *modules: str) -> set[Path]:
        """Return the files of `modules`, of all modules that they import, and their data."""
        found: set[Path] = set()
        waiting = [name for module in modules for name in (module, f"{module}.__main__")]
        while waiting:
            name = waiting.pop()
            parts = name.split(".")
            waiting += [".".join(parts[:length]) for length in range(1, len(parts))]
            file = self._file(name)
            if file and file not in found:
                found.add(file)
                waiting += self._imports(file)
        rooms = {self._room(file) for file in found}
        return found | {file for room in rooms for file in _files(room) if file.suffix != ".py"}

    @cached_property
    def _site(self) -> Path:
        """The directory of the packages."""
        places = sorted(self._prefix.glob("lib/python3*/site-packages"))
        return places[-1] if places else self._prefix

    def _file(self, module: str) -> Path | None:
        path = self._site.joinpath(*module.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        return None

    def _room(self, file: Path) -> Path:
        """Return the directory whose data belongs to a module."""
        parts = file.relative_to(self._site).parts
        if parts[0] != "services":
            return self._site / parts[0]
        return self._site / "services" / parts[1] if len(parts) > 2 else file

    def _imports(self, file: Path) -> tuple[str, ...]:
        if file not in self._imported:
            self._imported[file] = tuple(self._walk(file))
        return self._imported[file]

    @staticmethod
    def _walk(file: Path) -> Iterator[str]:
        for source, names, modules in IMPORT.findall(file.read_text()):
            if source.partition(".")[0] in PACKAGES:
                yield source
                yield from (f"{source}.{name}" for name in re.findall(r"\w+", names))
            yield from (name for name in re.findall(r"[\w.]+", modules) if "." in name)


@dataclass(frozen=True)
class Unit:
    """A unit of the hive that systemd has loaded."""

    name: str
    state: str
    kind: str
    file: str
    text: str

    @property
    def is_running(self) -> bool:
        """Whether it runs, or is about to run again."""
        if self.state == "failed":
            return "@" not in self.name
        return self.state in RUNNING and not (self.kind == "oneshot" and self.state != "active")


def loaded() -> dict[str, Unit]:
    """Return the units of the hive that systemd has loaded, by name."""
    asked = ["systemctl", "show", "--property=Id,ActiveState,Type,FragmentPath", "--all"]
    answer = subprocess.run([*asked, "hive-*"], capture_output=True, text=True, check=False).stdout
    found = {}
    for block in answer.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        file = values.get("FragmentPath", "")
        text = Path(file).read_text() if file and Path(file).is_file() else ""
        name = values.get("Id", "")
        if OURS in text and name.endswith(KINDS):
            found[name] = Unit(name, values["ActiveState"], values.get("Type", ""), file, text)
    return found


def installed() -> dict[str, str]:
    """Return all installed units of the hive, with the state of each, such as `enabled`."""
    asked = ["systemctl", "list-unit-files", "--no-legend", "--no-pager", "hive-*"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return {line.split()[0]: line.split()[1] for line in answer.splitlines() if line.split()[1:]}


def record() -> None:
    """Note the code of all units that run, unless an interrupted upgrade has done that."""
    if RECORD.exists():
        return
    code, units = Code(), loaded()
    running = {name: unit for name, unit in units.items() if unit.is_running}
    ended = {
        name: units[name]
        for name, state in installed().items()
        if state == "enabled" and name.endswith(".service") and name in units.keys() - running
    }
    noted = {
        "units": {name: code.digest(name, unit.text) for name, unit in running.items()},
        "ended": {name: code.digest(name, unit.text) for name, unit in ended.items()},
        "files": {name: unit.file for name, unit in running.items()},
        "known": sorted(installed()),
        "container": code.container,
        "target": _is_active(TARGET),
    }
    partial = RECORD.with_suffix(".new")
    partial.write_text(json.dumps(noted))
    partial.replace(RECORD)


def restart() -> int:
    """Restart the units whose code has changed, and print that; return the exit status."""
    noted: dict[str, Any] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if not noted.get("units"):
        RECORD.unlink(missing_ok=True)
        print("The hive does not run, so nothing was restarted.")
        return 0
    code, units = Code(), loaded()
    gone = [name for name, file in noted["files"].items() if not Path(file).exists()]
    gone = [name for name in gone if name not in units]
    changed = [
        name
        for name, before in noted["units"].items()
        if name in units and code.digest(name, units[name].text) != before
    ]
    # A service may have ended because it had nothing to do, and another version may have.
    again = [
        name
        for name, before in noted.get("ended", {}).items()
        if noted["target"] and name in units and code.digest(name, units[name].text) != before
    ]
    later = [name for name in changed if LATER.fullmatch(name)]
    now = [name for name in changed if name not in later]
    new = [
        name
        for name, state in installed().items()
        if state == "enabled" and name not in noted["known"] and noted["target"]
    ]
    failed = _carry_out(now, gone, [*new, *again])
    unchanged = [name for name in noted["units"] if name not in (*changed, *gone)]
    _print("Restarted, because their code has changed", [n for n in now if n not in failed])
    _print("Started, because they are new", [name for name in new if name not in failed])
    _print(
        "Started, because they had ended and their code has changed",
        [name for name in again if _is_active(name)],
    )
    _print("Stopped, because this version has no such unit", gone)
    _print("Unchanged, and not restarted", [n for n in unchanged if n.endswith(".service")])
    _print("Not restarted; the change applies at the next start of the container or build", later)
    if code.container != noted["container"]:
        print(
            "The containers are updated one after the other, each while none of its turns runs, and"
            " the manager is told. With lifecycle.auto_update = false, run: hivectl update-all"
        )
    for name in failed:
        print(f"{name} did not start: {_status(name)}", file=sys.stderr)
    RECORD.unlink()
    return 1 if failed else 0


def _carry_out(changed: list[str], gone: list[str], new: list[str]) -> list[str]:
    """Stop, restart and start units; return those that did not start."""
    if gone:
        _systemctl("stop", *gone)
    sockets = [name for name in changed if name.endswith(".socket")]
    served = [name.replace(".socket", ".service") for name in sockets]
    if sockets:
        # systemd starts a socket only while its service is stopped.
        was_running = [name for name in served if _is_active(name)]
        _systemctl("stop", *served)
        _systemctl("restart", *sockets)
        changed = [*changed, *(name for name in was_running if name not in changed)]
    if others := [name for name in changed if name not in sockets]:
        _systemctl("restart", *others)
    if new:
        _systemctl("start", *new)
    return [name for name in (*changed, *new) if _is_failed(name)]


def _systemctl(*arguments: str) -> None:
    # The caller looks at each unit afterwards; this message would name only some of them.
    subprocess.run(["systemctl", *arguments], check=False, stderr=subprocess.DEVNULL)


def _is_active(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def _is_failed(unit: str) -> bool:
    return subprocess.run(["systemctl", "is-failed", "--quiet", unit], check=False).returncode == 0


def _status(unit: str) -> str:
    asked = ["systemctl", "show", "--property=StatusText", "--value", unit]
    text = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return text or f"`systemctl status {unit}` shows why."


def _print(what: str, units: list[str]) -> None:
    if units:
        print(f"{what}: {', '.join(sorted(name.removesuffix('.service') for name in units))}.")


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder, or the folder if it is a file, without compiled ones."""
    if folder.is_file():
        return [folder]
    paths = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if path.suffix != ".pyc")


if __name__ == "__main__":
    os.umask(0o022)
    if sys.argv[1:] == ["record"]:
        record()
    elif sys.argv[1:] == ["restart"]:
        sys.exit(restart())
    else:
        sys.exit("usage: upgrade.py record|restart")
