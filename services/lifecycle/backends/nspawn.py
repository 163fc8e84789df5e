"""Containers in systemd-nspawn: files on the host, and units that systemd runs.

The backends `nspawn` and `nixos` differ only in the system that a container boots
(`ContainerSystem`), and in the place of its settings and drop-in (`Layout`).
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from services import metaflake
from services.agentfile import AgentFile
from services.config import Config
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Spec, UnitStatus
from services.lifecycle.agents.network import filter_unit, refusal
from services.lifecycle.backends import unit_files
from services.lifecycle.backends.backend import Reconciled, Watcher
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.container_files import ContainerFiles
from services.lifecycle.backends.effective_config import EffectiveConfig
from services.lifecycle.backends.layout import Layout, container_unit
from services.lifecycle.backends.toplevel import Toplevel
from services.lifecycle.backends.usr import UsrSystem
from services.lifecycle.host import cgroup
from services.lifecycle.host.addresses import HostAddresses
from services.lifecycle.host.build_output import Tell
from services.lifecycle.host.credential_files import CredentialFiles
from services.lifecycle.host.in_use import listening_ports, used_uids
from services.lifecycle.host.journal import Journal
from services.lifecycle.host.name_servers import NameServers
from services.lifecycle.host.shared import Shortage, shortages
from services.lifecycle.host.systemd import Systemd
from services.tasks import Tasks
from wire import names
from wire.errors import Conflict, HiveError, Unavailable
from wire.records.lifecycle import Network, NetworkMode, Resources, Usage

log = logging.getLogger(__name__)

SLACK: Final = 15.0
"""Seconds. systemd ends a job by the unit's own time limits; only a stuck systemd exceeds these."""


