"""The keys and tokens for upstream, and the secrets of webhooks, which systemd has passed to this
unit alone.

git and ssh read the files by their paths: no secret is in an argument, a variable, a configuration
or a log.
"""

import logging
import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from services import credentials
from services.errors import ConfigError
from wire import names
from wire.errors import InvalidArgument, NotFound

log = logging.getLogger(__name__)

DIRECTORY: Final = "/etc/hyperhive/credentials/projects"
"""The directory from which systemd takes them."""
PREFIX: Final = "projects_"
STANDARD: Final = "whsec_"
"""The beginning of a secret of the Standard Webhooks, which newer versions of GitLab make."""
WEBHOOK: Final = ".webhook"
"""The end of the name of a file with the secret of a webhook: no credential for upstream has it."""
MIN_SECRET: Final = 16
"""The characters of the secret of a webhook, at least: anybody may try to guess it."""

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
        path = self._file(name)
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

    def webhook(self, project: str) -> str | None:
        """Return the secret of the webhook of a project; None: it has none, or no valid one.

        Args:
            project: the name of a project, or any other text.
        """
        if not names.PROJECT_NAME.fullmatch(project):
            return None
        source = f"{DIRECTORY}/{project}{WEBHOOK}"
        try:
            found = credentials.token(self._file(f"{project}{WEBHOOK}"), source)
        except ConfigError as error:
            log.warning("%s", error)
            return None
        if found is not None and len(found.removeprefix(STANDARD)) < MIN_SECRET:
            log.warning(
                "%s is too short: anybody could guess it. Store at least %d random characters, "
                "such as those of `openssl rand -hex 32`.",
                source,
                MIN_SECRET,
            )
            return None
        return found

    def _file(self, name: str) -> Path:
        return (self._folder or Path("/nonexistent")) / f"{PREFIX}{name}"
