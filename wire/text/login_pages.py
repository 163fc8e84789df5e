"""The login pages of Anthropic, whose addresses a container may name to the operator.

The login of an agent runs in its container, which may be hostile. Nothing that it says reaches the
operator as an address to open, unless it is one of these pages.
"""

from typing import Final

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
        return url
    named = f"a page of {url.host}" if url else "an address that is not well-formed"
    raise UnknownPageError(
        f"The login names {named}, which is not a login page of Anthropic. The container may be "
        "hostile: nothing was entered. Known pages: "
        f"{', '.join(sorted(host + path for host, path in PAGES))}."
    )


def without_addresses(text: str) -> str:
    """Return a text of a login without each word that may be an address of the container's own."""
    return " ".join("[address]" if "/" in word else word for word in text.split())
