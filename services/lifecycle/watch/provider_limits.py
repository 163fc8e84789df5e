"""The limits of providers: agents with the same credential wait together until a limit ends.

One harness reports the end of a limit. The other agents with that credential are told to begin no
turn before then, and sleeping ones are not woken. An agent is not trusted alone: a hostile one
could stop all others. So the others wait for a limit that one agent has reported only for
TRIAL, once in RETRIAL; the limit holds to its end when a second agent reports it, too.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.provider_limit import LimitReport
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.turn import now
from services.lifecycle.notices.notice import Notice
from services.lifecycle.store import Store
from wire import names
from wire.records.lifecycle import CommandVerb, TurnState

PROVIDER_LIMIT: Final = "provider-limit"

SECOND: Final = 1_000_000
TRIAL: Final = 600 * SECOND
"""How long other agents wait for a limit that only one agent has reported."""
RETRIAL: Final = 3600 * SECOND
"""How often one agent's report makes others wait."""
LONGEST: Final = 8 * 24 * 3600 * SECOND
"""The longest limit; a provider's limits of a week are the longest that we know."""

_ALWAYS: Final = 1 << 62
"""A time that no limit has."""

OWN: Final = "login"
"""The credential that each agent has for itself."""


def credential_of(agent: Agent, shared: str) -> str:
    """Return a name for the credential of `agent`: agents with the same name share it.

    Args:
        agent: the agent.
        shared: the kind of credentials that all agents have unless their harness says otherwise;
            empty if each has its own.
    """
    kind = agent.credential or shared or OWN
    return f"{OWN} of {agent.name}" if kind == OWN else kind


def end_for(name: str, reports: Iterable[LimitReport], at: int) -> int:
    """Return until when the agent `name` has to wait; 0 if it need not.

    Args:
        name: the agent.
        reports: the reports about its credential.
        at: the time now.
    """
    running = [report for report in reports if report.until > at]
    ends = sorted((report.until for report in running), reverse=True)
    own = [report.until for report in running if report.agent == name]
    confirmed = ends[1:2]
    trials = [min(report.until, report.reported + TRIAL) for report in running]
    end = max([*own, *confirmed, *trials], default=0)
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
        self._reports: dict[tuple[str, str], LimitReport] = {}
        self._told: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Go on with the limits that an earlier lifecycle has noted."""
        self._reports = {(one.credential, one.agent): one for one in self._store.limits()}
        # Those were held when the limit began, or the operator has let them go on since.
        self._limited = {name for name in self._roster.agents if self.until(name)}
        self._update()

    def stop(self) -> None:
        """End the timer. The next start goes on with the same limits."""
        if self._timer:
            self._timer.cancel()

    def until(self, name: str) -> int:
        """Return until when the agent `name` has to wait; 0 if it need not."""
        agent = self._roster.agents.get(name)
        if agent is None:
            return 0
        credential = self._credential(agent)
        reports = [one for one in self._reports.values() if one.credential == credential]
        return end_for(name, reports, now())

    def reported(self, agent: Agent, until: int) -> None:
        """Note that the provider refuses the harness of `agent` until a time.

        Args:
            agent: the agent.
            until: the time; 0 if the provider answers again.
        """
        credential, at = self._credential(agent), now()
        before = self._reports.get((credential, agent.name))
        if until <= at:
            if before and before.until > at:
                self._keep(replace(before, until=at))
        else:
            news = not self._of(credential, at)
            again = before is not None and at < before.reported + RETRIAL
            reported = before.reported if before and again else at
            report = LimitReport(credential, agent.name, min(until, at + LONGEST), reported)
            self._keep(report)
            if news:
                self._tell(self._notice(report))
        self._update()

    def lift(self) -> list[str]:
        """Forget all limits: the operator knows that they have ended.

        Returns:
            The agents that waited, in the order of their names.
        """
        waiting = sorted(name for name in self._roster.agents if self.until(name))
        for report in self._reports.values():
            self._store.remove_limit(report)
        self._reports.clear()
        self._update()
        return waiting

    def harness_connected(self, name: str) -> None:
        """Tell a harness that has just come how long it has to wait.

        One that waits may have been told by an earlier lifecycle, and the limit may be over since.
        """
        self._told.pop(name, None)
        agent = self._roster.agents.get(name)
        if agent and agent.turn.state is TurnState.RATE_LIMITED:
            self._told[name] = _ALWAYS
        self._update()

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
        over = False
        for name, end in ends.items():
            told = self._told.get(name, 0)
            # A harness goes on by itself at the time that it was told.
            if end != told and (end or told > at):
                self._command(name, CommandVerb.HOLD_UNTIL, str(-(-end // SECOND)))
            over = over or (told > 0 and not end)
            if end and name not in self._limited:
                self._hold(name, f"its provider's usage limit ends at {_clock(end)}")
            self._told[name] = end
        self._told = {name: end for name, end in self._told.items() if name in ends}
        self._limited = {name for name, end in ends.items() if end}
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
        key = f"{PROVIDER_LIMIT}:{report.credential}:{hour}:to-{names.OPERATOR}"
        return Notice(PROVIDER_LIMIT, text, key, names.OPERATOR)


def _clock(time: int) -> str:
    return f"{datetime.fromtimestamp(time / SECOND).astimezone():%Y-%m-%d %H:%M %Z}"
