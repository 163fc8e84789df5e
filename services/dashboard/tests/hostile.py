"""A hostile agent: in every field that it controls stands a text that tries to be something else.

Each text begins with a mark of its own, `T-FIELD-T`, so that a test can see that pages show it.
"""

import re
from datetime import date
from typing import Any, Final

from services.dashboard.tests.fake_harness import NOW as SECONDS
from services.dashboard.tests.fake_harness import FakeHarness, a_turn
from services.dashboard.tests.fakes.hive import FakeHive
from services.dashboard.tests.fakes.lifecycle import FakeJob
from services.dashboard.tests.fakes.now import NOW
from services.dashboard.tests.fakes.projects import TIP
from wire import names
from wire.bus import Bus
from wire.records.approvals import Deploy
from wire.records.broker import QuestionState
from wire.records.changes import ChangeCommit, ChangedFile, ChangeState, Comment
from wire.records.ledger import Cost, EgressState, Request, RequestOutcome, UsageSum
from wire.records.projects import Branch, ProjectState

HIDDEN: Final = "\u202egnp.exe\u2066\u200b\u200f\u00ad\ufeff\x1b[31m\x07\x7f\x85\U000e0041"
"""Characters that hide, reorder or colour their neighbours."""

ELEMENTS: Final = (
    "<img src=x onerror=window.harm=1>",
    "<script>window.harm=2</script>",
    '<a href="//evil.example/x" onclick=window.harm=3>press</a>',
    "</textarea></title></style></pre><svg onload=window.harm=4><style>*{display:none}</style>",
    "\" autofocus onfocus=window.harm=5 x='",
    "javascript:window.harm=6",
    "[press](javascript:window.harm=7) [own](/agents/bob) ![x](https://evil.example/x.png)",
    '`<iframe srcdoc="<script>parent.harm=8</script>">` <!-- {{harm=9}} ${harm=10}',
)
"""Texts that try to become elements, attributes, addresses or scripts."""

LONG: Final = f"{' '.join(ELEMENTS)} {HIDDEN} {'W' * 300}"
SHORT: Final = f"<img src=x onerror=harm=1>{HIDDEN[:8]}"

MARK: Final = re.compile(r"T-[a-z0-9-]+-T")


