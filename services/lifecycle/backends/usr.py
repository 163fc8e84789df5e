"""The system of the backend `nspawn`: the host's own /usr, or that of an image."""

from pathlib import Path

from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends import confinement, image, rootfs
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.effective_config import EffectiveConfig
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory


class UsrSystem:
    """A shared /usr, and an /etc that lifecycle writes. `ContainerSystem` documents the methods."""

    def __init__(
        self, layout: Layout, config: EffectiveConfig, builds: Builds, prefix: Path
    ) -> None:
        """`prefix`: the directory in which Hyperhive is installed."""
        self._layout = layout
        self._config = config
        self._builds = builds
        self._prefix = prefix

    def check(self, spec: Spec) -> None:
        """Look at the image, and at the packages of the build."""
        source, packages = self._config.image(spec), self.packages(spec)
        image.check(spec.name, source, self._prefix, packages, self._layout.root)

    def write_template(self, root: Directory, spec: Spec) -> None:
        """Write os-release, and the directories that become links into /usr."""
        rootfs.write_template(root, self._config.image(spec))

    def write_etc(self, etc: Directory, spec: Spec) -> None:
        """Write the whole /etc of the container."""
        rootfs.write_etc(
            etc,
            spec,
            self._config.harness(spec),
            self._config.ports(spec),
            self._prefix,
            self._config.image(spec),
            self._layout.root,
            self._config.projects(spec),
        )

    def mounts(self, spec: Spec, etc: str) -> list[str]:
        """Return the mounts of /etc, of /usr and of a few directories of the host's /etc."""
        shared = image.shared(self._config.image(spec), self._prefix, self.packages(spec))
        return [f"BindReadOnly={etc}:/etc", *shared]

    def command(self, spec: Spec) -> tuple[str, str]:
        """Return the shell and the systemd of the container's /usr."""
        return f"/bin/sh {self._prefix}/{confinement.SCRIPT}", confinement.INIT

    def hold(self, spec: Spec) -> None:
        """Do nothing: the host keeps its /usr."""

    def release_others(self, spec: Spec) -> None:
        """Do nothing."""

    async def release(self, name: str) -> None:
        """Do nothing."""

    def packages(self, spec: Spec) -> Path | None:
        """Return the packages of the build, which are laid over /usr."""
        return self._builds.packages(spec)
