"""The credential that goes upstream in place of the client's: a systemd credential of the unit."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from services.errors import ConfigError
from wire.credentials import GATEWAY_DIRECTORY

Auth = Literal["auto", "key", "bearer"]

TOKEN_PREFIX: Final = "sk-ant-oat"  # noqa: S105 - the beginning of all tokens, not a token
"""The beginning of the tokens that `claude setup-token` prints."""
TOKEN_BETA: Final = "oauth-2025-04-20"  # noqa: S105 - the name of a beta
"""The beta that the API wants with such a token."""

DEFAULT: Final = "default"
SCRIPTED_NAME: Final = "scripted"
NONE_NAME: Final = "none"

_IDS: Final = (
    ("own.cred", True),
    ("own", True),
    ("default.cred", False),
    ("default", False),
    ("old", False),
)
"""The systemd credentials of the unit, the one that is used first at the front, and whether each is
the agent's own."""
_MISSING: Final = "-"
"""The value that the unit gives to a credential whose file does not exist."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential for the upstream."""

    name: str
    """Its name in the ledger: `default`, `agent:NAME` or `scripted`."""
    secret: str = field(repr=False)
    bearer: bool = False
    """Whether it goes into the header Authorization, not into x-api-key."""

    def headers(self) -> Iterator[tuple[str, str]]:
        """Yield the headers that carry the credential."""
        if self.bearer:
            yield "Authorization", f"Bearer {self.secret}"
        else:
            yield "x-api-key", self.secret

    @property
    def beta(self) -> str:
        """The beta that a request with this credential needs, or ""."""
        return TOKEN_BETA if self.bearer and self.secret.startswith(TOKEN_PREFIX) else ""


SCRIPTED: Final = Credential(SCRIPTED_NAME, "scripted")
"""The credential for a scripted model, which takes any."""


def load(folder: Path | None, agent: str, auth: Auth) -> Credential | None:
    """Return the credential of `agent`, or that of all agents, or None.

    Args:
        folder: the directory of the unit's credentials; None outside of systemd.
        agent: the agent.
        auth: the header in which it goes.

    Raises:
        ConfigError: it cannot be a key or a token.
    """
    for id, own in _IDS if folder is not None else ():
        secret = _read(folder / id) if folder is not None else ""
        if secret:
            bearer = auth == "bearer" or (auth == "auto" and secret.startswith(TOKEN_PREFIX))
            return Credential(f"agent:{agent}" if own else DEFAULT, secret, bearer)
    return None


def _read(path: Path) -> str:
    """Return the secret in `path`, or "" when the file is missing or empty."""
    try:
        secret = path.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise _invalid(path.name) from None
    if secret == _MISSING:
        return ""
    if secret and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise _invalid(path.name)
    return secret


def _invalid(id: str) -> ConfigError:
    return ConfigError(
        f"The credential {id} in {GATEWAY_DIRECTORY} is not valid: it must be one line of "
        "printable ASCII characters without spaces. Store it again with `hivectl credentials set`."
    )
