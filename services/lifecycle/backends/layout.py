"""Where a container's parts lie on the host."""

from dataclasses import dataclass
from pathlib import Path

from wire import names


@dataclass(frozen=True)
class Layout:
    """All paths, below `root` (which differs from / only in tests)."""

    root: Path = Path("/")

    @property
    def machines(self) -> Path:
        """Roots of containers; root's own (0700), each entry belongs to its agent."""
        return self.root / "var/lib/machines"

    @property
    def settings(self) -> Path:
        """The .nspawn files; those below /etc are trusted by nspawn."""
        return self.root / "etc/systemd/nspawn"

    @property
    def units(self) -> Path:
        """Where the drop-ins go."""
        return self.root / "etc/systemd/system"

    @property
    def data(self) -> Path:
        """What survives an agent's container: claude/ and state/ of each."""
        return self.root / "var/lib/hyperhive/agents"

    @property
    def sockets(self) -> Path:
        """A directory for each agent, with its sockets."""
        return self.root / "run/hyperhive/agents"

    @property
    def socket_tables(self) -> tuple[Path, Path]:
        """The host's tables of TCP sockets, where the unit of lifecycle shows them to it."""
        folder = self.root / "run/hyperhive/host"
        return folder / "tcp", folder / "tcp6"

    @property
    def credentials(self) -> Path:
        """What the operator put there for the agents."""
        return self.root / "etc/hyperhive/credentials"

    @property
    def git(self) -> Path:
        """The agents' configurations: proposed/ is the manager's, the rest is approvals'."""
        return self.root / "var/lib/hyperhive/git"

    @property
    def builds(self) -> Path:
        """NAME/COMMIT for each configuration that was built; hive-build's own."""
        return self.root / "var/lib/hyperhive/builds"

    @property
    def orders(self) -> Path:
        """NAME.env for each build: what is to be built."""
        return self.root / "run/hyperhive/builds"

    def drop_in_folder(self, name: str) -> str:
        """The folder of the container unit's drop-in, in `units`."""
        return f"{container_unit(name)}.d"


def container_unit(name: str) -> str:
    """The unit that the container of `name` runs in."""
    return f"systemd-nspawn@{names.machine_name(name)}.service"


def settings_file(name: str) -> str:
    """The .nspawn file of `name`, in `settings`."""
    return f"{names.machine_name(name)}.nspawn"