class Hostile:
    """Makes the texts, and keeps the marks of all of them."""

    def __init__(self) -> None:
        self.marks: set[str] = set()

    def text(self, field: str) -> str:
        """Return a text of any length for a field."""
        self.marks.add(f"T-{field}-T")
        return f"T-{field}-T {LONG}"

    def name(self, field: str) -> str:
        """Return a text for a field of which pages show the first characters only."""
        self.marks.add(f"T-{field}-T")
        return f"T-{field}-T {SHORT}"

    def line(self, field: str) -> str:
        """Return a text without the control characters that its field may not have."""
        return self.text(field).replace("\x85", "")

    def fill(self, hive: FakeHive, lifecycle: Bus) -> None:
        """Put texts into all fields of the fakes: those of alice and bob, who run, and others."""
        self._agents(hive, lifecycle)
        self._messages(hive)
        self._changes(hive)
        self._projects(hive)
        self._costs(hive)

    def _agents(self, hive: FakeHive, lifecycle: Bus) -> None:
        alice, bob, manager = (hive.agents[name] for name in ("alice", "bob", "manager"))
        alice.show(
            model="",
            activity=self.text("activity"),
            turn_reason=self.text("turn-reason"),
            image=self.name("image"),
        )
        manager.show(model=self.name("model"))
        bob.show(effort=self.name("effort"))
        alice.lines = [self.text("agent-log")]
        alice.away = self.text("command-error")
        bob.become("failed")
        hive.lifecycle.write(
            self.text("log"), identifier=self.name("log-identifier"), unit=self.name("log-unit")
        )
        self._job = FakeJob("alice", "deploy", [])
        lifecycle.export(names.job_path(2), self._job)
        hive.lifecycle.JobNew(2, names.job_path(2), "alice", "deploy")

    def signal(self, hive: FakeHive) -> None:
        """Send what the dashboard learns from signals alone."""
        self._job.print(self.text("job-output"))
        path = names.job_path(9)
        hive.lifecycle.JobRemoved(9, path, "bob", "deploy", "failed", self.text("job-error"))
        hive.agents["bob"].Crashed(self.name("crash"), 1)

    def _messages(self, hive: FakeHive) -> None:
        broker = hive.broker
        first = broker.add("alice", "operator", self.text("body"))
        broker.add("alice", "operator", self.text("reply"), in_reply_to=first)
        broker.park(broker.add("alice", "bob", self.text("dead")), self.text("dead-reason"))
        choices = (self.name("choice-one"), self.name("choice-two"))
        broker.ask("alice", "operator", self.text("question"), *choices)
        broker.ask(
            "alice",
            "operator",
            self.text("arguments"),
            "allow once",
            "deny",
            permission="p1",
            rule=self.name("rule"),
        )
        asked = broker.ask("manager", "alice", self.text("answered"))
        broker.questions[asked - 1] = broker.questions[asked - 1]._replace(
            state=QuestionState.ANSWERED,
            answer=[self.text("answer")],
            answered_by="alice",
            resolved=NOW,
        )
        broker.remind("alice", NOW * 2, self.text("reminder"), self.name("reminder-file"))

    def _changes(self, hive: FakeHive) -> None:
        approvals, lifecycle = hive.approvals, hive.lifecycle
        file = self.name("diff-file").replace(" ", "_")
        approvals.diff = (
            f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n"
            f"@@ -1 +1 @@ {self.text('diff-function')}\n-{self.text('diff-old')}\n"
            f"+{self.text('diff-new')}\n"
        )
        approvals.ask("alice", self.text("reason"), "apply")
        approvals.settle(
            approvals.ask("bob", "less", "apply"),
            "failed",
            f"{self.line('build-error')}\n{self.text('build-log')}",
        )
        approvals.settle(approvals.ask("alice", "more", "apply"), "building", "")
        approvals.deploys = [
            Deploy(NOW, "alice", "0123456789abcdef" * 2, 7, "manager", self.text("commit-subject"))
        ]
        approvals.configs = {
            "agent.toml": f"# {self.text('configuration')}\n",
            self.name("file-name"): "",
        }
        lifecycle.kept = []

    def _projects(self, hive: FakeHive) -> None:
        projects, changes = hive.projects, hive.changes
        text, name, line = self.text, self.name, self.line
        projects.add(
            source=name("source"),
            branch=name("branch"),
            state=ProjectState.FAILED,
            message=line("fetch-error"),
            notes=[text("project-note")],
        )
        projects.branches = [Branch(name("branch-name"), TIP, NOW, text("branch-subject"))]
        number = changes.submit(
            text("title"),
            description=text("description"),
            state=ChangeState.APPROVED,
            note=text("change-note"),
            branch=name("target"),
        )
        changes.update(number, text("revision-note"), (text("finding"),))
        changes.become(number, state=ChangeState.APPROVED)
        file = name("changed-file").replace(" ", "_")
        changes.diff = (
            f"diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n"
            f"@@ -1 +1 @@ {text('change-function')}\n-{text('change-old')}\n"
            f"+{text('change-new')}\n"
        )
        changes.files = [
            ChangedFile(file, name("old-file"), "R", "100644", "100755", False, 1, 1, 9, 9)
        ]
        changes.commits = [
            ChangeCommit(TIP, name("author"), NOW, text("subject")),
            ChangeCommit(TIP[1:] + "a", "bob", NOW, "Another"),
        ]
        changes.conflicts = [name("conflict")]
        changes.comments = [
            Comment("alice", NOW, 3, file, 1, text("line-comment")),
            Comment("bob", NOW, 2, name("comment-file"), 0, text("file-comment")),
        ]

    def _costs(self, hive: FakeHive) -> None:
        ledger = hive.ledger
        for agent, state in (("alice", EgressState.PENDING), ("bob", EgressState.DENIED)):
            host = f"{state}.{self.name(f'host-{state}')}"
            ledger.refuse(agent, host, state=state, reason=self.text(f"egress-{state}"))
        ledger.sums = {
            "agent": [UsageSum("alice", requests=1, cost=10**6)],
            "day": [UsageSum("2026-05-28", requests=1, cost=10**6)],
            "model": [UsageSum(self.name("usage-model"), requests=1, cost=10**6)],
            "credential": [UsageSum("default", requests=1, cost=10**6)],
        }
        ledger.requests = [
            Request(
                1, "alice", "default", self.name("request-model"), RequestOutcome.DONE, NOW, NOW + 9
            )
        ]
        ledger.record(
            "bob",
            10**6,
            model=self.name("ledger-model"),
            session=self.name("ledger-session"),
            error=self.text("ledger-error"),
            tools={self.name("ledger-tool"): 1},
            tool_calls=1,
        )
        ledger.days = [Cost(date.today().isoformat(), 1, 1, 1, 1, 1, 1, 1)]

    def report(self, harness: FakeHarness) -> None:
        """Put texts into all that the harness of alice reports."""
        text, name = self.text, self.name
        harness.state |= {
            "model": name("live-model"),
            "effort": name("live-effort"),
            "session": "1",
            "state": "<b>thinking</b>",
        }
        harness.todo = [{"text": text("todo"), "state": "<b>open</b>"}]
        harness.days = [
            {
                "day": date.today().isoformat(),
                "turns": 1,
                "cost_usd": 1.0,
                "tools": {name("day-tool"): 3, name("other-day-tool"): 1},
            }
        ]
        harness.turns = [
            a_turn(
                7,
                outcome="<b>error</b>",
                woken_by=[{"id": 1, "from": "<b>x</b>", "kind": "<b>x</b>"}],
                model=name("turn-model"),
                session=name("turn-session"),
                error=text("turn-error"),
                tools={name("turn-tool"): 2},
            )
        ]
        harness.log(text("inside-log"), unit=name("inside-unit"), identifier="")
        for kind, data in self._events().items():
            harness.add(kind.partition(" ")[0], 7, **data)

    def _events(self) -> dict[str, dict[str, Any]]:
        text, name = self.text, self.name
        edit = {
            "file_path": f"/{name('edit-path')}",
            "old_string": text("edit-old"),
            "new_string": text("edit-new"),
        }
        return {
            "state": {"state": "idle", "reason": text("state-reason")},
            "wake": {"messages": [{"id": 1, "from": "a b", "kind": "x"}], "prompt": text("prompt")},
            "urgent": {"messages": [], "prompt": text("urgent")},
            "session": {
                "session_id": "1",
                "model": name("session-model"),
                "mcp_servers": [{"name": name("server"), "status": name("server-status")}],
            },
            "thinking": {"text": text("thinking")},
            "text": {"text": text("said")},
            "tool-use": {
                "id": "t1",
                "tool": name("tool"),
                "input": {name("argument"): text("value"), "n": [1]},
            },
            "tool-result": {"id": "t1", "content": text("result"), "error": True},
            "tool-use bash": {"id": "t2", "tool": "Bash", "input": {"command": text("command")}},
            "tool-use edit": {"id": "t3", "tool": "Edit", "input": edit},
            "tool-use send": {
                "id": "t4",
                "tool": "mcp__hive__send",
                "input": {"to": name("send-to"), "body": text("send-body")},
            },
            "denied": {"tool": name("denied-tool"), "reason": text("denied-reason")},
            "permission": {
                "id": "9",
                "tool": name("permission-tool"),
                "summary": text("permission-summary"),
                "choices": [name("permission-choice")],
                "answer": text("permission-answer"),
            },
            "server-failed": {"name": name("failed-server"), "error": text("server-error")},
            "compacted": {"trigger": name("trigger"), "before": 9, "after": 1},
            "note": {"text": text("note"), "level": "<b>error</b>"},
            "cancelled": {"by": name("cancelled-by"), "text": text("cancelled")},
            "limit": {"until": SECONDS, "text": text("limit")},
            "result": {"text": text("last-word"), "error": True},
            f"{name('event-type').replace(' ', '_')}": {"data": text("event-data")},
            "turn-end": {"outcome": "<b>error</b>", "error": text("end-error"), "seconds": 1.0},
        }
