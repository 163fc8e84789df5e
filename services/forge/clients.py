"""The broker over the bus."""

from wire.caller import Caller
from wire.clients.broker import BrokerClient
from wire.forge import KIND
from wire.records.broker import SendOptions


class BusBroker:
    """See services.forge.forge.Broker."""

    def __init__(self, caller: Caller) -> None:
        self._client = BrokerClient(caller)

    async def send(self, agent: str, body: str, dedupe_key: str) -> None:
        """See Broker."""
        await self._client.send(agent, body, SendOptions(kind=KIND, dedupe_key=dedupe_key))
