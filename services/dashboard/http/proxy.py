"""The proxy in front of the dashboard: which requests it has passed on, and for whom.

The address of a connection proves little on the loopback, where every user of the host, and every
agent with the host's network, can connect. There the proxy also sends a token.
"""

import hmac
import ipaddress
from typing import Final

from aiohttp import web

from services.config import DashboardConfig
from services.errors import ConfigError
from wire.records.dashboard import Role

TOKEN_HEADER: Final = "Hyperhive-Proxy"  # noqa: S105 - a name
TOKEN_FILE: Final = "/etc/hyperhive/credentials/dashboard/proxy"  # noqa: S105 - a name
FORWARDED: Final = "X-Forwarded-For"
ANYBODY: Final = "*"
"""The key of `[dashboard.users]` for users who have no key of their own."""

_LOOPBACK: Final = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128")))


class Proxy:
    """The settings about the proxy, applied to requests."""

    def __init__(self, config: DashboardConfig, token: str | None = None) -> None:
        """Read the settings.

        Args:
            config: the section [dashboard].
            token: the token that the proxy sends, if it sends one.

        Raises:
            ConfigError: everybody on this host could say to be somebody else.
        """
        self._config = config
        self._token = token
        self._networks = [ipaddress.ip_network(n, strict=False) for n in config.trusted_proxies]
        is_open = any(n.overlaps(own) for n in self._networks for own in _same(n))
        if config.user_header and is_open and token is None:
            raise ConfigError(
                "dashboard.user_header needs a token, because dashboard.trusted_proxies contains "
                "addresses of the loopback, from which every user of this host can connect. Write "
                f"one into {TOKEN_FILE}, let the proxy send it as the header {TOKEN_HEADER}, and "
                "restart hive-dashboard."
            )

    @property
    def headers(self) -> frozenset[bytes]:
        """The headers that the proxy adds, in lower case."""
        if not self._config.behind_proxy:
            return frozenset()
        names = (FORWARDED, TOKEN_HEADER, self._config.user_header or FORWARDED)
        return frozenset(name.lower().encode() for name in names)

    def admits(self, address: str) -> bool:
        """Return whether the proxy connects from `address`."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._networks)

    def user(self, request: web.Request) -> str:
        """Return the user for whom the proxy has passed a request on; empty: it names nobody."""
        header = self._config.user_header
        if header is None or not self._trusts(request):
            return ""
        user = request.headers.get(header, "").strip()
        return user if user.isprintable() else ""

    def role(self, user: str) -> Role | None:
        """Return the role of a user, if the user may use the dashboard."""
        name = self._config.users.get(user) or self._config.users.get(ANYBODY)
        return Role(name) if user and name else None

    def address(self, request: web.Request) -> str:
        """Return the address of the browser, as far as the proxy is trusted to tell it."""
        last = request.remote or ""
        if not self._trusts(request):
            return last
        for named in reversed(request.headers.get(FORWARDED, "").split(",")):
            if not self.admits(last):
                break
            found = named.strip()[:64]
            last = found if found and found.isascii() and found.isprintable() else last
        return last

    def _trusts(self, request: web.Request) -> bool:
        sent = request.headers.get(TOKEN_HEADER, "")
        given = sent.encode(errors="surrogateescape")
        if self._token is not None and not hmac.compare_digest(given, self._token.encode()):
            return False
        return self.admits(request.remote or "")


def _same(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of the loopback of the same version."""
    return [own for own in _LOOPBACK if own.version == network.version]
