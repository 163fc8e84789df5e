"""Every verb: its help, and what it shows on terminals of any width and without colours."""

import re
from collections.abc import Callable, Coroutine
from typing import Any

import click
import pytest

from hivectl import command_table
from hivectl.exit_codes import Exit
from hivectl.output.text import width
from hivectl.tests.conftest import Hivectl, Ran
from hivectl.tests.fake_agent import SINCE
from hivectl.tests.fake_hive import FakeHive
from wire.records.broker import Hold, HoldKind, MessageState, Thread
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, Egress, EgressState
from wire.records.lifecycle import TurnState

OnTerminal = Callable[..., Coroutine[Any, Any, Ran]]

LOOKS = [
    *([], ["status", "alice"], ["list"], ["top", "-n", "1", "-d", "0.01"], ["limits", "alice"]),
    *(["tombstones"], ["inbox"], ["inbox", "--all"], ["history"], ["history", "--full"]),
    *(["search", "words"], ["threads"], ["dead-letters"], ["questions"], ["questions", "--full"]),
    *(["pending"], ["pending", "--all", "--full"], ["diff", "7"], ["deploy-log"], ["cat", "alice"]),
    *(["egress"], ["budget"], ["usage"], ["cost"], ["turns", "alice"], ["holds"], ["sessions"]),
    *(["remind", "--list"], ["doctor"], ["changes"], ["review", "c12"], ["diff", "c12"]),
]
"""The commands that only show something."""
OTHERS = {
    *("spawn", "start", "stop", "kill", "restart", "destroy", "rebuild", "update", "update-all"),
    *("pause", "resume", "purge", "cancel-job", "logs", "login", "forward", "watch", "chat"),
    *("export-turn", "cancel", "compact", "new-session", "model", "effort", "lift-limits", "hold"),
    *("unhold", "send", "unsend", "purge-inbox", "requeue", "drop", "answer", "ask"),
    *("cancel-question", "approve", "deny", "withdraw", "request-spawn", "apply", "revert", "edit"),
    *("allow-egress", "deny-egress", "credentials", "login-link", "assistant", "backup", "restore"),
    *("vacuum", "completion", "help", "shell", "exec", "copy-to", "copy-from"),
    *("project", "import-nixos", "comment", "request-changes", "fetch"),
}
"""The commands that do something, or that need more than the services."""

_COLOUR = re.compile("\x1b\\[[0-9]*m")


def fill(hive: FakeHive) -> None:
    """Give everything long texts."""
    long = "many words that do not fit in one line of a narrow terminal " * 4
    for state in (MessageState.QUEUED, MessageState.DEAD, MessageState.ACKNOWLEDGED):
        hive.broker.queue("alice", long, kind="container-crash", state=state, reason=long)
    hive.broker.queue("manager", long, to="bob-2", state=MessageState.DEAD)
    hive.broker.question("alice", "operator", long, "one " * 30, "two")
    hive.broker.remind("alice", SINCE, long, "/state/notes")
    hive.broker.holds = [Hold("alice", HoldKind.OPERATOR, long, SINCE)]
    hive.broker.threads = [Thread("message", 3, "alice", "operator", long, SINCE)]
    agent = hive.lifecycle.agents["alice"]
    many = tuple(f"host-{number}.example.org" for number in range(20))
    network = agent.shown.network._replace(deny=list(many), egress=many)
    agent.show(
        network=network, turn_state=TurnState.RATE_LIMITED, turn_reason=long, turn_since=SINCE
    )
    hive.changes.add(12, title=long, description=long, note=long)
    hive.changes.findings = [long]
    spent = Budget(BudgetKind.AGENT, "alice", BudgetPeriod.DAY, limit=5_000_000, spent=4_000_000)
    hive.ledger.budgets = [spent]
    host = "a-very-long-name-of-a-host." * 4 + "example.org"
    hive.ledger.hosts = [
        Egress("alice", host, 443, EgressState.PENDING, 1, 2, 3, SINCE, SINCE, 4, 5, long)
    ]


def test_each_verb_is_looked_at() -> None:
    assert {one[0] for one in LOOKS if one} | OTHERS == set(command_table.names())


@pytest.mark.parametrize("columns", [60, 80, 200])
async def test_nothing_is_wider_than_the_terminal(
    hive: FakeHive, on_terminal: OnTerminal, columns: int
) -> None:
    fill(hive)
    wide: list[tuple[list[str], str]] = []
    for arguments in LOOKS:
        ran = await on_terminal(*arguments, columns=columns)
        assert ran.code in (Exit.OK, Exit.DEGRADED), (arguments, ran.out)
        lines = [_COLOUR.sub("", line) for line in ran.out.splitlines()]
        wide += [(arguments, line) for line in lines if width(line) > columns]
    assert wide == []


@pytest.mark.parametrize("extra", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_nothing_is_coloured_unless_it_is_wanted(
    hive: FakeHive, on_terminal: OnTerminal, extra: dict[str, str]
) -> None:
    fill(hive)
    for arguments in LOOKS:
        ran = await on_terminal(*arguments, columns=100, **extra)
        assert ran.code in (Exit.OK, Exit.DEGRADED), (arguments, ran.out)
        assert "\x1b" not in ran.out.replace("\x1b[H\x1b[J", ""), arguments


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_help_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = [one for commands in command_table.sections().values() for one in commands]
    for command in found:
        for one in (command, *getattr(command, "commands", {}).values()):
            text = one.get_help(click.Context(one, info_name=f"hivectl {one.name}"))
            for line in text.splitlines():
                # Lines of tables and of addresses are never wrapped.
                assert len(line) <= max(columns, 80), (one.name, line)


async def test_every_look_has_all_its_forms(hive: FakeHive, hivectl: Hivectl) -> None:
    fill(hive)
    for arguments in LOOKS:
        ran = await hivectl(*arguments, "-o", "json", "-q")
        assert ran.code in (Exit.OK, Exit.DEGRADED), (arguments, ran.err)
        assert isinstance(ran.json, dict | list), arguments
        assert ran.out.count("\n") == 1, arguments
        assert ran.err == "", arguments
