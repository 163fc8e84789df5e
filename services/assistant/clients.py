"""The operator's view of the hive, as calls of the services."""

from services.assistant import rows
from services.assistant.rows import Json, Row
from wire import names
from wire.caller import Caller
from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import AgentClient, LifecycleClient
from wire.errors import Conflict, NotFound
from wire.records.approvals import Approval, ApprovalFilter, ApprovalOptions, ApprovalState
from wire.records.broker import (
    ALLOW_ALWAYS,
    MessageFilter,
    QuestionFilter,
    QuestionState,
    SendOptions,
)
from wire.records.ledger import CostFilter, CostKey
from wire.records.lifecycle import AgentProperties


class Hive:
    """The services, which treat the calls of this service as the operator's.

    Each method raises a HiveError whose text says what to do.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._broker = BrokerClient(caller)
        self._lifecycle = LifecycleClient(caller)
        self._approvals = ApprovalsClient(caller)
        self._ledger = LedgerClient(caller)

    async def agents(self) -> list[Row]:
        """Return a line about each agent."""
        return [rows.agent_line(agent) for agent in await self._agents()]

    async def agent(self, name: str) -> Row:
        """Return all that lifecycle knows about one agent."""
        for agent in await self._agents():
            if agent.name == name:
                return rows.agent(agent)
        raise _no_such_agent(name)

    async def messages(self, agent: str | None, before: int | None, limit: int) -> list[Row]:
        """Return the newest messages, oldest first; `before` leaves out newer ones."""
        wanted = MessageFilter(agent=agent, before=before)
        return [rows.message(one) for one in await self._broker.list_messages(wanted, limit)]

    async def questions(self, state: QuestionState | None, limit: int) -> list[Row]:
        """Return the newest questions, oldest first."""
        wanted = QuestionFilter(state=state)
        return [rows.question(one) for one in await self._broker.list_questions(wanted, limit)]

    async def approvals(self, state: ApprovalState | None, limit: int) -> list[Row]:
        """Return the newest requests for approval."""
        wanted = ApprovalFilter(state=state, limit=limit)
        return [rows.approval(one) for one in await self._approvals.list_approvals(wanted)]

    async def diff(self, number: int) -> Row:
        """Return the change that a request asks for, with the commit and the base to approve."""
        request = await self._request(number)
        change = await self._approvals.diff(number)
        return {**rows.approval(request), "base": change.base, "diff": rows.exactly(change.diff)}

    async def logs(self, name: str, lines: int) -> list[Json]:
        """Return the newest lines about an agent in the host's journal."""
        try:
            found = await AgentClient(self._caller, _path(name)).get_logs(lines)
        except NotFound as error:
            raise _no_such_agent(name) from error
        return [rows.said(line) for line in found]

    async def cost(self, by: CostKey, agent: str | None, since: int | None) -> list[Row]:
        """Return sums of costs and tokens."""
        wanted = CostFilter(by=by, agent=agent, since=since)
        return [rows.cost(one) for one in await self._ledger.costs(wanted)]

    async def budgets(self) -> list[Row]:
        """Return the budgets that limit something."""
        found = await self._ledger.list_budgets()
        return [rows.budget(one) for one in found if one.limit or one.limit_tokens]

    async def send(self, to: str, body: str, in_reply_to: int | None) -> int:
        """Send a message as the operator; return its number."""
        return await self._broker.send(to, body, SendOptions(in_reply_to=in_reply_to))

    async def answer(self, number: int, answer: list[str]) -> None:
        """Answer a question in the operator's name.

        Raises:
            Conflict: the answer would also change a configuration.
        """
        if ALLOW_ALWAYS in answer:
            raise Conflict(
                f"{ALLOW_ALWAYS!r} changes the agent's configuration: the operator gives this "
                "answer on the dashboard. You can give another one."
            )
        await self._broker.answer(number, answer)

    async def approve(self, number: int, commit: str, base: str) -> str:
        """Approve a request, if it still is the change from `base` to `commit`; return its job."""
        return await self._approvals.approve(number, commit, ApprovalOptions(base=base))

    async def deny(self, number: int, commit: str, note: str) -> None:
        """Deny a request that is about `commit`."""
        await self._approvals.deny(number, commit, note)

    async def _agents(self) -> list[AgentProperties]:
        found = await self._lifecycle.agents_as(AgentProperties)
        return sorted(found.values(), key=lambda agent: agent.name)

    async def _request(self, number: int) -> Approval:
        for found in await self._approvals.list_approvals(ApprovalFilter(id=number)):
            return found
        raise NotFound(f"There is no request {number}.")


def _path(name: str) -> str:
    if not names.AGENT_NAME.fullmatch(name):
        raise _no_such_agent(name)
    return names.agent_path(name)


def _no_such_agent(name: str) -> NotFound:
    return NotFound(f"There is no agent {name[:32]!r}; list_agents names them.")
