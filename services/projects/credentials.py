"""The keys and tokens for upstream, which systemd has passed to this unit alone.

git and ssh read the files by their paths: no secret is in an argument, a variable, a configuration
or a log.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from services import credentials
from services.errors import ConfigError
from wire.errors import InvalidArgument, NotFound

DIRECTORY: Final = "/etc/hyperhive/credentials/projects"
"""The directory from which systemd takes them."""
PREFIX: Final = "projects_"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_KEY: Final = b"-----BEGIN "


class CredentialKind(StrEnum):
    """The kinds of credentials."""

    KEY = "private key of ssh"
    TOKEN = "token"  # noqa: S105 - the name of a kind


class Credentials:
    """The credentials of the unit."""

    def __init__(self, folder: Path | None) -> None:
        """Use those that systemd has passed in `folder`; None: it has passed none."""
        self._folder = folder

    def find(self, name: str) -> tuple[Path, CredentialKind]:
        """Return the file of a credential, and its kind.

        Raises:
            InvalidArgument: it is not a valid name, or the file is neither a key nor a token.
            NotFound: systemd has passed no such credential.
        """
        if not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"{name[:40]!r} is not a valid name of a credential: use at most 32 lower-case "
                "letters, digits and hyphens."
            )
        path = (self._folder or Path("/nonexistent")) / f"{PREFIX}{name}"
        try:
            with path.open("rb") as file:
                start = file.read(len(_KEY))
        except FileNotFoundError:
            raise NotFound(
                f"The service has no credential {name}. As root, write the private key or the "
                f"token into the file {DIRECTORY}/{name}, with mode 0600; then run: systemctl "
                "restart hive-projects"
            ) from None
        except OSError as error:
            raise InvalidArgument(
                f"The credential {name} cannot be read: {error.strerror}."
            ) from None
        if start == _KEY:
            return path, CredentialKind.KEY
        try:
            credentials.token(path, f"{DIRECTORY}/{name}")
        except ConfigError as error:
            raise InvalidArgument(f"{error} A private key of ssh begins with -----BEGIN.") from None
        return path, CredentialKind.TOKEN
