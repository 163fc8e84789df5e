"""The effects of commands on the turn, the session and the waiting messages."""

from harness.hive_client import Report
from harness.projects.copy import CopyError
from harness.turns.current import Cancellation, CurrentTurn
from harness.turns.errands import Errand, Errands
from harness.turns.inbox import names
from harness.turns.parts import Parts
from harness.turns.provider_limit import ProviderLimit
from harness.turns.state import State
from harness.turns.waker import Waker


class CommandError(Exception):
    """A command cannot be obeyed; the text tells the operator why."""


class Steering:
    """The steering of the turns.

    Attributes:
        current: The turn that runs; None if none does.
    """

    def __init__(self, parts: Parts, errands: Errands, limit: ProviderLimit, waker: Waker) -> None:
        self._config = parts.config
        self._claude = parts.claude
        self._store = parts.store
        self._reporter = parts.reporter
        self._choices = parts.choices
        self._inbox = parts.inbox
        self._projects = parts.projects
        self._errands = errands
        self._limit = limit
        self._waker = waker
        self.current: CurrentTurn | None = None

    async def cancel(self, cancellation: Cancellation) -> str:
        """Cancel the turn, or the messages that wait for the next try of their turn.

        Returns:
            A sentence that says what was cut off.

        Raises:
            CommandError: there is nothing to cancel.
        """
        given_back = cancellation.requeue
        fate = "The messages were given back." if given_back else "The messages are cancelled."
        if self.current:
            return f"{await self._cancel_turn(self.current, cancellation)} {fate}"
        if self._claude.is_answering:
            await self._claude.cancel()
            return "The compaction was cut off."
        if batch := await self._inbox.take():
            await self._inbox.cancel([batch], cancellation)
            self._store.event("cancelled", by=cancellation.by, text=names(batch.ids))
            if self._reporter.state in (State.ERROR, State.RATE_LIMITED):
                self._reporter.enter(State.IDLE)
            self._waker.wake()
            return f"No turn ran, but {names(batch.ids)} waited for the next try. {fate}"
        raise CommandError(f"There is no turn to cancel: {self._why_no_turn}.")

    @property
    def _why_no_turn(self) -> str:
        name, state = self._config.name, self._reporter.state
        if state is not State.ERROR:
            return f"{name} is {state.value.replace('-', ' ')}"
        return (
            f"{name} waits after a failure. `hivectl history --to {name} --state queued` shows its"
            " messages, and `hivectl unsend ID` takes yours back"
        )

    async def _cancel_turn(self, current: CurrentTurn, cancellation: Cancellation) -> str:
        """Cancel the turn that runs; return what was cut off.

        Raises:
            CommandError: it is being cancelled, or has ended by itself.
        """
        if current.cancellation:
            raise CommandError("The turn is being cancelled already.")
        current.cancellation = cancellation
        # Now: Claude Code ends the calls of tools before it ends the turn.
        current.cut_off = current.activity.cut_off(self._doing)
        if self._claude.is_answering:
            await self._claude.cancel()
        elif current.task:
            current.task.cancel()
        await current.over.wait()
        if not current.cancelled:
            raise CommandError("The turn has ended by itself meanwhile.")
        return current.cut_off

    @property
    def _doing(self) -> str:
        """The present work of a turn of which no tool runs, in words."""
        if self._reporter.state in (State.RATE_LIMITED, State.ERROR):
            return "while the model's API refused its requests"
        if self._reporter.state is State.COMPACTING:
            return "while its context was compacted"
        return (
            "while the model answered"
            if self._claude.is_answering
            else "before the model was asked"
        )

    def compact(self) -> str:
        """Compact the context as soon as no turn runs, and return when that is.

        Raises:
            CommandError: there is no session yet.
        """
        if self._claude.id is None:
            raise CommandError("There is nothing to compact: the agent has no session yet.")
        return f"{self._order(Errand.COMPACT)} the context is compacted."

    def new_session(self, by: str) -> str:
        """Begin a new session as soon as no turn runs, and return when that is.

        Args:
            by: the one who wants it.
        """
        self._errands.new_session_by = by
        return f"{self._order(Errand.NEW_SESSION)} a new session begins; /state is kept."

    def reopen(self) -> str:
        """Start Claude Code again before the next turn, and return when that is."""
        self._order(Errand.CLOSE)
        setting = self._choices.setting(self._config.model)
        self._reporter.update(Report(model_setting=setting, effort=self._choices.effort or ""))
        return f"From its next turn on, {self._config.name}"

    async def reset_project(self, name: str, by: str) -> str:
        """Make the working copy of a project clean; the work in it is kept.

        Args:
            name: the project.
            by: the one who wants it.

        Raises:
            CommandError: a turn runs, or the working copy cannot be reset.
        """
        if self.current:
            raise CommandError(
                f"{self._config.name} works on a turn, which may change the working copy. Wait for "
                f"its end, or cancel it (hivectl cancel {self._config.name})."
            )
        try:
            return await self._projects.reset(name, by)
        except CopyError as error:
            raise CommandError(str(error)) from None

    async def keep_objects(self, names: list[str]) -> str:
        """Copy the objects that the working copies of projects borrow.

        Args:
            names: the projects, which the agent is about to lose.

        Raises:
            CommandError: a working copy is not complete.
        """
        try:
            await self._projects.keep_objects(names)
        except CopyError as error:
            raise CommandError(str(error)) from None
        return "The working copies need the repositories of the projects no longer."

    def hold(self, until: float) -> str:
        """Begin no turn before this time, in seconds since 1970."""
        self._limit.hold(until, "the model's provider answers no requests before then")
        self._waker.wake()
        return f"{self._config.name} begins no turn before that time."

    def _order(self, errand: Errand) -> str:
        self._errands.add(errand)
        self._waker.wake()
        return "After the turn that runs," if self.current else "Now"
