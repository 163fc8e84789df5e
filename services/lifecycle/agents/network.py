"""The addresses that a container may reach: as configured, and as far as the host can filter."""

import contextlib
import ipaddress
from collections.abc import Iterable
from typing import Final

from services.config import AgentSettings, Config
from services.nameservers import MOST, IPAddress, instance_of, unit_of
from wire.errors import Conflict
from wire.records.lifecycle import Network

WORDS: Final = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}
"""The networks that systemd's words stand for (systemd.resource-control(5))."""


BROADCAST: Final = ipaddress.ip_address("255.255.255.255")
"""All hosts of all networks of the host, and its own services that listen at all addresses."""


NAT64: Final = ipaddress.IPv6Address("64:ff9b::")


def is_unenforced(network: Network) -> bool:
    """Return whether the container can reach addresses that are denied."""
    return bool(network.deny) and not network.filtered


OWN: Final = Network([], [], [], filtered=True)
"""The filter of a container with a network of its own, in which nothing has to be filtered."""


def network_of(
    name: str, config: Config, resolv_conf: str, own: Iterable[IPAddress], *, can_filter: bool
) -> Network:
    """Return the filter of the agent `name` in the host's network: its own lists, or else those for
    all agents.

    A filter that denies anything also denies the host's own addresses, and broadcasts. Services
    that listen at all addresses answer there, whether the address is private or not. Name servers
    are allowed on the port of DNS: without them nothing works.

    Args:
        name: the agent.
        config: the host's configuration.
        resolv_conf: the text of the host's resolv.conf.
        own: the addresses of the host, as `HostAddresses` reports them.
        can_filter: whether the host filters addresses and ports.
    """
    common = config.lifecycle
    settings = common.agents.get(name, AgentSettings())
    deny = common.network_deny if settings.network_deny is None else settings.network_deny
    allow = common.network_allow if settings.network_allow is None else settings.network_allow
    if not deny:
        return Network([], [], [], False)
    answering = sorted({*own, BROADCAST}, key=_order)
    denied = [*deny, *(str(address) for address in answering if not _in(address, deny))]
    allowed = sorted({*allow})
    servers = [
        str(address)
        for address in name_servers(resolv_conf)
        if _in(address, denied) and not _in(address, allowed)
    ]
    return Network(denied, allowed, servers, can_filter)


def translated(entries: Iterable[str]) -> list[str]:
    """Return the IPv6 networks at which NAT64 translates to the IPv4 networks of a list.

    A translator in the host's network may lead to private addresses (RFC 6052: 64:ff9b::/96).
    """
    found = []
    for entry in entries:
        for text in WORDS.get(entry, (entry,)):
            network = ipaddress.ip_network(text, strict=False)
            if isinstance(network, ipaddress.IPv4Network) and entry != "any":
                address = ipaddress.IPv6Address(NAT64.packed[:12] + network.network_address.packed)
                found.append(f"{address}/{96 + network.prefixlen}")
    return found


def filter_instance(network: Network) -> str:
    """Return the instance of the program that limits the name servers to DNS; empty for none."""
    if not network.filtered:
        return ""
    return instance_of(ipaddress.ip_address(server) for server in network.name_servers)


def filter_unit(network: Network) -> str:
    """Return the unit that loads the program of `filter_instance`; empty for none."""
    instance = filter_instance(network)
    return unit_of(instance) if instance else ""


def _order(address: IPAddress) -> tuple[int, bytes]:
    return address.version, address.packed


def _in(address: IPAddress, entries: Iterable[str]) -> bool:
    """Return whether one of the entries of a list contains the address."""
    networks = (network for entry in entries for network in WORDS.get(entry, (entry,)))
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)


def refusal(name: str) -> Conflict:
    """Return the error for a start without a required filter."""
    return Conflict(
        f"{name} is not started: this host does not filter addresses, and lifecycle.require_filter "
        f"is set. Enable systemd's filter (cgroup v2, BPF), remove the setting, or give {name} an "
        "empty network_deny."
    )


def name_servers(resolv_conf: str) -> list[IPAddress]:
    """Return the addresses of the name servers in a resolv.conf that glibc would use."""
    addresses: list[IPAddress] = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address = words[1].partition("%")[0]
            with contextlib.suppress(ValueError):
                addresses.append(ipaddress.ip_address(address))
    return addresses[:MOST]
