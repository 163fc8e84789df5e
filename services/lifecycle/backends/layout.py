"""The paths of a container's parts on the host."""

from dataclasses import dataclass, replace
from pathlib import Path

from wire import names


@dataclass(frozen=True)
class Layout:
    """All paths, below `root`, which differs from / only in tests.

    Attributes:
        root: the root directory of the host.
        in_run: whether the settings and drop-ins are below /run: on NixOS /etc/systemd/system is
            part of the system, and cannot be written.
    """

    root: Path = Path("/")
    in_run: bool = False

    @property
    def machines(self) -> Path:
        """The roots of the containers, in a directory of root (0700). Agents own their entries."""
        return self.root / "var/lib/machines"

    @property
    def settings(self) -> Path:
        """The .nspawn files. nspawn trusts the ones below /etc and /run."""
        return self.root / ("run" if self.in_run else "etc") / "systemd/nspawn"

    @property
    def units(self) -> Path:
        """The drop-ins of the containers' units."""
        return self.root / ("run" if self.in_run else "etc") / "systemd/system"

    @property
    def drop_in(self) -> str:
        """The name of a drop-in.

        systemd sorts the drop-ins of all directories by name. NixOS has an overrides.conf for the
        template of the unit, which ours must follow.
        """
        return "zz-hyperhive.conf" if self.in_run else "50-hyperhive.conf"

    @property
    def other(self) -> "Layout":
        """The layout of the other backend."""
        return replace(self, in_run=not self.in_run)

    @property
    def data(self) -> Path:
        """The data that survives a container: claude/ and state/ of each agent."""
        return self.root / "var/lib/hyperhive/agents"

    @property
    def sockets(self) -> Path:
        """The sockets, in a directory for each agent."""
        return self.root / "run/hyperhive/agents"

    @property
    def gateway(self) -> Path:
        """The configuration of the gateway of each agent, as NAME.json."""
        return self.root / "run/hyperhive/gateway"

    @property
    def web(self) -> Path:
        """The directories in which the harnesses serve the records of their agents.

        Each belongs to its container. They are not below `sockets`: an agent could fill the host's
        /run there. They are not below `data`, where nobody but root may enter.
        """
        return self.root / "var/lib/hyperhive/web"

    @property
    def socket_tables(self) -> tuple[Path, Path]:
        """The host's tables of TCP sockets, at the place where lifecycle's unit mounts them."""
        folder = self.root / "run/hyperhive/host"
        return folder / "tcp", folder / "tcp6"

    @property
    def sockstat(self) -> Path:
        """The host's numbers of sockets, at the place where lifecycle's unit mounts them."""
        return self.root / "run/hyperhive/host/sockstat"

    @property
    def inotify_limits(self) -> Path:
        """The host's limits of inotify, at the place where lifecycle's unit mounts them."""
        return self.root / "run/hyperhive/host/inotify"

    @property
    def credentials(self) -> Path:
        """The credentials that the operator provides for the agents."""
        return self.root / "etc/hyperhive/credentials"

    @property
    def git(self) -> Path:
        """The agents' configurations: proposed/ belongs to the manager, the rest to approvals."""
        return self.root / "var/lib/hyperhive/git"

    @property
    def projects(self) -> Path:
        """The repositories of projects, in a directory for each. They belong to hive-projects."""
        return self.root / "var/lib/hyperhive/projects"

    @property
    def builds(self) -> Path:
        """The builds, as NAME/COMMIT. They belong to hive-build."""
        return self.root / "var/lib/hyperhive/builds"

    @property
    def orders(self) -> Path:
        """The orders to hive-build@NAME.service, as NAME.env."""
        return self.root / "run/hyperhive/builds"

    @property
    def gc_roots(self) -> Path:
        """The links that keep Nix from removing systems, in a directory for each agent.

        The NixOS module makes it. On a host without it, nothing is kept.
        """
        return self.root / "nix/var/nix/gcroots/hyperhive"

    def drop_in_folder(self, name: str) -> str:
        """Return the directory of the container unit's drop-in, in `units`."""
        return f"{container_unit(name)}.d"


def container_unit(name: str) -> str:
    """Return the unit of the container of `name`."""
    return f"systemd-nspawn@{names.machine_name(name)}.service"


def settings_file(name: str) -> str:
    """Return the name of the .nspawn file of `name`, in `settings`."""
    return f"{names.machine_name(name)}.nspawn"
