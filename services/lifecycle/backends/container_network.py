"""The files in a container's /etc that lead its programs to other hosts.

In a network of its own a container has no way out but the proxy at PROXY, which
`hive-proxy.socket` in the container passes on to the gateway.
"""

import os
from collections.abc import Iterable
from typing import Final

from services.lifecycle.files.nofollow import Directory
from wire.records.lifecycle import NetworkMode

ADDRESS: Final = "127.0.0.1:3128"
PROXY: Final = f"http://{ADDRESS}"
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
"""The hosts to which no program takes the way through the proxy."""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

VARIABLES: Final = {
    # Some programs know only the names in lower case, some only the others.
    **{name: PROXY for upper in _PROXIES for name in (upper, upper.lower())},
    **{name: ",".join(LOCAL) for name in ("NO_PROXY", "no_proxy")},
    # fetch() of node takes no notice of the variables otherwise.
    "NODE_USE_ENV_PROXY": "1",
}
"""The variables of every process in a container from which the proxy leads to other hosts."""

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
Host {local}
    ProxyCommand none
Host *
    ProxyCommand {prefix}/bin/python -P -m harness.connect %h %p
"""
_GIT: Final = "[http]\n\tproxy = {}\n"


def without_proxies(variables: dict[str, str], mode: NetworkMode) -> dict[str, str]:
    """Return the operator's variables without proxies that the container does not reach."""
    if mode is NetworkMode.HOST:
        return dict(variables)
    return {name: value for name, value in variables.items() if name not in VARIABLES}


def gitconfig(mode: NetworkMode) -> str:
    """Return the part of git's configuration that is about the network."""
    return _GIT.format(PROXY) if mode is NetworkMode.GATEWAY else ""


def write(etc: Directory, mode: NetworkMode, ports: Iterable[int], names: str, prefix: str) -> None:
    """Write the files, and remove those that another mode had.

    Args:
        etc: the container's /etc.
        mode: the network of the container.
        ports: the ports of its loopback that the operator may reach.
        names: the text of the host's resolv.conf.
        prefix: the directory in which Hyperhive is installed.
    """
    proxied = mode is NetworkMode.GATEWAY
    write_names(etc, mode, names)
    environment = "".join(f"{name}={value}\n" for name, value in VARIABLES.items())
    quoted = " ".join(f'"{name}={value}"' for name, value in VARIABLES.items())
    npm = _NPM.format(proxy=PROXY, local=",".join(LOCAL))
    ssh = _SSH.format(local=" ".join(LOCAL), prefix=prefix)
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
            if mode is not NetworkMode.HOST:
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
