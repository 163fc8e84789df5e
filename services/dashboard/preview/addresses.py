"""The host names of previews: `alice-3000.localhost` for port 3000 of alice.

Each port of each agent has a name of its own, so that browsers keep apart what they keep for a
host: cookies, storage, permissions. No name is one of the dashboard's own.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from wire import names

_LABEL: Final = re.compile(r"([a-z][a-z0-9-]*)-([1-9][0-9]{0,4})")


class Place(NamedTuple):
    """A port of the loopback in an agent's container."""

    agent: str
    port: int


@dataclass(frozen=True, slots=True)
class PreviewNames:
    """The names below one domain."""

    domain: str = "localhost"

    def name(self, place: Place) -> str:
        """Return the host name of a preview."""
        return f"{place.agent}-{place.port}.{self.domain}"

    def place(self, host: str) -> Place | None:
        """Return the port that a `Host` header names, or None if it is not that of a preview."""
        name = host.strip().lower().partition(":")[0]
        label, dot, domain = name.partition(".")
        found = _LABEL.fullmatch(label)
        if not dot or domain != self.domain or not found:
            return None
        agent, port = found[1], int(found[2])
        return Place(agent, port) if names.is_agent_name(agent) and port < 65536 else None

    def agent(self, origin: str) -> str | None:
        """Return the agent of whose page an `Origin` header tells; None for any other page."""
        try:
            place = self.place(urlsplit(origin).netloc)
        except ValueError:
            return None
        return place and place.agent
