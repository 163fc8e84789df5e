"""The headers that pass: a list in each direction, so that nothing unknown does."""

import re
from collections.abc import Iterable
from typing import Final

from multidict import CIMultiDict

from services.gateway.credentials import TOKEN_BETA, Auth, Credential

_REQUEST: Final = re.compile(
    r"accept|content-type|user-agent|anthropic-(beta|version|dangerous-direct-browser-access)"
    r"|x-app|x-stainless-[a-z-]{1,40}|x-claude-code-session-id"
)
_RESPONSE: Final = re.compile(
    r"content-type|request-id|retry-after(-ms)?|x-should-retry|anthropic-ratelimit-[a-z0-9-]{1,60}"
)
_BETA: Final = "anthropic-beta"

SKIPPED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would add."""


def request(
    received: Iterable[tuple[str, str]], credential: Credential, auth: Auth
) -> "CIMultiDict[str]":
    """Return the headers that go upstream: those of the client that pass, and the credential.

    No credential of the client passes.
    """
    headers = CIMultiDict((k, v) for k, v in received if _REQUEST.fullmatch(k.lower()))
    headers.update(credential.headers(auth))
    if credential.is_token and "Authorization" in headers:
        headers[_BETA] = ",".join([*headers.popall(_BETA, []), TOKEN_BETA])
    # A compressed answer could not be read on its way, and would be late.
    headers["Accept-Encoding"] = "identity"
    return headers


def response(received: Iterable[tuple[str, str]]) -> "CIMultiDict[str]":
    """Return the headers that go to the client."""
    return CIMultiDict((k, v) for k, v in received if _RESPONSE.fullmatch(k.lower()))
