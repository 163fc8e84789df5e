"""The guard against loops: it counts what agents write to each other, and holds those in a loop."""

import logging

from services.broker.holds.holds import Holds
from services.broker.holds.loops import Loops
from wire.errors import HiveError
from wire.names import OPERATOR
from wire.principal import Principal

log = logging.getLogger(__name__)


class LoopGuard:
    """Sees each message, question and answer, before and after it is stored."""

    def __init__(self, holds: Holds, loops: Loops) -> None:
        self._holds = holds
        self._loops = loops

    def check(self, who: Principal, to: str) -> None:
        """Check that `who` may write to `to`, which may be `*`, at present.

        Raises:
            Conflict: one of them is held because of a loop between them.
        """
        if who.is_agent:
            self._holds.check_may_write(who.name, to)

    async def wrote(self, who: Principal, to: str, text: str) -> None:
        """Count what `who` wrote to `to`, which may be `*`; hold those in a loop."""
        if who.is_operator:
            self._loops.operator_spoke(to)
        if not who.is_agent or to == OPERATOR:
            return
        if loop := self._loops.note(who.name, to, text):
            log.warning("%s", loop.text)
            try:
                await self._holds.hold_loop(loop)
            except HiveError as error:
                # The message is stored. The loop is found again soon, if it goes on.
                log.error("cannot hold %s: %s", " and ".join(loop.held), error)
