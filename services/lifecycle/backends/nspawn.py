"""Containers as systemd-nspawn runs them: files on the host, and systemd does the rest."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services.agentfile import AgentFile
from services.config import AgentSettings, Config
from services.lifecycle import resources, uidrange
from services.lifecycle.agent import Spec, UnitStatus
from services.lifecycle.backends import Reconciled, Watcher, files, image, skeleton, usage
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.host import listening, taken_uids
from services.lifecycle.backends.journal import Journal
from services.lifecycle.backends.layout import Layout, container_unit, settings_file
from services.lifecycle.backends.systemd import Systemd
from services.lifecycle.network import Network, network_of, refusal
from services.lifecycle.survey import give_below, size_below
from services.lifecycle.tree import Tree, remove_below
from wire import names
from wire.errors import HiveError, Unavailable

log = logging.getLogger(__name__)

SLACK: Final = 15.0
"""systemd ends a job by the unit's own time limits; only a stuck systemd needs ours, in seconds."""


class Nspawn:
    """The nspawn backend; see `Backend` for what each method promises."""

    def __init__(
        self, systemd: Systemd, config: Config, prefix: Path, layout: Layout | None = None
    ) -> None:
        self._systemd = systemd
        self._config = config
        self._prefix = prefix
        self._units = prefix / "share/hyperhive/container"
        self._layout = layout or Layout()
        self._names: dict[str, str] = {}
        self._watcher: Watcher = lambda name, status: None
        self._looking: set[asyncio.Task[None]] = set()
        self._journal = Journal()
        self._builds = Builds(systemd, self._journal, self._layout)
        self._can_filter = False

    def unit(self, name: str) -> str:
        """The unit is systemd's own template, so machinectl knows it, too."""
        return container_unit(name)

    # What the host can do

    async def probe(self) -> None:
        """Whether the addresses that are denied are out of reach; the journal says if not."""
        try:
            self._can_filter = await self._systemd.can_filter(SLACK)
        except HiveError as error:
            log.error("whether this host filters addresses is not known: %s", error)
        if not self._can_filter:
            log.error("this host does not filter addresses: agents reach all of them")

    def network(self, spec: Spec) -> Network:
        """The configuration's for this agent, else for all, and the host's name servers."""
        resolv_conf = ""
        with contextlib.suppress(FileNotFoundError):
            resolv_conf = (self._layout.root / "etc/resolv.conf").read_text()
        return network_of(spec.name, self._config, resolv_conf, can_filter=self._can_filter)

    # What happens

    async def watch(self, watcher: Watcher) -> None:
        """Systemd tells of the unit, machined of the machine; whichever is first counts."""
        self._watcher = watcher
        await self._systemd.subscribe(self._unit_changed)
        await self._systemd.on_machine_removed(self._machine_removed)

    async def status(self, name: str) -> UnitStatus:
        """What systemd says now; from here on changes are told."""
        unit = container_unit(name)
        self._names[unit] = name
        return await self._systemd.follow(unit)

    async def forget(self, name: str) -> None:
        """Tell of this container no more."""
        unit = container_unit(name)
        self._names.pop(unit, None)
        await self._systemd.unfollow(unit)

    async def boot(self) -> str:
        """The start of this host's systemd."""
        return await self._systemd.boot()

    async def host_is_stopping(self) -> bool:
        """Whether the whole host goes down, or the hive on it."""
        return await self._systemd.host_is_stopping()

    def _unit_changed(self, unit: str, status: UnitStatus) -> None:
        if name := self._names.get(unit):
            self._watcher(name, status)

    def _machine_removed(self, machine: str) -> None:
        """machined may see the end before systemd tells of it: look at the unit at once."""
        name = names.agent_of_machine(machine)
        if name and container_unit(name) in self._names:
            task = asyncio.create_task(self._look(name), name=f"look-{name}")
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _look(self, name: str) -> None:
        # If this fails the bus is gone, and with it the service; nothing else is lost.
        with contextlib.suppress(Unavailable):
            status = await self._systemd.follow(container_unit(name))
            if container_unit(name) in self._names:
                self._watcher(name, status)

    async def logs(self, name: str, lines: int) -> list[str]:
        """What the container's unit and its endpoint logged, and systemd about them."""
        return await self._journal.newest(self._all_units(name), lines)

    # Uid ranges and ports

    def kept_uid(self, name: str) -> int | None:
        """Who owns the kept state/, when that is the base of a range."""
        try:
            with Tree.open(self._layout.data / name) as data:
                owner = data.owner_of("state")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return owner if owner is not None and uidrange.is_base(owner) else None

    def taken_uids(self) -> list[range]:
        """What /etc gives to accounts and to their user namespaces."""
        return taken_uids(self._layout.root / "etc")

    async def listening(self) -> frozenset[int]:
        """From the host's tables; a host without IPv6 has one."""
        return await asyncio.to_thread(listening, self._layout.listening)

    # Files

    async def configure(self, spec: Spec) -> None:
        """Write skeleton, settings and drop-in, and make the directories of its data."""
        await self._write(spec, [])

    async def reconcile(self, spec: Spec, *, running: bool) -> Reconciled:
        """Files, their owners, units; and the socket, which a container gets only by a restart."""
        changes: list[str] = []
        await self._write(spec, changes)
        changes += await asyncio.to_thread(self._give_back, spec)
        deaf = running and not await self._listens(spec.name)
        if deaf:
            changes.append(f"{names.socket_unit(spec.name)} did not listen")
        return Reconciled(changes, restart=deaf)

    # What is deployed

    async def build(self, spec: Spec, job: int) -> bool:
        """By a unit of its own, whose end is waited for."""
        return await self._builds.make(spec, job)

    async def stop_build(self, name: str) -> None:
        """And wait until it is."""
        await self._builds.stop(name)

    def configuration(self, spec: Spec) -> AgentFile:
        """As the build has checked it."""
        return self._builds.configuration(spec)

    # What it uses

    def resources(self, spec: Spec) -> dict[str, int]:
        """The operator's for all, the deployed ones, the operator's for this agent, in its file and
        as set since.
        """
        config, deployed = self._config.lifecycle, self.configuration(spec).resources
        own = config.agents.get(spec.name, AgentSettings()).resources
        return resources.effective(config.resources, deployed, own, spec.resources)

    async def limit(self, spec: Spec) -> None:
        """Written for the next start; what runs gets it by a reload, and from systemd."""
        if await asyncio.to_thread(self._write_drop_in, spec, []):
            await self._systemd.reload()
        await self._systemd.set_properties(
            container_unit(spec.name), resources.properties(self.resources(spec))
        )

    async def usage(self, name: str) -> dict[str, int]:
        """From the cgroup of its unit."""
        return usage.usage(await self._systemd.cgroup(container_unit(name)))

    async def pause(self, name: str) -> None:
        """Frozen by systemd."""
        await self._systemd.freeze(container_unit(name))

    async def resume(self, name: str) -> None:
        """Thawed by systemd."""
        await self._systemd.thaw(container_unit(name))

    # More about files

    async def size(self, name: str) -> int:
        """What lies in the directory of its data."""
        return await asyncio.to_thread(size_below, self._layout.data, name)

    def _give_back(self, spec: Spec) -> list[str]:
        """Files of the agent that belong to somebody else become its own."""
        owners = range(spec.uid_base, spec.uid_base + uidrange.SIZE)
        data = self._layout.data / spec.name
        parts = [(data, "claude"), (data, "state")]
        parts += [(self._layout.git, "proposed")] if spec.is_manager else []
        changed = [(parent / name, give_below(parent, name, owners)) for parent, name in parts]
        return [f"{path}: {count} files given back to it" for path, count in changed if count]

    async def _listens(self, name: str) -> bool:
        """Whether the socket is there, and systemd listens on it."""
        path = self._layout.sockets / name / "mcp.sock"
        unit = names.socket_unit(name)
        return path.is_socket() and await self._systemd.active_state(unit) == "active"

    async def _write(self, spec: Spec, changes: list[str]) -> None:
        # In a thread: what an agent left where a file belongs may take long to remove.
        if await asyncio.to_thread(self._lay, spec, changes):
            await self._systemd.reload()

    def _lay(self, spec: Spec, changes: list[str]) -> bool:
        """Everything on disk; answers whether systemd must read units again."""
        self._builds.read(spec)
        source = self._image(spec)
        packages = self._builds.packages(spec)
        image.check(spec.name, source, self._prefix, packages, self._layout.root)
        self._lay_data(spec, changes)
        machine = names.machine_name(spec.name)
        with (
            Tree.open(self._layout.machines, changes=changes) as machines,
            machines.directory(machine, owner=spec.uid_base) as root,
        ):
            links = image.usr_links(source)
            skeleton.lay(root, spec, self._harness(spec), self._units, links)
        shared = image.shared(source, self._prefix, packages)
        self._write_settings(spec, shared, changes)
        return self._write_drop_in(spec, changes)

    def _image(self, spec: Spec) -> Path:
        """What its /usr comes from."""
        chosen = self._config.lifecycle.image_of(spec.name)
        return image.HOST if chosen == "/" else self._layout.root / chosen.lstrip("/")

    def _lay_data(self, spec: Spec, changes: list[str]) -> None:
        base = spec.uid_base
        # The agent must not own what holds claude/ and state/: it could put links there.
        with (
            Tree.open(self._layout.data, changes=changes) as agents,
            agents.directory(spec.name, mode=0o700) as data,
        ):
            data.make("claude", mode=0o700, owner=base)
            data.make("state", mode=0o700, owner=base)
        if spec.is_manager:
            # As above: it must not own what holds proposed/ beside the repositories of approvals.
            with Tree.open(self._layout.git, changes=changes) as git:
                git.make("proposed", owner=base)

    def _write_settings(self, spec: Spec, shared: list[str], changes: list[str]) -> None:
        layout = self._layout
        settings = files.settings(
            spec,
            shared,
            str(layout.data / spec.name),
            str(layout.sockets / spec.name),
            str(layout.git),
        )
        layout.settings.mkdir(mode=0o755, exist_ok=True)
        with Tree.open(layout.settings, changes=changes) as folder:
            folder.write(settings_file(spec.name), settings)

    def _write_drop_in(self, spec: Spec, changes: list[str]) -> bool:
        """Answers whether systemd must read it again."""
        layout = self._layout
        key = layout.credentials / files.CREDENTIAL
        root = str(layout.machines / names.machine_name(spec.name))
        credential = str(key) if key.is_file() else None
        packages = self._builds.packages(spec)
        text = files.drop_in(spec, self._limits(spec), root, credential, packages)
        with (
            Tree.open(layout.units, changes=changes) as units,
            units.directory(layout.drop_in_folder(spec.name)) as folder,
        ):
            return folder.write(files.DROP_IN, text)

    def _limits(self, spec: Spec) -> files.Limits:
        config = self._config.lifecycle
        return files.Limits(
            config.start_timeout, config.stop_timeout, self.network(spec), self.resources(spec)
        )

    def _harness(self, spec: Spec) -> Mapping[str, object]:
        config, deployed = self._config.harness, self.configuration(spec).for_harness()
        return {
            "name": spec.name,
            "manager": spec.is_manager,
            "model": spec.model or config.model,
            "scripted_model_url": config.scripted_model_url,
            "session_idle": config.session_idle,
            "turn_timeout": config.turn_timeout,
            **deployed,
            "environment": {**config.environment, **deployed.get("environment", {})},
        }

    # Running

    async def start(self, spec: Spec, *, fresh: bool = True) -> None:
        """Start the unit, its failures forgotten; the socket comes with it."""
        if self._config.lifecycle.require_filter and self.network(spec).unkept:
            raise refusal(spec.name)
        if fresh:
            await self._clear(spec)
        timeout = self._config.lifecycle.start_timeout + SLACK
        await self._systemd.start(container_unit(spec.name), timeout)

    async def _clear(self, spec: Spec) -> None:
        # The agent may have planted things where its socket belongs, or have driven its endpoint
        # into the start limit: begin afresh. Its container goes with its socket, so a start of
        # systemd's own after a crash ends here too, in order.
        await self.stop(spec.name)
        with Tree.open(self._layout.sockets) as sockets:
            sockets.remove(spec.name)
            # For nobody but the container and root: who can connect here is this agent.
            sockets.make(spec.name, mode=0o700, owner=spec.uid_base)
        for unit in self._all_units(spec.name):
            await self._systemd.reset_failed(unit)
        # What was set on a life before this one must not outlive a change of the configuration.
        limits = resources.properties(self.resources(spec))
        await self._systemd.set_properties(container_unit(spec.name), limits)

    async def stop(self, name: str) -> None:
        """Stop the container, then what served its socket."""
        unit = container_unit(name)
        starting = await self._systemd.active_state(unit) == "activating"
        if starting:
            # An init loses the order to stop that comes before it listens, and nspawn waits for it
            # until the time limit. Nothing runs in there that could lose anything.
            await self._systemd.kill(unit)
        # The container first: without its socket systemd would stop it anyway, in no order.
        await self._systemd.stop(unit, self._stop_timeout)
        if starting:
            await self._systemd.reset_failed(unit)  # it was ours to kill
        await self._stop_endpoint(name)

    async def ended(self, name: str) -> None:
        """Its container was powered off: nobody needs its endpoint any more."""
        await self._systemd.order_stop(names.endpoint_unit(name))

    async def give_up(self, name: str) -> None:
        """An order to stop keeps systemd from starting it again."""
        await self._systemd.order_stop(container_unit(name))

    async def _stop_endpoint(self, name: str) -> None:
        for unit in (names.socket_unit(name), names.endpoint_unit(name)):
            await self._systemd.stop(unit, self._stop_timeout)

    @property
    def _stop_timeout(self) -> float:
        return self._config.lifecycle.stop_timeout + SLACK

    @staticmethod
    def _all_units(name: str) -> tuple[str, ...]:
        return container_unit(name), names.socket_unit(name), names.endpoint_unit(name)

    async def destroy(self, spec: Spec, *, purge: bool) -> None:
        """Remove the files of a stopped container, links never followed."""
        name, layout = spec.name, self._layout
        await remove_below(layout.settings, settings_file(name))
        if await remove_below(layout.units, layout.drop_in_folder(name)):
            await self._systemd.revert(container_unit(name))
            await self._systemd.reload()
        for unit in self._all_units(name):
            await self._systemd.reset_failed(unit)
        await remove_below(layout.machines, names.machine_name(name))
        await remove_below(layout.sockets, name)
        await self._builds.forget(name, purge=purge)
        if purge:
            await remove_below(layout.data, name)
            await remove_below(layout.git / "proposed", name)
            if spec.is_manager:  # they were its own, all of them
                await remove_below(layout.git, "proposed")
