"""One request to one webhook. Neither its address nor its token ever gets into a log."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from services.config import Webhook
from services.notify.news import News

LONGEST_WAIT: Final = 3600.0
"""Seconds for which a webhook may ask us to wait, at most."""

_OURS: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Answers that blame this one post; the same again would get the same."""


class Verdict(Enum):
    """What became of a request."""

    TAKEN = auto()
    REFUSED = auto()
    """This post is not wanted, whenever it comes."""
    LATER = auto()
    """The webhook is not there, or not set up as it should be; the post must wait."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, why in words for the operator, and for how many seconds not to come again."""

    verdict: Verdict
    reason: str = ""
    wait: float = 0.0


class Sender:
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
        """`host` is how this host is called, `page` the address of the dashboard.

        `timeout` in seconds is for one request, from the look-up of the name to the answer.
        """
        self._webhook = webhook
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = session
        self._host = host
        self._page = page
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    async def post(self, news: News) -> Outcome:
        """Post it once. What goes wrong is in the answer; it raises nothing but CancelledError."""
        url, body, headers = self._request(news)
        try:
            async with self._session.post(
                url,
                json=body,
                headers={**headers, **self._headers},
                timeout=self._timeout,
                allow_redirects=False,  # the token would go along to wherever it says
            ) as response:
                return _outcome(response.status, response.headers.get("Retry-After", ""))
        except TimeoutError:
            return Outcome(Verdict.LATER, f"it did not answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            # Their texts have the address in them.
            return Outcome(Verdict.LATER, f"it cannot be reached ({_kind(error)})")

    def _request(self, news: News) -> tuple[str, Mapping[str, Any], Mapping[str, str]]:
        text = news.text if self._webhook.details else ""
        if self._webhook.type == "ntfy":
            return self._ntfy(news, text)
        at = datetime.fromtimestamp(news.at / 1e6, UTC)
        body = {
            "id": news.key,
            "event": news.event,
            "host": self._host,
            "title": news.title,
            "text": text,
            "at": at.isoformat(timespec="seconds"),
            **({"url": self._page} if self._page else {}),
        }
        return self._webhook.url, body, {}

    def _ntfy(self, news: News, text: str) -> tuple[str, Mapping[str, Any], Mapping[str, str]]:
        """As JSON to the server: a text in a header could not be any text."""
        parts = urlsplit(self._webhook.url)
        above, _, topic = parts.path.rstrip("/").rpartition("/")
        body = {
            "topic": topic,
            "title": f"{self._host}: {news.title}",
            "message": text or news.title,
            "priority": 4 if news.event in ("crash", "deploy-failed") else 3,
            "tags": [news.event],
            **({"click": self._page} if self._page else {}),
        }
        # Servers that know it show what comes twice once; others do not look at it.
        return (
            urlunsplit(parts._replace(path=f"{above}/")),
            body,
            {"X-Sequence-ID": news.key},
        )


def _outcome(status: int, retry_after: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome(Verdict.TAKEN)
    if 300 <= status < 400:
        return Outcome(Verdict.LATER, f"it answered {status}, and redirects are not followed")
    verdict = Verdict.REFUSED if status in _OURS else Verdict.LATER
    wait = min(float(retry_after), LONGEST_WAIT) if retry_after.isdecimal() else 0.0
    return Outcome(verdict, f"it answered {status}", wait)


def _kind(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)
    return type(error).__name__
