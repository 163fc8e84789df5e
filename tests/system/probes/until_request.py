"""Wait until a request to approvals is in a final state, by its signals.

Runs inside the sandbox, as root: `python until_request.py ID`. Prints the state as JSON.
"""

import asyncio
import json
import sys

from wire import names
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.records.approvals import ApprovalFilter, ApprovalState

OPEN = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.BUILDING)


async def main(number: int) -> None:
    bus = await Bus.connect()
    async with asyncio.timeout(150), bus.subscribe(sender=names.APPROVALS) as signals:
        while (state := await state_of(bus, number)) in OPEN:
            await anext(signals)
    print(json.dumps(state))
    await bus.close()


async def state_of(bus: Bus, number: int) -> ApprovalState:
    found = await ApprovalsClient(bus).list_approvals(ApprovalFilter())
    return next(approval.state for approval in found if approval.id == number)


asyncio.run(main(int(sys.argv[1])))
