"""The commands of the operator and the manager to this agent, and their answers."""

import asyncio
import logging

from harness.claude.choices import ChoiceError
from harness.hive_client import Command, succeeds
from harness.logins import LoginError, Logins, Page
from harness.turns.current import Cancellation
from harness.turns.parts import Parts
from harness.turns.steering import CommandError, Steering

log = logging.getLogger(__name__)


class Commands:
    """The commands, each answered once."""

    def __init__(self, parts: Parts, steering: Steering, logins: Logins) -> None:
        self._hive = parts.hive
        self._choices = parts.choices
        self._steering = steering
        self._logins = logins
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, command: Command) -> None:
        """Begin to obey a command."""
        task = asyncio.create_task(self._answer(command), name=f"command {command.verb}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the commands that are not answered yet, and the login that runs."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._logins.close()

    async def _answer(self, command: Command) -> None:
        # The value is not logged: it may be the code of a login.
        log.info("command %s of the %s", command.verb, command.by)
        text, error, page = "", "", Page()
        try:
            if command.verb == "login":
                page = await self._logins.begin(command.id)
            else:
                text = await self._obey(command)
        except (CommandError, ChoiceError, LoginError) as exc:
            error = str(exc)
        except Exception as exc:
            log.exception("the command %s failed", command.verb)
            error = f"The command failed: {exc}"
        await succeeds(
            lambda: self._hive.command_done(
                command.id, text=text, error=error, login=page.login, address=page.address
            ),
            f"cannot answer the command {command.verb}",
        )

    async def _obey(self, command: Command) -> str:
        match command.verb:
            case "cancel":
                return await self._steering.cancel(Cancellation(command.requeue, command.by))
            case "compact":
                return self._steering.compact()
            case "new-session":
                return self._steering.new_session(command.by)
            case "model":
                self._choices.choose_model(command.value)
                return f"{self._steering.reopen()} uses {command.value or 'the configured model'}."
            case "effort":
                self._choices.choose_effort(command.value)
                words = f"the effort {command.value}" if command.value else "the default effort"
                return f"{self._steering.reopen()} uses {words}."
            case "hold-until":
                return self._steering.hold(_time(command.value))
            case "keep-objects" | "reset-project":
                return await self._obey_about_projects(command)
            case "login-code":
                return await self._logins.enter(command.login, command.value)
            case "login-cancel":
                return await self._logins.cancel(command.login)
        raise CommandError(
            f"This agent's harness does not know the command {command.verb!r}: restart the agent"
            " to update the harness."
        )

    async def _obey_about_projects(self, command: Command) -> str:
        if command.verb == "keep-objects":
            return await self._steering.keep_objects(command.value.split())
        return await self._steering.reset_project(command.value, command.by)


def _time(value: str) -> float:
    try:
        return float(int(value or "0"))
    except ValueError:
        raise CommandError(f"{value!r} is not a time in seconds since 1970.") from None
