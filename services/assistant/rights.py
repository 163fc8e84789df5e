"""The rights of a token, and the tokens that systemd has passed as credentials.

A file of CREDENTIALS has the name of a client, and says in JSON which token the client has and what
the token allows. It has the hash of the token only, so that whoever reads it cannot use it.
"""

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.errors import ConfigError
from wire.credentials import ASSISTANT_DIRECTORY, AssistantRight

PREFIX: Final = "assistant_"
"""The beginning of the names of the credentials, which systemd makes of that of the directory."""


class _File(BaseModel):
    """The content of the file of a client."""

    model_config = ConfigDict(extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rights: tuple[AssistantRight, ...] = ()
    created: int = 0


class Client(NamedTuple):
    """An assistant that has a token."""

    name: str
    rights: frozenset[AssistantRight]
    """The rights in addition to that to read."""


class Tokens:
    """The tokens, by their hashes."""

    def __init__(self, clients: Iterable[tuple[str, Client]]) -> None:
        """Know each client by the SHA-256 of its token, in hexadecimal digits."""
        self._clients = list(clients)

    @classmethod
    def load(cls, folder: Path | None) -> "Tokens":
        """Read the credentials of the unit; there are none without a directory.

        Raises:
            ConfigError: a file is not that of a client.
        """
        found = []
        for path in sorted(folder.glob(f"{PREFIX}*")) if folder else ():
            name = path.name.removeprefix(PREFIX)
            try:
                file = _File.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                raise ConfigError(
                    f"{ASSISTANT_DIRECTORY}/{name} is not the file of a token. Remove it with "
                    f"`hivectl assistant revoke {name}`, and make a token anew."
                ) from error
            found.append((file.sha256, Client(name, frozenset(file.rights))))
        return cls(found)

    def client(self, token: str) -> Client | None:
        """Return the client that has a token; None for a text that is none."""
        digest = sha256(token.encode(errors="surrogatepass")).hexdigest()
        found = None
        for known, client in self._clients:
            if hmac.compare_digest(known, digest):
                found = client
        return found
