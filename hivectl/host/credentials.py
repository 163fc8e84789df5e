"""The credentials of the gateway: files that only root reads, and systemd for the gateway's units.

A credential is encrypted with systemd-creds, where there is one: then its file is of no use on
another machine, or in a backup.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import click

from hivectl.exit_codes import CommandError, Exit

MAX_SECRET: Final = 4096
MIN_SECRET: Final = 8
ENCRYPT_SECONDS: Final = 60.0

_ENCRYPTED: Final = ".cred"


class Place(NamedTuple):
    """The files of one credential: for all agents, or for one."""

    agent: str | None
    plain: Path
    encrypted: Path
    old: Path | None = None
    """The file of an earlier version, which is read if there is no other."""

    @property
    def files(self) -> list[Path]:
        """The files that there are, the one that is used first."""
        wanted = [self.encrypted, self.plain, *([self.old] if self.old else [])]
        return [file for file in wanted if os.path.lexists(file)]

    @property
    def words(self) -> str:
        """The name of the credential, for a sentence."""
        return f"the credential of {self.agent}" if self.agent else "the credential of all agents"


class Stored(NamedTuple):
    """A credential that is stored."""

    agent: str | None
    file: Path
    encrypted: bool
    changed: int
    """Microseconds since 1970."""
    used: bool
    """Whether no other file of the same credential takes precedence."""


class Places:
    """Where the credentials lie."""

    def __init__(self, directory: Path, old: Path) -> None:
        """Use `directory`; `old` is the file of an earlier version."""
        self._directory = directory
        self._old = old

    def of(self, agent: str | None) -> Place:
        """Return the place of the credential of `agent`, or of all agents."""
        if agent is None:
            plain = self._directory / "default"
            return Place(None, plain, plain.with_name(f"default{_ENCRYPTED}"), self._old)
        plain = self._directory / "agents" / agent
        return Place(agent, plain, plain.with_name(f"{agent}{_ENCRYPTED}"))

    def stored(self) -> list[Stored]:
        """Return the credentials that are stored: that of all agents first."""
        agents = self._directory / "agents"
        names: set[str] = set()
        if agents.is_dir():
            # The names of agents have no dots, but our temporary files do.
            names = {file.name.removesuffix(_ENCRYPTED) for file in agents.iterdir()}
        places = [self.of(None), *(self.of(name) for name in sorted(names) if "." not in name)]
        return [
            Stored(
                place.agent,
                file,
                file == place.encrypted,
                file.lstat().st_mtime_ns // 1000,
                at == 0,
            )
            for place in places
            for at, file in enumerate(place.files)
        ]


def read_secret(what: str) -> str:
    """Return the secret that the operator types, unseen, or that standard input contains.

    Args:
        what: the name of the credential, for the prompt.

    Raises:
        CommandError: it cannot be one.
    """
    if sys.stdin.isatty():
        typed = click.prompt(f"API key or token, {what}", hide_input=True, err=True)
    else:
        typed = sys.stdin.buffer.read(MAX_SECRET + 2).decode(errors="replace")
    secret = str(typed).strip()
    plain = secret.isascii() and secret.isprintable() and " " not in secret
    if not plain or not MIN_SECRET <= len(secret) <= MAX_SECRET:
        # Never with the value: it ends up in the logs of terminals.
        raise CommandError(
            Exit.USAGE,
            f"This is not a valid API key or token: give one line of {MIN_SECRET} to {MAX_SECRET} "
            "printable ASCII characters without spaces on standard input. Nothing was changed.",
        )
    return secret


def encrypter() -> str | None:
    """Return the program that encrypts credentials for this machine, if there is one."""
    return shutil.which("systemd-creds")


def store(place: Place, secret: str, program: str | None) -> Path:
    """Write a credential, in place of the one there was; return its file.

    Args:
        place: the files.
        secret: the key or token.
        program: encrypts it; None: it is stored as it is.

    Raises:
        CommandError: it cannot be encrypted or written. The former one is unchanged.
    """
    file = place.encrypted if program else place.plain
    data = secret.encode()
    if program:
        data = _encrypted(program, _credential_name(place.agent), data)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(file, data)
        # After the new one is there, so that no moment is without one.
        (place.plain if program else place.encrypted).unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(
            Exit.FAILED, f"{file} could not be written: {error.strerror}."
        ) from error
    return file


def remove(place: Place) -> list[Path]:
    """Delete a credential; return the files that are gone.

    Raises:
        CommandError: there is none, or it could not be deleted.
    """
    files = place.files
    if not files:
        raise CommandError(
            Exit.NOT_FOUND,
            f"{place.words.capitalize()} is not stored; `hivectl credentials list` shows the "
            "stored ones.",
        )
    for file in files:
        try:
            file.unlink()
        except OSError as error:
            raise CommandError(
                Exit.FAILED, f"{file} could not be deleted: {error.strerror}."
            ) from error
    return files


def can_decrypt(stored: Stored, program: str | None) -> bool:
    """Return whether this machine can use a credential; one that it cannot stops its gateways.

    Args:
        stored: the credential.
        program: decrypts it.
    """
    if not stored.encrypted:
        return True
    if program is None:
        return False
    name = _credential_name(stored.agent)
    try:
        done = subprocess.run(
            [program, "decrypt", f"--name={name}", str(stored.file), "-"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=ENCRYPT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _credential_name(agent: str | None) -> str:
    """Return the name by which the unit of the gateway knows an encrypted credential."""
    return f"{'own' if agent else 'default'}{_ENCRYPTED}"


def stop_gateways(agent: str | None) -> bool:
    """Stop the gateways that hold a former credential; return whether systemd has taken the order.

    A gateway starts again with the next connection, and reads the credentials then.
    """
    unit = f"hive-gateway@{agent or '*'}.service"
    try:
        done = subprocess.run(
            ["systemctl", "stop", "--no-block", unit], capture_output=True, timeout=ENCRYPT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _encrypted(program: str, name: str, data: bytes) -> bytes:
    """Return `data`, encrypted for this machine, as systemd's credential `name`."""
    try:
        done = subprocess.run(
            [program, "encrypt", f"--name={name}", "-", "-"],
            input=data,
            capture_output=True,
            timeout=ENCRYPT_SECONDS,
        )
        said = done.stderr.decode(errors="replace").strip().replace("\n", " ")
        if done.returncode == 0 and done.stdout:
            return done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    raise CommandError(
        Exit.FAILED,
        f"systemd-creds could not encrypt the credential: {said or 'it printed nothing'}. Use "
        "--plain to store it unencrypted, readable by root alone. Nothing was changed.",
    )


def _write(file: Path, data: bytes) -> None:
    """Replace `file`, whose directory is root's own, in one step."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    writing = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(writing, "wb") as made:
            made.write(data)
            made.flush()
            os.fsync(made.fileno())
        beside.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    opened = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
