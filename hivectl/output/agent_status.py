"""One agent as text: its states, its limits, and the command that helps when something is wrong."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hivectl.host import cgroups
from hivectl.output import json_forms
from hivectl.output.fields import Fields
from hivectl.output.formats import ago, amount, local_time, size, span, spent_of
from hivectl.output.terminal import Cell, Output, state_cell
from hivectl.output.text import literal, one_line

if TYPE_CHECKING:
    from hivectl.output.json_forms import Json
    from wire.records.approvals import Deploy
    from wire.records.ledger import Budget
    from wire.records.lifecycle import (
        AgentProperties,
        JobProperties,
        Network,
        ProjectAccess,
        Usage,
    )

MANY: Final = 10**8
"""Tokens of a context from which on they are not told exactly in a list."""
MOST_PART: Final = 999
"""Per cent of the limit, likewise."""


def in_trouble(agent: "AgentProperties") -> bool:
    """Return whether the last lines of the agent's log may show why it does not work."""
    return agent.state == "failed" or agent.turn_state in ("error", "harness-away")


def remedy(agent: "AgentProperties") -> str:
    """Return the remedy for an agent that does not work; empty if it needs none."""
    from wire import credentials

    name = agent.name
    if agent.state == "failed":
        return f"`hivectl start {name}` starts it again; `hivectl logs {name}` shows more"
    if agent.state == "paused":
        return f"`hivectl resume {name}` lets it continue"
    # With a reason, the last turn has failed, and its messages do not come again.
    given_up = (
        "`hivectl dead-letters` lists messages that were given up" if agent.turn_reason else ""
    )
    return {
        "idle": given_up,
        "error": f"`hivectl logs {name}` shows more; if the model cannot be reached, check the "
        f"network of this host; `hivectl rebuild {name}` repairs its files, and `hivectl restart "
        f"{name}` starts it again",
        "harness-away": f"`hivectl restart {name}` starts its harness again",
        "needs-login": credentials.remedy(name, agent.credential),
        "rate-limited": "it tries again by itself; between two tries of a turn, "
        "`hivectl lift-limits` has it try at once",
        "held": f"`hivectl unhold {name}` lets it go on, and so may an answer to a question that "
        f"`hivectl questions` shows; `hivectl budget {name}` shows what it may spend",
        "waiting": "`hivectl questions` shows what it waits for",
    }.get(agent.turn_state, "")


def doing(agent: "AgentProperties") -> str:
    """Return the activity of an agent or the reason for its state, in its own words."""
    words = one_line(agent.turn_reason or agent.activity)
    until = f"until {local_time(agent.turn_until)}" if agent.turn_until else ""
    return ": ".join(filter(None, (crash_loop(agent), until, words)))


