"""The webhooks of forges: a signed one begins a fetch of its project.

The content of a webhook is not read: anybody with a copy of it may as well repeat it. So one
project is fetched at most once in PAUSE seconds for its webhooks; the last of them is never left
out.
"""

import asyncio
import binascii
import hmac
import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from services import signature
from services.seldom import Seldom
from wire.credentials import SIGNING_TOKEN
from wire.errors import AccessDenied, HiveError, LimitExceeded
from wire.records.projects import MAX_HOOK, HookHeaders

log = logging.getLogger(__name__)

PAUSE: Final = 10.0
"""Seconds between two fetches of a project that webhooks begin."""

_REFUSED: Final = (
    "There is no project of this name with a webhook, or the webhook has another secret than the "
    "one on the hive's host."
)


class Secrets(Protocol):
    """The secrets of webhooks; see credentials.py."""

    def webhook(self, project: str) -> str | None:
        """Return the secret of a project's webhook; None: there is no valid one."""


class Hooks:
    """The receiver of all webhooks."""

    def __init__(self, known: Secrets, fetch: Callable[[str], None], pause: float = PAUSE) -> None:
        """Prepare to receive webhooks.

        Args:
            known: the secrets.
            fetch: begins to fetch a project; see Projects.fetch.
            pause: see PAUSE.
        """
        self._known = known
        self._fetch = fetch
        self._pause = pause
        self._next: dict[str, float] = {}
        """The time from which on a project may be fetched again."""
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._nobody = secrets.token_hex(32)
        self._complaint = Seldom()

    def receive(self, project: str, headers: HookHeaders, body: bytes) -> None:
        """Fetch a project, if its forge has signed this.

        Args:
            project: the name in the path of the webhook; any text.
            headers: the headers that prove who has sent it.
            body: at most MAX_HOOK bytes.

        Raises:
            AccessDenied: it is not signed, or there is no such webhook.
            LimitExceeded: the body is too long.
            NotFound, Conflict: there is a webhook, and no project, or the project has no upstream.
        """
        if len(body) > MAX_HOOK:
            raise LimitExceeded(f"A webhook has at most {MAX_HOOK} bytes.")
        secret = self._known.webhook(project)
        # Without a secret, too: the time of the answer does not tell which projects there are.
        signed = is_signed(secret or self._nobody, headers, body)
        if secret is None or not signed:
            if secret is not None and self._complaint.due():
                log.warning(
                    "A webhook of %s without the right signature was refused. Does the forge have "
                    "the secret of this host?",
                    project,
                )
            raise AccessDenied(_REFUSED)
        if project in self._waiting:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= (due := self._next.get(project, 0.0)):
            self._begin(project)
        else:
            self._waiting[project] = loop.call_at(due, self._begin_later, project)

    def close(self) -> None:
        """Begin the fetches that wait: their rows say so, and the next start does them."""
        for project, handle in list(self._waiting.items()):
            handle.cancel()
            self._begin_later(project)

    def _begin(self, project: str) -> None:
        self._fetch(project)
        self._next[project] = asyncio.get_running_loop().time() + self._pause
        log.info("A webhook has come: %s is fetched.", project)

    def _begin_later(self, project: str) -> None:
        del self._waiting[project]
        try:
            self._begin(project)
        except HiveError as error:
            log.warning("A webhook has come, but %s cannot be fetched: %s", project, error)


def is_signed(secret: str, headers: HookHeaders, body: bytes) -> bool:
    """Return whether a webhook proves that its sender knows `secret`.

    Forgejo, Gitea and GitHub sign the body. GitLab sends the secret itself, or signs the body with
    the time if the secret begins with `whsec_`. An old time is not refused: a repetition does no
    harm.
    """
    if secret.startswith(SIGNING_TOKEN):
        return _is_signed_with_time(secret.removeprefix(SIGNING_TOKEN), headers, body)
    if headers.x_gitlab_token is not None:
        given = headers.x_gitlab_token.encode(errors="replace")
        return hmac.compare_digest(given, secret.encode())
    return signature.is_signed(secret.encode(), _named(headers), body)


def _is_signed_with_time(key: str, headers: HookHeaders, body: bytes) -> bool:
    try:
        secret = b64decode(key, validate=True)
    except binascii.Error:
        return False
    text = f"{headers.webhook_id}.{headers.webhook_timestamp}.".encode() + body
    wanted = f"v1,{b64encode(hmac.digest(secret, text, 'sha256')).decode()}".encode()
    # While a secret is replaced, there is one for each of the two.
    given = (headers.webhook_signature or "").encode(errors="replace").split(b" ")
    return any(hmac.compare_digest(one, wanted) for one in given)


def _named(headers: HookHeaders) -> Mapping[str, str]:
    """Return the headers by their names in lower case."""
    return {name.replace("_", "-"): value or "" for name, value in headers._asdict().items()}
