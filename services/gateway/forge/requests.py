"""The requests to the forge as the forge gets them: with the agent's token, and few headers."""

import base64
import re
from typing import Final

from services.gateway.forge.routes import Route, find
from services.gateway.forge.site import Site
from services.gateway.proxy.forward import Headers, Rewritten
from services.gateway.proxy.head import Fields, HeadError, Request
from wire.forge import ORIGIN

# A proxy in front of the forge may name the user in a header, so no unknown one passes.
_REQUEST: Final = re.compile(
    r"accept(-encoding|-language)?|cache-control|content-(encoding|type|disposition)|git-protocol"
    r"|if-(match|modified-since|none-match|unmodified-since)|pragma|range|user-agent"
)
# Not Set-Cookie, which is a session, and not WWW-Authenticate, which lets git ask for a password.
_ANSWER: Final = re.compile(
    r"accept-ranges|cache-control|content-(disposition|encoding|range|type)|date|etag|expires"
    r"|last-modified|link|location|pragma|retry-after|vary|x-(hasmore|page|pagecount|perpage|total"
    r"|total-count)"
)
_ADDRESSES: Final = frozenset({"link", "location"})
"""The headers of an answer in which the forge names itself."""


def rewritten(request: Request, path: str, site: Site, token: str) -> Rewritten:
    """Return a request to the forge.

    Args:
        request: the request of the client, none of whose credentials pass.
        path: its path and query.
        site: the forge, and the account of the agent.
        token: the token of the account.

    Raises:
        HeadError: such a request is not passed on.
    """
    route = find(request.method, path)
    _check_form(request.fields, path)
    return Rewritten(
        site.host_header,
        f"{site.folder}{path}",
        [
            *((key, value) for key, value in request.fields.forwarded() if _passes(key)),
            ("Authorization", _authorization(route, site.account, token)),
        ],
        lambda fields: _answered(fields, site),
    )


def _check_form(fields: Fields, path: str) -> None:
    """Check that a body is no form: the forge looks in it for `token` and `sudo`, as in a query.

    Attached files come as forms that pass: `sudo` is for administrators, which no agent should be.
    """
    takes_files = path.partition("?")[0].endswith("/assets")
    for kind in map(str.lower, fields.all("content-type")):
        if "form-urlencoded" in kind or ("multipart" in kind and not takes_files):
            raise HeadError(
                "The gateway passes no form on to the forge: send JSON, with Content-Type: "
                "application/json."
            )


def _passes(name: str) -> bool:
    return _REQUEST.fullmatch(name.lower()) is not None


def _authorization(route: Route, account: str, token: str) -> str:
    """Return the header with a token. The API takes a token as such, which cannot make other
    tokens as a password can; git takes it as a password alone."""
    if route is Route.API:
        return f"token {token}"
    return "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode()


def _answered(fields: Fields, site: Site) -> Headers:
    own = f"{site.origin}{site.folder}"
    return [
        (key, value.replace(own, ORIGIN) if key.lower() in _ADDRESSES else value)
        for key, value in fields.forwarded()
        if _ANSWER.fullmatch(key.lower())
    ]
