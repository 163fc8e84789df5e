"""The interface to the system in a container: the part that differs between the backends."""

from pathlib import Path
from typing import Protocol

from services.lifecycle.agents.agent import Spec
from services.lifecycle.files.nofollow import Directory


class ContainerSystem(Protocol):
    """Writes what a container boots from. All methods block: call them in a thread."""

    def check(self, spec: Spec) -> None:
        """Check that the container can be started. Raises Conflict with the reason."""

    def write_template(self, root: Directory, spec: Spec) -> None:
        """Write the files from which nspawn makes / at each start.

        Args:
            root: the directory of the template, which belongs to root.
            spec: the container.
        """

    def write_etc(self, etc: Directory, spec: Spec) -> None:
        """Write the directory that `mounts` shows to the container.

        Args:
            etc: the directory, which belongs to root.
            spec: the container.
        """

    def mounts(self, spec: Spec, etc: str) -> list[str]:
        """Return the lines of the .nspawn file that mount the system.

        Args:
            spec: the container.
            etc: the path of the directory that `write_etc` has written.
        """

    def command(self, spec: Spec) -> tuple[str, str]:
        """Return the command that sets the kernel limits, and the init that it starts."""

    def hold(self, spec: Spec) -> None:
        """Keep on the host what the next start boots from, besides what the container runs from."""

    def release_others(self, spec: Spec) -> None:
        """Keep only what the next start boots from: the container does not run."""

    async def release(self, name: str) -> None:
        """Keep nothing for a container that is removed."""

    def packages(self, spec: Spec) -> Path | None:
        """Return the directory of a build that systemd-nspawn opens by path, if there is one."""
