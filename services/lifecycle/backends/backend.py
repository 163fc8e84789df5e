"""The interface to the container technology: the one part that differs between distributions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from services.agentfile import AgentFile
from services.lifecycle.agents.agent import Spec, UnitStatus
from services.lifecycle.host.build_output import Tell
from services.lifecycle.host.shared import Shortage
from wire.records.lifecycle import Network, NetworkMode, Resources, Usage

Watcher = Callable[[str, UnitStatus], None]
"""Is called with the name of an agent and the new status of its container."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The corrections on the host, a line each."""

    changes: list[str] = field(default_factory=list)
    restart: bool = False
    """Whether the container needs a restart to see the corrections."""


class Backend(Protocol):
    """Creates, starts, stops and removes containers, and reports their status.

    Every failure raises a HiveError whose sentence names the reason. Every method may be
    repeated: things that exist are left alone or corrected, and missing things are not an error.
    """

    def unit(self, name: str) -> str:
        """Return the systemd unit of the container of `name`."""

    def units_of(self, name: str) -> tuple[str, ...]:
        """Return all units of the host that belong to the agent `name`."""

    async def probe(self) -> None:
        """Find out the abilities of the host and log missing ones; before any start."""

    async def correct_data(self) -> None:
        """Correct the directories of agents and tombstones that an earlier version made."""

    async def watch_network(self, changed: Callable[[], None]) -> None:
        """Call `changed` from now on when `limit` must be called for all containers."""

    def stop_watching(self) -> None:
        """Stop calling `changed`."""

    async def watch(self, watcher: Watcher) -> None:
        """Call `watcher` from now on; before any other call, so that no change is missed."""

    async def status(self, name: str) -> UnitStatus:
        """Return the current status; the watcher is told of this container from now on."""

    async def forget(self, name: str) -> None:
        """Stop telling the watcher about this container."""

    def kept_uid(self, name: str) -> int | None:
        """Return the base of the uid range that owns the kept data of `name`."""

    def used_uids(self) -> list[range]:
        """Return the uids that the host uses for other purposes."""

    async def listening_ports(self) -> frozenset[int]:
        """Return the TCP ports of the host that are listened on now."""

    async def configure(self, spec: Spec) -> None:
        """Create the container, or update its files on the host."""

    async def write_started(self, spec: Spec) -> None:
        """Write the start that the agent is told of, for a container that starts by itself."""

    async def reconcile(self, spec: Spec, *, running: bool) -> Reconciled:
        """Correct everything on the host that belongs to the container, like `configure`."""

    async def build(self, spec: Spec, job: int, tell: Tell, *, renew: bool = False) -> bool:
        """Build the configuration at `spec.commit` unless it is built already.

        A build may take as long as a download does. It continues after a cancellation, until
        `stop_build`.

        Args:
            spec: the agent and the commit.
            job: the job that the journal names with the output.
            tell: is called with further lines of the output of a build that takes longer.
            renew: build again what another version of Hyperhive has built.

        Returns:
            Whether something had to be built.

        Raises:
            Conflict: the build failed, and the text ends with its last lines; or a project that
                the configuration names does not exist.
        """

    def is_current(self, spec: Spec) -> bool:
        """Return whether this version of Hyperhive has built the configuration.

        A start does without that: it does not wait for a build, nor fail with one.
        """

    async def stop_build(self, name: str) -> None:
        """Stop the build for `name`, if one runs."""

    def configuration(self, spec: Spec) -> AgentFile:
        """Return the deployed configuration, or the default one when it cannot be read."""

    def shared_credential(self) -> str:
        """Return the kind of credentials that all gateways have; empty for none."""

    def has_own_credential(self, name: str) -> bool:
        """Return whether the gateway of `name` does not use the credential for all agents."""

    def resources(self, spec: Spec) -> Resources:
        """Return the limits of the container."""

    def network(self, spec: Spec) -> Network:
        """Return the addresses that the container may reach."""

    def network_mode(self, spec: Spec) -> NetworkMode:
        """Return the network that `spec` must have at its next start."""

    async def limit(self, spec: Spec) -> None:
        """Apply the limits and the network filter of `spec`, now and at every start."""

    async def usage(self, name: str) -> Usage:
        """Return the current usage, empty when the container does not run."""

    async def disk_usage(self, spec: Spec, enough: int) -> int:
        """Return the bytes on disk of everything that the container may write.

        Measuring may take long, and stops at `enough`. A tree that cannot be measured counts as
        more than any limit.
        """

    def shortages(self) -> list[Shortage]:
        """Return what the host shares with all containers and is nearly used up."""

    async def pause(self, name: str) -> None:
        """Freeze the processes of the container. Raises Conflict when it does not run."""

    async def resume(self, name: str) -> None:
        """Thaw the processes of the container."""

    async def size(self, name: str) -> int:
        """Return the size of the kept data of `name` in bytes."""

    async def start(self, spec: Spec, *, fresh: bool = True) -> None:
        """Start the container and wait until it is READY.

        `fresh`: False joins a start that is under way.
        """

    async def stop(self, name: str) -> None:
        """Stop the container and its endpoint, and wait for their ends."""

    async def kill(self, name: str) -> None:
        """Kill all processes of a container that is being stopped, or will be next."""

    async def stop_endpoint(self, name: str) -> None:
        """Order the endpoint of a container that has stopped by itself to stop."""

    async def stop_restarting(self, name: str) -> None:
        """Keep a container that ends by itself from being started again; do not wait."""

    async def destroy(self, spec: Spec, *, purge: bool) -> None:
        """Remove all files of a stopped container; its data only with `purge`."""

    async def logs(self, name: str, lines: int) -> list[str]:
        """Return the newest `lines` lines that the host has logged about `name`, oldest first.

        No line contains line breaks or terminal control characters.
        """

    async def boot(self) -> str:
        """Return an identifier of the current boot of the host."""

    async def host_is_stopping(self) -> bool:
        """Return whether the host, or the hive on it, is being stopped."""
