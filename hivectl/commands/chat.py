"""The command that talks with an agent: chat."""

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import click

from hivectl.arguments.completers import complete_agents
from hivectl.commands.watch import held_words, show_event, show_transient
from hivectl.output import agent_status
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.agent_events import AgentEvents
    from hivectl.clients.hive import Hive
    from hivectl.clients.messages import MessageEnds
    from hivectl.output.event_lines import EventLines
    from wire.agent_web.client import Json, JsonObject
    from wire.agent_web.records import State
    from wire.clients.lifecycle import AgentClient

    Steered = Callable[[AgentClient], Awaitable[str]]
    """Steers an agent, and returns the sentence of its harness."""

_WAITS: Final = frozenset({"compacting", "waiting", "rate-limited", "needs-login", "held", "error"})
"""The states in which a message waits; `thinking` may be about the message itself."""

GRACE: Final = 2.0
"""Seconds in which the events of a turn may come later than the end of its message."""


def slash_commands() -> dict[str, str]:
    """Return the lines that are commands, each with its effect."""
    from wire.steering import SLASH_COMMANDS

    return {
        "/help": "lists the commands",
        **{
            f"/{name} [{argument}]" if argument else f"/{name}": hint
            for name, (argument, hint) in SLASH_COMMANDS.items()
        },
        "/exit": "ends the chat, as Ctrl-D does",
    }


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.option("--full", is_flag=True, help="Show complete texts.")
@hive_command
async def chat(hive: "Hive", output: Output, name: str, full: bool) -> None:
    """Talk with an agent.

    Each line is sent as a message, and the turn that reads the message is shown until its end. Your
    message comes first in the agent's inbox, but a turn that runs already ends before the agent
    reads it. Ctrl-C interrupts the turn, or ends the chat when no turn is shown. Lines that begin
    with a slash are commands: /help lists them. To send such a line, begin it with two slashes.
    Without a terminal, each line of standard input is a message.
    """
    from hivectl.output.event_lines import EventLines

    await hive.agents.get(name)
    talk = Talk(hive, output, name, EventLines(output, full=full))
    terminal = sys.stdin.isatty()
    if terminal:
        output.note(f"Messages to {name}; /help lists commands, Ctrl-D ends the chat.")
    while (line := _read(f"{name}> " if terminal else "")) is not None:
        line = line.strip()
        if line == "/exit":
            break
        if line.startswith("/") and not line.startswith("//"):
            await talk.command(line)
        elif line:
            await talk.say(line.removeprefix("/") if line.startswith("//") else line)


