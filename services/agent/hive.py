"""The hive's services, as the tools see them. A restart of the broker is waited out here."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from services.agent.inbox import Message
from wire import names
from wire.bus import Bus
from wire.errors import NotFound, Stopping, Timeout, Unavailable
from wire.signals import DAEMON, Signal, SignalStream

T = TypeVar("T")

CALL_SECONDS: Final = 25.0
"""How long a call may take, a restart of the broker in the middle of it included."""

JOB_SECONDS: Final = 90.0
"""How long a start, stop or restart of a container is waited for."""

MAX_CALLS: Final = 16
"""Calls that are in flight at once; the others wait. They hold bodies of up to 1 MiB each."""

_FIELDS: Final = (
    "id",
    "from",
    "to",
    "kind",
    "body",
    "queued",
    "redeliveries",
    "urgent",
    "in_reply_to",
)


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended: done, failed or cancelled, with a sentence when it is not done."""

    result: str
    error: str


async def _end_of(job: str, removed: SignalStream) -> JobResult:
    """How `job` ends, of all those whose end is told."""
    async for signal in removed:
        if signal.args[1] == job:
            return JobResult(result=signal.args[4], error=signal.args[5])
    raise Unavailable("The connection to the bus was lost.")


class Hive:
    """Calls the broker, lifecycle and approvals over the endpoint's one bus connection."""

    def __init__(self, bus: Bus, agent: str) -> None:
        self._bus = bus
        self._agent = agent
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._broker_back = asyncio.get_running_loop().create_future()
        self._lifecycle_lost = asyncio.get_running_loop().create_future()

    async def watch(
        self, on_broker_lost: Callable[[], None], on_lifecycle_back: Callable[[], None]
    ) -> None:
        """Learn of the restarts of the broker and of lifecycle."""

        def broker_changed(signal: Signal) -> None:
            _, _, owner = signal.args
            if not owner:
                on_broker_lost()
                return
            self._broker_back.set_result(None)
            self._broker_back = asyncio.get_running_loop().create_future()

        def lifecycle_changed(signal: Signal) -> None:
            _, before, owner = signal.args
            if before:
                self._lifecycle_lost.set_result(None)
                self._lifecycle_lost = asyncio.get_running_loop().create_future()
            if owner:
                on_lifecycle_back()

        for name, changed in ((names.BROKER, broker_changed), (names.LIFECYCLE, lifecycle_changed)):
            await self._bus.on_signal(
                changed,
                sender=DAEMON,
                interface=DAEMON,
                member="NameOwnerChanged",
                arg0=name,
            )

    async def send(self, to: str, body: str, options: dict[str, Any]) -> int:
        """Queue a message; answers its id. Tried again after a restart, and never queued twice."""
        options = {**options, "dedupe_key": secrets.token_hex(16)}
        id: int = await self._broker("Send", "ssa{sv}", to, body, options)
        return id

    async def receive(self, maximum: int, seconds: float) -> list[Message]:
        """Lease up to `maximum` messages; waits up to `seconds` for the first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        async def receive() -> list[list[Any]]:
            left = max(0.0, until - loop.time())
            rows: list[list[Any]] = await self._bus.call1(
                names.BROKER,
                names.BROKER_PATH,
                names.BROKER,
                "Receive",
                "uu",
                maximum,
                round(left * 1000),
                timeout=left + CALL_SECONDS,
            )
            return rows

        rows = await self._persist(receive, seconds + CALL_SECONDS)
        return [dict(zip(_FIELDS, row, strict=False)) for row in rows]

    async def acknowledge(self, ids: list[int]) -> None:
        """The messages are done with."""
        await self._broker("Acknowledge", "at", ids)

    async def release(self, ids: list[int]) -> None:
        """The messages are queued again."""
        await self._broker("Release", "at", ids)

    async def agents(self) -> list[dict[str, Any]]:
        """The properties of every agent's object."""
        objects: dict[str, dict[str, dict[str, Any]]] = await self._call(
            names.LIFECYCLE, names.LIFECYCLE_PATH, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        return [
            interfaces[names.AGENT_INTERFACE]
            for _, interfaces in sorted(objects.items())
            if names.AGENT_INTERFACE in interfaces
        ]

    async def report(self, report: dict[str, Any]) -> None:
        """Tell lifecycle what this agent's harness is doing."""
        await self._call(
            names.LIFECYCLE,
            names.agent_path(self._agent),
            names.AGENT_INTERFACE,
            "Report",
            "a{sv}",
            report,
        )

    async def request_spawn(self, name: str, reason: str) -> int:
        """Ask the operator for a new agent; answers the number of the request."""
        id: int = await self._call(
            names.APPROVALS,
            names.APPROVALS_PATH,
            names.APPROVALS,
            "RequestSpawn",
            "ss",
            name,
            reason,
        )
        return id

    async def run_job(self, agent: str, member: str) -> JobResult:
        """Start, Stop or Restart `agent`, and wait for how that ends.

        Raises Timeout when it has not ended after JOB_SECONDS (the job goes on all the same), and
        Unavailable when lifecycle ends before the job does.
        """
        lost = self._lifecycle_lost
        # Subscribed before the call: a short job has ended before its path is known here.
        async with self._bus.subscribe(
            sender=names.LIFECYCLE,
            path=names.LIFECYCLE_PATH,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        ) as signals:
            try:
                job = await self._call(
                    names.LIFECYCLE, names.agent_path(agent), names.AGENT_INTERFACE, member
                )
            except NotFound:
                raise NotFound(
                    f"There is no agent {agent}; list_agents shows who there is."
                ) from None
            ending = asyncio.create_task(_end_of(job, signals), name=f"{member}-{agent}")
            try:
                await asyncio.wait(
                    {ending, lost}, timeout=JOB_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if ending.done():
                    return ending.result()
            finally:
                ending.cancel()
                await asyncio.wait({ending})
        if lost.done():
            raise Unavailable(
                f"Lifecycle was restarted before {member} of {agent} ended; list_agents shows what"
                " has become of it."
            )
        raise Timeout(
            f"{member} of {agent} has not ended after {JOB_SECONDS:.0f} s and goes on;"
            " list_agents shows what becomes of it."
        )

    async def _broker(self, member: str, signature: str, *args: Any) -> Any:
        async def call() -> Any:
            return await self._call(
                names.BROKER, names.BROKER_PATH, names.BROKER, member, signature, *args
            )

        return await self._persist(call, CALL_SECONDS)

    async def _call(
        self, destination: str, path: str, interface: str, member: str, *rest: Any
    ) -> Any:
        signature, *args = rest or ("",)
        async with self._calls:
            values = await self._bus.call(
                destination, path, interface, member, signature, *args, timeout=CALL_SECONDS
            )
        return values[0] if values else None

    async def _persist(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """`call`, again and again while the broker restarts, for up to `seconds`.

        The first repetition comes at once and activates the broker; the others wait until it owns
        its name again. Raises what the last try answered.
        """
        until = asyncio.get_running_loop().time() + seconds
        tried = False
        while True:
            back = self._broker_back
            try:
                return await call()
            except (Unavailable, Stopping):
                if self._bus.disconnected.done():
                    raise
                try:
                    if tried:
                        async with asyncio.timeout_at(until):
                            await asyncio.shield(back)
                except TimeoutError:
                    raise Unavailable(
                        "The broker does not answer. It is restarted when it fails: try again in a"
                        " minute, and do not send twice what may be on its way."
                    ) from None
                tried = True
