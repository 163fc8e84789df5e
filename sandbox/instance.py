"""One sandbox: its name, its places on the machine, and the processes that belong to it."""

import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUN: Final = Path("/run/hyperhive-sandbox")
STATE: Final = Path("/var/lib/hyperhive-sandbox")
DEFAULT: Final = "hive"
"""The one of `make up`."""

REPO: Final = Path(__file__).resolve().parent.parent
PREFIX: Final = Path("/usr/lib/hyperhive")
"""Where the repository's venv appears inside."""

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
MARK: Final = "HYPERHIVE_SANDBOX_INSTANCE"
"""Environment variable that every process of a sandbox has which the machine can see: its
supervisor, systemd-nspawn and the init inside. So none is lost, whoever was killed before."""


class SandboxError(Exception):
    """What went wrong and what to do, in a sentence for the operator."""


@dataclass(frozen=True)
class Instance:
    """A sandbox by its name, running or not."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SandboxError(
                f"{self.name!r} cannot name a sandbox: take up to 31 of a-z, 0-9 and -,"
                " with a letter first."
            )

    @property
    def run_dir(self) -> Path:
        """What only a running sandbox has."""
        return RUN / self.name

    @property
    def state_dir(self) -> Path:
        """What survives `down --keep`: a real directory, bound in."""
        return STATE / self.name

    @property
    def console(self) -> Path:
        """What the boot printed."""
        return self.run_dir / "console.log"

    @property
    def unit(self) -> str:
        """The unit that runs it, on a machine with systemd."""
        return f"hyperhive-sandbox-{self.name}.service"

    def processes(self) -> list[int]:
        """Pids of this sandbox that the machine has to know; killing its init ends the others."""
        mark = f"{MARK}={self.name}".encode()
        return [
            pid
            for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
            if pid != os.getpid() and mark in _environment(pid)
        ]

    def init(self) -> int | None:
        """Pid (on the machine) of the booted sandbox's PID 1; None unless it is up and ready."""
        try:
            pid = int((self.run_dir / "init").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if is_init(pid) and pid in self.processes() else None

    def set_init(self, pid: int) -> None:
        """Record that the sandbox is ready and that `pid` is its PID 1."""
        partial = self.run_dir / "init.new"
        partial.write_text(str(pid))
        partial.rename(self.run_dir / "init")


def is_init(pid: int) -> bool:
    """Whether `pid` is PID 1 of a PID namespace directly below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    inner = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(inner) > 1 and inner[-1] == "1"


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
