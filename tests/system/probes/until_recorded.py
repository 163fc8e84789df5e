"""Wait until the ledger has a turn of an agent, by its signals.

Runs inside the sandbox, as root: `python until_recorded.py AGENT TURN`. Prints the turn.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.records.ledger import TurnFilter


async def main(agent: str, number: int) -> None:
    bus = await Bus.connect()
    ledger = LedgerClient(bus)
    async with asyncio.timeout(60), bus.subscribe(sender=names.LEDGER) as signals:
        while number not in {t.turn for t in await ledger.list_turns(TurnFilter(agent), 100)}:
            await anext(signals)
    print(json.dumps(number))
    await bus.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