class Talk:
    """A conversation of the operator with one agent."""

    def __init__(self, hive: "Hive", output: Output, name: str, lines: "EventLines") -> None:
        self._hive = hive
        self._output = output
        self._name = name
        self._lines = lines
        self._number = 0
        """The message; 0: it is not sent yet."""
        self._turn: Json = None
        """The turn that reads the message."""
        self._waits = ""
        """The words about the state for which the message waits."""

    async def say(self, text: str) -> None:
        """Send a message, and show the turn that reads it until it is over.

        Raises:
            Abort: Ctrl-C was pressed twice.
        """
        from wire.errors import HiveError

        self._number, self._turn, self._waits = 0, None, ""
        try:
            async with self._interruptible() as stopped:
                saying = asyncio.create_task(self._say(text))
                await asyncio.wait((saying, stopped), return_when="FIRST_COMPLETED")
                if saying.done():
                    saying.result()
                else:
                    saying.cancel()
                    await asyncio.wait([saying])
                    self._stopped()
        except HiveError as error:
            self._failed(error)

    async def _say(self, text: str) -> None:
        from wire.errors import Unavailable
        from wire.records.broker import SendOptions

        events = self._hive.events(self._name)
        after: int | None = None
        with suppress(Unavailable):
            state = await events.state()
            after = state.last_seq
            self._note_state(state, _WAITS | {"thinking"})
        async with (
            self._hive.message_ends() as ends,
            aclosing(events.follow(after, self._output.note)) as stream,
        ):
            self._number = await self._hive.broker.send(self._name, text, SendOptions())
            showing = asyncio.create_task(self._show(stream))
            ending = asyncio.create_task(self._end(ends))
            holding = asyncio.create_task(self._note_holds(events))
            tasks = (showing, ending, holding)
            try:
                await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.result()

    async def _end(self, ends: "MessageEnds") -> None:
        """Return when the message has ended without the end of a turn that is shown."""
        from hivectl.clients.messages import ENDS, WITH_TURN

        state = await ends.end_of(self._number)
        # The event of the turn comes over another connection, possibly a little later.
        await asyncio.sleep(GRACE)
        if self._turn is not None and state in WITH_TURN:
            await asyncio.get_running_loop().create_future()  # the end of the turn is shown
        words = f"Message {self._number} {ENDS[state]}."
        if self._turn is None:
            words += " No turn has read it while you waited."
        self._output.note(words)

    async def _note_holds(self, events: "AgentEvents") -> None:
        """Say that the agent is held, while the message waits."""
        from wire.errors import HiveError

        with suppress(HiveError):
            async with aclosing(events.holds()) as holds:
                async for reason in holds:
                    if self._turn is None:
                        self._note_wait(held_words(reason))
        await asyncio.get_running_loop().create_future()  # the events say that the hive is lost

    def _stopped(self) -> None:
        if self._turn is not None:
            raise click.Abort
        where = f"message {self._number} waits" if self._number else "the message may wait"
        self._output.note(f"Interrupted: {where} in the inbox of {self._name}, and is read later.")

    async def command(self, line: str) -> None:
        """Carry out a line that begins with a slash."""
        from wire.errors import HiveError

        try:
            word, *values = shlex.split(line)
        except ValueError:
            word, values = line, []
        value = values[0] if values else ""
        if word == "/cancel":
            steered = _cancel(requeue=bool(value)) if value in ("", "requeue") else None
        else:
            steered = _SETTINGS[word](value) if word in _SETTINGS else _PLAIN.get(word)
        if steered is None or len(values) > (word not in _PLAIN):
            self._help()
            return
        try:
            if word in _SETTINGS and not value:
                await self._show_setting(word)
            else:
                self._output.note(await self._hive.agents.call(self._name, steered))
        except HiveError as error:
            self._failed(error)

    async def _show_setting(self, word: str) -> None:
        agent = await self._hive.agents.get(self._name)
        words = {"/model": agent_status.model_words, "/effort": agent_status.effort_words}
        self._output.note(words[word](agent))

    def _failed(self, error: Exception) -> None:
        """Show an error at a prompt; without one it ends the command."""
        if not sys.stdin.isatty():
            raise error
        self._output.note(str(error))

    def _help(self) -> None:
        for command, text in slash_commands().items():
            self._output.note(f"{command:<18} {text}")

    async def _show(self, stream: "AsyncIterator[tuple[str, JsonObject]]") -> None:
        """Show the events of the turn that reads the message, until its end."""
        async for kind, data in stream:
            if self._turn is None and kind == "state":
                self._note_state(_state(data), _WAITS)
            if kind == "event" and _reads(data, self._number):
                self._turn = data.get("turn")  # perhaps a later one: the message came again
            if self._turn is None or data.get("turn") != self._turn:
                continue
            if kind == "event":
                show_event(self._output, self._lines, data)
                if data.get("type") == "turn-end":
                    return
            else:
                show_transient(self._output, self._lines, kind, data)

    def _note_state(self, state: "State | None", states: frozenset[str]) -> None:
        """Say why the message waits if the state is one of `states`, and that is new."""
        from hivectl.output.event_lines import state_words

        if state is None or state.state not in states:
            return
        self._note_wait(state_words(state))

    def _note_wait(self, words: str) -> None:
        if words != self._waits:
            self._waits = words
            self._output.note(f"{self._name} is {words}; your message waits.")

    @asynccontextmanager
    async def _interruptible(self) -> "AsyncIterator[asyncio.Future[None]]":
        """Interrupt the turn on Ctrl-C; yield a future that is done when there is nothing to show.

        That is so after Ctrl-C before the turn has begun, and after a second Ctrl-C.
        """
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()
        cancelling: list[asyncio.Task[None]] = []

        def interrupt() -> None:
            if self._turn is not None and not cancelling:
                cancelling.append(asyncio.create_task(self.command("/cancel")))
            elif not stopped.done():
                stopped.set_result(None)

        loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            yield stopped
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for task in cancelling:
                await asyncio.wait([task])


def _state(data: "JsonObject") -> "State":
    """Return the state that a stream sent."""
    from wire.agent_web.records import State

    return State.model_validate(data)


def _cancel(*, requeue: bool) -> "Steered":
    from wire.records.lifecycle import CancelOptions

    return lambda agent: agent.cancel_turn(CancelOptions(requeue))


_PLAIN: "Final[dict[str, Steered]]" = {
    "/compact": lambda agent: agent.compact(),
    "/new-session": lambda agent: agent.new_session(),
}
"""The commands without an argument."""

_SETTINGS: "Final[dict[str, Callable[[str], Steered]]]" = {
    "/model": lambda value: lambda agent: agent.set_model(value),
    "/effort": lambda value: lambda agent: agent.set_effort(value),
}
"""The commands that change a setting to a value."""


def _reads(data: "JsonObject", number: int) -> bool:
    """Return whether an event says that a turn reads the message `number`."""
    values = data.get("data")
    if data.get("type") not in ("wake", "urgent") or not isinstance(values, dict):
        return False
    messages = values.get("messages")
    return isinstance(messages, list) and any(
        isinstance(message, dict) and message.get("id") == number for message in messages
    )


def _read(prompt: str) -> str | None:
    """Return the next line; None at the end, or after Ctrl-C. With a prompt, lines are edited."""
    if prompt:
        import readline

        readline.parse_and_bind("tab: complete")
        readline.set_completer_delims("")
        readline.set_completer(_complete)
    # asyncio's handler would only cancel this task, and the prompt would wait for one more line.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input(prompt) if prompt else sys.stdin.readline() or None
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)
        return None
    finally:
        signal.signal(signal.SIGINT, handler)


def _complete(text: str, state: int) -> str | None:
    """Return the completion number `state` of a line, for readline."""
    words = [line.split()[0] for line in slash_commands()]
    found = [word for word in words if text.startswith("/") and word.startswith(text)]
    return found[state] if state < len(found) else None


COMMANDS = [chat]
