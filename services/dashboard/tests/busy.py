"""A busy hive for tests that look at whole pages: something of everything, in several scripts."""

import time
from datetime import date, timedelta

from services.dashboard.tests.fakes.agent import FakeAgent
from services.dashboard.tests.fakes.hive import FakeHive
from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.bus import Bus
from wire.records.changes import ChangeState, Comment
from wire.records.ledger import (
    Budget,
    BudgetKind,
    BudgetPeriod,
    BudgetState,
    EgressState,
    ProviderLimit,
    Request,
    RequestOutcome,
    UsageSum,
)
from wire.records.projects import ProjectState

TEXTS = (
    "Please look at **the build**: `make test` fails in\n\n```\nE  AssertionError: 3 != 4\n```",
    "你好，世界。请查看日志并告诉我原因。",  # noqa: RUF001 - as it is written
    "مرحبا بالعالم",
    "Done 🎉 all 42 tests pass",
    "See https://example.org/docs and\n- one\n- two",
    "long " * 200,
)
HOSTS = ("api.github.com", "files.a-very-long-host-name.example.com", "10.1.2.3", "xn--80ak6aa92e")
STATES = ("running", "stopped", "sleeping", "failed")


def fill(hive: FakeHive, lifecycle: Bus, agents: int = 8) -> None:
    """Add agents to the fakes, and messages, questions, requests, costs, hosts and lines."""
    for number in range(agents):
        name = f"agent{number}"
        hive.agents[name] = agent = FakeAgent(name, STATES[number % len(STATES)])
        lifecycle.export(names.agent_path(name), agent)
    hive.ledger.record("alice", 1_200_000, model="claude-opus-4-5", tools={"Bash": 3}, tool_calls=3)
    _messages(hive)
    _projects(hive)
    _costs(hive)
    _hosts(hive)
    for number in range(60):
        hive.lifecycle.write(
            f"{TEXTS[number % len(TEXTS)][:80]} {number}",
            priority=(6, 4, 3, 5, 7)[number % 5],
            identifier=("hive-broker", "systemd-nspawn")[number % 2],
        )


def _messages(hive: FakeHive) -> None:
    broker, approvals = hive.broker, hive.approvals
    people = ("operator", "manager", "alice")
    for number in range(3 * len(TEXTS)):
        broker.arrive(list(hive.agents)[number % 3], people[number % 3 - 1], TEXTS[number % 6])
    broker.park(5, "delivered 5 times without an acknowledgement")
    broker.ask("alice", "operator", "Which colour shall the page have?", "red", "blue")
    broker.ask("bob", "operator", "What is the name of the release?")
    broker.ask("manager", "operator", "Which tests?", "unit", "system", multi=True)
    approvals.ask("carol", "A new agent for the documentation")
    approvals.ask("alice", f"More memory for the tests. {TEXTS[-1]}", "apply")
    approvals.settle(approvals.ask("bob", "Another model", "apply"), "denied", "Not now.")


def _projects(hive: FakeHive) -> None:
    projects, changes = hive.projects, hive.changes
    projects.add(state=ProjectState.FAILED, message="The host asks for a login.")
    projects.add("notes", source="", fetched=0)
    number = changes.submit(TEXTS[2], description=TEXTS[0])
    changes.update(number, TEXTS[1], ("start.sh becomes executable.",))
    changes.submit(TEXTS[1], state=ChangeState.APPROVED, note="The push failed.")
    changes.submit("Merged", state=ChangeState.MERGED)
    changes.comments = [
        Comment("bob", NOW, 3, "app.py", 2, TEXTS[0]),
        Comment("operator", NOW, 1, "", 0, TEXTS[3]),
    ]


def _costs(hive: FakeHive) -> None:
    ledger, now = hive.ledger, time.time_ns() // 1000

    def used(key: str, number: int) -> UsageSum:
        return UsageSum(
            key,
            requests=7 * number,
            failed=number % 3,
            input_tokens=90_000 * number,
            output_tokens=800 * number,
            cost=1_300_000 * number,
            unknown_price=number % 5 == 0,
        )

    days = [(date.today() - timedelta(days=ago)).isoformat() for ago in range(20, -1, -1)]
    agents = list(hive.agents)
    ledger.sums = {
        "day": [used(day, 1 + number % 7) for number, day in enumerate(days)],
        "agent": [used(name, number + 1) for number, name in enumerate(agents)],
        "model": [used("claude-opus-4-5-20251101", 9), used("", 2)],
        "credential": [used("default", 9), used("agent:alice", 2)],
    }
    ledger.requests = [
        Request(number, agents[number % 3], "default", "claude-opus-4-5", outcome, now, now + 10**7)
        for number, outcome in enumerate(list(RequestOutcome) * 12, start=1)
    ]
    ledger.limit(
        ProviderLimit(
            "default",
            until=now + 3600 * 10**6,
            remaining_requests=3,
            remaining_tokens=20_000,
            updated=NOW,
            agents=("alice", "bob"),
        )
    )
    day, week = BudgetPeriod.DAY, BudgetPeriod.WEEK
    warned, exhausted = BudgetState.WARNED, BudgetState.EXHAUSTED
    hive_, agent, credential = BudgetKind.HIVE, BudgetKind.AGENT, BudgetKind.CREDENTIAL
    ledger.spend(Budget(hive_, "hive", day, limit=10**8, spent=87 * 10**6, state=warned))
    ledger.spend(Budget(agent, "alice", day, limit=10**7, spent=10**7, state=exhausted))
    ledger.spend(Budget(credential, "default", week, limit_tokens=10**9, spent_tokens=10**8))


def _hosts(hive: FakeHive) -> None:
    pending, allowed = EgressState.PENDING, EgressState.ALLOWED
    states = (pending, allowed, EgressState.DENIED, EgressState.NONE)
    for number in range(12):
        hive.ledger.refuse(
            list(hive.agents)[number % 3],
            HOSTS[number % len(HOSTS)],
            440 + number,
            state=states[number % 4],
            reason="I need the list of packages" if number % 2 else "",
            allowed=7 * number,
            sent=10**6 * number,
            received=10**7 * number,
            decided=NOW if number % 4 == 2 else 0,
        )
