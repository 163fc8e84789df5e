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
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Self

import click

from hivectl.exit_codes import CommandError, Exit

MAX_SECRET: Final = 4096
MIN_SECRET: Final = 8
ENCRYPT_SECONDS: Final = 60.0

_ENCRYPTED: Final = ".cred"


class Purpose(StrEnum):
    """The purpose of a credential, by the name of the systemd credential of a gateway."""

    ALL = "default"
    """The model, for all agents."""
    AGENT = "own"
    """The model, for one agent."""
    FORGE = "forge"
    """The account of one agent in the forge."""


class Place(NamedTuple):
    """The files of one credential."""

    purpose: Purpose
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
        if self.purpose is Purpose.FORGE:
            return f"the token of {self.agent} in the forge"
        return f"the credential of {self.agent}" if self.agent else "the credential of all agents"


class Stored(NamedTuple):
    """A credential that is stored."""

    purpose: Purpose
    agent: str | None
    file: Path
    encrypted: bool
    changed: int
    """Microseconds since 1970."""
    used: bool
    """Whether no other file of the same credential takes precedence."""


class Places:
    """Where the credentials lie."""

    def __init__(self, directory: Path, old: Path, forge: Path) -> None:
        """Remember the directories.

        Args:
            directory: contains the credentials for the model.
            old: the file of an earlier version.
            forge: contains the tokens of the forge.
        """
        self._directory = directory
        self._old = old
        self._forge = forge

    @classmethod
    def of_host(cls) -> Self:
        """Return the places on this host."""
        from wire.credentials import GATEWAY_DIRECTORY, KEY_FILE
        from wire.forge import TOKEN_DIRECTORY

        return cls(Path(GATEWAY_DIRECTORY), Path(KEY_FILE), Path(TOKEN_DIRECTORY))

    def of(self, agent: str | None) -> Place:
        """Return the place of the credential of `agent`, or of all agents."""
        if agent is None:
            plain = self._directory / "default"
            encrypted = plain.with_name(f"default{_ENCRYPTED}")
            return Place(Purpose.ALL, None, plain, encrypted, self._old)
        return _of_agent(Purpose.AGENT, self._directory, agent)

    def of_forge(self, agent: str) -> Place:
        """Return the place of the token of `agent` in the forge."""
        return _of_agent(Purpose.FORGE, self._forge, agent)

    def stored(self) -> list[Stored]:
        """Return the credentials that are stored: that of all agents first."""
        places = [
            self.of(None),
            *(self.of(name) for name in _agents(self._directory)),
            *(self.of_forge(name) for name in _agents(self._forge)),
        ]
        return [
            Stored(
                place.purpose,
                place.agent,
                file,
                file == place.encrypted,
                file.lstat().st_mtime_ns // 1000,
                at == 0,
            )
            for place in places
            for at, file in enumerate(place.files)
        ]


def _of_agent(purpose: Purpose, folder: Path, agent: str) -> Place:
    plain = folder / "agents" / agent
    return Place(purpose, agent, plain, plain.with_name(f"{agent}{_ENCRYPTED}"))


def _agents(folder: Path) -> list[str]:
    """Return the agents with a credential in `folder`."""
    agents = folder / "agents"
    files = agents.iterdir() if agents.is_dir() else ()
    # The names of agents have no dots, but our temporary files do.
    names = {file.name.removesuffix(_ENCRYPTED) for file in files}
    return sorted(name for name in names if "." not in name)


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
        data = _encrypted(program, f"{place.purpose}{_ENCRYPTED}", data)
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
    name = f"{stored.purpose}{_ENCRYPTED}"
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
