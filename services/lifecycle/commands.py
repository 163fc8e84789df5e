"""Commands to harnesses: issued to one endpoint, answered in time, or failed.

The endpoint of an agent says whether the harness is connected to it. A command is a signal to that
endpoint's connection alone; no other connection on the bus receives it.
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.lifecycle.agents.start import SYSTEM
from services.lifecycle.agents.turn import one_line
from wire.errors import Conflict, HiveError, InvalidArgument, NotFound, Unavailable
from wire.records.lifecycle import CommandArguments, CommandIssued, CommandResult, CommandVerb

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0
"""Seconds in which a harness must answer a command."""

LONG_SECONDS: Final = 140.0
"""Seconds in which a harness must answer about a login, whose program asks a server, and about a
working copy, which may be large."""

_LONG: Final = frozenset(
    {
        CommandVerb.LOGIN,
        CommandVerb.LOGIN_CODE,
        CommandVerb.KEEP_OBJECTS,
        CommandVerb.RESET_PROJECT,
    }
)

MAX_PENDING: Final = 16
"""Unanswered commands of one agent."""

MAX_TEXT: Final = 500
MAX_CODE: Final = 1000
"""Characters of the code of a login."""


def check_login_code(code: str) -> None:
    """Check the code of a login, which no error shows.

    Raises:
        InvalidArgument: it is not one line of printable ASCII.
    """
    if not (0 < len(code) <= MAX_CODE and code.isascii() and code.isprintable() and code.strip()):
        raise InvalidArgument(
            f"This is not a valid code: use 1 to {MAX_CODE} printable ASCII characters. Copy it "
            "from the page."
        )


@dataclass(frozen=True, slots=True)
class Peer:
    """The connection of an endpoint."""

    name: str
    """Its unique name on the bus."""
    send: Callable[[CommandIssued], None]
    """Sends a command to it."""
    watch: Callable[[], "asyncio.Future[None]"]
    """Returns a new future that is done when the connection has left the bus."""


class Harness:
    """The harness of one agent, as its endpoint reports it."""

    def __init__(self, name: str, changed: Callable[[bool], None]) -> None:
        self._name = name
        self._changed = changed
        self._peer: Peer | None = None
        self._watched = ""
        self._pending: dict[int, asyncio.Future[CommandResult]] = {}
        self._told: deque[int] = deque(maxlen=MAX_PENDING)

    @property
    def connected(self) -> bool:
        """Whether a harness is connected to the agent's endpoint."""
        return self._peer is not None

    def connect(self, peer: Peer) -> None:
        """Note that the harness is connected to the endpoint `peer`."""
        before, self._peer = self._peer, peer
        if before is not None and before.name != peer.name:
            self._fail_pending()
        # An agent can open and close connections without end: one watch serves all of them.
        if self._watched != peer.name:
            self._watched = peer.name
            peer.watch().add_done_callback(lambda _: self._left(peer.name))
        self._changed(True)

    def disconnect(self) -> None:
        """Note that no harness is connected."""
        self._peer = None
        self._fail_pending()
        self._changed(False)

    async def run(self, id: int, verb: CommandVerb, arguments: CommandArguments) -> CommandResult:
        """Issue a command; return its result, which has no error.

        Raises:
            Conflict: the harness refused it, or too many commands wait.
            Unavailable: there is no harness, or it has not answered in time.
        """
        if self._peer is None:
            raise Unavailable(
                f"The harness of {self._name} is not connected, so nothing carries out the "
                f"command. `hivectl status {self._name}` shows why."
            )
        if len(self._pending) >= MAX_PENDING:
            raise Conflict(
                f"{MAX_PENDING} commands to {self._name} wait for their answers; try again later."
            )
        seconds = LONG_SECONDS if verb in _LONG else ANSWER_SECONDS
        answer: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._pending[id] = answer
        try:
            self._peer.send(CommandIssued(id, verb, arguments))
            async with asyncio.timeout(seconds):
                result = await answer
        except TimeoutError:
            raise Unavailable(
                f"The harness of {self._name} has not answered within {seconds:.0f} s. It "
                f"may still carry out the command; `hivectl restart {self._name}` ends it."
            ) from None
        finally:
            del self._pending[id]
        if result.error:
            # Always a Conflict: the manager's tool shows no text of one, and this is the agent's.
            raise Conflict(result.error)
        return result

    def tell(self, id: int, verb: CommandVerb, arguments: CommandArguments) -> None:
        """Issue a command whose answer nobody waits for, if the harness is connected."""
        if self._peer is not None:
            self._told.append(id)
            self._peer.send(CommandIssued(id, verb, arguments))

    def done(self, id: int, result: CommandResult) -> None:
        """Note the result of a command.

        Raises:
            NotFound: nobody waits for it.
        """
        if id in self._told:
            self._told.remove(id)
            return
        answer = self._pending.get(id)
        if answer is None or answer.done():
            raise NotFound(f"Nobody waits for the command {id}: it was answered, or took too long.")
        error = one_line(result.error, MAX_TEXT)
        if result.error and not error:
            error = "The harness refused the command without a reason."
        answer.set_result(result._replace(text=one_line(result.text, MAX_TEXT), error=error))

    def _left(self, peer: str) -> None:
        if self._watched == peer:
            self._watched = ""
        if self._peer and self._peer.name == peer:
            self.disconnect()

    def _fail_pending(self) -> None:
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(
                    Unavailable(
                        f"The harness of {self._name} left before it answered. `hivectl status "
                        f"{self._name}` shows its state."
                    )
                )


class Commands:
    """The commands to all harnesses, by the agent of each."""

    def __init__(self, changed: Callable[[str, bool], None]) -> None:
        """Start with no harness; `changed` is told when one comes or goes."""
        self._changed = changed
        self._harnesses: dict[str, Harness] = {}
        # Larger than the numbers of an earlier lifecycle, whose late answers must not match.
        self._ids = itertools.count(time.time_ns() // 1000)

    def of(self, name: str) -> Harness:
        """Return the harness of the agent `name`."""
        if name not in self._harnesses:
            self._harnesses[name] = Harness(name, lambda up: self._changed(name, up))
        return self._harnesses[name]

    def forget(self, name: str) -> None:
        """Forget an agent that does not exist any more."""
        self._harnesses.pop(name, None)

    async def run(self, name: str, verb: CommandVerb, arguments: CommandArguments) -> CommandResult:
        """Have the harness of `name` carry out a command; see `Harness.run`."""
        fields = {"HIVE_AGENT": name}
        log.info("%s: the command %s of %s", name, verb, arguments.by, extra=fields)
        try:
            return await self.of(name).run(next(self._ids), verb, arguments)
        except HiveError as error:
            # The harness's words about a code might contain it.
            words = "" if verb is CommandVerb.LOGIN_CODE else f": {error}"
            log.info("%s: the command %s failed%s", name, verb, words, extra=fields)
            raise

    def tell(self, name: str, verb: CommandVerb, value: str) -> None:
        """Tell the harness of `name`, if it is connected; see `Harness.tell`."""
        self.of(name).tell(next(self._ids), verb, CommandArguments(value=value, by=SYSTEM))
