"""Requests to the REST API of a forge, at addresses that were checked."""

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from services.egress import Address
from wire.errors import Unavailable

SECONDS: Final = 30.0
"""Seconds for a request, with its answer."""
MAX_ANSWER: Final = 2**20
"""Bytes of an answer."""


class Answer(NamedTuple):
    """The answer of a forge."""

    status: int
    content: Any
    """The JSON of the body; None: it is not JSON."""


class Rest:
    """A client of REST APIs over https. It follows no redirection, and knows no proxy."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """Check certificates against those that the host knows, or those of `context`."""
        self._context = context

    async def request(
        self,
        method: str,
        url: str,
        addresses: Sequence[Address],
        *,
        headers: Mapping[str, str],
        body: object = None,
    ) -> Answer:
        """Make one request.

        Args:
            method: such as GET.
            url: an address of https.
            addresses: those of its host, which were checked; at least one.
            headers: the headers, also secret ones.
            body: a value to send as JSON; None: nothing.

        Raises:
            Unavailable: the forge cannot be reached, or its answer is too long. The sentence
                contains no header and no body.
        """
        # Imported here: few hives need it, and each service pays for its memory.
        import aiohttp
        from aiohttp.abc import AbstractResolver, ResolveResult

        class Checked(AbstractResolver):
            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
            ) -> list[ResolveResult]:
                return [_result(host, port, address) for address in addresses]

            async def close(self) -> None: ...

        if self._context is None:
            self._context = await asyncio.to_thread(ssl.create_default_context)
        connector = aiohttp.TCPConnector(resolver=Checked(), ssl=self._context)
        limit = aiohttp.ClientTimeout(total=SECONDS)
        host = urlsplit(url).hostname
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limit) as session,
                session.request(
                    method, url, headers=headers, json=body, allow_redirects=False
                ) as answer,
            ):
                return Answer(answer.status, _json(await _read(answer.content, host)))
        except TimeoutError:
            raise Unavailable(f"{host} did not answer within {SECONDS:g} s.") from None
        except aiohttp.ClientConnectorCertificateError:
            raise Unavailable(f"The certificate of {host} is not valid.") from None
        except (aiohttp.ClientError, OSError) as error:
            # Not its text: it may quote the request.
            raise Unavailable(f"{host} cannot be reached ({type(error).__name__}).") from None


async def _read(content: Any, host: str | None) -> bytes:
    found = b""
    async for part in content.iter_any():
        found += part
        if len(found) > MAX_ANSWER:
            raise Unavailable(f"{host} answers with more than {MAX_ANSWER // 1024} KiB.")
    return found


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _result(host: str, port: int, address: Address) -> Any:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return {
        "hostname": host,
        "host": str(address),
        "port": port,
        "family": family,
        "proto": 0,
        "flags": socket.AI_NUMERICHOST,
    }
