"""The operator's actions, as calls of the services."""

from collections.abc import Iterable

from services.dashboard.clients.configurations import Saved
from services.dashboard.clients.feed import Feed
from services.dashboard.clients.services import ExplainingCaller, agent_path
from services.dashboard.state.rows import egress_rule
from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.client import Client
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import AgentClient, LifecycleClient
from wire.clients.logins import begin_login, enter_login_code
from wire.clients.projects import ProjectsClient
from wire.errors import NotFound
from wire.records.approvals import NO_JOB
from wire.records.broker import (
    ALLOW_ALWAYS,
    MessageFilter,
    Question,
    QuestionFilter,
    QuestionState,
    ReminderFilter,
    SendOptions,
)
from wire.records.ledger import EgressDecision
from wire.records.lifecycle import CancelOptions
from wire.text.login_pages import without_addresses


class OperatorActions:
    """The operator's actions. Each method raises a HiveError whose text says what to do.

    The services identify the dashboard by its unit and treat its calls as the operator's.
    """

    def __init__(self, caller: ExplainingCaller, feeds: Iterable[Feed]) -> None:
        self._caller = caller
        self._broker = BrokerClient(caller)
        self._approvals = ApprovalsClient(caller)
        self._ledger = LedgerClient(caller)
        self._services: dict[str, Client] = {
            "broker": self._broker,
            "lifecycle": LifecycleClient(caller),
            "approvals": self._approvals,
            "ledger": self._ledger,
            "projects": ProjectsClient(caller),
        }
        self._feeds = {feed.service: feed for feed in feeds}

    async def send(self, to: str, body: str, in_reply_to: int | None) -> int:
        """Send a message as the operator; return its id."""
        return await self._broker.send(to, body, SendOptions(in_reply_to=in_reply_to))

    async def body(self, message: int) -> str:
        """Return the whole body of a message."""
        wanted = MessageFilter(after=message - 1, before=message + 1)
        for found in await self._broker.list_messages(wanted, 1):
            return found.body
        raise NotFound(f"There is no message {message}: the broker may have deleted it.")

    async def acknowledge(self, *messages: int) -> None:
        """Mark messages to the operator as read."""
        await self._broker.acknowledge([*messages])

    async def requeue(self, message: int) -> None:
        """Queue a dead letter again."""
        await self._broker.requeue([message])

    async def drop(self, message: int) -> None:
        """Give up a dead letter."""
        await self._broker.drop([message])

    async def question(self, question: int) -> Question:
        """Return a question with its whole text."""
        wanted = QuestionFilter(after=question - 1, before=question + 1)
        for found in await self._broker.list_questions(wanted, 1):
            return found
        raise NotFound(f"There is no question {question}: the broker may have deleted it.")

    async def cancel_question(self, question: int) -> None:
        """Cancel a question, of whomever it was asked."""
        await self._broker.cancel(question)

    async def reminder(self, reminder: int) -> str:
        """Return the whole body of a reminder."""
        wanted = ReminderFilter(after=reminder - 1, before=reminder + 1)
        for found in await self._broker.list_reminders(wanted, 1):
            return found.body
        raise NotFound(f"There is no reminder {reminder}: the broker may have deleted it.")

    async def cancel_reminder(self, reminder: int) -> None:
        """Cancel a reminder, of whomever it is."""
        await self._broker.cancel_reminder(reminder)

    async def answer(self, question: int, answer: list[str], *, own: bool = False) -> None:
        """Answer a question; "Always allow" also adds the question's rule to agent.toml.

        Args:
            question: the number of the question.
            answer: choices, or one text if there are none.
            own: one text may be none of the choices.
        """
        if ALLOW_ALWAYS in answer:
            found = await self.question(question)
            if found.rule and found.state is QuestionState.OPEN:
                # First: if that fails, the question stays open.
                why = f"Question {question}: the operator always allows {found.rule}."
                await self._approvals.allow_tool(found.asker, found.rule, why)
        await (self._broker.answer_freely if own else self._broker.answer)(question, answer)

    async def answer_egress(self, name: str, host: str, port: int, answer: str) -> Saved:
        """Answer about a host that was refused to an agent.

        Args:
            name: the agent.
            host: a name or an address.
            port: the port.
            answer: once, always or deny.
        """
        agent_path(name)
        if answer != "always":
            await self._ledger.decide_egress(name, host, port, EgressDecision(answer))
            return Saved(0, "Denied." if answer == "deny" else "The next connection is allowed.")
        rule = egress_rule(host, port)
        why = f"The operator always allows {rule}."
        allowed = await self._approvals.allow_egress(name, rule, why)
        if allowed.job == NO_JOB:
            said = f"Request {allowed.request} allows it, and waits for your approval."
        else:
            said = f"Request {allowed.request} allows it, and is deployed now."
        return Saved(allowed.request, said)

    async def cancel_turn(self, name: str, *, requeue: bool) -> str:
        """Interrupt an agent's turn; return a sentence about what was cut off.

        Args:
            name: the agent.
            requeue: queue the messages of the turn again.
        """
        return await self._agent(name).cancel_turn(CancelOptions(requeue=requeue))

    async def compact(self, name: str) -> str:
        """Compact an agent's context; return a sentence of its harness."""
        return await self._agent(name).compact()

    async def new_session(self, name: str) -> str:
        """Begin a new session of an agent; return a sentence of its harness."""
        return await self._agent(name).new_session()

    async def set_model(self, name: str, model: str) -> str:
        """Change an agent's model, or reset it if `model` is empty; return a sentence."""
        return await self._agent(name).set_model(model)

    async def set_effort(self, name: str, effort: str) -> str:
        """Change an agent's effort, or reset it if `effort` is empty; return a sentence."""
        return await self._agent(name).set_effort(effort)

    async def begin_login(self, name: str) -> tuple[int, str]:
        """Begin a login of an agent, or go on with the one that runs.

        Returns:
            The number of the login, and the address of a login page of Anthropic.

        Raises:
            Conflict: the agent's container names another address; the login is ended.
        """
        number, page = await begin_login(self._agent(name))
        return number, str(page)

    async def enter_login_code(self, name: str, login: int, code: str) -> str:
        """Enter the code of a login page; return a sentence of the agent's harness."""
        return await enter_login_code(self._agent(name), login, code)

    async def cancel_login(self, name: str, login: int) -> str:
        """End a login; return a sentence of the agent's harness."""
        return without_addresses(await self._agent(name).cancel_login(login))

    async def refresh(self, service: str) -> None:
        """Wait for a service that is starting; make its feed ask for everything again."""
        try:
            await self._services[service].ping()
        finally:
            self._feeds[service].request_all()

    def _agent(self, name: str) -> AgentClient:
        return AgentClient(self._caller, agent_path(name))
