"""Heads of HTTP/1.1 messages between a browser and a program of an agent, parsed and rewritten.

The program gets no secret of the dashboard or of a proxy in front of it, and the browser gets no
header that has an effect beyond the host name of the preview.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 64 * 1024

_REQUEST: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.1")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*)?")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")

_HOP: Final = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"}
_NOT_THEIRS: Final = _HOP | {b"authorization", b"proxy-authorization", b"hyperhive-session"}
"""Headers of a request that the program does not get."""
_NOT_OURS: Final = _HOP | {
    b"clear-site-data",
    b"strict-transport-security",
    b"public-key-pins",
    b"alt-svc",
    b"set-cookie2",
}
"""Headers of an answer that the browser does not get: they are about more than one host name, or
about other connections."""


class MalformedError(Exception):
    """A head is not well-formed."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a message."""

    line: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def all(self, name: bytes) -> list[bytes]:
        """Return the values of a header, whose name is in lower case."""
        return [value for known, value in self.headers if known.lower() == name]

    @property
    def path(self) -> str:
        """The path of a request."""
        return self.line.split(b" ")[1].decode()

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.line.split(b" ")[1])

    @property
    def upgrades(self) -> bool:
        """Whether a request asks for another protocol, such as a web socket."""
        words = b",".join(self.all(b"connection")).lower().split(b",")
        return bool(self.all(b"upgrade")) and b"upgrade" in [word.strip() for word in words]


def request(data: bytes) -> Head:
    """Return the head of a request.

    Raises:
        MalformedError: it is not well-formed, or could be read in two ways.
    """
    head = _parsed(data)
    if not _REQUEST.fullmatch(head.line):
        raise MalformedError
    lengths, encodings = head.all(b"content-length"), head.all(b"transfer-encoding")
    if len(head.all(b"host")) != 1 or len(lengths) + len(encodings) > 1:
        raise MalformedError
    return head


def answer(data: bytes) -> Head:
    """Return the head of an answer.

    Raises:
        MalformedError: it is not well-formed.
    """
    head = _parsed(data)
    if not _STATUS.fullmatch(head.line):
        raise MalformedError
    return head


def cookies(head: Head, name: str) -> list[str]:
    """Return the values of the cookies of a request that have a name."""
    return [value for key, value in _cookies(head) if key == name]


def to_program(head: Head, own_cookie: str, of_proxy: frozenset[bytes] = frozenset()) -> bytes:
    """Return a request as the program gets it.

    Args:
        head: the request of the browser.
        own_cookie: the name of the cookie of the preview, which is left out.
        of_proxy: the names, in lower case, of headers that a proxy adds for the dashboard alone.
    """
    left_out = _NOT_THEIRS | of_proxy | {b"cookie"}
    kept = [(name, value) for name, value in head.headers if name.lower() not in left_out]
    cookies = "; ".join(f"{key}={value}" for key, value in _cookies(head) if key != own_cookie)
    if cookies:
        kept.append((b"Cookie", cookies.encode("latin-1")))
    kept.append((b"Connection", b"Upgrade" if head.upgrades else b"close"))
    return _written(head.line, kept)


def to_browser(head: Head, own_cookie: str) -> bytes:
    """Return the head of an answer as the browser gets it."""
    kept = [
        (name, value)
        for name, value in head.headers
        if name.lower() not in _NOT_OURS
        and not (name.lower() == b"set-cookie" and _reaches_beyond(value, own_cookie))
    ]
    kept.append((b"Connection", b"Upgrade" if head.status == 101 else b"close"))
    return _written(head.line, kept)


def _reaches_beyond(value: bytes, own_cookie: str) -> bool:
    """Return whether a cookie is for other host names, or would replace that of the preview."""
    pair, *attributes = value.split(b";")
    if pair.partition(b"=")[0].strip() == own_cookie.encode():
        return True
    return any(part.partition(b"=")[0].strip().lower() == b"domain" for part in attributes)


def _cookies(head: Head) -> Iterator[tuple[str, str]]:
    for value in head.all(b"cookie"):
        for pair in value.decode("latin-1").split(";"):
            key, equals, text = pair.strip().partition("=")
            if equals:
                yield key, text


def _parsed(data: bytes) -> Head:
    line, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    headers = []
    for text in lines:
        name, colon, value = text.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise MalformedError
        headers.append((name, value))
    return Head(line, tuple(headers))


def _written(line: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"\r\n".join([line, *(b"%b: %b" % pair for pair in headers), b"", b""])
