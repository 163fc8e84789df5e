"""Look for a text in a container and in what the host tells others: `find_secret.py AGENT TEXT`.

Prints JSON: how many processes and files were looked at, and the places that have the text.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup/hive.slice/hive-agents.slice")
FILES = (
    "/var/lib/hyperhive/agents/{}",
    "/var/lib/hyperhive/web/{}",
    "/var/lib/machines/h-{}",
    "/var/lib/hyperhive/git",
    "/var/lib/hyperhive/builds/{}",
    "/run/hyperhive",
    "/etc/systemd",
)
CHUNK = 16 * 1024 * 1024


def processes(agent: str) -> list[int]:
    """Return the processes of the container."""
    group = CGROUPS / f"systemd-nspawn@h-{agent}.service"
    return [int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split()]


def in_process(pid: int, secret: bytes) -> Iterator[str]:
    """Yield the places of a process that have the secret."""
    for name in ("environ", "cmdline"):
        if secret in Path(f"/proc/{pid}/{name}").read_bytes():
            yield f"/proc/{pid}/{name}"
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ (\d+)", line)
            if found and "[vvar" not in line and has(memory, found[1], found[2], secret):
                yield f"/proc/{pid}/mem"
                return
    finally:
        os.close(memory)


def has(memory: int, start: str, end: str, secret: bytes) -> bool:
    """Return whether a range of memory has the secret; ranges that cannot be read have not."""
    at, stop = int(start, 16), int(end, 16)
    rest = b""
    while at < stop:
        try:
            data = os.pread(memory, min(CHUNK, stop - at), at)
        except (OSError, OverflowError):
            return False
        if not data:
            return False
        if secret in rest + data:
            return True
        rest, at = data[-len(secret) :], at + len(data)
    return False


def files(agent: str) -> Iterator[Path]:
    """Yield the files that the container, or another user of the host, may read."""
    for pattern in FILES:
        for folder, folders, names in os.walk(pattern.format(agent)):
            # The programs of a bpf file system can be loaded from its files, and not be read.
            folders[:] = [name for name in folders if name != "bpf"]
            yield from (Path(folder) / name for name in names)


def main() -> None:
    """Look everywhere."""
    agent, secret = sys.argv[1], sys.argv[2].encode()
    pids = processes(agent)
    places = [place for pid in pids for place in in_process(pid, secret)]
    count = 0
    for path in files(agent):
        if path.is_file() and not path.is_symlink():
            count += 1
            if secret in path.read_bytes():
                places.append(str(path))
    journal = subprocess.run(
        ["journalctl", "--no-pager", "--output=export"], capture_output=True, check=True
    )
    if secret in journal.stdout:
        places.append("the journal")
    tree = ["busctl", "--system", "call", "org.hyperhive.Lifecycle1", "/org/hyperhive/Lifecycle1"]
    shown = subprocess.run(
        [*tree, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"],
        capture_output=True,
        check=True,
    )
    if secret in shown.stdout:
        places.append("D-Bus")
    print(json.dumps({"processes": len(pids), "files": count, "places": places}))


if __name__ == "__main__":
    main()
