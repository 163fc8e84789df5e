"""The credential that goes upstream in place of the client's: a systemd credential of the unit."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from services.errors import ConfigError
from wire.credentials import GATEWAY_DIRECTORY
from wire.forge import TOKEN_DIRECTORY

Auth = Literal["auto", "key", "bearer"]
"""The header of a credential: `key` is x-api-key, `bearer` is Authorization."""

TOKEN_PREFIX: Final = "sk-ant-oat"  # noqa: S105 - the beginning of all tokens, not a token
"""The beginning of the tokens that `claude setup-token` prints."""
TOKEN_BETA: Final = "oauth-2025-04-20"  # noqa: S105 - the name of a beta
"""The beta that the API wants with such a token."""

DEFAULT: Final = "default"

_IDS: Final = (
    ("own.cred", True),
    ("own", True),
    ("default.cred", False),
    ("default", False),
    ("old", False),
)
"""The systemd credentials of the unit, the one that is used first at the front, and whether each is
the agent's own."""
_FORGE_IDS: Final = ("forge.cred", "forge")
_MISSING: Final = "-"
"""The value that the unit gives to a credential whose file does not exist."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential for the upstream."""

    name: str
    """Its name in the ledger: `default`, `agent:NAME`, `scripted` or `none`."""
    secret: str = field(repr=False)

    @property
    def is_token(self) -> bool:
        """Whether it is a token of `claude setup-token`."""
        return self.secret.startswith(TOKEN_PREFIX)

    def headers(self, auth: Auth) -> Iterator[tuple[str, str]]:
        """Yield the headers that carry the credential.

        Args:
            auth: which header; `auto` decides by the credential.
        """
        if not self.secret:
            return
        if auth == "bearer" or (auth == "auto" and self.is_token):
            yield "Authorization", f"Bearer {self.secret}"
        else:
            yield "x-api-key", self.secret


SCRIPTED: Final = Credential("scripted", "scripted")
"""The credential for a scripted model, which takes any."""
NONE: Final = Credential("none", "")
"""The credential for an upstream that needs none."""


def own(agent: str, secret: str) -> Credential:
    """Return a credential that `agent` alone has; an empty `secret` is none."""
    return Credential(f"agent:{agent}", secret)


def load_forge(folder: Path | None) -> str:
    """Return the token of the agent's account in the forge; empty for none.

    Args:
        folder: the directory of the unit's credentials; None outside of systemd.

    Raises:
        ConfigError: it cannot be a token.
    """
    secrets = (_read(folder / id) for id in _FORGE_IDS) if folder is not None else ()
    return next((secret for secret in secrets if secret), "")


def load(folder: Path | None, agent: str) -> Credential | None:
    """Return the credential of `agent`, or that of all agents, or None.

    Args:
        folder: the directory of the unit's credentials; None outside of systemd.
        agent: the agent.

    Raises:
        ConfigError: it cannot be a key or a token.
    """
    for id, is_own in _IDS if folder is not None else ():
        secret = _read(folder / id) if folder is not None else ""
        if secret:
            return own(agent, secret) if is_own else Credential(DEFAULT, secret)
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
    folder = TOKEN_DIRECTORY if id in _FORGE_IDS else GATEWAY_DIRECTORY
    return ConfigError(
        f"The credential {id} in {folder} is not valid: it must be one line of "
        "printable ASCII characters without spaces. Store it again with `hivectl credentials set`."
    )
