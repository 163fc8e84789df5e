"""The text of the two files that make systemd run a container: the settings and the drop-in."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Spec
from services.lifecycle.agents.network import filter_instance, filter_unit, translated
from services.lifecycle.agents.uid_ranges import SIZE
from services.lifecycle.backends import confinement
from services.lifecycle.backends.data import WEB, WRITABLE
from services.nameservers import PROGRAMS
from wire import names
from wire.records.lifecycle import Network, NetworkMode, Resources

DROPPED: Final = (
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_WRITE",
    "CAP_LEASE",
    "CAP_MKNOD",
    # nspawn grants it with a network of its own: it leads to netfilter and traffic control, where
    # many attacks on the kernel begin.
    "CAP_NET_ADMIN",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_SYS_NICE",
    "CAP_SYS_TTY_CONFIG",
)
"""The capabilities that nspawn grants by default and an agent does not need. The others apply
in the user namespace only; its systemd needs CAP_SYS_ADMIN there for mounts and cgroups."""

UNREGISTER: Final = (
    """-/bin/sh -c 'test "$$EXIT_CODE" = exited || exec busctl --quiet call """
    "org.freedesktop.machine1 /org/freedesktop/machine1 "
    "org.freedesktop.machine1.Manager UnregisterMachine s %i'"
)
"""Unregisters the machine of a killed systemd-nspawn; one that exits unregisters it itself."""


@dataclass(frozen=True)
class Limits:
    """The time limits, the network filter and the resource limits of a container."""

    start_seconds: int
    stop_seconds: int
    network: Network
    resources: Resources


SOCKETS: Final = ("mcp.sock", "api.sock", "proxy.sock")
"""The sockets of the units of `socket_units`, in their order."""


def socket_units(spec: Spec) -> tuple[str, ...]:
    """Return the units that listen on the sockets of a container."""
    units = (names.socket_unit(spec.name), names.api_socket_unit(spec.name))
    if spec.network is NetworkMode.GATEWAY:
        return (*units, names.proxy_socket_unit(spec.name))
    return units


def settings(
    spec: Spec,
    confined: Iterable[str],
    mounts: Iterable[str],
    data: str,
    sockets: str,
    web: str,
    git: str,
    projects: Iterable[str],
) -> str:
    """Return the text of the .nspawn file.

    Args:
        spec: the container.
        confined: the lines that start and confine the container's systemd.
        mounts: the lines that mount the container's system and /etc.
        data: the data directory of the agent.
        sockets: the socket directory of the agent.
        web: the directory for the socket of the harness.
        git: the directory of all configurations. Only the manager sees parts of it.
        projects: the lines that mount the repositories of the agent's projects.
    """
    repositories = (
        f"Bind={git}/proposed:/agents",
        f"BindReadOnly={git}/applied:/applied",
        f"BindReadOnly={git}/meta:/meta",
    )
    host = spec.network is NetworkMode.HOST
    lines = [
        "# Written by hive-lifecycle; changed by hand it is overwritten at the next start.",
        "[Exec]",
        *confined,
        f"Hostname={spec.name}",
        f"PrivateUsers={spec.uid_base}:{SIZE}",
        "NotifyReady=yes",
        "NoNewPrivileges=yes",
        f"DropCapability={' '.join(DROPPED)}",
        # Lifecycle writes these files. nspawn would write them as root of the host, by path.
        "ResolvConf=off",
        "Timezone=off",
        # To link it, root of the host would follow links that the agent put in /var/log/journal.
        "LinkJournal=no",
        # The host would store and parse a core dump of the agent.
        "LimitCORE=0",
        "",
        "[Files]",
        # nspawn, as root of the host, opens many paths in the root before it enters the container.
        # So it makes the root anew, in memory; no agent can reach that before it is complete.
        "Volatile=yes",
        # Lifecycle changes the owners of the files itself: nspawn would walk the whole tree.
        "PrivateUsersOwnership=off",
        *mounts,
        # Connecting needs no write access. The directory is on the host's /run, which must not
        # fill up.
        f"BindReadOnly={sockets}:/run/hive",
        f"Bind={web}:{WEB}",
        # No mount point may lie below one of these: the agent could put a link there.
        *(f"Bind={data}/{part.name}:{part.path}" for part in WRITABLE),
        *(repositories if spec.is_manager else ()),
        *projects,
        "",
        "[Network]",
        # A namespace of its own, which belongs to the user namespace, and has a loopback only.
        f"Private={'no' if host else 'yes'}",
        "VirtualEthernet=no",
        "",
    ]
    return "\n".join(lines)


