"""The limits of providers: agents with the same credential wait together until a limit ends.

One harness reports the end of a limit. The other agents with that credential are told to begin no
turn before then, and sleeping ones are not woken. The report of one agent is not enough, because a
hostile agent could stop all others: they wait for TRIAL, once in RETRIAL. When a second agent
reports the limit, all wait to its end. During a trial no agent is held for the operator's decision.
A limit of an agent is applied once in PACE, so that an agent that reports without end makes no work
for the others.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.provider_limit import NEVER, SECOND, TRIAL, LimitReport
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.turn import now
from services.lifecycle.notices.notice import Notice
from services.lifecycle.store import Store
from wire import names
from wire.records.lifecycle import CommandVerb, TurnState

PROVIDER_LIMIT: Final = "provider-limit"

RETRIAL: Final = 3600 * SECOND
"""How often one agent's report makes others wait."""
LONGEST: Final = 8 * 24 * 3600 * SECOND
"""The longest limit; a provider's limits of a week are the longest that we know."""
PACE: Final = 10 * SECOND
"""How often a limit of one agent is taken; a later one waits for the agent's next report."""

KEY: Final = "key"
OWN: Final = "login"
"""The credential that each agent has for itself."""


def credential_of(agent: Agent, shared: str, *, own_key: bool = False) -> str:
    """Return a name for the credential of `agent`: agents with the same name share it.

    Args:
        agent: the agent.
        shared: the kind of credentials that all agents have unless their harness says otherwise;
            empty if each has its own.
        own_key: whether the agent has a key of its own.
    """
    kind = agent.credential or shared or OWN
    if own_key and kind == KEY:
        return f"{KEY} of {agent.name}"
    return f"{OWN} of {agent.name}" if kind == OWN else kind


def sure_end_for(name: str, reports: Iterable[LimitReport], at: int) -> int:
    """Return the end of the limit of `name` that is no trial; 0 if there is none.

    The agent has reported it, or two agents have.

    Args:
        name: the agent.
        reports: the reports about its credential.
        at: the time now.
    """
    running = [report for report in reports if report.until > at]
    ends = sorted((report.until for report in running), reverse=True)
    own = [report.until for report in running if report.agent == name]
    return max([*own, *ends[1:2]], default=0)


def end_for(name: str, reports: Iterable[LimitReport], at: int) -> int:
    """Return until when the agent `name` has to wait; 0 if it need not.

    Args:
        name: the agent.
        reports: the reports about its credential.
        at: the time now.
    """
    running = [report for report in reports if report.until > at]
    trials = [report.trial for report in running]
    end = max([sure_end_for(name, running, at), *trials])
    return end if end > at else 0


