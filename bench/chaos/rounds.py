"""One round: wait for something to happen, kill, and see the hive go on."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.chaos.crew import Member
from bench.chaos.notes import Kind
from bench.chaos.observer import AGENTS, INBOXES, Event, Observer, Test
from bench.chaos.victims import WEIGHTS, Victim, find, kill
from wire import names
from wire.records.broker import MessageState
from wire.records.lifecycle import AgentState, TurnState

PATIENCE: Final = 90.0
"""Seconds within which the hive must go on after any kill."""

MOMENTS: Final[tuple[tuple[str, str], ...]] = (
    (MessageState.QUEUED, "alice"),
    (MessageState.LEASED, "alice"),
    (MessageState.LEASED, "bob"),
    (MessageState.LEASED, names.OPERATOR),
    (MessageState.ACKNOWLEDGED, "alice"),
    (MessageState.ACKNOWLEDGED, "bob"),
    (Kind.SENDING, ""),
    (Kind.ACKNOWLEDGING, ""),
    ("TurnState", "alice"),
)
"""Events that a kill may follow, and the subject of each ("" for any).

The broker tells of its own up to 50 ms late, while it is busy; clients tell of theirs at once.
"""

RECOVERIES: Final[dict[Victim, str]] = {
    Victim.BROKER: "hive_2dbroker_2eservice",
    Victim.LIFECYCLE: "hive_2dlifecycle_2eservice",
    Victim.ENDPOINT: "hive_2dagent_40{agent}_2eservice",
    Victim.CONTAINER: "systemd_2dnspawn_40h_2d{agent}_2eservice",
    Victim.NSPAWN: "systemd_2dnspawn_40h_2d{agent}_2eservice",
}
"""The units that systemd starts again; the others come back without a report of it."""

BREAKS_TURNS: Final = frozenset(
    {Victim.ENDPOINT, Victim.HARNESS, Victim.CLAUDE, Victim.CONTAINER, Victim.NSPAWN}
)


@dataclass(slots=True)
class Tally:
    """Counts of the moments of kills, and of the victims."""

    kills: Counter[str] = field(default_factory=Counter)
    during: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    rounds: int = 0


class Rounds:
    """Kills processes in an order that the seed decides, at moments that the load decides."""

    def __init__(
        self,
        observer: Observer,
        crew: dict[str, Member],
        chance: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self.tally = Tally()
        self._observer = observer
        self._crew = crew
        self._chance = chance
        self._say = say

    async def round(self) -> None:
        """Run one round. Raises StalledError when the hive does not go on."""
        self.tally.rounds += 1
        what, whom = await self._moment()
        count = self._chance.choice((1, 1, 1, 2))
        loop = asyncio.get_running_loop()
        with self._observer.disturbance():
            hit = [hit for hit in [self._strike() for _ in range(count)] if hit]
            recovered = asyncio.gather(*(self._goes_on(test, text) for test, text in _signs(hit)))
            began = loop.time()
            try:
                if hit and self._chance.random() < 0.2:
                    await self._strike_again(*hit[0])
                await recovered
            finally:
                recovered.cancel()
        took = loop.time() - began
        self.tally.slowest = max(self.tally.slowest, took)
        struck = ", ".join(f"{victim} of {agent}" for victim, agent in hit) or "nobody"
        self._say(f"round {self.tally.rounds}: {what} {whom}: {struck}; goes on in {took:.1f} s")

    async def _moment(self) -> tuple[str, str]:
        """Wait for a random event and a little longer."""
        what, whom = self._chance.choice(MOMENTS)
        for _ in range(self._chance.randint(1, 3)):
            await self._goes_on(
                lambda event: event.what == what and whom in ("", event.whom), f"{what} {whom}"
            )
        # Within a call, within a commit, within a turn.
        await asyncio.sleep(self._chance.choice((0, 0, 0.002, 0.02, 0.5)) * self._chance.random())
        return what, whom

    def _strike(self) -> tuple[Victim, str] | None:
        """Kill one victim and return it; None when there was none."""
        victim = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        agent = self._chance.choice((*AGENTS, "alice"))
        if victim is Victim.CLIENT:
            agent = self._chance.choice(sorted(self._crew))
        return (victim, agent) if self._kill(victim, agent) else None

    def _kill(self, victim: Victim, agent: str) -> bool:
        pid = self._crew[agent].pid if victim is Victim.CLIENT else find(victim, agent)
        going_on = self._going_on()
        if not pid or not kill(pid):
            return False
        self.tally.kills[victim] += 1
        self.tally.during.update(going_on)
        self._observer.evidence.kills += 1
        return True

    def _going_on(self) -> list[str]:
        holders = self._observer.holders
        states = {
            "a message in a turn": bool(holders & set(AGENTS)),
            "a message with a raw client": "raw" in holders,
            "a message with a reader": "reader" in holders,
            "an acknowledgement on its way": bool(self._observer.acknowledging),
            "a send on its way": self._crew["sender"].owing > 0,
        }
        return [state for state, so in states.items() if so]

    async def _strike_again(self, victim: Victim, agent: str) -> None:
        """Kill the same one once more, while it comes back."""
        if victim in RECOVERIES:
            unit = RECOVERIES[victim].format(agent=agent)
            await self._goes_on(
                lambda event: (
                    (event.what, event.whom) == ("unit", unit)
                    and event.value in ("activating", "active")
                ),
                f"systemd starts {victim} again",
            )
        # At any moment of the recovery.
        await asyncio.sleep(self._chance.choice((0, 0.05, 0.5)) * self._chance.random())
        if self._kill(victim, agent):
            self.tally.during["its own recovery"] += 1

    async def _goes_on(self, test: Test, what: str) -> None:
        await self._observer.until(test, PATIENCE, what)


def _signs(hit: list[tuple[Victim, str]]) -> list[tuple[Test, str]]:
    """Return the tests of recovery: each inbox moves, and each victim ends a turn."""

    def moves(inbox: str) -> Test:
        return lambda event: (event.what, event.whom) == (MessageState.ACKNOWLEDGED, inbox)

    def ends_a_turn(agent: str) -> Test:
        return lambda event: event == Event("TurnState", agent, TurnState.IDLE)

    signs: list[tuple[Test, str]] = [(moves(inbox), f"{inbox} gets on") for inbox in INBOXES]
    broken = {agent for victim, agent in hit if victim in BREAKS_TURNS}
    return signs + [(ends_a_turn(agent), f"{agent} ends a turn") for agent in sorted(broken)]


def is_failed(event: Event) -> bool:
    """Return whether systemd has given up on a container."""
    return event.what == "State" and event.value == AgentState.FAILED