def drop_in(
    spec: Spec,
    limits: Limits,
    packages: Path | None,
    writable: Iterable[Path],
    mover: str | None = None,
    assertions: Iterable[str] = (),
) -> str:
    """Return the text of the drop-in of the container's unit.

    Args:
        spec: the container.
        limits: its limits.
        packages: builds/NAME/COMMIT/usr, if it is laid over /usr.
        writable: the directories of the host that the container may write.
        mover: the command that moves files out of the root of an earlier version, if there is one.
        assertions: further lines that say when the container does not start.
    """
    # The user of the build could put a link there later, and nspawn would follow it.
    built = (packages, packages.parent, packages.parent.parent) if packages else ()
    served = f"{names.endpoint_unit(spec.name)} {names.gateway_unit(spec.name)}"
    # Without its filter the container must not start.
    needed = (*socket_units(spec), filter_unit(limits.network))
    required = " ".join(filter(None, needed))
    command = "systemd-nspawn --quiet --keep-unit --settings=override --machine=%i"
    lines = [
        "# Written by hive-lifecycle; changed by hand it is overwritten at the next start.",
        "[Unit]",
        f"Description=Hyperhive: the container of {spec.name}",
        f"Requires={required}",
        # The endpoint and the gateway stop with the container, but after it: through the endpoint
        # the harness releases the messages that it has leased.
        f"PropagatesStopTo={served}",
        f"After={required} {served}",
        # Give up after five crashes in a minute.
        "StartLimitIntervalSec=60",
        "StartLimitBurst=5",
        *(f"AssertPathIsSymbolicLink=!{path}" for path in built),
        *assertions,
        "",
        "[Service]",
        "Slice=hive-agents.slice",
        # When memory runs out, agents are killed before the host's services. The container cannot
        # lower the value. (It is not in the settings: nspawn applies those too late, without the
        # privilege.)
        "OOMScoreAdjust=300",
        # nspawn looks for the container's systemd before /usr is mounted, takes it for an old one,
        # and sets up the legacy hierarchies, in which the harness has no cgroup for a turn's
        # commands.
        "Environment=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
        # +: with the host's own mounts. Files cannot be renamed from one mount to another.
        *([f"ExecStartPre=+{mover} {spec.name} {spec.uid_base}"] if mover else []),
        "ExecStart=",
        f"ExecStart={command}",
        # A killed systemd-nspawn leaves its machine registered, and machined keeps the machine
        # while systemd is about to start the unit again: that start and all later ones would fail.
        f"ExecStopPost={UNREGISTER}",
        "Restart=on-failure",
        # Long enough to read the cause of the end before the next start overwrites it.
        "RestartSec=500ms",
        # For systemd-nspawn itself, which sends no keep-alives while the agent is paused.
        "WatchdogSec=0",
        f"TimeoutStartSec={limits.start_seconds}",
        f"TimeoutStopSec={limits.stop_seconds}",
        # The console output of the container becomes lines of the host's journal. The container
        # must not choose their priority (an emergency goes to all terminals), nor write so many
        # that others are lost.
        "SyslogLevelPrefix=no",
        "LogRateLimitIntervalSec=30s",
        "LogRateLimitBurst=1000",
        *resources.lines(limits.resources),
        *confinement.service_lines(writable),
        # No loop devices, no device mapper, no tun: only terminals.
        "DeviceAllow=",
        "DeviceAllow=char-pts rw",
    ]
    network = limits.network
    if network.deny:
        # The translated forms are not in `network`, which people read.
        denied = [*network.deny, *translated(network.deny)]
        lines += [f"IPAddressDeny={' '.join(denied)}"]
        allowed = [*network.allow, *translated(network.allow), *network.name_servers]
        lines += [f"IPAddressAllow={' '.join(allowed)}"] if allowed else []
    if instance := filter_instance(network):
        # A packet must pass this program, too: name servers are reached on the port of DNS only.
        lines += [f"IPEgressFilterPath={PROGRAMS / instance}"]
    return "\n".join([*lines, ""])
