"""The system of the backend `nixos`: a toplevel of NixOS in the host's Nix store.

The container sees the whole store, read-only, and nothing else of the host's programs. NixOS makes
/etc, /bin and /usr itself when it starts, in memory. The files that only lifecycle knows are in
GIVEN; nix/templates/harness-base.nix makes NixOS read them.
"""

import os
import re
from pathlib import Path
from typing import Final

from services.configvalues import STORE_PATH
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends import confinement, container_network, gc_roots, rootfs
from services.lifecycle.backends.builds import SYSTEM, Builds
from services.lifecycle.backends.effective_config import EffectiveConfig
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory
from services.lifecycle.host import settings
from wire.errors import Conflict

STORE: Final = "/nix/store"
GIVEN: Final = "/run/hive-etc"
"""The place in the container of the directory with lifecycle's files: machine-id, harness.json,
resolv.conf, the files that lead programs to the proxy, and the units that the network wants."""


class Toplevel:
    """A NixOS system for each agent. `ContainerSystem` documents the methods."""

    def __init__(
        self, layout: Layout, config: EffectiveConfig, builds: Builds, prefix: Path
    ) -> None:
        """`prefix`: the directory in which Hyperhive is installed, in the store or in /usr.

        No mount point may lie in a directory that the agent can write to.
        """
        self._layout = layout
        self._config = config
        self._builds = builds
        self._prefix = prefix

    def check(self, spec: Spec) -> None:
        """Look for the toplevel, and refuse packages of Debian."""
        toplevel = self._toplevel(spec)
        if not os.path.lexists(self._layout.root / toplevel.lstrip("/") / "init"):
            raise Conflict(
                f"{spec.name} cannot run the system {toplevel}: it has no `init`, or it is no "
                "longer in the Nix store."
            )
        if self._builds.packages(spec):
            raise Conflict(
                f"{spec.name} runs NixOS, where agent.toml cannot have `packages`: name them in "
                "the agent's agent.nix."
            )

    def write_template(self, root: Directory, spec: Spec) -> None:
        """Write an os-release and an empty /usr, which nspawn wants to see."""
        with root.directory("etc") as etc:
            etc.write("os-release", rootfs.OS_RELEASE)
        with root.directory("usr") as usr:
            for name in os.listdir(usr.fileno()):  # noqa: PTH208 - by descriptor
                usr.remove(name)

    def write_etc(self, etc: Directory, spec: Spec) -> None:
        """Write the files of GIVEN. All others in /etc are made by NixOS."""
        etc.write("machine-id", f"{spec.machine_id}\n")
        rootfs.write_harness(etc, self._config.harness(spec))
        etc.write("gitconfig", rootfs.gitconfig(spec, self._config.projects(spec)))
        etc.write("hosts", rootfs.HOSTS.format(name=spec.name))
        with etc.directory("systemd") as systemd, systemd.directory("system") as system:
            for name in os.listdir(system.fileno()):  # noqa: PTH208 - by descriptor
                if system.owner_of(name) is None:  # a unit of the backend nspawn, not a directory
                    system.remove(name)
        names = settings.resolv_conf(self._layout.root)
        container_network.write(etc, spec, self._config.ports(spec), names, str(self._prefix))

    def mounts(self, spec: Spec, etc: str) -> list[str]:
        """Return the mounts of the store and of GIVEN."""
        # nspawn makes the directories above a mount point as root of the host, and the /usr of the
        # template is read-only. NixOS writes to both: /usr/bin/env, /nix/var.
        memory, mounted = ["/usr", "/nix"], [STORE]
        if not self._prefix.is_relative_to(STORE):
            memory.append(str(self._prefix.parent))
            mounted.append(str(self._prefix))
        return [
            *(f"TemporaryFileSystem={path}:mode=0755" for path in memory),
            *(f"BindReadOnly={path}" for path in mounted),
            f"BindReadOnly={etc}:{GIVEN}",
        ]

    def command(self, spec: Spec) -> tuple[str, str]:
        """Return the script of the host's package, whose shell is in the store, and the init."""
        return f"{self._prefix}/{confinement.SCRIPT}", f"{self._toplevel(spec)}/init"

    def hold(self, spec: Spec) -> None:
        """Add a link that keeps Nix from removing the toplevel."""
        gc_roots.hold(self._layout, spec.name, self._toplevel(spec))

    def release_others(self, spec: Spec) -> None:
        """Remove the links to other toplevels."""
        gc_roots.hold(self._layout, spec.name, self._toplevel(spec), alone=True)

    async def release(self, name: str) -> None:
        """Remove all links."""
        await gc_roots.release(self._layout, name)

    def packages(self, spec: Spec) -> Path | None:
        """Return None: the build is a link into the store, and nspawn gets its target."""
        return None

    def _toplevel(self, spec: Spec) -> str:
        """Return the path of the agent's system; it may be missing. Raises Conflict."""
        if built := self._builds.system(spec):
            if not re.fullmatch(STORE_PATH, built):
                raise Conflict(
                    f"The build of {spec.name} at {spec.commit[:12]} cannot be used: its link "
                    f"`{SYSTEM}` does not lead to a path directly in {STORE}."
                )
            return built
        if given := self._config.toplevel(spec):
            return given
        raise Conflict(
            f"{spec.name} has no system to run: its configuration has no agent.nix, and "
            "hyperhive.toml has no `toplevel` in [lifecycle]."
        )
