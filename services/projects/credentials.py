"""The keys and tokens for upstream, and the secrets of webhooks, which systemd has passed to this
unit alone.

git and ssh read the files by their paths: no secret is in an argument, a variable, a configuration
or a log.
"""

import logging
from enum import StrEnum
from pathlib import Path
from typing import Final

from services import credentials
from services.errors import ConfigError
from services.seldom import Seldom
from wire.credentials import (
    ENCRYPTED,
    MIN_WEBHOOK_SECRET,
    PROJECT_CREDENTIAL,
    SIGNING_TOKEN,
    WEBHOOK,
)
from wire.errors import InvalidArgument, NotFound
from wire.names import PROJECT_NAME

log = logging.getLogger(__name__)

PREFIX: Final = "projects_"
"""The beginning of the names of files, as systemd makes them."""
DECRYPTED: Final = f"projects{ENCRYPTED}_"
"""The beginning of the names of those that were encrypted, which count first."""

_KEY: Final = b"-----BEGIN "


class CredentialKind(StrEnum):
    """The kinds of credentials."""

    KEY = "private key of ssh"
    TOKEN = "token"  # noqa: S105 - the name of a kind
    APP = "GitHub App"


class Credentials:
    """The credentials of the unit."""

    def __init__(self, folder: Path | None) -> None:
        """Use those that systemd has passed in `folder`; None: it has passed none."""
        self._folder = folder or Path("/nonexistent")
        self._complaint = Seldom()

    def find(self, name: str) -> tuple[Path, CredentialKind]:
        """Return the file of a credential, and its kind.

        Raises:
            InvalidArgument: it is not a valid name, or the file is none of the kinds.
            NotFound: systemd has passed no such credential.
        """
        if not PROJECT_CREDENTIAL.fullmatch(name):
            raise InvalidArgument(
                f"{name[:40]!r} is not a valid name of a credential: use at most 32 lower-case "
                "letters, digits and hyphens."
            )
        path = self._file(name)
        try:
            with path.open("rb") as file:
                start = file.read(len(_KEY))
        except FileNotFoundError:
            raise NotFound(
                f"The service has no credential {name}. As root, store the private key or the "
                f"token: `hivectl credentials set --project {name}`."
            ) from None
        except OSError as error:
            raise InvalidArgument(
                f"The credential {name} cannot be read: {error.strerror}."
            ) from None
        if start == _KEY:
            return path, CredentialKind.KEY
        if start.startswith(b"{"):
            return path, CredentialKind.APP
        try:
            credentials.token(path, f"The credential {name}")
        except ConfigError as error:
            raise InvalidArgument(f"{error} A private key of ssh begins with -----BEGIN.") from None
        return path, CredentialKind.TOKEN

    def webhook(self, project: str) -> str | None:
        """Return the secret of the webhook of a project; None: it has none, or no valid one.

        Args:
            project: the name of a project, or any other text.
        """
        if not PROJECT_NAME.fullmatch(project):
            return None
        source = f"The secret of the webhook of {project}"
        try:
            found = credentials.token(self._file(f"{project}{WEBHOOK}"), source)
        except ConfigError as error:
            self._complain(str(error))
            return None
        if found is not None and len(found.removeprefix(SIGNING_TOKEN)) < MIN_WEBHOOK_SECRET:
            self._complain(
                f"{source} is too short: anybody could guess it. Store at least "
                f"{MIN_WEBHOOK_SECRET} random characters, such as those of `openssl rand -hex 32`."
            )
            return None
        return found

    def _complain(self, reason: str) -> None:
        if self._complaint.due():
            log.warning("%s", reason)

    def _file(self, name: str) -> Path:
        decrypted = self._folder / f"{DECRYPTED}{name}"
        return decrypted if decrypted.exists() else self._folder / f"{PREFIX}{name}"
