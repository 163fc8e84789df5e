"""What containers are made of: the one thing that differs between distributions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from services.agentfile import AgentFile
from services.lifecycle.agent import Spec, UnitStatus
from services.lifecycle.network import Network

Watcher = Callable[[str, UnitStatus], None]
"""Is called with an agent's name whenever systemd says something new about its container."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was put right, a line each, and whether only a restart brings it to the container."""

    changes: list[str] = field(default_factory=list)
    restart: bool = False


class Backend(Protocol):
    """Makes, starts, stops and removes containers, and says what happens to them.

    Everything that fails raises a HiveError whose sentence says why. Every method may
    be repeated: what is there already is left or corrected, what is gone already is no error.
    """

    def unit(self, name: str) -> str:
        """The systemd unit that the container of `name` runs in."""

    async def probe(self) -> None:
        """Find out what the host can do, and log what it cannot; before anything is started."""

    async def watch(self, watcher: Watcher) -> None:
        """Begin to call `watcher`; before anything else, so that nothing is missed."""

    async def status(self, name: str) -> UnitStatus:
        """What systemd says now; the watcher hears of this container from here on."""

    async def forget(self, name: str) -> None:
        """The watcher need not hear of this container any more."""

    def kept_uid(self, name: str) -> int | None:
        """The base of the uid range that kept data of `name` belongs to."""

    def taken_uids(self) -> list[range]:
        """Uid ranges that the host uses for other things."""

    async def listening(self) -> frozenset[int]:
        """The ports of the host that somebody listens on now."""

    async def configure(self, spec: Spec) -> None:
        """Make the container, or bring what the host keeps of it up to date."""

    async def reconcile(self, spec: Spec, *, running: bool) -> Reconciled:
        """As `configure`, and everything else on the host that belongs to the container."""

    async def build(self, spec: Spec, job: int) -> bool:
        """Make what the configuration at `spec.commit` needs, unless it is there already; answers
        whether it was not.

        May take as long as a download does. Cancelled, it goes on, until `stop_build`. `job`: whose
        output that is in the journal. Raises Conflict with the last lines of it.
        """

    async def stop_build(self, name: str) -> None:
        """What is being built of `name` is not wanted any more."""

    def configuration(self, spec: Spec) -> AgentFile:
        """The configuration that is deployed; the default one when there is none to be read."""

    def resources(self, spec: Spec) -> dict[str, int]:
        """The limits that hold for it; what has none is left out."""

    def network(self, spec: Spec) -> Network:
        """Whom it may talk to, and whether the host keeps it from the others."""

    async def limit(self, spec: Spec) -> None:
        """Make its limits and its network those of `spec`, now and at every start."""

    async def usage(self, name: str) -> dict[str, int]:
        """What it uses now: `cpu` (µs), `memory`, `tasks` and their peaks, as far as counted."""

    async def pause(self, name: str) -> None:
        """Give its processes no processor time. Raises Conflict when it does not run."""

    async def resume(self, name: str) -> None:
        """Give it to them again."""

    async def size(self, name: str) -> int:
        """How many bytes the kept data of `name` takes."""

    async def start(self, spec: Spec, *, fresh: bool = True) -> None:
        """Start it and wait until it is READY; not `fresh`: it is being started already."""

    async def stop(self, name: str) -> None:
        """Stop it, and the endpoint of its socket, and wait until they are."""

    async def ended(self, name: str) -> None:
        """It has stopped by itself: let go of what only served it. Returns at once."""

    async def give_up(self, name: str) -> None:
        """It is ending by itself, and is not to be started again. Returns at once."""

    async def destroy(self, spec: Spec, *, purge: bool) -> None:
        """Remove everything the host keeps of a stopped container; its data only with `purge`."""

    async def logs(self, name: str, lines: int) -> list[str]:
        """The newest `lines` lines that the host has logged about it, oldest first.

        Each is one line that does nothing to a terminal.
        """

    async def boot(self) -> str:
        """Something that differs from one boot of the host to the next."""

    async def host_is_stopping(self) -> bool:
        """Whether containers end because the whole host does, or the hive on it."""
