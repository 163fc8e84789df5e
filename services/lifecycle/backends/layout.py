"""The paths of a container's parts on the host."""

from dataclasses import dataclass
from pathlib import Path

from wire import names


@dataclass(frozen=True)
class Layout:
    """All paths, below `root`, which differs from / only in tests."""

    root: Path = Path("/")

    @property
    def machines(self) -> Path:
        """The roots of the containers, in a directory of root (0700). Agents own their entries."""
        return self.root / "var/lib/machines"

    @property
    def settings(self) -> Path:
        """The .nspawn files. nspawn trusts the ones below /etc."""
        return self.root / "etc/systemd/nspawn"

    @property
    def units(self) -> Path:
        """The drop-ins of the containers' units."""
        return self.root / "etc/systemd/system"

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
    def builds(self) -> Path:
        """The builds, as NAME/COMMIT. They belong to hive-build."""
        return self.root / "var/lib/hyperhive/builds"

    @property
    def orders(self) -> Path:
        """The orders to hive-build@NAME.service, as NAME.env."""
        return self.root / "run/hyperhive/builds"

    def drop_in_folder(self, name: str) -> str:
        """Return the directory of the container unit's drop-in, in `units`."""
        return f"{container_unit(name)}.d"


def container_unit(name: str) -> str:
    """Return the unit of the container of `name`."""
    return f"systemd-nspawn@{names.machine_name(name)}.service"


def settings_file(name: str) -> str:
    """Return the name of the .nspawn file of `name`, in `settings`."""
    return f"{names.machine_name(name)}.nspawn"
