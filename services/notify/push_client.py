"""One notification to one browser, through its push service (RFC 8030, 8291 and 8292).

The push service learns when something is sent, and how much. It cannot read or change the text,
which only the browser can decrypt. Neither the address nor the keys ever get into a log.
"""

import asyncio
import json
import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02

from services.notify.notification import Notification
from services.notify.webhook_client import Attempt, Outcome, attempt_of, failed_attempt
from wire.records.dashboard import PushTarget

MAX_PAYLOAD: Final = 3000
"""Bytes of the text of a notification; push services take 4096 with the encryption."""

TTL_SECONDS: Final = 24 * 3600
"""The time for which a push service keeps a notification for a browser that is offline."""

SIGNED_SECONDS: Final = 12 * 3600

GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class PushClient:
    """Sends to one browser."""

    def __init__(
        self,
        target: PushTarget,
        key: str,
        session: aiohttp.ClientSession,
        *,
        contact: str,
        timeout: float,
        gone: Callable[[int], Awaitable[None]],
    ) -> None:
        """Prepare the requests.

        Args:
            target: the browser.
            key: the private key that signs requests, in base64url.
            session: sends the requests.
            contact: the address of whoever runs the hive, as `mailto:` or https.
            timeout: seconds for one request, from the name's lookup to the answer.
            gone: called with the id of a browser that its push service does not know any more.
        """
        self._target = target
        self._key = key
        self._session = session
        self._contact = contact
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._gone = gone

    async def post(self, notification: Notification) -> Attempt:
        """Send once. Every failure is an outcome; only CancelledError is raised."""
        try:
            body, headers = self._request(notification)
        except (ValueError, http_ece.ECEException) as error:
            return Attempt(Outcome.REJECTED, f"its keys are not valid ({type(error).__name__})")
        try:
            async with self._session.post(
                self._target.endpoint,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                status, after = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            return Attempt(Outcome.RETRY, f"it did not answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return failed_attempt(error)
        if status in GONE:
            await self._gone(self._target.id)
            return Attempt(Outcome.REJECTED, "the browser has ended its subscription")
        return attempt_of(status, after)

    def _request(self, notification: Notification) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of the request."""
        private = ec.generate_private_key(ec.SECP256R1())
        body: bytes = http_ece.encrypt(
            payload(notification),
            salt=os.urandom(16),
            private_key=private,
            dh=_bytes(self._target.p256dh),
            auth_secret=_bytes(self._target.auth),
            version="aes128gcm",
        )
        parts = urlsplit(self._target.endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "sub": self._contact,
            "exp": int(time.time()) + SIGNED_SECONDS,
        }
        signed: dict[str, str] = Vapid02.from_raw(self._key.encode()).sign(claims)
        return body, {
            **signed,
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(TTL_SECONDS),
            "Urgency": "normal" if notification.event == "message" else "high",
            # A later notification about the same thing takes the place of one that waits.
            "Topic": notification.key[:32],
        }


def payload(notification: Notification) -> bytes:
    """Return a notification as JSON for the page's worker, cut to what push services take."""
    text = notification.text
    while True:
        data = json.dumps(
            {
                "event": notification.event,
                "number": notification.number,
                "title": notification.title,
                "text": text,
                "choices": notification.choices,
                "at": notification.at,
            },
            ensure_ascii=False,
        ).encode()
        if len(data) <= MAX_PAYLOAD or not text:
            return data
        text = f"{text[: len(text) * 2 // 3].rstrip('…')}…" if len(text) > 2 else ""


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
