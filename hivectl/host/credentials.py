"""The credentials of gateways and projects: files that only root reads, and systemd for the units.

A credential is encrypted with systemd-creds, where there is one: then its file is of no use on
another machine, or in a backup.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Self

from hivectl.exit_codes import CommandError, Exit
from wire.credentials import ENCRYPTED, WEBHOOK

ENCRYPT_SECONDS: Final = 60.0


class Purpose(StrEnum):
    """The purpose of a credential."""

    ALL = "default"
    """The model, for all agents."""
    AGENT = "own"
    """The model, for one agent."""
    FORGE = "forge"
    """The account of one agent in the forge."""
    PROJECT = "projects"
    """The upstreams of projects that name it."""
    WEBHOOK = "webhook"
    """The webhook of one project."""

    @property
    def is_of_projects(self) -> bool:
        """Whether hive-projects uses it, and not a gateway."""
        return self in (Purpose.PROJECT, Purpose.WEBHOOK)


MODEL: Final = (Purpose.ALL, Purpose.AGENT)
"""The purposes of the credentials for the model."""

_WORDS: Final = {
    Purpose.ALL: "the credential of all agents",
    Purpose.AGENT: "the credential of {}",
    Purpose.FORGE: "the token of {} in the forge",
    Purpose.PROJECT: "the credential {} of projects",
    Purpose.WEBHOOK: "the secret of the webhook of {}",
}
_PROMPTS: Final = {
    Purpose.ALL: "API key or token for all agents",
    Purpose.AGENT: "API key or token for {}",
    Purpose.FORGE: "Token of {} in the forge",
    Purpose.PROJECT: "Token for projects with the credential {}",
    Purpose.WEBHOOK: "Secret of the webhook of {}",
}


class Place(NamedTuple):
    """The files of one credential."""

    purpose: Purpose
    owner: str | None
    """The agent or the project, or the name of a credential of projects; None: all agents."""
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
        return _WORDS[self.purpose].format(self.owner)

    @property
    def prompt(self) -> str:
        """The question for the secret, without a colon."""
        return _PROMPTS[self.purpose].format(self.owner)


class Stored(NamedTuple):
    """A credential that is stored."""

    purpose: Purpose
    owner: str | None
    file: Path
    encrypted: bool
    changed: int
    """Microseconds since 1970."""
    used: bool
    """Whether no other file of the same credential takes precedence."""


class Places:
    """Where the credentials lie."""

    def __init__(self, directory: Path, old: Path, forge: Path, projects: Path) -> None:
        """Remember the directories.

        Args:
            directory: contains the credentials for the model.
            old: the file of an earlier version.
            forge: contains the tokens of the forge.
            projects: contains the credentials of projects; those in the directory with `.cred` at
                the end are encrypted.
        """
        self._directory = directory
        self._old = old
        self._forge = forge
        self._projects = projects

    @classmethod
    def of_host(cls) -> Self:
        """Return the places on this host."""
        from wire.credentials import GATEWAY_DIRECTORY, KEY_FILE, PROJECT_DIRECTORY
        from wire.forge import TOKEN_DIRECTORY

        paths = (GATEWAY_DIRECTORY, KEY_FILE, TOKEN_DIRECTORY, PROJECT_DIRECTORY)
        return cls(*map(Path, paths))

    def of(self, agent: str | None) -> Place:
        """Return the place of the credential of `agent`, or of all agents."""
        if agent is None:
            plain = self._directory / "default"
            encrypted = plain.with_name(f"default{ENCRYPTED}")
            return Place(Purpose.ALL, None, plain, encrypted, self._old)
        return _of_agent(Purpose.AGENT, self._directory, agent)

    def of_forge(self, agent: str) -> Place:
        """Return the place of the token of `agent` in the forge."""
        return _of_agent(Purpose.FORGE, self._forge, agent)

    def of_project(self, name: str) -> Place:
        """Return the place of a credential for upstreams."""
        return self._of_projects(Purpose.PROJECT, name, name)

    def of_webhook(self, project: str) -> Place:
        """Return the place of the secret of a project's webhook."""
        return self._of_projects(Purpose.WEBHOOK, project, f"{project}{WEBHOOK}")

    def _of_projects(self, purpose: Purpose, owner: str, file: str) -> Place:
        sealed = self._projects.with_name(f"{self._projects.name}{ENCRYPTED}")
        return Place(purpose, owner, self._projects / file, sealed / file)

    def stored(self) -> list[Stored]:
        """Return the credentials that are stored: that of all agents first."""
        places = [
            self.of(None),
            *(self.of(name) for name in _agents(self._directory)),
            *(self.of_forge(name) for name in _agents(self._forge)),
            *self._stored_of_projects(),
        ]
        return [
            Stored(
                place.purpose,
                place.owner,
                file,
                file == place.encrypted,
                file.lstat().st_mtime_ns // 1000,
                at == 0,
            )
            for place in places
            for at, file in enumerate(place.files)
        ]

    def _stored_of_projects(self) -> list[Place]:
        sealed = self._projects.with_name(f"{self._projects.name}{ENCRYPTED}")
        # Our temporary files begin with a dot; systemd passes none that does.
        files = {name for name in (*_files(self._projects), *_files(sealed)) if name[0] != "."}
        return [
            self.of_webhook(name.removesuffix(WEBHOOK))
            if name.endswith(WEBHOOK)
            else self.of_project(name)
            for name in sorted(files)
        ]


def _of_agent(purpose: Purpose, folder: Path, agent: str) -> Place:
    plain = folder / "agents" / agent
    return Place(purpose, agent, plain, plain.with_name(f"{agent}{ENCRYPTED}"))


def _agents(folder: Path) -> list[str]:
    """Return the agents with a credential in `folder`."""
    names = {name.removesuffix(ENCRYPTED) for name in _files(folder / "agents")}
    # The names of agents have no dots, but our temporary files do.
    return sorted(name for name in names if "." not in name)


def _files(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()] if folder.is_dir() else []


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
        data = _encrypted(program, _systemd_name(place.purpose, place.plain.name), data)
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
    """Return whether this machine can use a credential; one that it cannot stops its units.

    Args:
        stored: the credential.
        program: decrypts it.
    """
    if not stored.encrypted:
        return True
    if program is None:
        return False
    name = _systemd_name(stored.purpose, stored.file.name)
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


def apply(place: Place) -> str:
    """Have the units use what is stored now; return the command to run if systemd did not obey.

    A gateway starts again with the next connection, and reads the credentials then. hive-projects
    is restarted if it runs: it does the fetches again that this ends.
    """
    if place.purpose.is_of_projects:
        command = ["try-restart", "--no-block", "hive-projects.service"]
    else:
        agent = "*" if place.purpose is Purpose.ALL else place.owner
        command = ["stop", "--no-block", f"hive-gateway@{agent}.service"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(["systemctl", *command], capture_output=True, timeout=ENCRYPT_SECONDS)
        if done.returncode == 0:
            return ""
    verb, _, unit = command
    return f"systemctl {verb} '{unit}'"


def _systemd_name(purpose: Purpose, file: str) -> str:
    """Return the name under which systemd decrypts a credential for its unit."""
    if purpose.is_of_projects:
        return f"projects{ENCRYPTED}_{file}"  # of a file in a directory; see systemd.exec(5)
    return f"{purpose}{ENCRYPTED}"


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
