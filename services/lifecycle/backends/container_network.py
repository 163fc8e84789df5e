"""The files in a container's /etc that lead its programs to other hosts.

In a network of its own a container has no way out but the proxy at PROXY, which
`hive-proxy.socket` in the container passes on to the gateway.
"""

import os
from collections.abc import Iterable
from typing import Final

from services.lifecycle.agents.agent import Spec
from services.lifecycle.files.nofollow import Directory
from wire.records.lifecycle import NetworkMode

ADDRESS: Final = "127.0.0.1:3128"
PROXY: Final = f"http://{ADDRESS}"
LOCAL: Final = (
    *("localhost", ".localhost", "127.0.0.1", "127.0.0.0/8", "::1"),
    *("0.0.0.0", "::"),  # noqa: S104 - programs connect to them
)
"""The hosts to which no program takes the way through the proxy, and the name of the agent.

Servers that listen at all addresses print 0.0.0.0. Not [::1] as well, for which node and urllib
look: httpx would not start.
"""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_NO_PROXIES: Final = ("NO_PROXY", "no_proxy")


def variables(agent: str) -> dict[str, str]:
    """Return the variables that each process has in a container with the proxy."""
    return {
        # Some programs know only the names in lower case, some only the others.
        **{name: PROXY for upper in _PROXIES for name in (upper, upper.lower())},
        **dict.fromkeys(_NO_PROXIES, _local(agent)),
        # fetch() of node takes no notice of the variables otherwise.
        "NODE_USE_ENV_PROXY": "1",
    }


def _local(agent: str) -> str:
    return ",".join((*LOCAL, agent))


NO_NAMES: Final = "# The gateway resolves names. This container has a network of its own.\n"

_WANTS: Final = "sockets.target.wants"
_MANAGER: Final = "[Manager]\nDefaultEnvironment={}\n"
_APT: Final = """\
Acquire::http::Proxy "{proxy}";
Acquire::https::Proxy "{proxy}";
Acquire::http::Proxy::localhost "DIRECT";
Acquire::http::Proxy::127.0.0.1 "DIRECT";
"""
_NPM: Final = """\
proxy={proxy}
https-proxy={proxy}
noproxy={local}
"""
_SSH: Final = """\
Host localhost *.localhost 127.* ::1 0.0.0.0 {agent}
    ProxyCommand none
Host *
    ProxyCommand {prefix}/bin/python -P -m harness.connect %h %p
"""
_GIT: Final = "[http]\n\tproxy = {}\n"


def without_proxies(given: dict[str, str], mode: NetworkMode) -> dict[str, str]:
    """Return the operator's variables without proxies that the container does not reach."""
    if mode is NetworkMode.HOST:
        return dict(given)
    ours = variables("")
    return {name: value for name, value in given.items() if name not in ours}


def gitconfig(mode: NetworkMode) -> str:
    """Return the part of git's configuration that is about the network."""
    return _GIT.format(PROXY) if mode is NetworkMode.GATEWAY else ""


def write(etc: Directory, spec: Spec, ports: Iterable[int], names: str, prefix: str) -> None:
    """Write the files, and remove those that another mode had.

    Args:
        etc: the container's /etc.
        spec: the container, with its network.
        ports: the ports of its loopback that the operator may reach.
        names: the text of the host's resolv.conf.
        prefix: the directory in which Hyperhive is installed.
    """
    proxied = spec.network is NetworkMode.GATEWAY
    write_names(etc, spec.network, names)
    given = variables(spec.name).items()
    environment = "".join(f"{name}={value}\n" for name, value in given)
    quoted = " ".join(f'"{name}={value}"' for name, value in given)
    npm = _NPM.format(proxy=PROXY, local=_local(spec.name))
    ssh = _SSH.format(agent=spec.name, prefix=prefix)
    # For sessions of `machinectl shell`, by pam_env.
    _write(etc, "environment", environment if proxied else "")
    _write(etc, "npmrc", npm if proxied else "")
    with etc.directory("apt") as apt, apt.directory("apt.conf.d") as conf:
        _write(conf, "hyperhive", _APT.format(proxy=PROXY) if proxied else "")
    with etc.directory("ssh") as folder:
        _write(folder, "ssh_config", ssh if proxied else "")
    with etc.directory("systemd") as systemd:
        with systemd.directory("system.conf.d") as conf:
            _write(conf, "hyperhive.conf", _MANAGER.format(quoted) if proxied else "")
        with systemd.directory("system") as system, system.directory(_WANTS) as wants:
            units = {"hive-proxy.socket": "hive-proxy.socket"} if proxied else {}
            if spec.network is not NetworkMode.HOST:
                units |= {f"hive-port@{port}.socket": "hive-port@.socket" for port in ports}
            for name in os.listdir(wants.fileno()):  # noqa: PTH208 - by descriptor
                if name not in units:
                    wants.remove(name)
            for name, unit in units.items():
                wants.link(name, f"../{unit}")


def write_names(etc: Directory, mode: NetworkMode, names: str) -> None:
    """Write resolv.conf alone, which a running container sees at once."""
    etc.write("resolv.conf", names if mode is NetworkMode.HOST else NO_NAMES)


def _write(folder: Directory, name: str, content: str) -> None:
    if content:
        folder.write(name, content)
    else:
        folder.remove(name)
