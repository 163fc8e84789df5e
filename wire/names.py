"""Bus names, object paths, interfaces and unit names: each is written once, here."""

import re
from typing import Final

from wire.errors import InvalidArgument

ROOT: Final = "org.hyperhive"

BROKER: Final = "org.hyperhive.Broker1"
LIFECYCLE: Final = "org.hyperhive.Lifecycle1"
APPROVALS: Final = "org.hyperhive.Approvals1"
DASHBOARD: Final = "org.hyperhive.Dashboard1"
LEDGER: Final = "org.hyperhive.Ledger1"
TELEMETRY: Final = "org.hyperhive.Telemetry1"
PROJECTS: Final = "org.hyperhive.Projects1"
CHANGES: Final = "org.hyperhive.Changes1"
"""The interface of changes, at the object and the name of projects."""

BROKER_PATH: Final = "/org/hyperhive/Broker1"
LIFECYCLE_PATH: Final = "/org/hyperhive/Lifecycle1"
APPROVALS_PATH: Final = "/org/hyperhive/Approvals1"
DASHBOARD_PATH: Final = "/org/hyperhive/Dashboard1"
LEDGER_PATH: Final = "/org/hyperhive/Ledger1"
TELEMETRY_PATH: Final = "/org/hyperhive/Telemetry1"
PROJECTS_PATH: Final = "/org/hyperhive/Projects1"

TARGET: Final = "hive.target"
"""The unit that starts and stops all services."""
SERVICE_UNITS: Final = {
    BROKER: "hive-broker.service",
    LIFECYCLE: "hive-lifecycle.service",
    APPROVALS: "hive-approvals.service",
    DASHBOARD: "hive-dashboard.service",
    LEDGER: "hive-ledger.service",
    TELEMETRY: "hive-telemetry.service",
    PROJECTS: "hive-projects.service",
}
"""The unit of each service that has a name on the bus."""
NOTIFY_UNIT: Final = "hive-notify.service"
"""The unit that posts to webhooks."""

AGENT_INTERFACE: Final = "org.hyperhive.Agent1"
JOB_INTERFACE: Final = "org.hyperhive.Job1"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
PEER: Final = "org.freedesktop.DBus.Peer"

MANAGER: Final = "manager"
OPERATOR: Final = "operator"
SYSTEM: Final = "system"
"""The sender of the messages of the hive's services."""
ALL_AGENTS: Final = "*"
"""The recipient that stands for all registered agents except the sender."""

AGENT_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,7}[a-z0-9])?")
"""The shape of an agent's name; nixos-container allows 11 bytes, two of them are `h-`. It does not
end with a hyphen, because the name of a machine, which is a host name, does not.

Reserved names have this shape, too: see `is_agent_name`.
"""

MAX_AGENT_NAME: Final = 9
"""Characters in an agent's name."""

RESERVED_NAMES: Final = frozenset({OPERATOR, SYSTEM})
"""Names of principals that are not agents, so an agent may not have them."""

MANAGER_MACHINE: Final = "hm1nd"

OWN_TOOLS: Final = "mcp__hive__"
"""The beginning of the names that Claude Code gives the hive's tools."""

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@\[\]-]{0,127}")
"""The shape of a model's name. Agents report such names, and the manager's model reads them: there
is no room for a sentence.
"""

MODEL_RULE: Final = "1 to 128 of A-Z a-z 0-9 . _ : / @ [ ] -, the first a letter or digit"
"""The same in words."""


PROJECT_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}(?<!-)")
"""The shape of a project's name, which is the name of directories on the host and in containers."""


CHANGE: Final = re.compile(r"c([1-9][0-9]{0,14})")
"""The way in which people and agents write the number of a change: c12.

Requests for approval have numbers of their own, which are written without a letter.
"""


def change(number: int) -> str:
    """Return the number of a change as people write it."""
    return f"c{number}"


