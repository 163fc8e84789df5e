"""Find paths that root of the host opens and that an agent could have changed.

`traced_paths FOLDER` reads what `strace -ff -y` wrote about systemd-nspawn, a file for a process.
systemd-nspawn and its children run as root of the host until they enter a user namespace: that and
all later is the container's, and is left out. Their mounts are done again here, on paper: a path in
a new tmpfs is out of every agent's reach, a path below a bind mount is a path of its source.
A part of a path could have been changed if an agent may write to the directory that it lies in.
Prints a list of the findings and the number of examined paths as JSON.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

AGENTS = range(0x10000000, 0x70000000)
"""The uids and gids of agents."""
STRING = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<at>/[^>]*)>, )?"(?P<text>(?:[^"\\]|\\.)*)"')
CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|0x\w+|\?)(?P<rest>.*)")
CLONES = ("clone", "clone3", "fork", "vfork")
TWO_PATHS = ("rename", "renameat", "renameat2", "link", "linkat")
LAST_PATH = ("symlink", "symlinkat")


@dataclass
class Process:
    """The view of a process: its root, its working directory, its descriptors and mounts.

    `mounts` has the source of each mount point: a path of the host, or None for a new file system.
    """

    root: str = ""
    folder: str = "/"
    opened: dict[int, str] = field(default_factory=dict)
    mounts: dict[str, str | None] = field(default_factory=dict)

    def copy(self) -> "Process":
        return replace(self, opened=dict(self.opened), mounts=dict(self.mounts))

    def absolute(self, text: str, at: str | None) -> str:
        """Return a path in the namespace; links in /proc to descriptors are followed."""
        if found := re.match(r"/proc/(?:self|\d+)/fd/(\d+)(.*)", text):
            return self.opened.get(int(found[1]), text) + found[2]
        if not text.startswith("/"):
            text = f"{(at or self.folder).rstrip('/')}/{text}"
        return os.path.normpath(self.root + text)

    def on_host(self, path: str) -> str | None:
        """Return the path of the host, None if the path lies in a new file system."""
        for point in sorted(self.mounts, key=len, reverse=True):
            if path == point or path.startswith(f"{point}/"):
                source = self.mounts[point]
                return None if source is None else os.path.normpath(source + path[len(point) :])
        return path

    def mount(self, source: str, point: str, kind: str) -> None:
        """Note a mount. Propagation, flags and the move of the root change no path."""
        if "MS_MOVE" in kind:
            if point == "/":
                return
            moved = {p: self.mounts[p] for p in self._below(source)}
            self._hide(point)
            for old, what in moved.items():
                self.mounts.pop(old, None)
                self.mounts[point + old[len(source) :]] = what
        elif "MS_REMOUNT" not in kind and not re.search("MS_(SLAVE|SHARED|PRIVATE)", kind):
            there = self.on_host(source) if "MS_BIND" in kind else None
            self._hide(point)
            self.mounts[point] = there

    def _hide(self, point: str) -> None:
        for hidden in self._below(point):
            del self.mounts[hidden]

    def _below(self, place: str) -> list[str]:
        return [p for p in self.mounts if p == place or p.startswith(f"{place}/")]


class Trace:
    """The files of a trace, and what was found in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.found: set[str] = set()
        self.examined: set[str] = set()
        self.starts = 0

    def examine(self) -> None:
        for file in self._folder.iterdir():
            first = file.read_text(errors="replace").split("\n", 1)[0]
            if first.startswith("execve(") and "systemd-nspawn" in first:
                self.starts += 1
                self._follow(file, Process())

    def _follow(self, file: Path, process: Process) -> None:
        if not file.exists():
            return
        for line in file.read_text(errors="replace").splitlines():
            if call := CALL.match(line):
                if re.match(r"(unshare|setns)\(.*CLONE_NEWUSER", line):
                    return
                self._step(process, call)

    def _step(self, process: Process, call: re.Match[str]) -> None:
        name, arguments = call["name"], call["arguments"]
        failed = call["result"].startswith(("-", "?"))
        if name in CLONES:
            # A process in a new user namespace has no rights outside of the container.
            if not failed and "CLONE_NEWUSER" not in arguments and "CLONE_THREAD" not in arguments:
                child = self._folder / f"{self._prefix()}.{call['result']}"
                self._follow(child, process.copy())
            return
        paths = [process.absolute(text, at) for at, text in strings(name, arguments)]
        for path in paths:
            self._check(process, path, call.string)
        if failed:
            return
        if name == "mount":
            process.mount(paths[0], paths[-1], arguments)
        elif name == "chdir":
            process.folder = paths[0][len(process.root) :] or "/"
        elif name == "fchdir" and (there := re.match(r"\d+<(/[^>]*)>", arguments)):
            process.folder = there[1]
        elif name in ("chroot", "pivot_root"):
            # Both are called with "." only.
            process.root = os.path.normpath(process.root + process.folder).rstrip("/")
            process.folder = "/"
        elif paths and call["rest"].startswith("<"):
            process.opened[int(call["result"])] = paths[0]

    def _prefix(self) -> str:
        return next(self._folder.iterdir()).name.rsplit(".", 1)[0]

    def _check(self, process: Process, path: str, line: str) -> None:
        there = process.on_host(path)
        if there is None or there.startswith(("/proc/", "/sys/", "/dev/")):
            return
        self.examined.add(there)
        for parent in Path(there).parents:
            if is_agents(parent):
                self.found.add(f"{parent}: {line[:300]}")


def strings(name: str, arguments: str) -> Iterator[tuple[str | None, str]]:
    """Yield the paths among the arguments, with the directory that they are relative to."""
    found = [(match["at"], match["text"]) for match in STRING.finditer(arguments)]
    found = [pair for pair in found if pair[1]]
    if name == "mount":
        # The source is a path only for some kinds; it may also be NULL.
        is_path = re.search("MS_(BIND|MOVE)", arguments)
        first = 0 if is_path or arguments.startswith("NULL") else 1
        yield from found[first : 2 if is_path else first + 1]
    elif name in LAST_PATH:
        yield from found[-1:]
    else:
        yield from found[: 2 if name in TWO_PATHS else 1]


def is_agents(folder: Path) -> bool:
    """Return whether an agent may write to the directory."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    if status.st_uid in AGENTS:
        return True
    if status.st_gid in AGENTS and status.st_mode & stat.S_IWGRP:
        return True
    sticky = status.st_uid == 0 and status.st_mode & stat.S_ISVTX
    return bool(status.st_mode & stat.S_IWOTH and not sticky and not stat.S_ISLNK(status.st_mode))


trace = Trace(Path(sys.argv[1]))
trace.examine()
outcome = {"found": sorted(trace.found), "examined": sorted(trace.examined), "starts": trace.starts}
print(json.dumps(outcome))
