"""Turns as files that a browser saves: streamed, so that a long one needs little memory."""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from aiohttp import web

from wire.errors import HiveError, LimitExceeded
from wire.turn_export import MEDIA_TYPES, Export

MAX_EXPORTS: Final = 4
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

    def __init__(self) -> None:
        self._running = 0

    async def serve(self, request: web.Request, export: Export) -> web.StreamResponse:
        """Stream an export.

        Raises:
            LimitExceeded: too many exports run.
            HiveError: it cannot begin. Later, the connection is aborted: a browser then keeps no
                file, rather than a part of it.
        """
        if self._running >= MAX_EXPORTS:
            raise LimitExceeded(
                f"{MAX_EXPORTS} turns are being exported. Wait until one of them is done."
            )
        self._running += 1
        try:
            return await self._stream(request, export)
        finally:
            self._running -= 1

    async def _stream(self, request: web.Request, export: Export) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        try:
            async with aclosing(export.pieces()) as pieces:
                batch: list[str] = []
                size = 0
                async for piece in pieces:
                    batch.append(piece)
                    size += len(piece)
                    if size >= BATCH:
                        response = await self._write(request, response, export, batch)
                        batch, size = [], 0
                    await asyncio.sleep(0)  # one piece may have taken a while
            response = await self._write(request, response, export, batch)
            await response.write_eof()
        except (HiveError, TimeoutError) as error:
            if response is None:
                raise
            log.info("An export has failed: %s", error)
            if request.transport is not None:
                request.transport.abort()
        return response

    @staticmethod
    async def _write(
        request: web.Request,
        response: web.StreamResponse | None,
        export: Export,
        batch: list[str],
    ) -> web.StreamResponse:
        async with asyncio.timeout(WRITE_SECONDS):
            if response is None:
                response = web.StreamResponse(headers=_headers(export))
                await response.prepare(request)
            await response.write("".join(batch).encode())
        return response


def _headers(export: Export) -> dict[str, str]:
    return {
        "Content-Type": f"{MEDIA_TYPES[export.form]}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{export.file_name}"',
        "Content-Security-Policy": SANDBOX,
    }
