"""The gateways that have requests under way, by their connections to the bus."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

Watch = Callable[[str], "asyncio.Future[None]"]
"""Returns a future that is done when a connection has left the bus."""


@dataclass(slots=True)
class _Gateway:
    """A connection that has reserved something."""

    gone: "asyncio.Future[None]"
    ids: set[int] = field(default_factory=set)


class Gateways:
    """The requests under way of each connection."""

    def __init__(self, watch: Watch, left: Callable[[set[int]], None]) -> None:
        """Follow connections.

        Args:
            watch: tells when a connection has left the bus.
            left: called with the ids of its requests then.
        """
        self._watch = watch
        self._left = left
        self._known: dict[str, _Gateway] = {}

    def follow(self, connection: str, number: int) -> None:
        """Add a request to those of a connection."""
        gateway = self._known.get(connection)
        if gateway is None:
            gone = self._watch(connection)
            gateway = self._known[connection] = _Gateway(gone)
            gone.add_done_callback(lambda done: self._end(connection, done))
        gateway.ids.add(number)

    def forget(self, connection: str, number: int) -> None:
        """Take a request that has ended from those of a connection."""
        if gateway := self._known.get(connection):
            gateway.ids.discard(number)

    def close(self) -> None:
        """Stop following them."""
        for gateway in self._known.values():
            gateway.gone.cancel()

    def _end(self, connection: str, gone: "asyncio.Future[None]") -> None:
        gateway = self._known.pop(connection)
        if not gone.cancelled():
            self._left(gateway.ids)
