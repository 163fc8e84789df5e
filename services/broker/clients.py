"""The clients of lifecycle and approvals. They never start these services."""

import asyncio
import logging
from typing import Final

from services.broker.messages.invocations import Container, Invocations
from services.broker.queries.open_threads import SHOWN
from services.tasks import Tasks
from wire import names
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.clients.lifecycle import LifecycleClient
from wire.errors import HiveError, Unavailable
from wire.records import decode
from wire.records.approvals import Approval, ApprovalFilter, ApprovalState
from wire.records.broker import Thread
from wire.signals import Signal

log = logging.getLogger(__name__)

_FIRST_ANSWER: Final = 2.0
"""The seconds that the start of the broker waits for lifecycle. Messages that are handed out
before the answer are handed to no known container."""

_SOON: Final = 5.0
"""The seconds that a caller of OpenThreads waits for approvals."""


class BusPendingRequests:
    """The requests that wait for approval, asked of approvals: see PendingRequests."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def pending(self, limit: int) -> list[Thread]:
        """See PendingRequests."""
        # By its unique name: a call to the other name would wait while approvals starts.
        owner = await self._bus.owner_of(names.APPROVALS, timeout=_SOON)
        if not owner:
            raise Unavailable(
                "hive-approvals is not running; `systemctl start hive-approvals` starts it."
            )
        approvals = ApprovalsClient(self._bus, destination=owner, timeout=_SOON)
        wanted = ApprovalFilter(state=ApprovalState.PENDING, limit=limit)
        return [_thread(request) for request in await approvals.list_approvals(wanted)]


def _thread(request: Approval) -> Thread:
    return Thread(
        kind="approval",
        id=request.id,
        sender=request.requested_by,
        recipient=names.OPERATOR,
        text=f"{request.kind} {request.agent}: {request.reason}"[:SHOWN],
        since=request.requested,
        state=request.state,
    )


class LifecycleWatcher:
    """Keeps `invocations` up to date from the signals of lifecycle.

    When lifecycle appears, a task asks it for all agents; there is one such task at a time.
    """

    def __init__(self, bus: Bus, invocations: Invocations) -> None:
        self._bus = bus
        self._invocations = invocations
        self._tasks = Tasks()
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe, and ask lifecycle if it runs; wait for the answer only for a short time."""
        rules = {"sender": names.LIFECYCLE, "path_namespace": names.LIFECYCLE_PATH}
        await self._bus.on_signal(
            self._changed,
            interface=names.PROPERTIES,
            member="PropertiesChanged",
            arg0=names.AGENT_INTERFACE,
            **rules,
        )
        await self._bus.on_signal(
            self._removed, interface=names.OBJECT_MANAGER, member="InterfacesRemoved", **rules
        )
        await self._bus.on_owner(names.LIFECYCLE, came=self._came, went=self._went)
        owner = await self._bus.owner_of(names.LIFECYCLE, timeout=_SOON)
        if owner and self._asking is None:  # else `_came` was called meanwhile
            self._came(owner)
        if self._asking:
            await asyncio.wait({self._asking}, timeout=_FIRST_ANSWER)

    async def close(self) -> None:
        """Stop asking."""
        await self._tasks.cancel()

    def _came(self, owner: str) -> None:
        self._went(owner)
        self._asking = self._tasks.start(self._learn(owner), "invocations")

    def _went(self, owner: str) -> None:
        if self._asking:
            self._asking.cancel()
            self._asking = None
        self._invocations.forget()

    async def _learn(self, owner: str) -> None:
        try:
            # By its unique name: this very lifecycle is asked, and no later one is waited for.
            lifecycle = LifecycleClient(self._bus, destination=owner)
            containers = await lifecycle.agents_as(Container)
        except HiveError as error:
            log.warning("lifecycle did not answer, so the containers are unknown: %s", error)
            return
        self._invocations.learn(containers)

    def _changed(self, signal: Signal) -> None:
        _interface, changed, _invalidated = signal.args
        # Both come together; other properties of the agent change without them.
        if "State" in changed and "InvocationId" in changed:
            self._invocations.changed(signal.path, decode(Container, changed))

    def _removed(self, signal: Signal) -> None:
        path, interfaces = signal.args
        if names.AGENT_INTERFACE in interfaces:
            self._invocations.removed(path)