class Nspawn:
    """The backends `nspawn` and `nixos`. `Backend` documents the methods."""

    def __init__(
        self,
        systemd: Systemd,
        config: Config,
        prefix: Path,
        layout: Layout | None = None,
        addresses: HostAddresses | None = None,
    ) -> None:
        """Put the backend together.

        Args:
            systemd: the host's systemd.
            config: the host's configuration.
            prefix: the directory in which Hyperhive is installed.
            layout: the paths on the host.
            addresses: the addresses of the host.
        """
        self._systemd = systemd
        nixos = config.lifecycle.backend == "nixos"
        self._layout = replace(layout or Layout(), in_run=nixos)
        self._journal = Journal()
        stamp = metaflake.stamp(config.nixos) if nixos else ""
        self._builds = Builds(systemd, self._journal, self._layout, stamp)
        self._addresses = addresses or HostAddresses()
        self._name_servers = NameServers(self._layout.root)
        self._credentials = CredentialFiles(self._layout.credentials)
        self._config = EffectiveConfig(
            config, self._builds, self._layout, self._addresses, self._credentials
        )
        kind: type[Toplevel | UsrSystem] = Toplevel if nixos else UsrSystem
        system = kind(self._layout, self._config, self._builds, prefix)
        self._files = ContainerFiles(self._layout, self._config, self._builds, system, prefix)
        self._names: dict[str, str] = {}
        self._watcher: Watcher = lambda name, status: None
        self._tasks = Tasks()
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._unread: set[str] = set()
        """The agents whose drop-in was written, and not yet read by systemd."""
        self._killed: set[str] = set()
        """The agents whose container was killed, and is not known to have stopped."""
        self._filters: dict[str, Network] = {}
        """The filters of the drop-ins that systemd has read."""

    def unit(self, name: str) -> str:
        """Return an instance of systemd's own template, which machinectl knows, too."""
        return container_unit(name)

    # The host

    async def probe(self) -> None:
        """Find out whether denied addresses are out of reach; log an error if not."""
        try:
            self._config.can_filter = await self._systemd.can_filter(SLACK)
        except HiveError as error:
            log.error("cannot find out whether this host filters addresses: %s", error)
        if not self._config.can_filter:
            log.error(
                "this host does not filter addresses: agents with its network can reach all of them"
            )

    async def watch_network(self, changed: Callable[[], None]) -> None:
        """Read the addresses, name servers and credentials of the host; follow their changes."""
        await self._addresses.start(changed)
        self._name_servers.start(changed)
        self._credentials.start(changed)

    def stop_watching(self) -> None:
        """Stop following the host."""
        self._addresses.stop()
        self._name_servers.stop()
        self._credentials.stop()

    def used_uids(self) -> list[range]:
        """Return the uids that /etc gives to accounts and to their user namespaces."""
        return used_uids(self._layout.root / "etc")

    async def listening_ports(self) -> frozenset[int]:
        """Read the host's socket tables. A host without IPv6 has only one."""
        return await asyncio.to_thread(listening_ports, self._layout.socket_tables)

    async def boot(self) -> str:
        """Return the start time of this host's systemd."""
        return await self._systemd.boot()

    async def host_is_stopping(self) -> bool:
        """Ask systemd about the host and about hive.target."""
        return await self._systemd.host_is_stopping()

    # Status

    async def watch(self, watcher: Watcher) -> None:
        """Listen to systemd for units and to machined for machines; the first news counts."""
        self._watcher = watcher
        await self._systemd.subscribe(self._unit_changed)
        await self._systemd.on_machine_removed(self._machine_removed)

    async def status(self, name: str) -> UnitStatus:
        """Follow the container's unit."""
        unit = container_unit(name)
        self._names[unit] = name
        return await self._systemd.follow(unit)

    async def forget(self, name: str) -> None:
        """Stop following the container's unit."""
        unit = container_unit(name)
        self._names.pop(unit, None)
        await self._systemd.unfollow(unit)

    def units_of(self, name: str) -> tuple[str, ...]:
        """Return the units of the container, of what serves it, and of its builds."""
        return (*self._all_units(name), names.build_unit(name))

    async def logs(self, name: str, lines: int) -> list[str]:
        """Read the lines of the container's unit and of its endpoint, and systemd's about them."""
        return await self._journal.newest(self._all_units(name), lines)

    def _unit_changed(self, unit: str, status: UnitStatus) -> None:
        if name := self._names.get(unit):
            self._watcher(name, status)

    def _machine_removed(self, machine: str) -> None:
        """Look at the unit at once: machined may see the end before systemd announces it."""
        name = names.agent_of_machine(machine)
        if name and container_unit(name) in self._names:
            self._tasks.start_detached(self._look(name), f"look-{name}")

    async def _look(self, name: str) -> None:
        # If this fails the bus is gone, and with it the service; nothing else is lost.
        with contextlib.suppress(Unavailable):
            status = await self._systemd.follow(container_unit(name))
            if container_unit(name) in self._names:
                self._watcher(name, status)

    # Files

    def kept_uid(self, name: str) -> int | None:
        """Return the owner of the kept state directory."""
        return self._files.data_owner(name)

    async def size(self, name: str) -> int:
        """Measure the agent's data directory."""
        return await asyncio.to_thread(self._files.data_size, name)

    async def correct_data(self) -> None:
        """Let the agents' groups pass to their files, which hive-sweep needs."""
        try:
            changes = await asyncio.to_thread(self._files.correct_data)
        except OSError as error:
            log.error("old events of some agents are not deleted: %s", error)
        else:
            for change in changes:
                log.info("%s", change)

    async def configure(self, spec: Spec) -> None:
        """Write the root, the settings and the drop-in, and create the data directories."""
        await self._write(spec, [])

    async def write_started(self, spec: Spec) -> None:
        """Write harness.json."""
        async with self._writing[spec.name]:
            await asyncio.to_thread(self._files.write_harness, spec)

    async def reconcile(self, spec: Spec, *, running: bool) -> Reconciled:
        """Correct files, owners and units. A container gets a new socket only by a restart."""
        changes: list[str] = []
        await self._write(spec, changes)
        changes += await asyncio.to_thread(self._files.restore_owners, spec)
        deaf = await self._deaf(spec) if running else ""
        if deaf:
            changes.append(f"{deaf} did not listen")
        return Reconciled(changes, restart=bool(deaf))

    async def _write(self, spec: Spec, changes: list[str]) -> None:
        network = self._config.network(spec)
        await self._load_filter(spec)
        async with self._writing[spec.name]:
            changed = await asyncio.to_thread(self._files.write, spec, changes)
        await self._read_drop_in(spec.name, network, changed=changed)

    async def _read_drop_in(self, name: str, network: Network, *, changed: bool) -> None:
        """Have systemd read the drop-in; if that fails, the next call tries it again."""
        if changed:
            self._unread.add(name)
        if name in self._unread:
            await self._systemd.reload()
            self._unread.discard(name)
        self._filters[name] = network

    async def _load_filter(self, spec: Spec) -> None:
        """Load the program that the drop-in names: systemd looks for it when it reads that."""
        if unit := filter_unit(self._config.network(spec)):
            await self._systemd.start(unit, SLACK)

    async def _deaf(self, spec: Spec) -> str:
        """Return a socket unit of the agent that does not listen, or whose socket is gone."""
        sockets = zip(unit_files.SOCKETS, unit_files.socket_units(spec), strict=False)
        for socket, unit in sockets:
            listens = await self._systemd.active_state(unit) == "active"
            if not (listens and self._files.has_socket(spec.name, socket)):
                return unit
        return ""

    # The deployed configuration

    async def build(self, spec: Spec, job: int, tell: Tell, *, renew: bool = False) -> bool:
        """Run hive-build@NAME.service and wait for its end; check that the projects exist."""
        built = await self._builds.make(spec, job, tell, renew=renew)
        await asyncio.to_thread(self._files.check_projects, spec)
        return built

    def is_current(self, spec: Spec) -> bool:
        """Return whether the system of the build is made from the inputs of the host."""
        return self._builds.is_current(spec)

    async def stop_build(self, name: str) -> None:
        """Stop hive-build@NAME.service and wait for its end."""
        await self._builds.stop(name)

    def configuration(self, spec: Spec) -> AgentFile:
        """Return the file that the build has checked."""
        return self._builds.configuration(spec)

    # Resources

    def shared_credential(self) -> str:
        """Look for the operator's key, and for a scripted model."""
        return self._config.shared_credential

    def has_own_credential(self, name: str) -> bool:
        """Look for a key of the agent alone."""
        return self._config.has_own_key(name)

    def resources(self, spec: Spec) -> Resources:
        """Return the limits from all configurations together."""
        return self._config.resources(spec)

    def network(self, spec: Spec) -> Network:
        """Return the network from all configurations together, with the filter that holds."""
        network = self._config.network(spec)
        held = self._filters.get(spec.name)
        if held is None or network.mode is not NetworkMode.HOST:
            return network
        return network._replace(
            deny=held.deny,
            allow=held.allow,
            name_servers=held.name_servers,
            filtered=held.filtered,
        )

    def network_mode(self, spec: Spec) -> NetworkMode:
        """Return the network from all configurations together."""
        return self._config.mode(spec)

    async def limit(self, spec: Spec) -> None:
        """Write the limits for the next start; apply them to a running container."""
        network = self._config.network(spec)
        await self._load_filter(spec)
        if await asyncio.to_thread(self._files.retire_old_root, spec.name):
            # systemd must be able to start the container again without its old root.
            with contextlib.suppress(Conflict):
                await self._write(spec, [])
        async with self._writing[spec.name]:  # a job may be writing older addresses
            changed = await asyncio.to_thread(self._files.write_drop_in, spec, [])
        await self._read_drop_in(spec.name, network, changed=changed)
        # The filter first: programs use new name servers as soon as they are written down.
        async with self._writing[spec.name]:
            await asyncio.to_thread(self._files.write_running, spec)
        await self._systemd.set_properties(
            container_unit(spec.name), resources.properties(self.resources(spec))
        )

    async def usage(self, name: str) -> Usage:
        """Read the cgroup of the container's unit."""
        return cgroup.usage(await self._systemd.cgroup(container_unit(name)))

    async def disk_usage(self, spec: Spec, enough: int) -> int:
        """Walk through the files in a thread."""
        return await asyncio.to_thread(self._files.disk_usage, spec, enough)

    def shortages(self) -> list[Shortage]:
        """Look at the host's sockets, its disk and the agents' control group."""
        return [*shortages(self._layout.root, self._layout.sockstat)]

    async def pause(self, name: str) -> None:
        """Freeze the container's unit."""
        await self._systemd.freeze(container_unit(name))

    async def resume(self, name: str) -> None:
        """Thaw the container's unit."""
        await self._systemd.thaw(container_unit(name))

    # Start, stop, removal

    async def start(self, spec: Spec, *, fresh: bool = True) -> None:
        """Start the unit after resetting its failures. systemd starts the socket with it."""
        if self._config.lacks_required_filter(spec):
            raise refusal(spec.name)
        self._warn_of_shared_limits()
        if fresh:
            await self._clear(spec)
        else:
            # The crashes before this start that systemd began must not keep it from starting.
            await self._systemd.reset_failed(container_unit(spec.name))
        timeout = self._config.start_timeout + SLACK
        await self._systemd.start(container_unit(spec.name), timeout)

    def _warn_of_shared_limits(self) -> None:
        enough, count = self._config.host_limits.agents, len(self._names)
        if count > enough:
            log.warning(
                "%d agents together may use up the inotify instances and watches of the host's "
                "root, which are enough for %d: raise fs.inotify.max_user_instances and "
                "fs.inotify.max_user_watches",
                count,
                enough,
            )

    async def _clear(self, spec: Spec) -> None:
        # The agent may have planted things in the place of its socket, or have driven its endpoint
        # into the start limit: begin afresh. The container goes down with its socket, so this also
        # ends, in order, a start that systemd itself began after a crash.
        await self.stop(spec.name)
        self._files.make_socket_directory(spec)
        self._files.release_others(spec)
        await self._reset_failures(spec.name)
        # Limits that were set on an earlier run must not outlive a change of the configuration.
        limits = resources.properties(self.resources(spec))
        await self._systemd.set_properties(container_unit(spec.name), limits)

    async def stop(self, name: str) -> None:
        """Stop the container, then its sockets, its endpoint and its gateway."""
        unit = container_unit(name)
        starting = await self._systemd.active_state(unit) == "activating"
        if starting:
            # A booting init ignores stop requests that come before it listens, and nspawn waits
            # for it until the time limit. Nothing in there could lose any data yet.
            await self._systemd.kill(unit)
        # The container first: without its socket systemd would stop it anyway, in no order.
        await self._systemd.stop(unit, self._stop_timeout)
        if starting or name in self._killed:
            await self._systemd.reset_failed(unit)  # the failure is the kill
            self._killed.discard(name)
        _container, *others = self._all_units(name)
        await asyncio.gather(*(self._systemd.stop(unit, self._stop_timeout) for unit in others))

    async def kill(self, name: str) -> None:
        """Send SIGKILL to the processes of the container; systemd-nspawn is one of them."""
        self._killed.add(name)
        await self._systemd.kill(container_unit(name))

    async def stop_endpoint(self, name: str) -> None:
        """Order the endpoint and the gateway to stop: their container was powered off."""
        await self._systemd.order_stop(names.endpoint_unit(name))
        await self._systemd.order_stop(names.gateway_unit(name))

    async def stop_restarting(self, name: str) -> None:
        """Order the container to stop, which keeps systemd from starting it again."""
        await self._systemd.order_stop(container_unit(name))

    async def destroy(self, spec: Spec, *, purge: bool) -> None:
        """Remove the files of a stopped container. Links are never followed."""
        name = spec.name
        if await self._files.remove_unit_files(name):
            await self._systemd.revert(container_unit(name))
            await self._systemd.reload()
        self._unread.discard(name)
        self._filters.pop(name, None)
        await self._reset_failures(name)
        await self._files.remove(name)
        await self._builds.forget(name, purge=purge)
        if purge:
            await self._files.purge_data(spec)

    async def _reset_failures(self, name: str) -> None:
        await asyncio.gather(*map(self._systemd.reset_failed, self._all_units(name)))

    @property
    def _stop_timeout(self) -> float:
        return self._config.stop_timeout + SLACK

    @staticmethod
    def _all_units(name: str) -> tuple[str, ...]:
        return (
            container_unit(name),
            names.socket_unit(name),
            names.api_socket_unit(name),
            names.proxy_socket_unit(name),
            names.endpoint_unit(name),
            names.gateway_unit(name),
        )
