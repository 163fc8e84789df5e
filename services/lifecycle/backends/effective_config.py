"""The configuration that applies to one agent, from all places where something is configured."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from services.config import AgentSettings, Config
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Spec
from services.lifecycle.agents.network import is_unenforced, network_of
from services.lifecycle.backends import confinement, image
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.layout import Layout
from services.lifecycle.backends.unit_files import CREDENTIAL, Limits
from services.lifecycle.host.addresses import HostAddresses
from wire.records.lifecycle import Network, Resources


class EffectiveConfig:
    """The host's configuration together with the deployed ones.

    Later entries take precedence: `[lifecycle]`, the deployed `agent.toml`,
    `[lifecycle.agents.NAME]`, the settings made with SetResources.
    """

    def __init__(
        self, config: Config, builds: Builds, layout: Layout, addresses: HostAddresses
    ) -> None:
        self._config = config
        self._builds = builds
        self._layout = layout
        self._addresses = addresses
        self.can_filter = False
        """Whether the host filters addresses and ports, as far as known."""

    @property
    def start_timeout(self) -> int:
        """The time limit of a container's start, in seconds."""
        return self._config.lifecycle.start_timeout

    @property
    def stop_timeout(self) -> int:
        """The time limit of a container's stop, in seconds."""
        return self._config.lifecycle.stop_timeout

    def resources(self, spec: Spec) -> Resources:
        """Return the limits of an agent."""
        config, deployed = self._config.lifecycle, self._builds.configuration(spec).resources
        own = config.agents.get(spec.name, AgentSettings()).resources
        return resources.effective(config.resources, deployed, own, spec.resources)

    def network(self, spec: Spec) -> Network:
        """Return the addresses that an agent may reach; the host's name servers are included."""
        # A property that cannot be read would keep everybody from reading any agent.
        resolv_conf = ""
        with contextlib.suppress(OSError):
            resolv_conf = (self._layout.root / "etc/resolv.conf").read_text(errors="replace")
        own = self._addresses.current
        return network_of(spec.name, self._config, resolv_conf, own, can_filter=self.can_filter)

    def lacks_required_filter(self, spec: Spec) -> bool:
        """Return whether the agent must not run because this host cannot filter its addresses."""
        return self._config.lifecycle.require_filter and is_unenforced(self.network(spec))

    def limits(self, spec: Spec) -> Limits:
        """Return everything that the drop-in of the container's unit limits."""
        return Limits(
            self.start_timeout, self.stop_timeout, self.network(spec), self.resources(spec)
        )

    @property
    def host_limits(self) -> confinement.HostLimits:
        """The limits of the host that all containers share."""
        return confinement.HostLimits.read(self._layout.inotify_limits)

    def confinement(self, spec: Spec, prefix: Path) -> Iterable[str]:
        """Return the lines of the settings that start and confine the container's systemd.

        Args:
            spec: the container.
            prefix: the directory in which Hyperhive is installed.
        """
        nested = self._builds.configuration(spec).nested
        return confinement.exec_lines(prefix, self.host_limits, nested=nested)

    def image(self, spec: Spec) -> Path:
        """Return the tree that the container's /usr comes from."""
        chosen = self._config.lifecycle.image_of(spec.name)
        return image.HOST if chosen == "/" else self._layout.root / chosen.lstrip("/")

    @property
    def shared_credential(self) -> str:
        """The kind of credentials that all containers get from the host; empty for none."""
        if (self._layout.credentials / CREDENTIAL).is_file():
            return "key"
        return "scripted" if self._config.harness.scripted_model_url else ""

    def harness(self, spec: Spec) -> Mapping[str, object]:
        """Return the content of the container's harness.json."""
        config = self._config.harness
        return {
            "name": spec.name,
            "manager": spec.is_manager,
            "model": spec.model or config.model,
            "scripted_model_url": config.scripted_model_url,
            "session_idle": config.session_idle,
            "turn_timeout": config.turn_timeout,
            "start_timeout": config.start_timeout,
            "notes_limit": config.notes_limit,
            "environment": dict(config.environment),
            **({"started": spec.started.for_harness()} if spec.started else {}),
            "operator_name": self._config.operator.name,
            "operator_pronouns": self._config.operator.pronouns,
            **({"telemetry": True} if self._config.telemetry.endpoint else {}),
            **self._builds.configuration(spec).for_harness(),
        }
