"""The way of an agent to the forge: who may use it, and the connection."""

import ssl
from collections.abc import Callable
from typing import Final

from services.gateway.egress.decision import Names, Refused, Target, Unreachable
from services.gateway.forge import requests
from services.gateway.forge.site import Site
from services.gateway.proxy.connect import connect
from services.gateway.proxy.forward import Rewritten
from services.gateway.proxy.head import Request
from services.gateway.proxy.relay import Streams
from services.gateway.settings import Network, Settings
from services.resolve import LookupFailedError
from wire.forge import HOST

TARGET: Final = Target(HOST, 80)
"""The forge as an agent names it."""


class ForgeAccess:
    """The forge for one agent."""

    def __init__(
        self, agent: str, settings: Callable[[], Settings], token: str, names: Names
    ) -> None:
        """Remember the parts.

        Args:
            agent: the agent.
            settings: returns the settings that apply now.
            token: the token of the agent's account; empty for none.
            names: resolves the name of the forge.
        """
        self._agent = agent
        self._settings = settings
        self._token = token
        self._names = names

    def site(self, target: Target) -> Site:
        """Return the forge that the agent may use as `target`.

        Raises:
            Refused: it may not.
        """
        settings = self._settings()
        if settings.network is not Network.GATEWAY:
            raise self._refused(f"its network is {settings.network}, which does not use the proxy")
        if target != TARGET:
            raise self._refused(f"the address is http://{HOST}/, without TLS and a port")
        if settings.forge is None:
            raise self._refused("the operator has given it no account in a forge")
        if not self._token:
            raise self._refused(
                "the host has no token for its account. Tell the operator, who stores one with "
                f"`hivectl credentials set --forge {self._agent}`"
            )
        return settings.forge

    def still_allows(self, site: Site) -> bool:
        """Return whether a connection to `site` would still be allowed."""
        settings = self._settings()
        return settings.network is Network.GATEWAY and settings.forge == site

    def rewritten(self, request: Request, path: str, site: Site) -> Rewritten:
        """Return a request as the forge gets it.

        Raises:
            HeadError: such a request is not passed on.
        """
        return requests.rewritten(request, path, site, self._token)

    async def connect(self, site: Site) -> Streams:
        """Connect to the forge. The operator has named it: its address need not be a public one.

        Raises:
            Unreachable: it does not answer, or has no valid certificate.
        """
        target = Target(site.host, site.port)
        addresses = [site.host] if not isinstance(site.host, str) else []
        if isinstance(site.host, str):
            try:
                addresses = await self._names.resolve(site.host)
            except LookupFailedError as error:
                raise Unreachable(f"Hyperhive cannot reach the forge: {error}.") from None
        context = ssl.create_default_context() if site.has_tls else None
        _, streams = await connect(addresses, target, context)
        return streams

    def _refused(self, reason: str) -> Refused:
        return Refused(
            f"Hyperhive refused the forge for {self._agent}: {reason}.",
            cause="http_request_denied",
        )
