"""One request to one webhook. Neither the address nor the token ever gets into a log."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from services.config import Webhook
from services.notify.notification import Notification

MAX_RETRY_AFTER: Final = 3600.0
"""The longest wait, in seconds, that a webhook may ask for."""

_BAD_POST: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Statuses that reject this one post; a repetition would get the same answer."""


class Outcome(Enum):
    """The outcome of one attempt."""

    DELIVERED = auto()
    REJECTED = auto()
    """The webhook will never accept this post."""
    RETRY = auto()
    """The webhook is down or set up wrongly; the post stays pending."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: its outcome, the reason for the operator, and the seconds to wait at least."""

    outcome: Outcome
    reason: str = ""
    retry_after: float = 0.0


class WebhookClient:
    """Posts to one webhook."""

    def __init__(
        self,
        webhook: Webhook,
        token: str | None,
        session: aiohttp.ClientSession,
        *,
        host: str,
        page: str | None,
        timeout: float,
    ) -> None:
        """Prepare the requests.

        Args:
            webhook: the webhook's settings.
            token: the bearer token, if the webhook has one.
            session: sends the requests.
            host: the name of this host, which each post mentions.
            page: the address of the dashboard, if it has one that works elsewhere.
            timeout: seconds for one request, from the name's lookup to the answer.
        """
        self._webhook = webhook
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = session
        self._host = host
        self._page = page
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def post(self, notification: Notification) -> Attempt:
        """Post once. Every failure is an outcome; only CancelledError is raised."""
        url, body, headers = self._request(notification)
        try:
            async with self._session.post(
                url,
                json=body,
                headers={**headers, **self._headers},
                timeout=self._timeout,
                allow_redirects=False,  # a redirect would get the token
            ) as response:
                return attempt_of(response.status, response.headers.get("Retry-After", ""))
        except TimeoutError:
            return Attempt(Outcome.RETRY, f"it did not answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return failed_attempt(error)

    def _request(
        self, notification: Notification
    ) -> tuple[str, Mapping[str, object], Mapping[str, str]]:
        """Return address, body and headers of the request."""
        text = notification.text if self._webhook.details else ""
        if self._webhook.type == "ntfy":
            return self._ntfy_request(notification, text)
        at = datetime.fromtimestamp(notification.at / 1e6, UTC)
        body = {
            "id": notification.key,
            "event": notification.event,
            "host": self._host,
            "title": notification.title,
            "text": text,
            "at": at.isoformat(timespec="seconds"),
            **({"url": self._page} if self._page else {}),
        }
        return self._webhook.url, body, {}

    def _ntfy_request(
        self, notification: Notification, text: str
    ) -> tuple[str, Mapping[str, object], Mapping[str, str]]:
        """Return a request of ntfy's JSON interface: its headers could not carry every text."""
        parts = urlsplit(self._webhook.url)
        parent, _, topic = parts.path.rstrip("/").rpartition("/")
        body = {
            "topic": topic,
            "title": f"{self._host}: {notification.title}",
            "message": text or notification.title,
            "priority": 4 if notification.event in ("crash", "deploy-failed") else 3,
            "tags": [notification.event],
            **({"click": self._page} if self._page else {}),
        }
        # Servers that know this header show a repeated post once; others ignore it.
        return (
            urlunsplit(parts._replace(path=f"{parent}/")),
            body,
            {"X-Sequence-ID": notification.key},
        )


def attempt_of(status: int, retry_after: str) -> Attempt:
    """Return the attempt that was answered with a status and the header `Retry-After`."""
    if 200 <= status < 300:
        return Attempt(Outcome.DELIVERED)
    if 300 <= status < 400:
        return Attempt(Outcome.RETRY, f"it answered {status}, and redirects are not followed")
    outcome = Outcome.REJECTED if status in _BAD_POST else Outcome.RETRY
    wait = min(float(retry_after), MAX_RETRY_AFTER) if retry_after.isdecimal() else 0.0
    return Attempt(outcome, f"it answered {status}", wait)


def failed_attempt(error: BaseException) -> Attempt:
    """Return the attempt that had no answer.

    The texts of such errors contain the address, so only their kind is told.
    """
    return Attempt(Outcome.RETRY, f"it cannot be reached ({_kind(error)})")


def _kind(error: BaseException) -> str:
    """Return the reason of a failure without the address."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)
    return type(error).__name__