class ProviderLimits:
    """The limits of all credentials. Owns one timer, for the next agent that may go on."""

    def __init__(
        self,
        roster: Roster,
        store: Store,
        command: Callable[[str, CommandVerb, str], None],
        credential: Callable[[Agent], str],
        tell: Callable[[Notice], None],
        ended: Callable[[], None],
        hold: Callable[[str, str], None],
    ) -> None:
        """Do nothing before `start`.

        Args:
            roster: the agents.
            store: keeps the reports.
            command: sends a command to a harness.
            credential: returns the name of an agent's credential.
            tell: sends a message.
            ended: is called when an agent need not wait any more.
            hold: holds an agent that does not go on by itself, with the reason.
        """
        self._roster = roster
        self._store = store
        self._command = command
        self._credential = credential
        self._tell = tell
        self._ended = ended
        self._hold = hold
        self._limited: set[str] = set()
        self._taken: dict[str, int] = {}
        self._later: dict[str, int] = {}
        self._reports: dict[tuple[str, str], LimitReport] = {}
        self._told: dict[str, int] = {}
        self._of_gateways: dict[str, int] = {}
        """The ends of the limits that gateways have seen, by the names of agents."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Go on with the limits that an earlier lifecycle has noted."""
        self._reports = {(one.credential, one.agent): one for one in self._store.limits()}
        # Those were held when the limit began, or the operator has let them go on since.
        self._limited = {name for name in self._roster.agents if self._sure(name)}
        self._update()

    def stop(self) -> None:
        """End the timer. The next start goes on with the same limits."""
        if self._timer:
            self._timer.cancel()

    def until(self, name: str) -> int:
        """Return until when the agent `name` has to wait; 0 if it need not."""
        return max(end_for(name, self._about(name), now()), self._seen(name))

    def gateway_limited(self, name: str, until: int) -> None:
        """Note until when the provider refuses the agent's gateway; 0 if it answers again."""
        at = now()
        if until > at:
            self._of_gateways[name] = min(until, at + LONGEST)
        elif self._of_gateways.pop(name, None) is None:
            return
        self._update()

    def reported(self, agent: Agent, until: int | None) -> None:
        """Note that the provider refuses the harness of `agent` until a time.

        The end of a limit is taken at once. A limit that comes sooner than PACE after the one
        before is kept, the latest alone, until the agent's next report of any kind.

        Args:
            agent: the agent.
            until: the time; 0 if the provider answers again; None if the report does not say.
        """
        name = agent.name
        if until is None:
            until = self._later.get(name)
            if until is None:
                return
        at = now()
        if until > at and abs(at - self._taken.get(name, 0)) < PACE:
            self._later[name] = until
            return
        self._later.pop(name, None)
        if until > at:
            self._taken[name] = at
            self._begin(agent, until, at)
        else:
            self._end(agent, at)

    def lift(self) -> list[str]:
        """Forget all limits: the operator knows that they have ended.

        An agent that waits for the next try of a turn tries again, too: the provider need not say
        when a limit ends.

        Returns:
            The agents that waited, in the order of their names.
        """
        trying = {name for name, agent in self._roster.agents.items() if _waits_to_try(agent)}
        waiting = sorted(trying.union(name for name in self._roster.agents if self.until(name)))
        self._told.update(dict.fromkeys(trying, NEVER))
        for report in self._reports.values():
            self._store.remove_limit(report)
        self._reports.clear()
        self._of_gateways.clear()
        self._taken.clear()
        self._later.clear()
        self._update()
        return waiting

    def harness_connected(self, name: str) -> None:
        """Tell a harness that has just come how long it has to wait.

        One that waits may have been told by an earlier lifecycle, and the limit may be over since.
        """
        self._told.pop(name, None)
        agent = self._roster.agents.get(name)
        if agent and agent.turn.state is TurnState.RATE_LIMITED:
            self._told[name] = NEVER
        self._update()

    def _begin(self, agent: Agent, until: int, at: int) -> None:
        credential = self._credential(agent)
        before = self._reports.get((credential, agent.name))
        news = not self._of(credential, at)
        until = min(until, at + LONGEST)
        if before is not None and at < before.reported + RETRIAL:
            report = replace(before, until=until, trial_until=before.trial)
        else:
            report = LimitReport(credential, agent.name, until, at)
        self._keep(report)
        if news:
            self._tell(self._notice(report))
        self._update()

    def _end(self, agent: Agent, at: int) -> None:
        before = self._reports.get((self._credential(agent), agent.name))
        if before and before.until > at:
            self._keep(replace(before, until=at))
            self._update()

    def _about(self, name: str) -> list[LimitReport]:
        """Return the reports about the credential of the agent `name`."""
        agent = self._roster.agents.get(name)
        if agent is None or not self._reports:
            return []
        credential = self._credential(agent)
        return [one for one in self._reports.values() if one.credential == credential]

    def _sure(self, name: str) -> int:
        """Return the end of the limit of the agent `name` that is no trial; 0 if there is none."""
        return max(sure_end_for(name, self._about(name), now()), self._seen(name))

    def _seen(self, name: str) -> int:
        """Return the end of the limit that the agent's gateway has seen; 0 if there is none."""
        until = self._of_gateways.get(name, 0)
        return until if until > now() else 0

    def _of(self, credential: str, at: int) -> list[LimitReport]:
        """Return the reports about a credential that have not ended at `at`."""
        found = self._reports.values()
        return [one for one in found if one.credential == credential and one.until > at]

    def _keep(self, report: LimitReport) -> None:
        self._reports[report.credential, report.agent] = report
        self._store.save_limit(report)

    def _update(self) -> None:
        """Tell each agent how long it has to wait, and set the timer for the next change."""
        at = now()
        for key, report in [*self._reports.items()]:
            if max(report.until, report.reported + RETRIAL) <= at:
                del self._reports[key]
                self._store.remove_limit(report)
        ends = {name: self.until(name) for name in self._roster.agents}
        sure = {name: self._sure(name) for name, end in ends.items() if end}
        over = False
        for name, end in ends.items():
            told = self._told.get(name, 0)
            # A harness goes on by itself at the time that it was told.
            if end != told and (end or told > at):
                self._command(name, CommandVerb.HOLD_UNTIL, str(-(-end // SECOND)))
            over = over or (told > 0 and not end)
            # A trial is based on one report: it must not hold another agent for good.
            if (limit := sure.get(name, 0)) and name not in self._limited:
                self._hold(name, f"its provider's usage limit ends at {_clock(limit)}")
            self._told[name] = end
        self._told = {name: end for name, end in self._told.items() if name in ends}
        self._limited = {name for name, end in sure.items() if end}
        # Those that have ended, and those of agents that are gone.
        kept = {name: self._seen(name) for name in ends}
        self._of_gateways = {name: end for name, end in kept.items() if end}
        for gone in (self._taken.keys() | self._later.keys()) - ends.keys():
            self._taken.pop(gone, None)
            self._later.pop(gone, None)
        if self._timer:
            self._timer.cancel()
        waiting = [end for end in ends.values() if end]
        self._timer = None
        if waiting:
            seconds = max((min(waiting) - at) / SECOND, 0.001)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._update)
        if over:
            self._ended()

    def _notice(self, report: LimitReport) -> Notice:
        sharing = sorted(
            agent.name
            for agent in self._roster.agents.values()
            if agent.name != report.agent and self._credential(agent) == report.credential
        )
        text = (
            f"{report.agent} has reached a usage limit of its provider, which answers again at "
            f"{_clock(report.until)}. "
        )
        if sharing:
            text += (
                f"These agents use the same credentials and wait, too: {', '.join(sharing)}. "
                f"They try again after {TRIAL // (60 * SECOND)} minutes, unless a second agent "
                "reports the limit. "
            )
        text += (
            "Agents go on by themselves, but for those with resume_after_limit = false. If you "
            "raise the limit, `hivectl lift-limits` lets them go on at once."
        )
        hour = now() // RETRIAL
        # With the agent's name: it must not silence the others by a limit of a second.
        by = f"{report.credential}:{report.agent}"
        key = f"{PROVIDER_LIMIT}:{by}:{hour}:to-{names.OPERATOR}"
        return Notice(PROVIDER_LIMIT, text, key, names.OPERATOR)


def _waits_to_try(agent: Agent) -> bool:
    """Return whether the harness waits between two tries; in a turn, Claude Code itself does."""
    return agent.turn.state is TurnState.RATE_LIMITED and not agent.turn.runs


def _clock(time: int) -> str:
    return f"{datetime.fromtimestamp(time / SECOND).astimezone():%Y-%m-%d %H:%M %Z}"
