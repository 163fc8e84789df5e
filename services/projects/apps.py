"""Tokens of GitHub Apps: an app proves itself with its private key, and gets a token for an hour.

The token is good for one repository. git reads it from a file in the memory of the host, as it
reads the tokens that the operator has stored.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from services.egress import Address
from services.projects.rest import Answer
from services.projects.sources import Source
from wire.credentials import GithubApp
from wire.errors import InvalidArgument, Unavailable

MARGIN: Final = 1800.0
"""Seconds for which a token must be valid when git begins; a new one is valid for an hour."""
PROOF_SECONDS: Final = 540
"""Seconds for which the proof of an app is valid; GitHub takes at most 600."""
SKEW_SECONDS: Final = 60
"""Seconds by which the clock of this host may be ahead of GitHub's."""

_TOO_MANY: Final = 429
_BROKEN: Final = 500
"""The first of the statuses of a server that is out of order."""
_CLOUD: Final = "github.com"
_TENANTS: Final = ".ghe.com"
_HEADERS: Final = {
    "Accept": "application/vnd.github+json",
    "User-Agent": "hyperhive",
    "X-GitHub-Api-Version": "2022-11-28",
}

Find = Callable[[Source], Awaitable[Sequence[Address]]]
"""Returns the checked addresses of the host of a source; see access.py."""


class Client(Protocol):
    """A client of REST APIs; see rest.py."""

    async def request(
        self,
        method: str,
        url: str,
        addresses: Sequence[Address],
        *,
        headers: dict[str, str],
        body: object = None,
    ) -> Answer:
        """Make one request."""


class _Token(NamedTuple):
    file: Path
    expires: float
    """Seconds since 1970."""


class Apps:
    """The tokens of all apps."""

    def __init__(self, folder: Path, client: Client, now: Callable[[], float] = time.time) -> None:
        """Keep the tokens in `folder`, which only this service may read.

        Args:
            folder: a directory in memory; it is made with the first token.
            client: makes the requests.
            now: returns the seconds since 1970.
        """
        self._folder = folder
        self._client = client
        self._now = now
        self._tokens: dict[tuple[Path, str], _Token] = {}

    async def token(self, credential: Path, source: Source, find: Find) -> Path:
        """Return the file with a token for a repository that is valid for MARGIN at least.

        Args:
            credential: the file with the app and its private key.
            source: the repository, over https.
            find: returns the addresses of the host of the API.

        Raises:
            InvalidArgument: the credential or the repository cannot be used, or GitHub refuses
                the app.
            Unavailable: GitHub cannot be reached or is out of order, or the token cannot be kept.
        """
        app = _read(credential)
        known = self._tokens.get((credential, source.text))
        if known and known.expires - self._now() >= MARGIN and known.file.exists():
            return known.file
        token, expires = await self._ask(app, source, find)
        name = hashlib.sha256(f"{credential} {source.text}".encode()).hexdigest()
        kept = _Token(self._write(name, token), expires)
        self._tokens[credential, source.text] = kept
        return kept.file

    async def _ask(self, app: GithubApp, source: Source, find: Find) -> tuple[str, float]:
        """Return a new token, and when it ends."""
        owner, repository = _repository(source)
        api = _api(source)
        addresses = await find(api)
        proof = _proof(app, int(self._now()))

        async def ask(method: str, path: str, body: object = None) -> Any:
            headers = {**_HEADERS, "Authorization": f"Bearer {proof}"}
            url = f"{api.text}{path}"
            answer = await self._client.request(method, url, addresses, headers=headers, body=body)
            if answer.status in (200, 201) and isinstance(answer.content, dict):
                return answer.content
            if answer.status == _TOO_MANY or answer.status >= _BROKEN:
                raise Unavailable(
                    f"{api.host} answers {answer.status} to the GitHub App: it is overloaded or "
                    "out of order. Try again later."
                )
            raise InvalidArgument(_refusal(answer.status, api, f"{owner}/{repository}"))

        place = f"/repos/{quote(owner)}/{quote(repository)}/installation"
        installation = (await ask("GET", place)).get("id")
        if not isinstance(installation, int):
            raise Unavailable(f"{api.host} does not answer as GitHub does.")
        made = await ask(
            "POST",
            f"/app/installations/{installation}/access_tokens",
            {"repositories": [repository]},
        )
        token, ends = made.get("token"), _seconds(made.get("expires_at"))
        if not isinstance(token, str) or not _is_plain(token) or ends is None:
            raise Unavailable(f"{api.host} does not answer as GitHub does.")
        return token, ends

    def _write(self, name: str, token: str) -> Path:
        file = self._folder / name
        beside = file.with_name(f"{name}.{secrets.token_hex(4)}")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            writing = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(writing, "w") as made:
                made.write(token)
            beside.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise Unavailable(f"A token cannot be kept: {error.strerror}.") from None
        return file


def _read(credential: Path) -> GithubApp:
    try:
        return GithubApp.parse(credential.read_text())
    except (OSError, ValueError):
        raise InvalidArgument(
            "The credential is not one of a GitHub App. Store it again: hivectl credentials set "
            "--project CREDENTIAL --github-app ID"
        ) from None


def _repository(source: Source) -> tuple[str, str]:
    """Return the owner and the name of a repository of GitHub."""
    parts = unquote(urlsplit(source.text).path).strip("/").split("/")
    if len(parts) != 2 or not all(parts):
        raise InvalidArgument(
            f"{source.text} is not a repository of GitHub, which is https://HOST/OWNER/NAME. Name "
            "another credential, or another source."
        )
    return parts[0], parts[1].removesuffix(".git")


def _api(source: Source) -> Source:
    """Return the beginning of the addresses of the API for a repository, as a source."""
    host = str(source.host)
    if host == _CLOUD or host.endswith(_TENANTS):
        return source._replace(text=f"https://api.{host}", host=f"api.{host}", user="")
    parts = urlsplit(source.text)
    place = parts.netloc.rpartition("@")[2]
    return source._replace(text=f"https://{place}/api/v3", user="")


def _proof(app: GithubApp, now: int) -> str:
    """Return the JSON web token (RS256) by which an app proves that it has its key."""
    # Imported here: few hives need it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(app.key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidArgument(
            "The private key of the GitHub App is not one of RSA, as GitHub makes."
        )
    claims = {"iat": now - SKEW_SECONDS, "exp": now + PROOF_SECONDS, "iss": app.id}
    head = {"alg": "RS256", "typ": "JWT"}
    text = b".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((text, _encoded(signature))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _refusal(status: int, api: Source, repository: str) -> str:
    if status == 401:
        return (
            f"{api.host} does not accept the GitHub App: its id or its key is wrong, or the clock "
            "of this host is."
        )
    if status == 404:
        return (
            f"{api.host} has no repository {repository} on which the GitHub App is installed. "
            "Install the app there, in its settings on GitHub."
        )
    return f"{api.host} answers {status} to the GitHub App, and gives no token."


def _seconds(text: object) -> float | None:
    """Return a time of GitHub in seconds since 1970."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC).timestamp()
    except ValueError:
        return None


def _is_plain(token: str) -> bool:
    """Whether git's helper passes a token on as it is: it must be one line."""
    return 0 < len(token) <= 4096 and token.isascii() and token.isprintable()
