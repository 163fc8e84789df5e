"""HTTP as far as a webhook needs it: one request with a body of known length on each connection."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

MAX_HEAD: Final = 16 * 1024
MAX_BODY: Final = 1024 * 1024
"""Bytes of an event; one with a longer text is refused."""
SECONDS: Final = 20.0
"""The time that a client has to send its whole request. Anybody on this host can connect."""

_REQUEST: Final = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_LENGTH: Final = re.compile(r"[0-9]{1,12}")


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request is refused; the text is a sentence for the owner of the forge."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Gone(Exception):  # noqa: N818 - an event, not a fault
    """The client has closed the connection before its request was whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request."""

    method: str
    path: str
    """The path with its query, as the client wrote it."""
    headers: Mapping[str, str]
    """The values by the names in lower case; each header is there once."""
    body: bytes


async def read(reader: asyncio.StreamReader) -> Request:
    """Read a request, whose head is limited by the limit of `reader`.

    Raises:
        Refused: it is not valid, too long or too slow.
        Gone: the client has left.
        OSError: the connection broke.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _read(reader)
    except TimeoutError:
        raise Refused(
            HTTPStatus.REQUEST_TIMEOUT, f"The request was not whole after {SECONDS:g} s."
        ) from None
    except asyncio.IncompleteReadError:
        raise Gone from None
    except asyncio.LimitOverrunError:
        raise Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The head of the request has more than {MAX_HEAD // 1024} KiB.",
        ) from None


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    if not (found := _REQUEST.fullmatch(first)):
        raise _invalid("its first line is not that of HTTP/1")
    headers = _headers(lines)
    return Request(found[1], found[2], headers, await _body(reader, headers))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if not (found := _FIELD.fullmatch(line)):
            raise _invalid("a header is not valid")
        name = found[1].lower()
        if name in headers:
            raise _invalid(f"it has the header {name} twice")
        headers[name] = found[2]
    return headers


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise Refused(
            HTTPStatus.LENGTH_REQUIRED,
            "A body in chunks is not taken: send it whole, with Content-Length.",
        )
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        raise _invalid("Content-Length is not a number")
    if int(length) > MAX_BODY:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The event has {int(length)} bytes; at most {MAX_BODY} are taken.",
        )
    return await reader.readexactly(int(length))


def _invalid(reason: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, f"The request is not valid: {reason}.")


def answer(status: HTTPStatus, sentence: str) -> bytes:
    """Return a whole answer, after which the connection is closed."""
    body = f"{sentence}\n".encode()
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: POST")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