def crash_loop(agent: "AgentProperties") -> str:
    """Return that the container crashes again and again, in words; empty if it does not."""
    if not agent.crash_loop(time.time_ns() // 1000):
        return ""
    return f"crash loop, {agent.crashes} crashes"


def model_words(agent: "AgentProperties") -> str:
    """Return the model for which the turns ask, and the one that answers if it is another."""
    setting, answering = literal(agent.model_setting), literal(agent.model)
    if setting and answering and setting != answering:
        return f"{setting}; {answering} has answered last"
    return setting or answering or "not known yet"


def effort_words(agent: "AgentProperties") -> str:
    """Return the level of effort of the turns."""
    from wire.steering import DEFAULT

    return literal(agent.effort) or DEFAULT


def context_cell(agent: "AgentProperties") -> Cell:
    """Return the size of the context, and how much of its limit that is."""
    # Both numbers are the harness's word: its row must not push those of others off the screen.
    text = str(agent.context_tokens) if agent.context_tokens < MANY else f"{MANY}+"
    if agent.context_limit:
        part = 100 * agent.context_tokens // agent.context_limit
        text += f" ({part if part < MOST_PART else f'{MOST_PART}+'} %)"
    return Cell(text, right=True)


class AgentStatus:
    """Everything about one agent, as `hivectl status` shows it."""

    def __init__(
        self,
        agent: "AgentProperties",
        job: "JobProperties | None",
        usage: "Usage",
        budgets: "Sequence[Budget] | None",
        log: Sequence[str],
        deployed: "Deploy | None",
    ) -> None:
        """Take what the services know.

        Args:
            agent: the agent.
            job: its job, if it has one.
            usage: the resources that it uses.
            budgets: its budgets that have a limit; None if the ledger does not answer.
            log: the last lines of its log.
            deployed: its last deployment; None if it is not known.
        """
        self._agent = agent
        self._job = job
        self._usage = usage
        self._budgets = budgets
        self._log = log
        self._deployed = deployed

    @property
    def is_in_trouble(self) -> bool:
        """Whether the agent does not work, and does not do so again by itself."""
        return in_trouble(self._agent) or self._agent.turn_state == "needs-login"

    def value(self) -> "dict[str, Json]":
        """Return the JSON form."""
        budgets, job = self._budgets, self._job
        more: dict[str, Json] = {
            "budgets": None if budgets is None else [json_forms.budget(b) for b in budgets],
            "job": {"id": job.id, "verb": str(job.verb)} if job else None,
            "disk": self._usage.disk,
            "usage": json_forms.amounts(self._usage),
            "not_enforced": [limit for limit in _held(self._agent) if cgroups.missing(limit)],
            "deployment": json_forms.deploy(self._deployed) if self._deployed else None,
            "help": self._remedy() or None,
            "last_lines": list(self._log),
        }
        return json_forms.agent(self._agent) | more

    def _over_disk(self) -> str:
        """Return that the agent does not start because of its disk space; empty if it does."""
        used, limit = self._usage.disk, self._agent.resources.disk_max
        if self._agent.state != "stopped" or not (used and limit and used >= limit):
            return ""
        return f"it uses {size(used)} of disk space, more than it may, and is not started"

    def _remedy(self) -> str:
        if not self._over_disk():
            return remedy(self._agent)
        name = self._agent.name
        return (
            f"`hivectl limits {name} disk_max=SIZE` raises the limit; then `hivectl start {name}`"
        )

    def lines(self, output: Output) -> list[str]:
        """Return the lines for people."""
        agent = self._agent
        fields = Fields(output)
        self._add_state(fields, output)
        self._add_session(fields, output)
        self._add_resources(fields, output)
        self._add_container(fields, output)
        cell = state_cell(agent.state)
        colour = "red" if self.is_in_trouble else cell.colour
        lines = [f"{output.paint('●', colour)} {output.paint(agent.name, 'bold')}", *fields.lines()]
        if self._log:
            lines += ["", *(line for text in self._log for line in output.indented(text))]
        return lines

    def _add_state(self, fields: Fields, output: Output) -> None:
        agent = self._agent
        fields.add("state", _since(output, agent.state, agent.since))
        if self._job:
            number = self._job.id
            fields.add(
                "job", f"{number}, {self._job.verb}; `hivectl cancel-job {number}` cancels it"
            )
        fields.add("turn", _since(output, agent.turn_state, agent.turn_since))
        fields.add("reason", self._over_disk() or one_line(agent.turn_reason))
        fields.add("until", local_time(agent.turn_until) if agent.turn_until else "")
        fields.add("activity", one_line(agent.activity))
        fields.add("crashes", _crashes(agent))
        fields.add("help", self._remedy())
        fields.add("at boot", "starts" if agent.enabled else "stays off")

    def _add_session(self, fields: Fields, output: Output) -> None:
        agent = self._agent
        fields.add("model", model_words(agent))
        fields.add("effort", literal(agent.effort))
        fields.add("context", _context(agent))
        fields.add("session", one_line(agent.session))
        fields.add("logged in", "yes" if agent.logged_in else "no")
        fields.add("deployed", output.paint(_deployed(agent, self._deployed), ""))
        fields.add("version", _version(agent))

    def _add_resources(self, fields: Fields, output: Output) -> None:
        agent, usage = self._agent, self._usage
        fields.add("budget", output.paint(*_budgets(self._budgets or ())))
        memory = [] if usage.memory is None else [size(usage.memory)]
        memory += [] if usage.memory_peak is None else [f"at most {size(usage.memory_peak)}"]
        fields.add("memory", ", ".join(memory))
        fields.add("tasks", "" if usage.tasks is None else str(usage.tasks))
        fields.add("processor", "" if usage.cpu is None else span(usage.cpu))
        fields.add("disk", output.paint(*_disk(usage.disk, agent.resources.disk_max)))
        fields.add("limits", output.paint(*_limits(_held(agent))))
        fields.add("sleeps", _sleeps(agent))

    def _add_container(self, fields: Fields, output: Output) -> None:
        agent = self._agent
        fields.add("network", output.paint(*_network(agent.network)))
        fields.add("port", _port(agent))
        ports = ", ".join(str(one) for one in agent.network.ports if one != agent.port)
        fields.add("ports", ports)
        fields.add("projects", ", ".join(map(_project, agent.projects)))
        fields.add("image", "the host" if agent.image == "/" else literal(agent.image))
        fields.add("machine", output.paint(agent.machine, ""))
        fields.add("unit", output.paint(agent.unit, ""))
        fields.add("uids", f"{agent.uid_base} to {agent.uid_base + 65535}")
        fields.add("invocation", output.paint(agent.invocation_id or "-", ""))


def _since(output: Output, state: str, since: int) -> str:
    """Return a state, and since when it holds if that is known."""
    cell = state_cell(state)
    shown = output.paint(cell.text, cell.colour)
    return f"{shown} since {local_time(since)} ({ago(since)})" if since else shown


def _deployed(agent: "AgentProperties", deployed: "Deploy | None") -> str:
    is_first = deployed is not None and not (agent.deployed_commit or deployed.approval)
    if deployed is None or not (is_first or deployed.commit == agent.deployed_commit):
        return agent.deployed_commit[:12] or "the initial configuration"
    what = one_line(deployed.description)
    return f"{deployed.commit[:12]} ({literal(deployed.tag)}, {ago(deployed.at)}): {what}"


def _version(agent: "AgentProperties") -> str:
    return f"outdated; `hivectl update {agent.name}` updates it" if agent.stale else "current"


def _sleeps(agent: "AgentProperties") -> str:
    if not agent.sleep_after:
        return "never"
    return f"when it was idle for {span(agent.sleep_after * 1_000_000)}"


def _held(agent: "AgentProperties") -> Mapping[str, int]:
    return json_forms.amounts(agent.resources)


def _crashes(agent: "AgentProperties") -> str:
    if not agent.crashes:
        return ""
    words = crash_loop(agent) or f"{agent.crashes} since it was started"
    return f"{words}; the last at {local_time(agent.last_crash)}"


def _context(agent: "AgentProperties") -> str:
    text = f"{agent.context_tokens} tokens"
    if not agent.context_limit:
        return text
    part = 100 * agent.context_tokens // agent.context_limit
    return f"{text}, {part} % of {agent.context_limit}"


def _limits(held: Mapping[str, int]) -> tuple[str, str]:
    """Return limits as text, and the text's colour: red if the host does not enforce all."""
    parts = [f"{key} {amount(key, value)}{not_enforced(key)}" for key, value in held.items()]
    return ", ".join(parts) or "none", "red" if any(map(not_enforced, held)) else ""


def not_enforced(limit: str) -> str:
    """Return a remark about a limit that this host does not enforce, in parentheses; or empty."""
    controller = cgroups.missing(limit)
    return f" (not enforced: no controller {controller})" if controller else ""


def _budgets(budgets: "Sequence[Budget]") -> tuple[str, str]:
    """Return the use of budgets as text, and the text's colour: red if one is used up."""
    parts = [f"{spent} ({b.period})" for b in budgets for spent in spent_of(b)]
    states = {b.state for b in budgets}
    colour = "red" if "exhausted" in states else "yellow" if "warned" in states else ""
    return ", ".join(parts), colour


def _disk(used: int | None, limit: int | None) -> tuple[str, str]:
    """Return the measured disk space as text, and the text's colour: red near the limit."""
    if used is None:
        return "not measured yet", ""
    text = f"{size(used)} of {size(limit)}" if limit else f"{size(used)}, no limit"
    return text, "red" if limit and used >= 0.8 * limit else ""


def _network(network: "Network") -> tuple[str, str]:
    """Return the network of a container as text, and the text's colour."""
    text, colour = _reached(network)
    if network.until_deploy:
        text = f"{text} (until the next deployment: an earlier version made the container)"
    elif network.next_mode:
        text = f"{text} ({network.next_mode} at the next start)"
    return f"{network.mode}: {text}", colour


def _reached(network: "Network") -> tuple[str, str]:
    """Return the hosts that a container may reach as text, and the text's colour."""
    if network.mode == "none":
        return "the model only", ""
    if network.mode == "gateway":
        return f"the model, {', '.join(network.egress) or 'and nothing else'}", ""
    if not network.deny:
        return "all addresses", ""
    denied, allowed = ", ".join(network.deny), ", ".join(network.allow) or "none"
    text = f"{denied}; exceptions: {allowed}"
    if network.name_servers:
        text += f"; on port 53 only: {', '.join(network.name_servers)}"
    if network.filtered:
        return f"denied: {text}", ""
    return f"NOT FILTERED: this host cannot filter addresses; to be denied: {text}", "red"


def _project(access: "ProjectAccess") -> str:
    if access.readonly:
        return f"{access.project} (read-only)"
    return access.project + (f" (into {', '.join(access.branches)})" if access.branches else "")


def _port(agent: "AgentProperties") -> str:
    if not agent.port_shared_with:
        return str(agent.port or "-")
    others = ", ".join(agent.port_shared_with)
    return f"{agent.port}, also used by {others}; `hivectl rebuild` gives it another"
