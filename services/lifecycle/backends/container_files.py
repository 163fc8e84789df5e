"""The files and directories on the host that make up a container."""

import contextlib
import json
import os
import pwd
from pathlib import Path
from typing import Final

from services.lifecycle.agents import uid_ranges
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends import (
    container_network,
    data,
    old_root,
    projects,
    rootfs,
    unit_files,
)
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.effective_config import EffectiveConfig
from services.lifecycle.backends.layout import Layout, settings_file
from services.lifecycle.backends.system import ContainerSystem
from services.lifecycle.files.measure import size_below, total_size
from services.lifecycle.files.nofollow import Directory, remove_below
from services.lifecycle.files.walk import chown_below
from services.lifecycle.host import settings
from wire import names

PROJECTS_USER: Final = "hive-projects"
"""The user that reads the working copies of agents with projects."""

DATA_MODE: Final = 0o710
"""The mode of an agent's directory, which belongs to root and to the agent's group.

The group may pass through: hive-sweep opens files of `state` with the agent's rights only.
"""


class ContainerFiles:
    """The files of all containers.

    Most methods block, possibly for long when an agent left a large tree where a file belongs:
    call them in a thread.
    """

    def __init__(
        self,
        layout: Layout,
        config: EffectiveConfig,
        builds: Builds,
        system: ContainerSystem,
        prefix: Path,
    ) -> None:
        """`prefix`: the directory in which Hyperhive is installed."""
        self._layout = layout
        self._config = config
        self._builds = builds
        self._system = system
        self._prefix = prefix

    def write(self, spec: Spec, changes: list[str]) -> bool:
        """Write the template, /etc, the settings and the drop-in, and create the data.

        Args:
            spec: the container.
            changes: receives a line for each change.

        Returns:
            Whether systemd must reload its unit files.

        Raises:
            Conflict: the deployed configuration or the container's system is unusable.
        """
        self._builds.read(spec)
        self._system.check(spec)
        self._system.hold(spec)
        old_root.retire(self._layout, spec.name)
        with (
            Directory.open(self._layout.machines, changes=changes) as machines,
            machines.directory(names.machine_name(spec.name)) as root,
        ):
            self._system.write_template(root, spec)
        self._write_data_directory(spec, changes)
        self._write_settings(spec, changes)
        self.write_gateway(spec)
        left = self._remove_other(spec.name, changes)
        return self.write_drop_in(spec, changes) or left

    def check_projects(self, spec: Spec) -> None:
        """Check that the projects of the agent have repositories. Raises Conflict."""
        projects.check(self._layout, spec.name, self._config.projects(spec))

    def release_others(self, spec: Spec) -> None:
        """Give free what only a container that does not run any more needed on the host."""
        self._system.release_others(spec)

    def retire_old_root(self, name: str) -> bool:
        """Take the root of an earlier version out of use; return whether there is one."""
        return old_root.retire(self._layout, name)

    def write_drop_in(self, spec: Spec, changes: list[str]) -> bool:
        """Write the drop-in of the container's unit; see `write`."""
        layout = self._layout
        packages = self._system.packages(spec)
        limits = self._config.limits(spec)
        writable = [layout.data / spec.name, layout.web / spec.name]
        writable += [layout.git / "proposed"] if spec.is_manager else []
        mover = None
        if old_root.retire(layout, spec.name):
            mover = f"{self._prefix}/bin/python -BP -m {old_root.__name__}"
        assertions = projects.assertions(layout, self._config.projects(spec))
        text = unit_files.drop_in(spec, limits, packages, writable, mover, assertions)
        with (
            Directory.open(layout.units, changes=changes) as units,
            units.directory(layout.drop_in_folder(spec.name)) as folder,
        ):
            return folder.write(layout.drop_in, text)

    def write_harness(self, spec: Spec) -> None:
        """Write harness.json alone, which every start of the harness reads."""
        with (
            Directory.open(self._layout.data / spec.name) as own,
            own.directory(data.ETC) as etc,
        ):
            rootfs.write_harness(etc, self._config.harness(spec))

    def write_running(self, spec: Spec) -> None:
        """Write the files that a running container, or its gateway, takes over at once."""
        self.write_gateway(spec)
        with (
            contextlib.suppress(FileNotFoundError),  # an agent that an earlier version made
            Directory.open(self._layout.data / spec.name) as own,
            own.directory(data.ETC) as etc,
        ):
            servers = settings.resolv_conf(self._layout.root)
            container_network.write_names(etc, spec.network, servers)
            rootfs.write_harness(etc, self._config.harness(spec))

    def write_gateway(self, spec: Spec) -> None:
        """Write the configuration of the agent's gateway, which takes it over at once."""
        text = json.dumps(self._config.gateway(spec), indent=2) + "\n"
        # The directory has the group of the gateways.
        group = self._layout.gateway.stat().st_gid
        with Directory.open(self._layout.gateway) as folder:
            folder.write(f"{spec.name}.json", text, mode=0o640, group=group)

    def make_socket_directory(self, spec: Spec) -> None:
        """Replace the directory of the agent's sockets, and all that was planted in it."""
        with Directory.open(self._layout.sockets) as sockets:
            sockets.remove(spec.name)
            # Only root and the container may enter: a process that can connect here is this agent.
            # systemd makes the socket, as root of the host, by path: nobody else may write here.
            sockets.make(spec.name, mode=0o750, group=spec.uid_base)

    def has_socket(self, name: str, socket: str) -> bool:
        """Return whether one of the sockets of the agent's container exists."""
        return (self._layout.sockets / name / socket).is_socket()

    def restore_owners(self, spec: Spec) -> list[str]:
        """Correct the owner of the agent's files; return notes about the changes."""
        owners = range(spec.uid_base, spec.uid_base + uid_ranges.SIZE)
        parts = [(self._layout.data / spec.name, part.name) for part in data.WRITABLE]
        parts.append((self._layout.web, spec.name))
        parts += [(self._layout.git, "proposed")] if spec.is_manager else []
        changed = [(parent / name, chown_below(parent, name, owners)) for parent, name in parts]
        return [f"{path}: owner of {count} files corrected" for path, count in changed if count]

    def data_size(self, name: str) -> int:
        """Return the bytes on disk of the agent's data."""
        return size_below(self._layout.data, name)

    def disk_usage(self, spec: Spec, enough: int) -> int:
        """Return the bytes on disk of everything that the container may write; see `measure`."""
        parts = [(self._layout.data, spec.name), (self._layout.web, spec.name)]
        parts += [(self._layout.git, "proposed")] if spec.is_manager else []
        return total_size(parts, enough)

    def data_owner(self, name: str) -> int | None:
        """Return the owner of the agent's state directory if it is the base of a uid range."""
        try:
            with Directory.open(self._layout.data / name) as own:
                owner = own.owner_of("state")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return owner if owner is not None and uid_ranges.is_base(owner) else None

    def correct_data(self) -> list[str]:
        """Let each agent's group pass to its files, also to those that a destroyed agent left.

        Returns:
            Notes about the changes.
        """
        changes: list[str] = []
        with Directory.open(self._layout.data, changes=changes) as agents:
            for name in sorted(os.listdir(agents.fileno())):  # noqa: PTH208 - by descriptor
                if names.is_agent_name(name) and (base := self.data_owner(name)) is not None:
                    agents.make(name, mode=DATA_MODE, group=base)
        return changes

    async def remove_unit_files(self, name: str) -> bool:
        """Remove the settings and the drop-in; return whether there was a drop-in."""
        layout = self._layout
        await remove_below(layout.settings, settings_file(name))
        return await remove_below(layout.units, layout.drop_in_folder(name))

    async def remove(self, name: str) -> None:
        """Remove the files of a stopped container that do not survive it, and its sockets."""
        await remove_below(self._layout.machines, names.machine_name(name))
        for old in old_root.listed(self._layout, name):
            await remove_below(self._layout.machines, old)
        for part in (data.ETC, *(part.name for part in data.WRITABLE if not part.survives)):
            await remove_below(self._layout.data / name, part)
        await remove_below(self._layout.sockets, name)
        await remove_below(self._layout.web, name)
        await remove_below(self._layout.gateway, f"{name}.json")
        await self._system.release(name)

    async def purge_data(self, spec: Spec) -> None:
        """Remove the data of the agent, and the working copy of its configuration."""
        await remove_below(self._layout.data, spec.name)
        await remove_below(self._layout.git / "proposed", spec.name)
        if spec.is_manager:  # all working copies belong to the manager
            await remove_below(self._layout.git, "proposed")

    def _remove_other(self, name: str, changes: list[str]) -> bool:
        """Remove the settings and the drop-in of the other backend, which would apply as well.

        Returns:
            Whether there were any.
        """
        other = self._layout.other
        files = (
            (other.settings, settings_file(name)),
            (other.units / other.drop_in_folder(name), other.drop_in),
        )
        # Where nothing can be written, as in the /etc/systemd/system of NixOS, nothing is removed.
        found = [(folder, file) for folder, file in files if os.path.lexists(folder / file)]
        for folder, file in found:
            with Directory.open(folder) as there:
                there.remove(file)
            changes.append(f"{folder / file} of another backend removed")
        return bool(found)

    def _write_data_directory(self, spec: Spec, changes: list[str]) -> None:
        base = spec.uid_base
        # The agent must not own the parent of its directories: it could put links there.
        with (
            Directory.open(self._layout.data, changes=changes) as agents,
            agents.directory(spec.name, mode=DATA_MODE, group=base) as own,
        ):
            data.make(own, base)
            # The service takes what the agent hands back from there, and reads nothing else.
            reader = _uid_of(PROJECTS_USER) if self._config.projects(spec) else None
            own.admit(reader, mode=DATA_MODE)
            with own.directory(data.ETC) as etc:
                self._system.write_etc(etc, spec)
        # Clients on the host find the harness's socket here. tmpfiles.d says who may enter `web`.
        with Directory.open(self._layout.web, changes=changes) as web:
            web.make(spec.name, mode=0o711, owner=base)
        if spec.is_manager:
            # The same holds for the parent of proposed/, which also has approvals' repositories.
            with Directory.open(self._layout.git, changes=changes) as git:
                git.make("proposed", owner=base)

    def _write_settings(self, spec: Spec, changes: list[str]) -> None:
        layout = self._layout
        own = layout.data / spec.name
        settings = unit_files.settings(
            spec,
            self._config.confinement(spec, *self._system.command(spec)),
            self._system.mounts(spec, str(own / data.ETC)),
            str(own),
            str(layout.sockets / spec.name),
            str(layout.web / spec.name),
            str(layout.git),
            projects.mounts(layout, self._config.projects(spec)),
        )
        layout.settings.mkdir(mode=0o755, exist_ok=True)
        with Directory.open(layout.settings, changes=changes) as folder:
            folder.write(settings_file(spec.name), settings)


def _uid_of(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
