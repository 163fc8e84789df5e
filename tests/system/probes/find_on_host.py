"""Look for texts on the host: `find_on_host.py UNIT TEXT...`.

Looks into the environments, arguments and memory of all processes but those of the test's upstream,
of this one and its parents, and into the files that the hive writes. Prints how many places were
looked at, those that have a text, and those of UNIT that have one, as JSON.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDERS = ("/var/log", "/var/lib/hyperhive", "/run/hyperhive", "/run/systemd", "/run/log", "/tmp")
CHUNK = 16 * 2**20


def processes() -> Iterator[Path]:
    """Yield the processes of the sandbox that are not of this test."""
    ours, pid = set(), os.getpid()
    while pid > 1:
        ours.add(pid)
        [pid] = map(
            int, re.findall(r"^PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
        )
    for process in Path("/proc").glob("[0-9]*"):
        try:
            server = b"/probes/upstream.py" in (process / "cmdline").read_bytes()
        except OSError:
            continue
        if not server and int(process.name) not in ours:
            yield process


def memory(process: Path) -> Iterator[bytes]:
    """Yield the writable memory of a process in overlapping pieces."""
    with (process / "mem").open("rb", buffering=0) as mem:
        for line in (process / "maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+ *(\S*)", line)
            if not found or found[3].startswith("[v"):
                continue
            at, end = int(found[1], 16), int(found[2], 16)
            while at < end:
                try:
                    mem.seek(at)
                    yield mem.read(min(CHUNK, end - at))
                except (OSError, OverflowError, ValueError):
                    break
                at += CHUNK - 4096


def of_process(process: Path) -> Iterator[tuple[str, bytes]]:
    try:
        for name in ("environ", "cmdline"):
            yield f"{process}/{name}", (process / name).read_bytes()
        for piece in memory(process):
            yield f"{process}/mem", piece
    except OSError:
        return  # it has ended, or is a thread of the kernel


def of_files() -> Iterator[tuple[str, bytes]]:
    for folder in FOLDERS:
        for place, _, names in os.walk(folder):
            for path in (Path(place) / name for name in names):
                if path.is_file() and not path.is_symlink():
                    with suppress(OSError):  # some files of the kernel cannot be read
                        yield str(path), path.read_bytes()


def main() -> None:
    unit, texts = sys.argv[1], [text.encode() for text in sys.argv[2:]]
    looked: set[str] = set()
    found: set[str] = set()
    inside: set[str] = set()
    for process in processes():
        for name, data in of_process(process):
            looked.add(name)
            if any(text in data for text in texts):
                group = (process / "cgroup").read_text().strip()
                (inside if group.endswith(f"/{unit}") else found).add(f"{name} {group}")
    for name, data in of_files():
        looked.add(name)
        if any(text in data for text in texts):
            found.add(name)
    print(json.dumps({"looked": len(looked), "found": sorted(found), "inside": sorted(inside)}))


if __name__ == "__main__":
    main()
