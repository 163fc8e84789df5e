"""The target of a request to the proxy, and the answers of the proxy itself."""

import re
from typing import Final

from services.egress import parse_host
from services.gateway.egress.decision import Target
from services.gateway.proxy.head import HeadError, Request, render

HTTP: Final = 80
"""The port of plain HTTP."""

_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_HTTP: Final = re.compile(r"(?i:http)://([^/?#@\\]+)([/?][^#\\]*)?")
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")

_PHRASES: Final = {
    400: "Bad Request",
    403: "Forbidden",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
MAX_PHRASE: Final = 200


def of_connect(target: str) -> Target:
    """Return the target of CONNECT.

    Raises:
        HeadError: it is not a host with a port.
    """
    return _authority(target, None)


def of_http(target: str) -> tuple[Target, str]:
    """Return the target of a request in absolute form, and its path with the query.

    Raises:
        HeadError: it is not an address with http.
    """
    if not (found := _HTTP.fullmatch(target)):
        raise HeadError(
            "This is a proxy: it takes CONNECT, and requests with an address such as "
            "http://example.org/."
        )
    path = found[2] or "/"
    return _authority(found[1], HTTP), path if path.startswith("/") else f"/{path}"


def of_inner(request: Request, outer: Target) -> str:
    """Return the path of a request that a client sends through a tunnel to `outer`.

    Raises:
        HeadError: the request is for another server, or for none.
    """
    named = [_authority(host, HTTP) for host in request.fields.all("host")]
    path = request.target
    if not path.startswith("/"):
        target, path = of_http(path)
        named.append(target)
    if any(target != outer for target in named):
        raise HeadError(f"A tunnel to {outer} leads to no other host.")
    return path


def _authority(text: str, default: int | None) -> Target:
    found = _AUTHORITY.fullmatch(text)
    port = (found[2] if found else None) or (str(default) if default else "")
    if not found or not _PORT.fullmatch(port) or int(port) > 65535:
        raise HeadError("The target must be a host with a port, such as example.org:443.")
    try:
        return Target(parse_host(found[1]), int(port))
    except ValueError as error:
        raise HeadError(f"The host of the target is not valid: {error}.") from None


def answer(status: int, sentence: str, cause: str = "") -> bytes:
    """Return a whole answer that says `sentence`, after which the connection is closed.

    Many programs show the phrase of the status line, and not the body: so the sentence is in both.

    Args:
        status: the status.
        sentence: ASCII on one line.
        cause: a word of RFC 9209 for the header Proxy-Status.
    """
    body = f"{sentence}\n".encode()
    cut = len(sentence) <= MAX_PHRASE
    phrase = sentence if cut else f"{sentence[: MAX_PHRASE - 3]}..."
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    if cause:
        fields.append(("Proxy-Status", f"hyperhive; error={cause}"))
    return render(f"HTTP/1.1 {status} {phrase}", fields) + body


def full(connections: int) -> bytes:
    """Return the answer to a connection above the limit."""
    return answer(
        503,
        f"Hyperhive: this agent already has {connections} connections through the proxy. Close "
        "one first.",
    )
