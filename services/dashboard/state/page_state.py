"""The rules that keep the tables: one method for each thing that a service can report.

This module does not know D-Bus.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import time_ns

from services.dashboard.state import shown
from services.dashboard.state.counts import Counts
from services.dashboard.state.history import History
from services.dashboard.state.notices import Notices
from services.dashboard.state.rows import (
    agent_row,
    approval_row,
    budget_key,
    budget_row,
    changed_message_row,
    egress_key,
    egress_row,
    has_limit,
    is_dead,
    is_unread,
    job_row,
    limit_row,
    message_row,
    question_row,
    reminder_row,
)
from services.dashboard.state.tables import Row, Table, Tables
from wire import names
from wire.records.approvals import Approval, ApprovalState
from wire.records.broker import (
    Message,
    MessageChange,
    MessageCount,
    MessageState,
    Question,
    Reminder,
)
from wire.records.ledger import Budget, Egress, EgressState, ProviderLimit, Request
from wire.records.lifecycle import (
    AgentProperties,
    Crashed,
    JobNew,
    JobProperties,
    JobRemoved,
    JobState,
    Usage,
)
from wire.text.escaping import prose

MAX_MESSAGES = 500
"""Messages kept for the pages, in addition to those that wait for the operator."""

MAX_WAITING = 100
"""The messages of one sender that are kept because they wait for the operator, or are dead letters;
one sender must not fill the page."""

MAX_RESOLVED = 5
"""Resolved approvals that are still shown, so that the operator sees the effect of a click."""

OPEN = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.BUILDING})
"""The states of approvals that are not final."""

MAX_OUTPUT = 200
"""The newest lines about the work of a job that are shown."""

MAX_REFUSED = 20
"""The refused hosts of one agent that are shown; further ones are shown when these are decided."""


_Waiting = tuple[str, bool]
"""The sender of messages that wait for the operator, and whether they are dead letters."""


def _waiting(row: Row) -> _Waiting | None:
    if not (is_unread(row) or is_dead(row)):
        return None
    return str(row["from"]), is_dead(row)


def _cost_row(millionths: int, ends: int) -> Row:
    return {"cost": millionths / 1e6, "ends": ends}


class PageState:
    """The state of the hive as pages show it."""

    def __init__(self, tables: Tables, now_us: Callable[[], int] | None = None) -> None:
        """Keep `tables`; `now_us` is the clock, in microseconds since 1970."""
        self._tables = tables
        self.counts = Counts()
        now_us = now_us or (lambda: time_ns() // 1000)
        self._notices = Notices(tables, now_us)
        self._history = History(now_us)
        self._cut: set[_Waiting] = set()
        """Of these more than MAX_WAITING messages wait."""
        self._cut_refused: set[str] = set()
        """Of these agents more than MAX_REFUSED hosts wait."""
        self._output: defaultdict[str, deque[int]] = defaultdict(deque)
        """The numbers of the lines of each job that are in the table."""
        self._costs: Counter[str] = Counter()
        self._today_ends = 0

    # Services

    def service_available(self, service: str) -> None:
        """Note that the service answers, and that its rows are current."""
        self._service(service, available=True, reason="")

    def service_unavailable(self, service: str, reason: str) -> None:
        """Note that the service does not answer; its rows stay as last known.

        Args:
            service: broker, lifecycle, approvals, ledger or projects.
            reason: a sentence for the operator.
        """
        self._service(service, available=False, reason=reason)

    def _service(self, service: str, *, available: bool, reason: str) -> None:
        row: Row = {"name": service, "available": available, "reason": prose(reason)}
        self._tables.update(Table.SERVICES, put={service: row})

    # Agents and jobs

    def replace_agents(self, agents: Iterable[AgentProperties]) -> None:
        """Replace all agents."""
        agents = list(agents)
        self._notices.replace_agents(agents)
        self._tables.replace(Table.AGENTS, {agent.name: agent_row(agent) for agent in agents})

    def put_agent(self, agent: AgentProperties) -> None:
        """Add an agent, or replace its row."""
        self._notices.put_agent(agent)
        self._tables.update(Table.AGENTS, put={agent.name: agent_row(agent)})

    def remove_agent(self, name: str) -> None:
        """Remove an agent that was destroyed."""
        self._notices.remove_agent(name)
        self._tables.update(Table.AGENTS, remove={name})

    def add_crash(self, name: str, crash: Crashed) -> None:
        """Note that an agent's container ended without having been stopped."""
        self.counts.add_crash(name, crash)
        self._notices.add_crash(name, crash)

    def replace_jobs(self, jobs: Mapping[str, JobProperties]) -> None:
        """Replace all jobs, by job path."""
        rows = {path: job_row(job.id, job.agent, job.verb, job.state) for path, job in jobs.items()}
        self._tables.replace(Table.JOBS, rows)
        for path in self._output.keys() - jobs.keys():
            self._drop_output(path)

    def add_job(self, job: JobNew) -> None:
        """Add a job that was accepted."""
        row = job_row(job.id, job.agent, job.verb, JobState.WAITING)
        self._tables.update(Table.JOBS, put={job.job: row})

    def put_job_state(self, path: str, state: JobState) -> None:
        """Note the state of a job that has not ended."""
        if row := self._tables.rows(Table.JOBS).get(path):
            may_cancel = row["may_cancel"] and state is not JobState.CANCELLING
            new: Row = {**row, "state": state, "may_cancel": may_cancel}
            self._tables.update(Table.JOBS, put={path: new})

    def remove_job(self, job: JobRemoved) -> None:
        """Remove a job that ended."""
        self.counts.add_job(job)
        self._tables.update(Table.JOBS, remove={job.job})
        self._drop_output(job.job)
        self._notices.end_job(job)

    # Samples and queues

    def put_sample(self, name: str, usage: Usage) -> None:
        """Add a sample of what an agent uses now."""
        self._history.add(name, usage)
        self._tables.update(Table.SAMPLES, put={name: self._history.row(name)})

    def drop_samples(self, name: str) -> None:
        """Forget the samples of an agent that does not run."""
        self._history.drop(name)
        self._tables.update(Table.SAMPLES, remove={name})

    def replace_queues(self, depths: Iterable[MessageCount]) -> None:
        """Replace the numbers of messages that wait in the inboxes of agents."""
        rows: dict[str, dict[str, int]] = {}
        for depth in depths:
            if depth.state is not MessageState.DEAD:
                rows.setdefault(depth.recipient, {})[depth.state] = depth.number
        self._tables.replace(Table.QUEUES, rows)

    def replace_output(self, job: str, lines: Sequence[str]) -> None:
        """Replace the lines about the work of a job."""
        self._drop_output(job)
        self.add_output(job, lines)

    def add_output(self, job: str, lines: Sequence[str]) -> None:
        """Add lines about the work of a job; the oldest ones go."""
        known = self._output[job]
        first = known[-1] + 1 if known else 1
        put: dict[str, Row] = {}
        for number, line in enumerate(lines, first):
            known.append(number)
            put[f"{job} {number}"] = {"job": job, "n": number, "text": shown.message(line)}
        old = [known.popleft() for _ in range(len(known) - MAX_OUTPUT)]
        gone = {f"{job} {number}" for number in old}
        kept = {key: row for key, row in put.items() if key not in gone}
        self._tables.update(Table.OUTPUT, put=kept, remove=gone)

    def _drop_output(self, job: str) -> None:
        numbers = self._output.pop(job, ())
        self._tables.update(Table.OUTPUT, remove={f"{job} {number}" for number in numbers})

    # Costs

    def replace_costs(self, costs: Mapping[str, int], ends: int) -> None:
        """Replace the costs of today.

        Args:
            costs: the costs in millionths of a US dollar, by agent.
            ends: the end of today; later, the costs are those of yesterday.
        """
        self._today_ends = ends
        self._costs = Counter(costs)
        rows = {name: _cost_row(cost, ends) for name, cost in costs.items()}
        self._tables.replace(Table.COSTS, rows)

    def add_turn(self, agent: str) -> None:
        """Count a turn."""
        self.counts.add_turn(agent)

    def add_request(self, request: Request) -> bool:
        """Count a request to the model API.

        Returns:
            Whether the costs of today are right: they are not when another day has begun.
        """
        self.counts.add_request(request)
        if request.ended >= self._today_ends:
            return False
        self._costs[request.agent] += request.cost
        row = _cost_row(self._costs[request.agent], self._today_ends)
        self._tables.update(Table.COSTS, put={request.agent: row})
        return True

    # Budgets

    def replace_budgets(self, budgets: Iterable[Budget]) -> None:
        """Replace all budgets; those without a limit are left out."""
        rows = {budget_key(budget): budget_row(budget) for budget in budgets if has_limit(budget)}
        self._tables.replace(Table.BUDGETS, rows)

    def put_budget(self, budget: Budget) -> None:
        """Replace a budget, or remove one that has no limit any more."""
        key = budget_key(budget)
        if has_limit(budget):
            self._tables.update(Table.BUDGETS, put={key: budget_row(budget)})
        else:
            self._tables.update(Table.BUDGETS, remove={key})

    # Limits of providers

    def replace_limits(self, limits: Iterable[ProviderLimit]) -> None:
        """Replace what providers have told of their limits, by credential."""
        self._tables.replace(Table.LIMITS, {one.credential: limit_row(one) for one in limits})

    # Refused hosts

    def replace_egress(self, refused: Iterable[Egress]) -> None:
        """Replace the hosts that wait for the operator; keep the oldest of each agent."""
        number: Counter[str] = Counter()
        rows: dict[str, Row] = {}
        for entry in sorted(refused, key=lambda entry: entry.first):
            number[entry.agent] += 1
            if number[entry.agent] <= MAX_REFUSED:
                rows[egress_key(entry)] = egress_row(entry)
        self._cut_refused = {agent for agent, count in number.items() if count > MAX_REFUSED}
        self._tables.replace(Table.EGRESS, rows)

    def put_egress(self, entry: Egress) -> bool:
        """Show a host that was refused, or remove one about which the operator has decided.

        Returns:
            Whether all hosts that must be shown are in the table: where one is removed, another
            one of the agent may have been left out.
        """
        key, known = egress_key(entry), self._tables.rows(Table.EGRESS)
        if entry.state is not EgressState.PENDING:
            complete = key not in known or entry.agent not in self._cut_refused
            self._tables.update(Table.EGRESS, remove={key})
            return complete
        shown_ = sum(row["agent"] == entry.agent for row in known.values())
        if key in known or shown_ < MAX_REFUSED:
            self._tables.update(Table.EGRESS, put={key: egress_row(entry)})
        else:
            self._cut_refused.add(entry.agent)
        return True

    # Approvals

    def replace_approvals(self, approvals: Iterable[Approval]) -> None:
        """Replace all approvals; keep the open ones and those that were resolved last."""
        by_age = sorted(approvals, key=lambda approval: approval.resolved)
        open_ = [approval for approval in by_age if approval.state in OPEN]
        resolved = [approval for approval in by_age if approval.state not in OPEN]
        kept = open_ + resolved[-MAX_RESOLVED:]
        rows = {str(approval.id): approval_row(approval) for approval in kept}
        self._tables.replace(Table.APPROVALS, rows)

    # Messages

    def replace_messages(self, messages: Iterable[Message]) -> None:
        """Replace all messages."""
        self.counts.message_changes += 1
        before, self._cut = self._cut, set()
        self._tables.replace(Table.MESSAGES, self._window(messages))
        self._end_cut(before - self._cut)

    def change_messages(self, changes: Sequence[MessageChange]) -> bool:
        """Add new messages, and change the rows of known ones.

        A change without text of a message that is not in the table is ignored: the message is
        older than those that are shown.

        Returns:
            Whether all messages that must be shown are in the table: one that waits for the
            operator again may be missing, or older ones of a sender whose newest are done.
        """
        self.counts.add_messages(changes)
        known = self._tables.rows(Table.MESSAGES)
        changed: dict[str, Row] = {}
        complete = True
        for change in changes:
            row = changed.get(str(change.id), known.get(str(change.id)))
            if row is not None or change.length:
                changed[str(change.id)] = changed_message_row(change, row)
            elif change.recipient == names.OPERATOR and change.state is MessageState.QUEUED:
                complete = False
        kept = self._newest({**known, **changed})
        put = {key: row for key, row in changed.items() if key in kept}
        self._tables.update(Table.MESSAGES, put=put, remove=set(known) - set(kept))
        done = self._cut - {_waiting(row) for row in kept.values()}
        self._end_cut(done)
        return complete and not done

    def _window(self, messages: Iterable[Message]) -> dict[str, Row]:
        return self._newest({str(message.id): message_row(message) for message in messages})

    def _newest(self, rows: Mapping[str, Row]) -> dict[str, Row]:
        """Return the rows to keep: the newest, and of each sender those that wait."""
        by_age = sorted(rows, key=int, reverse=True)
        kept = set(by_age[:MAX_MESSAGES])
        number: Counter[_Waiting] = Counter()
        for key in by_age:
            if waits := _waiting(rows[key]):
                number[waits] += 1
                if number[waits] <= MAX_WAITING:
                    kept.add(key)
        self._note_cut({waits for waits, count in number.items() if count > MAX_WAITING})
        return {key: row for key, row in rows.items() if key in kept}

    def _note_cut(self, cut: set[_Waiting]) -> None:
        for sender, dead in sorted(cut - self._cut):
            text = (
                f"More than {MAX_WAITING} dead letters from {sender} wait, and the page shows the "
                "newest. `hivectl dead-letters` lists more."
                if dead
                else f"More than {MAX_WAITING} messages from {sender} wait in your inbox, and the "
                f"page shows the newest. `hivectl inbox --from {sender}` shows all of them; "
                f"`hivectl purge-inbox operator --from {sender}` drops them."
            )
            self._notices.add_cut(sender, text, dead=dead)
        self._cut |= cut

    def _end_cut(self, done: set[_Waiting]) -> None:
        for sender, dead in done:
            self._notices.end_cut(sender, dead=dead)
        self._cut -= done

    # Questions

    def replace_questions(self, questions: Iterable[Question]) -> None:
        """Replace all questions."""
        rows = {str(question.id): question_row(question) for question in questions}
        self._tables.replace(Table.QUESTIONS, rows)

    # Reminders

    def replace_reminders(self, reminders: Iterable[Reminder]) -> None:
        """Replace all reminders that are pending."""
        rows = {str(reminder.id): reminder_row(reminder) for reminder in reminders}
        self._tables.replace(Table.REMINDERS, rows)
