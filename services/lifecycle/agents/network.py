"""The addresses that a container may reach: as configured, and as far as the host can filter."""

import contextlib
import ipaddress
from urllib.parse import urlsplit

from services.config import AgentSettings, Config
from wire.errors import Conflict
from wire.records.lifecycle import Network


def is_unenforced(network: Network) -> bool:
    """Return whether the container can reach addresses that are denied."""
    return bool(network.deny) and not network.filtered


def network_of(name: str, config: Config, resolv_conf: str, *, can_filter: bool) -> Network:
    """Return the filter of the agent `name`: its own lists, or else those for all agents.

    Name servers and the scripted model are always allowed: without them nothing works.

    Args:
        name: the agent.
        config: the host's configuration.
        resolv_conf: the text of the host's resolv.conf.
        can_filter: whether the host filters addresses.
    """
    common = config.lifecycle
    own = common.agents.get(name, AgentSettings())
    deny = common.network_deny if own.network_deny is None else own.network_deny
    allow = common.network_allow if own.network_allow is None else own.network_allow
    always = [*_model_address(config), *name_servers(resolv_conf)]
    return Network(list(deny), sorted({*allow, *always}), bool(deny) and can_filter)


def refusal(name: str) -> Conflict:
    """Return the error for a start without a required filter."""
    return Conflict(
        f"{name} is not started: this host does not filter addresses, and lifecycle.require_filter "
        f"is set. Enable systemd's filter (cgroup v2, BPF), remove the setting, or give {name} an "
        "empty network_deny."
    )


def name_servers(resolv_conf: str) -> list[str]:
    """Return the addresses of the name servers in the text of a resolv.conf."""
    addresses = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address = words[1].partition("%")[0]
            with contextlib.suppress(ValueError):
                addresses.append(str(ipaddress.ip_address(address)))
    return addresses


def _model_address(config: Config) -> list[str]:
    """Return the scripted model's address, which containers must reach wherever it listens."""
    host = urlsplit(config.harness.scripted_model_url or "").hostname or ""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    return ["localhost"] if host == "localhost" else []
