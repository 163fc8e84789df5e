"""The browsers that want notifications although no page is open (Web Push). Knows no HTTP.

This service has no network: hive-notify asks it for the targets, and sends. A target belongs to a
session and ends with it. The key that signs the requests to push services is made here, too: a
browser wants its public half when it subscribes.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from services.config import PUSHED, Event
from services.dashboard.http import kept
from wire.errors import InvalidArgument
from wire.records.dashboard import PushTarget

MAX_TARGETS: Final = 64
MAX_ENDPOINT: Final = 2000
VERSION: Final = 1


_ENDPOINT: Final = re.compile(r"https://[a-z0-9.-]+(:443)?/[!-\[\]-~]*")
"""The form of the addresses that push services give to browsers: without user, and no `\\`."""


class _Target(kept.Kept):
    """A browser."""

    id: int
    session: str
    """The key of the session."""
    endpoint: str
    p256dh: str
    auth: str
    events: list[str]

    @property
    def values(self) -> tuple[str, str, str, str]:
        """The session, and what the browser has said about itself."""
        return self.session, self.endpoint, self.p256dh, self.auth


class _Stored(kept.Kept):
    """The file; `key` is the private key, in base64url, and empty before its first use."""

    version: Literal[1]
    key: str = ""
    last_id: int = 0
    targets: list[_Target] = Field(default_factory=list)


class PushTargets:
    """The targets, in one file."""

    def __init__(
        self, path: Path, services: Collection[str], is_valid: Callable[[str], bool]
    ) -> None:
        """Read the file, if it exists.

        Args:
            path: the file.
            is_valid: whether the session with a key is valid.
            services: the hosts of push services to which requests may be sent, `*.` for all below.

        Raises:
            CorruptStore: the file is damaged; it is left as it is.
        """
        self._path = path
        self._services = services
        self._is_valid = is_valid
        self._stored = kept.read(
            path,
            _Stored,
            what="file of notifications",
            lost="Only the notifications of browsers are lost: turn them on again in the settings.",
        ) or _Stored(version=VERSION)
        self.on_changed: Callable[[], None] = lambda: None
        """Called when there are other targets."""

    def public_key(self) -> str:
        """Return the public key as browsers want it; make the pair if there is none."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        if not self._stored.key:
            made = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
            self._stored.key = _text(made.to_bytes(32))
            kept.write(self._path, self._stored)
        private = ec.derive_private_key(int.from_bytes(_bytes(self._stored.key)), ec.SECP256R1())
        return _text(
            private.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
        )

    def private_key(self) -> str:
        """Return the private key in base64url; empty before its first use."""
        return self._stored.key

    def events_of(self, session: str) -> list[str] | None:
        """Return the events of which the browser of a session wants to know; None: no target."""
        found = next((one for one in self._stored.targets if one.session == session), None)
        return None if found is None else found.events

    def targets(self) -> list[PushTarget]:
        """Return the targets whose sessions are valid, the oldest first."""
        return [
            PushTarget(one.id, one.endpoint, one.p256dh, one.auth, one.events)
            for one in self._stored.targets
            if self._is_valid(one.session)
        ]

    def set(self, session: str, endpoint: str, p256dh: str, auth: str, events: list[Event]) -> None:
        """Make the browser of a session a target, in place of an earlier one.

        Raises:
            InvalidArgument: the endpoint is none of a push service, or a key is not valid.
        """
        self._check(endpoint, p256dh, auth)
        self.public_key()  # a target without a key could not be told anything
        stored, values = self._stored, (session, endpoint, p256dh, auth)
        wanted: list[str] = [event for event in PUSHED if event in events]
        known = next((one for one in stored.targets if one.endpoint == endpoint), None)
        if known is not None and (known.values, known.events) == (values, wanted):
            return  # each page says so when it opens
        if known is None:
            stored.last_id += 1
        made = _Target(
            id=stored.last_id if known is None else known.id,
            session=session,
            endpoint=endpoint,
            p256dh=p256dh,
            auth=auth,
            events=wanted,
        )
        left = [one for one in stored.targets if one is not known and one.session != session]
        stored.targets = [*left, made][-MAX_TARGETS:]
        self._changed()

    def end(self, session: str) -> None:
        """Forget the target of a session, if it has one."""
        self._keep([one for one in self._stored.targets if one.session != session])

    def forget(self, number: int) -> None:
        """Forget a target that its push service does not know any more."""
        self._keep([one for one in self._stored.targets if one.id != number])

    def _keep(self, left: list[_Target]) -> None:
        if len(left) < len(self._stored.targets):
            self._stored.targets = left
            self._changed()

    def _changed(self) -> None:
        kept.write(self._path, self._stored)
        self.on_changed()

    def _check(self, endpoint: str, p256dh: str, auth: str) -> None:
        try:
            parts = urlsplit(endpoint)
            host = parts.hostname or ""
        except ValueError:
            host = ""
        # Others may parse what is not plain in another way, and find another host.
        fits = _ENDPOINT.fullmatch(endpoint)
        if not fits or not any(_matches(host, service) for service in self._services):
            raise InvalidArgument(
                f"{host[:100] or 'This'} is not a known push service. If your browser uses it, add "
                "it to dashboard.push_services in /etc/hyperhive/hyperhive.toml."
            )
        try:
            lengths = len(_bytes(p256dh)), len(_bytes(auth))
        except ValueError:
            lengths = 0, 0
        if lengths != (65, 16):
            raise InvalidArgument("The browser's keys for notifications are not valid.")


def _matches(host: str, service: str) -> bool:
    if service.startswith("*."):
        return host.endswith(service[1:])
    return host == service


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
