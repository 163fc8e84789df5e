"""Whom the containers may talk to: from the configuration, and as far as the host can filter."""

import contextlib
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.config import AgentSettings, Config
from wire.errors import Conflict


@dataclass(frozen=True, slots=True)
class Network:
    """What holds for one container. Addresses as IPAddressDeny= takes them; `allow` counts more."""

    deny: tuple[str, ...]
    allow: tuple[str, ...]
    filtered: bool
    """Whether the host keeps the container from what is denied."""

    @property
    def unenforced(self) -> bool:
        """Whether something is denied that the container can reach all the same."""
        return bool(self.deny) and not self.filtered


def network_of(name: str, config: Config, resolv_conf: str, *, can_filter: bool) -> Network:
    """What the configuration says of the agent `name`: its own lists, else those for all.

    Name servers and the scripted model are allowed in any case: without them nothing works.
    """
    common = config.lifecycle
    own = common.agents.get(name, AgentSettings())
    deny = common.network_deny if own.network_deny is None else own.network_deny
    allow = common.network_allow if own.network_allow is None else own.network_allow
    always = [*_model_address(config), *name_servers(resolv_conf)]
    return Network(deny, tuple(sorted({*allow, *always})), bool(deny) and can_filter)


def refusal(name: str) -> Conflict:
    """Why `name` does not start where filters are required."""
    return Conflict(
        f"{name} is not started: this host does not filter addresses, and lifecycle.require_filter "
        f"is set. Let systemd attach its filter (cgroup v2, BPF), or take the setting back, or "
        f"give {name} an empty network_deny."
    )


def name_servers(resolv_conf: str) -> list[str]:
    """The addresses of the name servers in resolv.conf, so that names resolve in any filter."""
    addresses = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address = words[1].partition("%")[0]
            with contextlib.suppress(ValueError):
                addresses.append(str(ipaddress.ip_address(address)))
    return addresses


def _model_address(config: Config) -> list[str]:
    """The scripted model's address, which a container must reach wherever it listens."""
    host = urlsplit(config.harness.scripted_model_url or "").hostname or ""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    return ["localhost"] if host == "localhost" else []
