"""The tokens of assistants: files that only root reads, and systemd for the endpoint's units.

A file has the hash of a token. The token itself is printed once, and stored nowhere.
"""

import contextlib
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from hivectl.exit_codes import CommandError, Exit
from wire.credentials import AssistantRight

SOCKET: Final = "hive-assistant.socket"
SERVICE: Final = "hive-assistant.service"
SYSTEMCTL_SECONDS: Final = 60.0

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Made(NamedTuple):
    """A new token."""

    file: Path
    token: str


class Stored(NamedTuple):
    """A token that is stored, as its file says."""

    name: str
    rights: tuple[str, ...]
    created: int
    """Microseconds since 1970; 0 if the file cannot be read."""
    valid: bool


class Assistants:
    """The files of the tokens."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, name: str, rights: Iterable[AssistantRight]) -> Made:
        """Make a token for a new client.

        Raises:
            CommandError: the client has a token, or the file cannot be written.
        """
        file = self._file(name)
        token = secrets.token_urlsafe(32)
        content = {
            "sha256": sha256(token.encode()).hexdigest(),
            "rights": sorted(set(rights)),
            "created": time.time_ns() // 1000,
        }
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(file, json.dumps(content).encode())
        except FileExistsError:
            raise CommandError(
                Exit.CONFLICT,
                f"{name} has a token. Revoke it first: `hivectl assistant revoke {name}`.",
            ) from None
        except OSError as error:
            raise CommandError(
                Exit.FAILED, f"{file} could not be written: {error.strerror}."
            ) from error
        return Made(file, token)

    def stored(self) -> list[Stored]:
        """Return the tokens, by the names of their clients."""
        files = self._directory.iterdir() if self._directory.is_dir() else ()
        return [_stored(file) for file in sorted(files) if _NAME.fullmatch(file.name)]

    def revoke(self, name: str) -> bool:
        """Delete the token of a client; return whether others are left.

        Raises:
            CommandError: there is none, or it could not be deleted.
        """
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            raise CommandError(
                Exit.NOT_FOUND,
                f"{name} has no token; `hivectl assistant list` shows who has one.",
            ) from None
        except OSError as error:
            raise CommandError(
                Exit.FAILED, f"The token could not be deleted: {error.strerror}."
            ) from error
        return bool(self.stored())

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise CommandError(
                Exit.USAGE,
                f"{name!r} is not a valid name of a client: use at most 32 lower-case letters, "
                "digits and hyphens.",
            )
        return self._directory / name


def apply(*, any_left: bool) -> bool:
    """Have the next request use the stored tokens; return whether systemd has done so.

    Args:
        any_left: whether there is a token; without one, nobody listens.
    """
    # The service reads the tokens when it starts, which the next request makes it do.
    done = _systemctl("stop", SERVICE)
    return _systemctl("start" if any_left else "stop", SOCKET) and done


def address() -> str | None:
    """Return the address of the endpoint, if the socket listens on TCP."""
    command = ["systemctl", "show", "--property=Listen", "--value", SOCKET]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"^(\S+:[0-9]+) \(Stream\)$", told.stdout, re.MULTILINE)
    return f"http://{found[1]}/mcp" if found else None


def _systemctl(verb: str, unit: str) -> bool:
    try:
        done = subprocess.run(
            ["systemctl", verb, unit], capture_output=True, timeout=SYSTEMCTL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _stored(file: Path) -> Stored:
    try:
        content = json.loads(file.read_text())
        rights = tuple(str(right) for right in content["rights"])
        return Stored(file.name, rights, int(content["created"]), valid=True)
    except (OSError, ValueError, KeyError, TypeError):
        return Stored(file.name, (), 0, valid=False)


def _write(file: Path, data: bytes) -> None:
    """Write a new file, whole or not at all."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    writing = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(writing, "wb") as made:
            made.write(data)
            made.flush()
            os.fsync(made.fileno())
        file.hardlink_to(beside)  # fails if there is one
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
