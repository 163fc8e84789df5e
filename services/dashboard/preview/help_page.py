"""The page in the place of one that a program does not serve: why, and a link to the remedy.

The link leads to the dashboard, where the operator presses a button. A button here would act with a
request that any page of the agent could send, too: it has the same origin.
"""

import base64
from hashlib import sha256
from html import escape
from typing import Final

from services.dashboard.preview.addresses import Place
from services.dashboard.preview.reasons import Reason

_STYLE: Final = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{max-width:36rem;margin:15vh auto 0;padding:0 1.25rem}"
    "h1{font-size:1.25rem;margin:0 0 .5rem}"
    "p{margin:0 0 1.25rem;overflow-wrap:anywhere}"
    "a{display:inline-block;margin:0 .5rem .5rem 0;padding:.6rem 1rem;border:1px solid;"
    "border-radius:6px;color:inherit;text-decoration:none}"
    "a:focus-visible{outline:3px solid Highlight;outline-offset:2px}"
    "a:first-of-type{font-weight:600}"
)
_DIGEST: Final = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
_PAGE: Final = (
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    "<title>{title}</title>\n<style>{style}</style>\n<main>\n<h1>{title}</h1>\n<p>{sentence}</p>\n"
    '<a href="{address}" rel="noopener noreferrer">{act}</a>\n<a href="">Try again</a>\n'
    "</main>\n</html>\n"
)
_HEAD: Final = (
    "HTTP/1.1 {status}\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Length: {length}\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: close\r\n\r\n"
)


def page(status: str, place: Place, reason: Reason, origin: str) -> bytes:
    """Return the whole answer.

    Args:
        status: the status of HTTP, with its words.
        place: the port.
        reason: why it shows nothing.
        origin: the origin of the dashboard.
    """
    body = _PAGE.format(
        title=escape(f"Port {place.port} of {place.agent}"),
        style=_STYLE,
        sentence=escape(reason.sentence),
        address=escape(f"{origin}/agents/{place.agent}", quote=True),
        act=escape(reason.act),
    ).encode()
    return _HEAD.format(status=status, length=len(body), digest=_DIGEST).encode() + body