def check_project_name(name: str) -> None:
    """Check that a project may have the name `name`.

    Raises:
        InvalidArgument: it may not; the sentence names the value, the rule and the remedy.
    """
    if not PROJECT_NAME.fullmatch(name):
        raise InvalidArgument(
            f"{name[:40]!r} is not a valid name of a project. Use 1 to 32 lower-case letters, "
            "digits and inner hyphens (a-z, 0-9, -), the first of them a letter."
        )


def is_agent_name(name: str) -> bool:
    """Return whether an agent may have the name `name`."""
    return bool(AGENT_NAME.fullmatch(name)) and name not in RESERVED_NAMES


def check_agent_name(name: str) -> None:
    """Check that an agent may have the name `name`.

    Raises:
        InvalidArgument: it may not; the sentence names the value, the rule and the remedy.
    """
    if is_agent_name(name):
        return
    if name in RESERVED_NAMES:
        raise InvalidArgument(
            f"{name!r} is not a valid agent name: it is reserved. Choose another name."
        )
    raise InvalidArgument(
        f"{name[:40]!r} is not a valid agent name: {_fault(name)}. Use 1 to {MAX_AGENT_NAME} "
        "lower-case letters, digits and inner hyphens (a-z, 0-9, -), the first of them a letter."
    )


def _fault(name: str) -> str:
    """Return which part of the rule `name`, which is not valid, breaks."""
    if not name:
        return "it is empty"
    if not re.fullmatch(r"[a-z0-9-]*", name):
        return "it contains characters other than lower-case letters, digits and hyphens"
    if len(name) > MAX_AGENT_NAME:
        return f"it has {len(name)} characters"
    return "it ends with a hyphen" if name[0].isalpha() else "it does not begin with a letter"


def check_model_name(name: str) -> None:
    """Check that `name` can be the name of a model.

    Raises:
        InvalidArgument: it cannot; the sentence names the value, the rule and the remedy.
    """
    if not MODEL_NAME.fullmatch(name):
        raise InvalidArgument(f"{name[:40]!r} is not a valid name of a model. Use {MODEL_RULE}.")


def machine_name(agent: str) -> str:
    """Return the machine (container) of an agent, as machined calls it."""
    return MANAGER_MACHINE if agent == MANAGER else f"h-{agent}"


def agent_of_machine(machine: str) -> str | None:
    """Return the agent whose container `machine` is, or None for other machines."""
    if machine == MANAGER_MACHINE:
        return MANAGER
    agent = machine.removeprefix("h-")
    return agent if agent != machine and AGENT_NAME.fullmatch(agent) else None


def socket_unit(agent: str) -> str:
    """Return the socket unit that listens for the agent's container."""
    return f"hive-agent@{agent}.socket"


def endpoint_unit(agent: str) -> str:
    """Return the service unit that serves the agent's socket."""
    return f"hive-agent@{agent}.service"


def gateway_unit(agent: str) -> str:
    """Return the service unit through which the agent's container reaches the network."""
    return f"hive-gateway@{agent}.service"


def api_socket_unit(agent: str) -> str:
    """Return the socket unit of the model API in the agent's container."""
    return f"hive-api@{agent}.socket"


def proxy_socket_unit(agent: str) -> str:
    """Return the socket unit of the proxy in the agent's container."""
    return f"hive-proxy@{agent}.socket"


def build_unit(agent: str) -> str:
    """Return the unit that builds the tree of the agent's container."""
    return f"hive-build@{agent}.service"


def escape(label: str) -> str:
    """Return `label` as one element of an object path, escaped as by systemd (`-` is `_2d`)."""
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in label)


def agent_path(agent: str) -> str:
    """Return the object path of an agent."""
    return f"{LIFECYCLE_PATH}/agent/{escape(agent)}"


def job_path(number: int) -> str:
    """Return the object path of a job."""
    return f"{LIFECYCLE_PATH}/job/{number}"
