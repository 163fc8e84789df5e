"""Lifecycle and approvals, as the broker sees them over the bus."""

import asyncio
import logging
from typing import Any, Final

from services.broker.messages.invocations import Invocations
from services.broker.queries.open_threads import SHOWN
from wire import names
from wire.bus import Bus
from wire.errors import HiveError, Unavailable
from wire.signals import DAEMON, DAEMON_PATH, Signal
from wire.types import U64

log = logging.getLogger(__name__)

_FIRST_ANSWER: Final = 2.0
"""How long the start waits for lifecycle, in seconds: what is handed out before goes to no life."""


_SOON: Final = 5.0
"""How long who asks for open threads waits for approvals, in seconds."""


class ApprovalsClient:
    """What waits for approval. Never starts approvals: who only looks changes nothing."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def pending(self, limit: int) -> list[dict[str, Any]]:
        """See open_threads.PendingRequests."""
        owner = await owner_of(self._bus, names.APPROVALS)
        if not owner:
            raise Unavailable("approvals does not run; `systemctl start hive-approvals` starts it.")
        found: list[list[Any]] = await self._bus.call1(
            owner,
            names.APPROVALS_PATH,
            names.APPROVALS,
            "List",
            "a{sv}",
            {"state": "pending", "limit": limit},
            timeout=_SOON,
        )
        return [
            {
                "kind": "approval",
                "id": U64(number),
                "from": requested_by,
                "to": names.OPERATOR,
                "text": f"{kind} {agent}: {reason}"[:SHOWN],
                "since": requested,
                "state": state,
            }
            for number, kind, agent, _commit, reason, requested_by, requested, state, *_ in found
        ]


async def owner_of(bus: Bus, name: str) -> str:
    """The connection that owns `name` now, empty when nobody does; starts nobody."""
    try:
        owner = await bus.call1(
            DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner", "s", name, timeout=_SOON
        )
    except HiveError:
        return ""
    return str(owner)


class LifecycleWatcher:
    """Tells `invocations` what lifecycle says.

    Never starts lifecycle: that would start the containers.

    Owns one task at a time, which asks lifecycle for what there is when it appears.
    """

    def __init__(self, bus: Bus, invocations: Invocations) -> None:
        self._bus = bus
        self._invocations = invocations
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and ask the lifecycle that is there already; returns soon, answered or not."""
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
        await self._bus.on_signal(
            self._owner_changed,
            sender=DAEMON,
            interface=DAEMON,
            member="NameOwnerChanged",
            arg0=names.LIFECYCLE,
        )
        owner = await owner_of(self._bus, names.LIFECYCLE)
        if self._asking is None:  # else it has appeared just now
            self._ask(owner)
        if self._asking:
            await asyncio.wait({self._asking}, timeout=_FIRST_ANSWER)

    async def close(self) -> None:
        """Ask no more."""
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _owner_changed(self, signal: Signal) -> None:
        _name, _before, owner = signal.args
        self._ask(owner)

    def _ask(self, owner: str) -> None:
        """Learn all from `owner`, if there is one; what was known is void."""
        if self._asking:
            self._asking.cancel()
            self._asking = None
        self._invocations.forget()
        if owner:
            self._asking = asyncio.create_task(self._learn(owner), name="invocations")

    async def _learn(self, owner: str) -> None:
        try:
            # By its unique name: the bus starts nobody for that.
            objects: dict[str, Any] = await self._bus.call1(
                owner, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
            )
        except HiveError as error:
            log.warning("Which containers run is not known, lifecycle did not answer: %s", error)
        else:
            self._invocations.learn(objects)

    def _changed(self, signal: Signal) -> None:
        self._invocations.changed(signal.path, signal.args[1])

    def _removed(self, signal: Signal) -> None:
        path, interfaces = signal.args
        if names.AGENT_INTERFACE in interfaces:
            self._invocations.removed(path)
