"""The details of one agent, which its page asks for when somebody opens it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from services.dashboard.clients.services import ExplainingCaller, agent_path, no_such_agent
from services.dashboard.state import shown
from services.dashboard.state.rows import amounts, deploy_row, egress_row, message_row, question_row
from services.dashboard.state.tables import Json
from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import AgentClient
from wire.errors import NotFound
from wire.records.broker import MessageFilter, QuestionFilter
from wire.records.ledger import EgressFilter
from wire.records.lifecycle import AgentState

MESSAGES: Final = 50
QUESTIONS: Final = 20
DEPLOYS: Final = 20
LOG_LINES: Final = 100
HOSTS: Final = 200


class AgentDetails:
    """The details of agents. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._caller = caller
        self._broker = BrokerClient(caller)
        self._approvals = ApprovalsClient(caller)
        self._ledger = LedgerClient(caller)
        self._parts: Mapping[str, Callable[[str], Awaitable[Json]]] = {
            "messages": self._messages,
            "questions": self._questions,
            "deploys": self._deploys,
            "usage": self._usage,
            "logs": self._logs,
            "egress": self._egress,
        }

    async def part(self, name: str, part: str) -> Json:
        """Return one part of an agent's details.

        Args:
            name: the agent.
            part: messages, questions, deploys, usage, logs or egress.
        """
        agent_path(name)
        return await self._parts[part](name)

    async def wake(self, name: str) -> bool:
        """Start a sleeping agent and return True; leave any other agent as it is."""
        agent = self._agent(name)
        with _naming(name):
            if await agent.get("State") != AgentState.SLEEPING:
                return False
            await agent.start()
        return True

    async def _messages(self, name: str) -> Json:
        """Return the newest messages from or to the agent."""
        found = await self._broker.list_messages(MessageFilter(agent=name), MESSAGES)
        return [message_row(message) for message in found]

    async def _questions(self, name: str) -> Json:
        """Return the newest questions from or to the agent."""
        found = await self._broker.list_questions(QuestionFilter(agent=name), QUESTIONS)
        return [question_row(question) for question in found]

    async def _deploys(self, name: str) -> Json:
        """Return the agent's deployed configurations, newest first."""
        return [deploy_row(deploy) for deploy in await self._approvals.deploy_log(name, DEPLOYS)]

    async def _usage(self, name: str) -> Json:
        """Return the agent's current use of resources; it is empty when the agent is down."""
        with _naming(name):
            return amounts(await self._agent(name).get_usage())

    async def _logs(self, name: str) -> Json:
        """Return the agent's last lines in the host's journal."""
        with _naming(name):
            return shown.messages(await self._agent(name).get_logs(LOG_LINES))

    async def _egress(self, name: str) -> Json:
        """Return the hosts that the agent has reached or was refused, the last used one first."""
        found = await self._ledger.list_egress(EgressFilter(agent=name), HOSTS)
        return [egress_row(entry) for entry in found]

    def _agent(self, name: str) -> AgentClient:
        return AgentClient(self._caller, agent_path(name))


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the agent that does not exist: lifecycle's sentence names an object path."""
    try:
        yield
    except NotFound as error:
        raise no_such_agent(name) from error
