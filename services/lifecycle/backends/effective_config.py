"""The configuration that applies to one agent, from all places where something is configured."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, TypedDict

from services.config import AgentSettings, Config, GatewayConfig
from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Spec
from services.lifecycle.agents.network import OWN, is_unenforced, network_of
from services.lifecycle.backends import confinement, image
from services.lifecycle.backends.builds import Builds
from services.lifecycle.backends.container_network import without_proxies
from services.lifecycle.backends.layout import Layout
from services.lifecycle.backends.unit_files import Limits
from services.lifecycle.host import settings
from services.lifecycle.host.addresses import HostAddresses
from services.lifecycle.host.credential_files import CredentialFiles
from wire.records.lifecycle import Network, NetworkMode, Resources

LOGIN: Final = ("api.anthropic.com:443", "platform.claude.com:443")
"""The rules for an agent that may log in with an account: its Claude Code speaks to Anthropic
itself, through the proxy."""


class Api(StrEnum):
    """The model that the gateway of an agent leads to."""

    GATEWAY = "gateway"
    """The upstream, with a credential of the gateway."""
    SCRIPTED = "scripted"
    """The scripted model, unless the agent is logged in."""
    NONE = "none"
    """None: the agent needs a login."""


class ForgeFile(TypedDict):
    """The forge in which an agent has an account."""

    url: str
    account: str


class GatewayFile(TypedDict):
    """The content of NAME.json, which the gateway of NAME reads."""

    network: str
    egress: list[str]
    upstream: str
    auth: str
    scripted: bool
    own_upstream: bool
    forge: ForgeFile | None


class EffectiveConfig:
    """The host's configuration together with the deployed ones.

    Later entries take precedence: `[lifecycle]`, the deployed `agent.toml`,
    `[lifecycle.agents.NAME]`, the settings made with SetResources.
    """

    def __init__(
        self,
        config: Config,
        builds: Builds,
        layout: Layout,
        addresses: HostAddresses,
        credentials: CredentialFiles,
    ) -> None:
        self._config = config
        self._builds = builds
        self._layout = layout
        self._addresses = addresses
        self._credentials = credentials
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
        after = self.mode(spec)
        network = self._filter(spec)._replace(
            mode=spec.network,
            next_mode=after if after is not spec.network else None,
            until_deploy=after is NetworkMode.HOST and spec.keeps_host,
        )
        if spec.network is not NetworkMode.HOST:
            network = network._replace(ports=self.ports(spec))
        if spec.network is NetworkMode.GATEWAY:
            return network._replace(egress=tuple(self.gateway(spec)["egress"]))
        return network

    def ports(self, spec: Spec) -> tuple[int, ...]:
        """Return the ports that a container with a network of its own offers to the operator: that
        of the agent's page, and those of its agent.toml."""
        page = (spec.port,) if spec.port else ()
        return tuple(dict.fromkeys((*page, *self._builds.configuration(spec).ports)))

    def projects(self, spec: Spec) -> tuple[str, ...]:
        """Return the names of the projects that an agent has."""
        return tuple(project.name for project in self._builds.configuration(spec).projects)

    def mode(self, spec: Spec) -> NetworkMode:
        """Return the network that the next start gives to the container."""
        config = self._config.lifecycle
        own = config.agents.get(spec.name, AgentSettings()).network
        if own is None and spec.keeps_host:
            return NetworkMode.HOST
        deployed = self._builds.configuration(spec).network
        return NetworkMode(config.network_of(spec.name, deployed))

    def _filter(self, spec: Spec) -> Network:
        if spec.network is not NetworkMode.HOST:
            return OWN
        resolv_conf = settings.resolv_conf(self._layout.root)
        own = self._addresses.current
        return network_of(spec.name, self._config, resolv_conf, own, can_filter=self.can_filter)

    def gateway(self, spec: Spec) -> GatewayFile:
        """Return the configuration of the agent's gateway."""
        config, name = self._config.gateway, spec.name
        rules: tuple[str, ...] = ()
        if spec.network is NetworkMode.GATEWAY:
            rules = (*config.egress_of(name), *self._builds.configuration(spec).egress)
            if self.api(spec) is not Api.GATEWAY:
                rules += LOGIN
        scripted = self.api(spec) is Api.SCRIPTED
        model = self._config.harness.scripted_model_url or ""
        return {
            "network": spec.network.value,
            "egress": list(dict.fromkeys(rules)),
            "upstream": model if scripted else config.upstream_of(name),
            "auth": config.auth_of(name),
            "scripted": scripted,
            "own_upstream": not scripted and config.has_own_upstream(name),
            "forge": self._forge(spec),
        }

    def _forge(self, spec: Spec) -> ForgeFile | None:
        """Return the forge that an agent reaches; None without the proxy, or an account."""
        config = self._config.forge
        account = config.account(spec.name)
        if config.url is None or not account or spec.network is not NetworkMode.GATEWAY:
            return None
        return {"url": config.url, "account": account}

    def api(self, spec: Spec) -> Api:
        """Return the model that the gateway of an agent leads to."""
        config, name = self._config.gateway, spec.name
        upstream = config.upstream_of(name)
        shared = self._credentials.shared and not config.has_own_upstream(name)
        credential = self._credentials.own(name) or shared
        # Another service than Anthropic's may need no credential.
        if credential or upstream != GatewayConfig().upstream:
            return Api.GATEWAY
        return Api.SCRIPTED if self._config.harness.scripted_model_url else Api.NONE

    def has_own_key(self, name: str) -> bool:
        """Return whether the gateway of `name` does not use the credential for all agents."""
        return self._credentials.own(name) or self._config.gateway.has_own_upstream(name)

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

    def confinement(self, spec: Spec, script: str, init: str) -> Iterable[str]:
        """Return the lines of the settings that start and confine the container's systemd.

        Args:
            spec: the container.
            script: the command that sets its kernel limits.
            init: the container's systemd.
        """
        nested = self._builds.configuration(spec).nested
        return confinement.exec_lines(script, init, self.host_limits, nested=nested)

    def image(self, spec: Spec) -> Path:
        """Return the tree that the container's /usr comes from."""
        chosen = self._config.lifecycle.image_of(spec.name)
        return image.HOST if chosen == "/" else self._layout.root / chosen.lstrip("/")

    def toplevel(self, spec: Spec) -> str:
        """Return the NixOS system of an agent whose build has none; empty for none."""
        return self._config.lifecycle.toplevel_of(spec.name)

    @property
    def shared_credential(self) -> str:
        """The kind of credentials that all gateways have; empty for none."""
        if self._credentials.shared:
            return "key"
        return "scripted" if self._config.harness.scripted_model_url else ""

    def harness(self, spec: Spec) -> Mapping[str, object]:
        """Return the content of the container's harness.json."""
        config = self._config.harness
        return {
            "name": spec.name,
            "manager": spec.is_manager,
            "model": spec.model or config.model,
            "api": self.api(spec).value,
            "network": spec.network.value,
            "port": spec.port,
            "session_idle": config.session_idle,
            "turn_timeout": config.turn_timeout,
            "start_timeout": config.start_timeout,
            "notes_limit": config.notes_limit,
            "environment": without_proxies(config.environment, spec.network),
            **({"started": spec.started.for_harness()} if spec.started else {}),
            "operator_name": self._config.operator.name,
            "operator_pronouns": self._config.operator.pronouns,
            **({"telemetry": True} if self._config.telemetry.endpoint else {}),
            **({"forge": forge["account"]} if (forge := self._forge(spec)) else {}),
            **self._builds.configuration(spec).for_harness(),
        }
