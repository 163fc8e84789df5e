"""The head of a request or an answer of HTTP/1: read up to a bound, and parsed strictly.

Parsers that disagree about a head let a client hide a second request in the first. So all that RFC
9112 calls an error is refused here, also where it allows a server to be lenient.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 64 * 1024
MAX_FIELDS: Final = 100

_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST: Final = re.compile(rf"({_NAME}) ([!-~]+) HTTP/1\.([01])")
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD: Final = re.compile(rf"({_NAME}):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")

_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""The headers that are for the next hop alone."""


class HeadError(Exception):
    """A head that cannot be used; the text is a sentence."""


class Ended(Exception):  # noqa: N818 - an event, not a fault
    """The other end has closed the connection before a head."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The headers of a message, in their order."""

    pairs: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return the values of all headers `name` (in lower case)."""
        return [value for key, value in self.pairs if key.lower() == name]

    def words(self, name: str) -> list[str]:
        """Return the elements of the lists in the headers `name`, in lower case."""
        values = ",".join(self.all(name)).lower().split(",")
        return [word.strip() for word in values if word.strip()]

    @property
    def length(self) -> int | None:
        """The Content-Length; None without one.

        Raises:
            HeadError: it is not a number, or there are several.
        """
        values = self.all("content-length")
        if not values:
            return None
        if len(values) > 1 or not _LENGTH.fullmatch(values[0]):
            raise HeadError("Content-Length must be one number.")
        return int(values[0])

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks.

        Raises:
            HeadError: it has another encoding, or a length, too.
        """
        codings = self.words("transfer-encoding")
        if not codings:
            return False
        if codings != ["chunked"]:
            raise HeadError("The only supported Transfer-Encoding is chunked.")
        if self.all("content-length"):
            raise HeadError("A message must not have Transfer-Encoding and Content-Length.")
        return True

    def forwarded(self, *without: str) -> list[tuple[str, str]]:
        """Return the headers for the next hop."""
        dropped = _HOP.union(self.words("connection"), without)
        return [(key, value) for key, value in self.pairs if key.lower() not in dropped]


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request."""

    method: str
    target: str
    minor: int
    """The minor version of HTTP/1."""
    fields: Fields


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer."""

    status: int
    reason: str
    minor: int
    fields: Fields


async def read_request(reader: asyncio.StreamReader, begun: bytes = b"") -> Request:
    """Read the head of a request, of which `begun` was read before.

    Raises:
        Ended: there is none.
        HeadError: it is not valid.
    """
    first, fields = await _read(reader, begun)
    if not (found := _REQUEST.fullmatch(first)):
        raise HeadError("The request line is not valid HTTP/1.")
    return Request(found[1], found[2], int(found[3]), fields)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read the head of an answer; raises as `read_request`."""
    first, fields = await _read(reader)
    if not (found := _STATUS.fullmatch(first)):
        raise HeadError("The status line is not valid HTTP/1.")
    return Answer(int(found[2]), found[3] or "", int(found[1]), fields)


async def _read(reader: asyncio.StreamReader, begun: bytes = b"") -> tuple[str, Fields]:
    try:
        head = begun + await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if begun or error.partial.strip():
            raise HeadError("The head ends early.") from None
        raise Ended from None
    except asyncio.LimitOverrunError:
        raise HeadError(f"The head has more than {MAX_HEAD // 1024} KiB.") from None
    first, *lines = head.decode("latin-1")[:-4].split("\r\n")
    if len(lines) > MAX_FIELDS:
        raise HeadError(f"The head has more than {MAX_FIELDS} headers.")
    return first, Fields(tuple(_field(line) for line in lines))


def _field(line: str) -> tuple[str, str]:
    if not (found := _FIELD.fullmatch(line)):
        raise HeadError("A header is not valid.")
    return found[1], found[2]


def render(first: str, fields: list[tuple[str, str]]) -> bytes:
    """Return the bytes of a head."""
    lines = [first, *(f"{key}: {value}" for key, value in fields)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
