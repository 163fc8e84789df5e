"""The rules: from the request of a forge to messages to the agents that its event concerns."""

import asyncio
import logging
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Final, Protocol

from services import signature
from services.config import ForgeConfig
from services.forge import events, payload, texts
from services.forge.bounds import Bounds, Verdict
from services.forge.events import Event, Reason
from services.forge.http import Refused, Request
from services.forge.replays import Replays
from services.seldom import Seldom
from wire.errors import HiveError, LimitExceeded, NotFound

log = logging.getLogger(__name__)

PATH: Final = "/hooks/forge"
_JSON: Final = "application/json"


class Broker(Protocol):
    """The part of the broker that the forge uses."""

    async def send(self, agent: str, body: str, dedupe_key: str) -> None:
        """Send a message to an agent; the same key twice is delivered once.

        Raises:
            NotFound: there is no such agent.
            HiveError: the broker does not take it.
        """


class Forge:
    """The receiver of the events of one forge."""

    def __init__(
        self,
        config: ForgeConfig,
        secret: str,
        replays: Replays,
        broker: Broker,
        bounds: Bounds | None = None,
    ) -> None:
        """Put the rules together.

        Args:
            config: the section [forge].
            secret: signs the events.
            replays: the events that were received before.
            broker: takes the messages.
            bounds: the messages that each agent may get; by default those of `config`.
        """
        self._agents = {config.account(name).lower(): name for name in config.agents}
        self._limit = config.messages_per_hour
        self._secret = secret.encode()
        self._replays = replays
        self._broker = broker
        self._bounds = bounds or Bounds(config.messages_per_hour)
        # One event after the other: a repetition that comes at the same time is one, too.
        self._lock = asyncio.Lock()
        self._complaint = Seldom()

    async def receive(self, request: Request) -> str:
        """Handle a request; return the sentence of the answer.

        Raises:
            Refused: the request is not an event of the forge, or cannot be handled now.
        """
        self._check(request)
        async with self._lock:
            digest = sha256(request.body).digest()
            if digest in self._replays:
                return "This event was received before: nobody was told again."
            told = await self._tell(request.body, digest.hex())
            try:
                self._replays.add(digest)
            except OSError as error:
                log.error("An event cannot be remembered: %s.", error)
                raise Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE, "The event cannot be stored. Send it again."
                ) from None
            return told

    def _check(self, request: Request) -> None:
        """Check everything that does not need the text of the event.

        Raises:
            Refused: the request is not a signed event.
        """
        if request.path != PATH:
            raise Refused(HTTPStatus.NOT_FOUND, f"There is no such path; use {PATH}.")
        if request.method != "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "Send events with POST.")
        if _media_type(request.headers) != _JSON:
            raise Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Set the content type of the webhook to {_JSON}.",
            )
        if not signature.is_signed(self._secret, request.headers, request.body):
            if self._complaint.due():
                log.warning(
                    "A request without the right signature was refused. Is the secret of the "
                    "forge's webhook the one of this host?"
                )
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "The signature is missing or wrong: the webhook needs the secret of this hive.",
            )

    async def _tell(self, body: bytes, digest: str) -> str:
        try:
            event = events.event(payload.parse(body))
        except ValueError as error:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"The event is not one of Forgejo or Gitea: {error}.",
            ) from None
        if event is None:
            return "No agent is told of events of this kind."
        told, refused = 0, None
        for account, reason in event.concerns.items():
            agent = self._agents.get(account)
            if agent is None:
                continue
            try:
                told += await self._tell_one(agent, event, reason, digest)
            except Refused as error:
                # The others are told: an agent with a full inbox must not keep events from them.
                refused = refused or error
        if refused is not None:
            raise refused
        return f"{told} agents were told." if told != 1 else "1 agent was told."

    async def _tell_one(self, agent: str, event: Event, reason: Reason, digest: str) -> bool:
        """Tell an agent of the event; return whether it was told."""
        match self._bounds.spend(agent):
            case Verdict.TOLD:
                return await self._send(agent, texts.message(event, reason), digest)
            case Verdict.LAST:
                log.warning("%s is told of no more events of the forge for a while.", agent)
                await self._send(agent, texts.too_many(self._limit), digest)
        return False

    async def _send(self, agent: str, body: str, digest: str) -> bool:
        try:
            await self._broker.send(agent, body, f"{digest}:{agent}")
        except NotFound:
            return False  # an account of an agent that is not there (any more)
        except LimitExceeded as error:
            log.warning("%s is not told of an event of the forge: %s", agent, error)
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "Too many events. Send it later.") from None
        except HiveError as error:
            log.warning("%s is not told of an event of the forge: %s", agent, error)
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE, "The hive takes no messages now. Send it again."
            ) from None
        return True


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
