"""The forge as the settings name it."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from services.egress import Host, parse_host, place


@dataclass(frozen=True, slots=True)
class Site:
    """A forge, and the account of the agent in it."""

    account: str
    host: Host
    port: int
    has_tls: bool
    folder: str
    """The path in front of all its paths; empty for none."""

    @property
    def origin(self) -> str:
        """The beginning of its addresses, as far as the host."""
        scheme, usual = ("https", ":443") if self.has_tls else ("http", ":80")
        return f"{scheme}://{place(self.host, self.port).removesuffix(usual)}"

    @property
    def host_header(self) -> str:
        """The header Host of a request to it."""
        return self.origin.partition("://")[2]


def parse(url: str, account: str) -> Site:
    """Return the forge at `url`.

    Raises:
        ValueError: it is not an http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise ValueError("the address of the forge is not an http or https address")
    has_tls = parts.scheme == "https"
    port = parts.port or (443 if has_tls else 80)
    return Site(account, parse_host(parts.hostname), port, has_tls, parts.path.rstrip("/"))
