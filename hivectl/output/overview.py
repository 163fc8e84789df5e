"""The whole hive as text: what runs, what waits, what is wrong, and what to do next."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from hivectl.output.agent_status import crash_loop, remedy
from hivectl.output.fields import Fields
from hivectl.output.formats import ago, money, spent_of
from hivectl.output.terminal import Output, state_cell
from hivectl.output.text import literal, one_line

if TYPE_CHECKING:
    from hivectl.clients.overview import Overview
    from hivectl.output.json_forms import Json
    from wire.records.ledger import Budget
    from wire.records.lifecycle import AgentProperties

START: Final = "systemctl start hive.target"
MOST_PROBLEMS: Final = 10
"""The most problems that are shown to people."""


class Problem(NamedTuple):
    """Something that is wrong, with its remedy."""

    what: str
    remedy: str


class Summary:
    """The answers of all services together."""

    def __init__(self, overview: "Overview") -> None:
        self._overview = overview
        self.problems = [*_of_units(overview), *_of_agents(overview), *_of_budgets(overview)]
        self.waits = dict(_waiting(overview))

    @property
    def state(self) -> str:
        """`stopped` if a service is missing, `degraded` if something is wrong, or `running`."""
        if any(unit.is_missing for unit in self._overview.units or ()) or self._overview.silent:
            return "stopped" if self._overview.agents is None else "degraded"
        return "degraded" if self.problems else "running"

    @property
    def next_step(self) -> str:
        """The command to run next; empty if nothing waits."""
        if self.problems:
            return self.problems[0].remedy
        if not self._overview.agents:
            return "`hivectl spawn NAME` creates an agent"
        for command, number in self.waits.items():
            if number:
                return f"`hivectl {command}`"
        return '`hivectl send manager "..."` gives the manager a task'

    def value(self) -> "dict[str, Json]":
        """Return the JSON form."""
        agents = self._overview.agents
        return {
            "state": self.state,
            "services": {unit.name: unit.state for unit in self._overview.units or ()},
            "agents": None if agents is None else len(agents),
            "states": dict(Counter(_state_of(agent) for agent in agents or ())),
            "waits": self.waits,
            "cost_today": _dollars(self._overview.cost),
            "problems": [problem._asdict() for problem in self.problems],
            "silent": self._overview.silent,
            "next": self.next_step,
        }

    def lines(self, output: Output) -> list[str]:
        """Return the lines for people."""
        from wire.names import TARGET

        colour = {"running": "green", "degraded": "yellow", "stopped": "red"}[self.state]
        fields = Fields(output)
        fields.add("Services", self._services())
        fields.add("Agents", self._agents(output))
        fields.add("Waiting", self._waiting_words())
        if self._overview.cost is not None:
            fields.add("Today", money(self._overview.cost))
        lines = [output.paint("●", colour) + " " + output.paint(f"{TARGET}: {self.state}", "bold")]
        lines += fields.lines()
        if self.problems:
            lines += ["", output.paint("Problems:", "bold")]
            for problem in self.problems[:MOST_PROBLEMS]:
                lines += output.indented(f"{problem.what}: {problem.remedy}")
            left = len(self.problems) - MOST_PROBLEMS
            lines += [f"  and {left} more: `hivectl list`"] if left > 0 else []
        for sentence in self._overview.silent:
            lines += ["", *output.indented(sentence)]
        return [*lines, "", *output.indented(f"Next: {self.next_step}")]

    def _services(self) -> str:
        units = self._overview.units
        if units is None:
            return "systemd does not answer"
        missing = [unit.name for unit in units if unit.is_missing]
        running = sum(unit.runs for unit in units)
        return f"{running} running" + (f", not running: {', '.join(missing)}" if missing else "")

    def _agents(self, output: Output) -> str:
        agents = self._overview.agents
        if agents is None:
            return "not known"
        counted = Counter(map(_state_of, agents))
        parts = [
            output.paint(f"{number} {state_cell(state).text}", state_cell(state).colour)
            for state, number in counted.most_common()
        ]
        return ": ".join(filter(None, (str(len(agents)), ", ".join(parts))))

    def _waiting_words(self) -> str:
        parts = [
            f"{number} {_WORDS[command][number > 1]} (`hivectl {command}`)"
            for command, number in self.waits.items()
            if number
        ]
        return ", ".join(parts) or "nothing"


_WORDS: Final = {
    "pending": ("for approval", "for approval"),
    "questions": ("question to you", "questions to you"),
    "inbox": ("message to you", "messages to you"),
    "dead-letters": ("dead letter", "dead letters"),
    "holds": ("held agent", "held agents"),
}
"""The words for one, and for several, that each command lists."""


def _waiting(overview: "Overview") -> "Iterator[tuple[str, int]]":
    from wire.names import OPERATOR
    from wire.records.broker import MessageState

    yield "pending", overview.requests or 0
    yield "questions", overview.questions or 0
    yield "inbox", overview.waiting(OPERATOR, MessageState.QUEUED, MessageState.LEASED)
    yield "dead-letters", overview.dead
    yield "holds", len(overview.holds or ())


def _state_of(agent: "AgentProperties") -> str:
    """Return the state of an agent in one word: that of its turn, if its container runs."""
    return str(agent.turn_state if agent.state == "running" else agent.state)


def _of_units(overview: "Overview") -> Iterator[Problem]:
    missing = [unit for unit in overview.units or () if unit.is_missing]
    if missing and all(not unit.runs for unit in overview.units or ()):
        yield Problem("the hive does not run", f"`{START}`")
        missing = [unit for unit in missing if unit.state == "failed"]
    for unit in missing:
        says = f" ({one_line(unit.says)})" if unit.says else ""
        # systemd knows why a service failed, and not why one that should run was never started:
        # doctor also looks at its sockets.
        remedy = f"systemctl status {unit.name}" if unit.state == "failed" else "hivectl doctor"
        yield Problem(f"{unit.name} is {unit.state}{says}", f"`{remedy}`")


def _of_agents(overview: "Overview") -> Iterator[Problem]:
    for agent in overview.agents or ():
        state = _state_of(agent)
        if state in ("failed", "error", "harness-away", "needs-login"):
            since = agent.since if agent.state != "running" else agent.turn_since
            when = f", {ago(since)}" if since else ""
            why = crash_loop(agent) or one_line(agent.turn_reason)
            yield Problem(
                f"{agent.name}: {state}{when}{f' ({why})' if why else ''}",
                remedy(agent) or f"`hivectl status {agent.name}`",
            )
        if agent.state == "running" and agent.network.mode == "host" and not _filters(agent):
            yield Problem(
                f"{agent.name} reaches all addresses: this host cannot filter them",
                "`hivectl doctor` says why",
            )


def _filters(agent: "AgentProperties") -> bool:
    return agent.network.filtered or not agent.network.deny


def _of_budgets(overview: "Overview") -> Iterator[Problem]:
    for budget in overview.budgets or ():
        if budget.state == "exhausted" and not budget.lifted_until:
            yield Problem(f"the budget of {_name(budget)} is used up", _budget_remedy(budget))


def _name(budget: "Budget") -> str:
    name = budget.name if budget.kind == "agent" else f"the {budget.kind} {budget.name}"
    return f"{literal(name)}, {budget.period}: {', '.join(spent_of(budget))},"


def _budget_remedy(budget: "Budget") -> str:
    if budget.question:
        return f"`hivectl answer {budget.question}` answers the question about it"
    return "`hivectl budget` shows and changes it"


def _dollars(millionths: int | None) -> float | None:
    return None if millionths is None else millionths / 1_000_000
