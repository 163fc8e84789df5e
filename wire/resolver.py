"""From a connection on the bus to its principal, by asking the bus daemon and systemd.

The unit of a process identifies the agent or the service; nothing that a caller sends does. For a
service the name of the unit is not enough: the uid must be root's or the service's own.

The lookup uses the process id, because systemd 252 has no GetUnitByPIDFD and file descriptors are
not negotiated. A process could connect, leave the socket to a child and die, and a process of
another unit could get its number before the lookup. Two checks prevent that. A connection that is
gone after the lookup is a stranger. Endpoints and services also need the matching uid, so that
another user of the host cannot use a recycled number.
"""

import grp
import logging
import os
import pwd
import re
from typing import Final, Protocol

from wire import names
from wire.caller import Caller
from wire.errors import HiveError
from wire.principal import THE_OPERATOR, Kind, Principal, agent, gateway
from wire.types import Value

log = logging.getLogger(__name__)

OPERATORS_GROUP: Final = "hive"
_SERVICES: Final = frozenset(
    {
        "lifecycle",
        "broker",
        "approvals",
        "dashboard",
        "assistant",
        "fetch",
        "forge",
        "ledger",
        "notify",
        "projects",
        "telemetry",
        "vacuum",
    }
)
_DAEMON: Final = "org.freedesktop.DBus"
_DAEMON_PATH: Final = "/org/freedesktop/DBus"
_SYSTEMD: Final = "org.freedesktop.systemd1"
_SYSTEMD_PATH: Final = "/org/freedesktop/systemd1"
_ENDPOINT: Final = re.compile(r"hive-agent@(.+)\.service")
_GATEWAY: Final = re.compile(r"hive-gateway@(.+)\.service")
_SERVICE: Final = re.compile(r"hive-([a-z]+)\.service")


class Resolver(Protocol):
    """A way to identify the principal of a connection."""

    async def resolve(self, bus: Caller, connection: str) -> Principal | None:
        """Return the principal of the unique name `connection`; None for a stranger."""


class SystemdResolver:
    """The resolver of a host with systemd."""

    async def resolve(self, bus: Caller, connection: str) -> Principal | None:
        """See Resolver.

        Raises:
            Unavailable, Timeout: the bus daemon or systemd does not answer.
        """
        credentials: dict[str, Value] = await _ask_daemon(
            bus, "GetConnectionCredentials", connection
        )
        uid, pid = credentials.get("UnixUserID"), credentials.get("ProcessID")
        if uid is None or pid is None:
            return None
        unit = await _unit_of(bus, pid)
        if not await _ask_daemon(bus, "NameHasOwner", connection):
            return None
        return principal_of(unit, uid, credentials.get("UnixGroupIDs"))


async def _ask_daemon(bus: Caller, member: str, connection: str) -> Value:
    [value] = await bus.call(_DAEMON, _DAEMON_PATH, _DAEMON, member, "s", connection)
    return value


async def _unit_of(bus: Caller, pid: int) -> str:
    """Return the unit of the process `pid`, or "" when it is in none."""
    manager = f"{_SYSTEMD}.Manager"
    try:
        [path] = await bus.call(_SYSTEMD, _SYSTEMD_PATH, manager, "GetUnitByPID", "u", pid)
    except HiveError as error:
        if error.name == f"{_SYSTEMD}.NoUnitForPID":
            return ""
        raise
    return unescape(str(path).rpartition("/")[2])


def unescape(label: str) -> str:
    """Return the text of an element of one of systemd's object paths (`_2d` is `-`)."""
    return re.sub(r"_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), label)


def principal_of(unit: str, uid: int, groups: list[int] | None) -> Principal | None:
    """Return the principal of a process; None for a stranger.

    Args:
        unit: the systemd unit of the process; "" for none.
        uid: its user.
        groups: its groups; None when the bus daemon does not know them.
    """
    if endpoint := _ENDPOINT.fullmatch(unit):
        known = names.is_agent_name(endpoint[1]) and uid in (0, _uid_of("agents"))
        return agent(endpoint[1]) if known else None
    if passage := _GATEWAY.fullmatch(unit):
        known = names.is_agent_name(passage[1]) and uid in (0, _uid_of("gateway"))
        return gateway(passage[1]) if known else None
    if (room := _SERVICE.fullmatch(unit)) and room[1] in _SERVICES:
        return Principal(Kind.SERVICE, room[1]) if uid in (0, _uid_of(room[1])) else None
    return THE_OPERATOR if uid == 0 or _is_operator(uid, groups) else None


def _uid_of(room: str) -> int | None:
    try:
        return pwd.getpwnam(f"hive-{room}").pw_uid
    except KeyError:
        return None  # lifecycle is root and has no user of its own


def _is_operator(uid: int, groups: list[int] | None) -> bool:
    try:
        operators = grp.getgrnam(OPERATORS_GROUP).gr_gid
        if groups is None:
            user = pwd.getpwuid(uid)
            groups = os.getgrouplist(user.pw_name, user.pw_gid)
    except KeyError:
        return False
    return operators in groups
