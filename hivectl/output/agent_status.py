"""One agent as text: its states, its limits, and the command that helps when something is wrong."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hivectl.output import json_forms
from hivectl.output.formats import age, amount, local_time, size, spent_of
from hivectl.output.terminal import Cell, Output, state_cell
from hivectl.output.text import literal, one_line

if TYPE_CHECKING:
    from wire.records.ledger import Budget
    from wire.records.lifecycle import AgentProperties, JobProperties, Network

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
        "error": f"`hivectl logs {name}` shows more; `hivectl rebuild {name}` repairs its files, "
        f"and `hivectl restart {name}` starts it again",
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


def description(
    agent: "AgentProperties",
    disk: int | None,
    job: "JobProperties | None",
    budgets: "Sequence[Budget]",
    lines: Sequence[str],
    output: Output,
) -> list[str]:
    """Return the lines that describe an agent.

    Args:
        agent: the agent.
        disk: the disk space that it uses; None if it was not measured yet.
        job: its job, if it has one.
        budgets: its budgets that have a limit.
        lines: the last lines of its log, if they are to be shown.
        output: knows the terminal.
    """

    def state(name: str, since: int) -> str:
        cell = state_cell(name)
        shown = output.paint(cell.text, cell.colour)
        return f"{shown} since {local_time(since)}" + (f" ({age(since)})" if since else "")

    fields = {
        "state": state(agent.state, agent.since),
        **_job(job),
        "turn": state(agent.turn_state, agent.turn_since),
        **_if("reason", one_line(agent.turn_reason)),
        **_if("until", local_time(agent.turn_until) if agent.turn_until else ""),
        **_if("activity", one_line(agent.activity)),
        **_if("crashes", _crashes(agent)),
        **_if("help", remedy(agent)),
        "at boot": "starts" if agent.enabled else "stays off",
        "model": model_words(agent),
        **_if("effort", literal(agent.effort)),
        "context": _context(agent),
        **_if("session", one_line(agent.session)),
        "logged in": "yes" if agent.logged_in else "no",
        "deployed": output.paint(agent.deployed_commit[:12] or "the initial configuration", ""),
        "image": "the host" if agent.image == "/" else literal(agent.image),
        "machine": output.paint(agent.machine, ""),
        "unit": output.paint(agent.unit, ""),
        "uids": f"{agent.uid_base} to {agent.uid_base + 65535}",
        "port": _port(agent),
        **_if("budget", output.paint(*_budgets(budgets))),
        "limits": _limits(json_forms.amounts(agent.resources)) or "none",
        "disk": output.paint(*_disk(disk, agent.resources.disk_max)),
        **_if("ports", ", ".join(str(one) for one in agent.network.ports if one != agent.port)),
        "network": output.paint(*_network(agent.network)),
        "version": f"outdated; `hivectl update {agent.name}` updates it"
        if agent.stale
        else "current",
        "invocation": output.paint(agent.invocation_id or "-", ""),
    }
    described = [output.paint(agent.name, "bold")]
    described += [f"  {key + ':':<12}{value}" for key, value in fields.items()]
    if lines:
        described += ["", "  the last lines of its log:"]
        described += [line for text in lines for line in output.indented(text)]
    return described


def _crashes(agent: "AgentProperties") -> str:
    if not agent.crashes:
        return ""
    words = crash_loop(agent) or f"{agent.crashes} since it was started"
    return f"{words}; the last at {local_time(agent.last_crash)}"


def _if(key: str, value: str) -> dict[str, str]:
    return {key: value} if value else {}


def _job(job: "JobProperties | None") -> dict[str, str]:
    if job is None:
        return {}
    return {"job": f"{job.id}, {job.verb}; `hivectl cancel-job {job.id}` cancels it"}


def _context(agent: "AgentProperties") -> str:
    text = f"{agent.context_tokens} tokens"
    if not agent.context_limit:
        return text
    part = 100 * agent.context_tokens // agent.context_limit
    return f"{text}, {part} % of {agent.context_limit}"


def _limits(held: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {amount(key, value)}" for key, value in held.items())


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


def _port(agent: "AgentProperties") -> str:
    if not agent.port_shared_with:
        return str(agent.port or "-")
    others = ", ".join(agent.port_shared_with)
    return f"{agent.port}, also used by {others}; `hivectl rebuild` gives it another"
