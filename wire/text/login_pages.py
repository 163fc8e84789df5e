"""The login pages of Anthropic, whose addresses a container may name to the operator.

The login of an agent runs in its container, which may be hostile. Nothing that it says reaches the
operator as an address to open, unless it is one of these pages.
"""

import re
from typing import Final
from urllib.parse import parse_qsl

from wire.text.urls import Url, parse

PAGES: Final = frozenset(
    {
        ("claude.com", "/cai/oauth/authorize"),
        ("claude.ai", "/oauth/authorize"),
        ("platform.claude.com", "/oauth/authorize"),
        ("console.anthropic.com", "/oauth/authorize"),
    }
)
"""The login pages, by host and path: on some of these hosts, anybody can publish other pages."""

REDIRECTS: Final = frozenset(
    f"https://{host}/oauth/code/callback"
    for host in ("platform.claude.com", "console.anthropic.com")
)
"""The pages that show the code. With another one, the login page would send the code there."""

_CLIENT: Final = frozenset({"client_id", "redirect_uri"})
_HOST: Final = re.compile(r"[.\u3002\uff0e\uff61][^\W\d_]{2}")
"""The last part of a host's name; browsers take all of these characters for a dot."""


class UnknownPageError(Exception):
    """An address is not that of a login page; the sentence does not show the address."""


def known_page(address: str) -> Url:
    """Return the parts of `address`, the address of a login page of Anthropic.

    Print or link the result, never `address`.

    Raises:
        UnknownPageError: it is another address. The sentence does not show the address: terminals
            make links of what looks like one.
    """
    url = parse(address)
    if url and (url.host, url.path) in PAGES:
        if _shows_code(url):
            return url
        named = f"a page of {url.host} that sends the code to another address"
    else:
        named = f"a page of {url.host}" if url else "an address that is not well-formed"
    raise UnknownPageError(
        f"The login names {named}, which is not a login page of Anthropic. The container may be "
        "hostile: nothing was entered. Known pages: "
        f"{', '.join(sorted(host + path for host, path in PAGES))}."
    )


def without_addresses(text: str) -> str:
    """Return a text of a login without each word that may be an address of the container's own."""
    return " ".join(
        "[address]" if "/" in word or _HOST.search(word) else word for word in text.split()
    )


def _shows_code(url: Url) -> bool:
    """Return whether the page shows the code, and sends it nowhere else.

    A page without a client asks for no permission. Another client than Claude Code may have an
    address of its own that gets the code, unless the query names one.
    """
    asked = [(key, value) for key, value in parse_qsl(url.query, True) if key in _CLIENT]
    redirects = [value for key, value in asked if key == "redirect_uri"]
    return not asked or (len(redirects) == 1 and redirects[0] in REDIRECTS)
