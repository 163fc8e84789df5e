"""Shell completion of names and IDs, which come from the bus; nothing when there is no hive."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, TypeAlias

import click
from click.shell_completion import CompletionItem

from hivectl.output.formats import local_time, place
from hivectl.output.text import elide, one_line

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.approvals import Approval

SECONDS = 2.0
MAX_OFFERED = 100
HELP_COLUMNS = 50

Completer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Offered: TypeAlias = list[tuple[str, str]]
"""Pairs of a value and its description."""


def _completer(find: Callable[["Hive", str], Coroutine[None, None, Offered]]) -> Completer:
    """Make a completer; `find` also gets the NAME argument typed before it, or an empty text."""

    async def ask(name: str) -> Offered:
        from hivectl.clients.hive import Hive

        async with asyncio.timeout(SECONDS), Hive.connect() as hive:
            return await find(hive, name)

    def complete(
        context: click.Context, _parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            found = asyncio.run(ask(context.params.get("name") or ""))
        except Exception:
            # A completing shell cannot show errors, whatever they are.
            return []
        return [
            CompletionItem(value, help=elide(one_line(what), HELP_COLUMNS))
            for value, what in found
            if value.startswith(incomplete)
        ]

    return complete


async def _agents(hive: "Hive", _name: str) -> Offered:
    return [(a.name, a.state) for a in await hive.agents.all()]


async def _requests(hive: "Hive", _name: str) -> Offered:
    from wire.records.approvals import ApprovalFilter, ApprovalState

    found = await hive.approvals.list_approvals(ApprovalFilter(state=ApprovalState.PENDING))
    return [(str(r.id), _request(r)) for r in found]


async def _all_requests(hive: "Hive", _name: str) -> Offered:
    from wire.records.approvals import ApprovalFilter

    found = await hive.approvals.list_approvals(ApprovalFilter(limit=MAX_OFFERED))
    return [(str(r.id), f"{_request(r)}, {r.state}") for r in reversed(found)]


def _request(request: "Approval") -> str:
    return f"{request.kind} {request.agent}"


async def _deployed(hive: "Hive", name: str) -> Offered:
    found = await hive.approvals.deploy_log(name, MAX_OFFERED)
    return [(d.tag, f"{d.agent}: {d.description}") for d in found]


async def _questions(hive: "Hive", _name: str) -> Offered:
    from wire.records.broker import QuestionFilter, QuestionState

    wanted = QuestionFilter(state=QuestionState.OPEN)
    found = await hive.broker.list_questions(wanted, MAX_OFFERED)
    return [(str(q.id), f"{q.asker}: {q.text}") for q in found]


async def _reminders(hive: "Hive", _name: str) -> Offered:
    from wire.records.broker import ReminderFilter, ReminderState

    wanted = ReminderFilter(state=ReminderState.PENDING)
    found = await hive.broker.list_reminders(wanted, MAX_OFFERED)
    return [(str(r.id), f"{r.owner}: {r.body or r.file}") for r in found]


async def _dead_letters(hive: "Hive", _name: str) -> Offered:
    from wire.records.broker import MessageFilter, MessageState

    wanted = MessageFilter(state=MessageState.DEAD)
    found = await hive.broker.list_messages(wanted, MAX_OFFERED)
    return [(str(m.id), f"{m.sender} to {m.recipient}: {m.body}") for m in found]


async def _refused(hive: "Hive", name: str) -> Offered:
    from wire.records.ledger import EgressFilter, EgressState

    wanted = EgressFilter(agent=name or None, state=EgressState.PENDING)
    found = await hive.ledger.list_egress(wanted, MAX_OFFERED)
    return [(place(e.host, e.port), e.reason or e.agent) for e in found]


async def _kept(hive: "Hive", _name: str) -> Offered:
    found = await hive.lifecycle.list_tombstones()
    return [(t.name, f"destroyed {local_time(t.destroyed)}") for t in found]


async def _jobs(hive: "Hive", _name: str) -> Offered:
    jobs = (await hive.lifecycle.managed_objects()).jobs.values()
    return [(str(job.id), f"{job.verb} of {job.agent}, {job.state}") for job in jobs]


async def _sent(hive: "Hive", _name: str) -> Offered:
    from wire.names import OPERATOR
    from wire.records.broker import MessageFilter, MessageState

    wanted = MessageFilter(sender=OPERATOR, state=MessageState.QUEUED)
    found = await hive.broker.list_messages(wanted, MAX_OFFERED)
    return [(str(m.id), f"to {m.recipient}: {m.body}") for m in reversed(found)]


async def _sessions(hive: "Hive", _name: str) -> Offered:
    return [(str(s.id), f"{s.role} {s.browser}") for s in await hive.dashboard.list_sessions()]


async def _turns(hive: "Hive", name: str) -> Offered:
    from wire.records.ledger import TurnFilter

    found = await hive.ledger.list_turns(TurnFilter(agent=name), MAX_OFFERED)
    return [(str(t.turn), f"{local_time(t.started)} {t.outcome}") for t in found]


async def _changes(hive: "Hive", _name: str) -> Offered:
    from wire import names
    from wire.records.changes import ChangeFilter

    found = await hive.changes.list_changes(ChangeFilter())
    return [(names.change(one.id), f"{one.project}: {one.title}") for one in found]


async def _reviewed(hive: "Hive", name: str) -> Offered:
    return [*await _requests(hive, name), *await _changes(hive, name)]


async def _all_reviewed(hive: "Hive", name: str) -> Offered:
    return [*await _all_requests(hive, name), *await _changes(hive, name)]


async def _projects(hive: "Hive", _name: str) -> Offered:
    return [(one.name, one.state) for one in await hive.projects_client.list_projects()]


complete_agents = _completer(_agents)
complete_jobs = _completer(_jobs)
complete_kept = _completer(_kept)
complete_sent = _completer(_sent)
complete_sessions = _completer(_sessions)
complete_turns = _completer(_turns)
complete_projects = _completer(_projects)
complete_changes = _completer(_changes)
complete_reviewed = _completer(_reviewed)
complete_all_reviewed = _completer(_all_reviewed)
complete_refused = _completer(_refused)
complete_requests = _completer(_requests)
complete_all_requests = _completer(_all_requests)
complete_deployed = _completer(_deployed)
complete_questions = _completer(_questions)
complete_reminders = _completer(_reminders)
complete_dead_letters = _completer(_dead_letters)


def complete_limits(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the resources that have limits, but nothing for their values."""
    from wire.records.lifecycle import ResourceChanges

    typed = context.params.get("changes") or ()
    if typed and typed[-1] in ResourceChanges._fields:  # bash splits `memory_max=` at the sign
        return []
    offered = [f"{resource}=" for resource in ResourceChanges._fields]
    return [CompletionItem(one) for one in offered if one.startswith(incomplete)]
