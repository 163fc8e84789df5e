"""Turns as files that a browser saves: streamed, so that a long one needs little memory."""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from aiohttp import web

from services.dashboard.http.event_streams import EventStreams
from services.dashboard.http.middleware import AccessControl
from services.dashboard.http.places import Places
from wire.errors import HiveError, LimitExceeded
from wire.turn_export import MEDIA_TYPES, Export

MAX_EXPORTS: Final = 4
FULL: Final = f"{MAX_EXPORTS} turns are being exported. Wait until one of them is done."
WRITE_SECONDS: Final = 20.0
"""A browser that reads nothing for so long is disconnected."""

BATCH: Final = 64 * 1024
"""Characters that are written at once."""

SANDBOX: Final = "sandbox; default-src 'none'"
"""The policy of the file, if a browser shows it: it has an origin of its own, and no scripts. The
page in it has a policy of its own, too, which allows its one style sheet."""

log = logging.getLogger(__name__)


class Exports:
    """The exports that run, of which there are at most MAX_EXPORTS."""

    def __init__(self, access: AccessControl, streams: EventStreams) -> None:
        self._access = access
        self._streams = streams
        self._places = Places(MAX_EXPORTS, FULL)

    async def serve(self, request: web.Request, export: Export) -> web.StreamResponse:
        """Stream an export, until the session ends.

        Raises:
            LimitExceeded: too many exports run.
            HiveError: it cannot begin. Later, the connection is aborted: a browser then keeps no
                file, rather than a part of it.
        """
        response = web.StreamResponse(headers=_headers(export))
        owner = self._access.owner(request)
        end = asyncio.timeout(self._access.seconds_left(request))
        try:
            async with end:
                with self._places.hold(end, owner), self._streams.places.hold(end, owner):
                    await self._write(request, response, export)
        except (HiveError, TimeoutError) as error:
            if not response.prepared:
                if isinstance(error, TimeoutError):  # it had to make way before it began
                    raise LimitExceeded(FULL) from None
                raise
            log.info("An export has failed: %s", error)
            if request.transport is not None:
                request.transport.abort()
        return response

    @staticmethod
    async def _write(request: web.Request, response: web.StreamResponse, export: Export) -> None:
        async with aclosing(export.pieces()) as pieces:
            batch: list[str] = []
            size = 0
            async for piece in pieces:
                batch.append(piece)
                size += len(piece)
                if size >= BATCH:
                    await _send(request, response, batch)
                    batch, size = [], 0
                await asyncio.sleep(0)  # one piece may have taken a while
        await _send(request, response, batch)
        await response.write_eof()


async def _send(request: web.Request, response: web.StreamResponse, batch: list[str]) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        if not response.prepared:
            await response.prepare(request)
        await response.write("".join(batch).encode())


def _headers(export: Export) -> dict[str, str]:
    return {
        "Content-Type": f"{MEDIA_TYPES[export.form]}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{export.file_name}"',
        "Content-Security-Policy": SANDBOX,
    }
