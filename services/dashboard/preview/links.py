"""The addresses that open previews."""

from urllib.parse import urlsplit

from services.dashboard.preview.addresses import Place
from services.dashboard.preview.previews import ENTER, Previews
from services.dashboard.preview.tickets import Tickets


class PreviewLinks:
    """Makes an address for each press of a button."""

    def __init__(self, previews: Previews, tickets: Tickets) -> None:
        self._previews = previews
        self._tickets = tickets

    def url(self, agent: str, port: int, session: str, origin: str) -> str:
        """Return an address that opens a preview, once, within a minute.

        Args:
            agent: the agent.
            port: the port of its loopback.
            session: the session of the dashboard, with which the preview ends.
            origin: the origin of the page, whose scheme and port the address has, too.
        """
        place, parts = Place(agent, port), urlsplit(origin)
        at = "" if parts.port is None else f":{parts.port}"
        secure = parts.scheme == "https"
        ticket = self._tickets.issue(place, session, secure=secure, origin=origin)
        return f"{parts.scheme}://{self._previews.names.name(place)}{at}{ENTER}{ticket}"
