"""Show the processes of a unit, and of the units below it, from /proc of the host.

Runs inside the sandbox, as root: `python processes.py UNIT`. Prints, as JSON, the arguments and the
environment of each process.
"""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def main(unit: str) -> None:
    shown = ["systemctl", "show", "--property=ControlGroup", "--value", unit]
    group = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.strip()
    found = []
    for procs in (CGROUPS / group.lstrip("/")).rglob("cgroup.procs"):
        for pid in procs.read_text().split():
            with suppress(OSError):  # it has just ended
                found.append({name: read(pid, name) for name in ("cmdline", "environ")})
    print(json.dumps(found))


def read(pid: str, name: str) -> list[str]:
    data = Path(f"/proc/{pid}/{name}").read_bytes()
    return data.decode(errors="replace").rstrip("\0").split("\0")


if __name__ == "__main__":
    main(*sys.argv[1:])
