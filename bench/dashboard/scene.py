"""A busy hive for looking at: something of every kind, in several scripts, with times of today.

The agents, the messages and the costs are the same in every run; only their times follow the clock.
"""

# ruff: noqa: RUF001 - texts as they are written in their scripts

import difflib
import random
import time
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from services.dashboard.tests.fake_harness import FakeHarness
from services.dashboard.tests.fakes.agent import FakeAgent
from services.dashboard.tests.fakes.hive import FakeHive
from services.dashboard.tests.fakes.lifecycle import FakeJob
from wire import names
from wire.bus import Bus
from wire.records.approvals import ApprovalState, Deploy
from wire.records.broker import ALLOW_ALWAYS, DENY, MessageState, QuestionState, ReminderState
from wire.records.ledger import (
    Budget,
    BudgetKind,
    BudgetPeriod,
    BudgetState,
    Cost,
    Egress,
    EgressState,
    ProviderLimit,
    Request,
    RequestOutcome,
    UsageSum,
)
from wire.records.lifecycle import (
    AgentState,
    Network,
    NetworkMode,
    Tombstone,
    TurnState,
    Usage,
)
from wire.types import Value

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

MESSAGES: Final = 10_000

ALICE: Final = "alice"
"""The agent whose pages are looked at: she works, and her harness answers."""
BOB: Final = "bob"
"""One that is stopped."""

LONG_NAME: Final = "translate"

NAMES: Final = (
    *("manager", ALICE, BOB, "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy"),
    *("mallory", "niaj", "olivia", "peggy", "rupert", "sybil", "trent", "victor", "walter"),
    *("review-1", "review-2", "tests", "frontend", "backend", "release", "docs", "ops"),
    *("migration", LONG_NAME),
)

MODELS: Final = (
    *("claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"),
    "claude-opus-4-1-20250805",
)

ACTIVITIES: Final = (
    "Bash: make test FAST=1 2>&1 | tail -40",
    "Edit: services/broker/store.py",
    "Read: docs/decisions/0031-previews-on-host-names.md",
    "Grep: class .*\\(Protocol\\)",
    "Bash: git log --oneline --graph --all --decorate --since='2 weeks ago' -- services",
    "WebFetch: https://docs.python.org/3/library/asyncio-task.html",
    "Task: Look for all callers of the old interface and list them with their tests",
    "Schreibt: Übersetzung der Größenangaben",
    "编辑：文档/安装指南.md",
    "كتابة: الفصل الثالث",
)

CODE: Final = """I have found it. The loop drops the last line:

```python
def lines(stream: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\\n")
        yield from (line.decode("utf-8", "surrogateescape") for line in whole)
    # The rest has no newline: without the next line it is lost, and nobody is told about that.
    if rest:
        yield rest.decode("utf-8", "surrogateescape")
```

The test is `tests/test_lines.py::test_the_last_line_has_no_newline`. Shall I commit?"""

TABLE: Final = """## The figures of tonight

| bench | before | after | ratio |
|---|---|---|---|
| cold load, p50 | 412 ms | 188 ms | 0.46 |
| an event to 200 clients, p99 | 96 ms | 71 ms | 0.74 |
| memory, idle | 61 MB | 58 MB | 0.95 |

1. The first is from the *index*.
2. The second is from `writev`.
   - and a little from fewer copies

> Nothing else has changed.

See <https://example.org/hive/bench> for the raw data."""

BODIES: Final = (
    "The tests are green.",
    CODE,
    "Fertig: die Größe wird jetzt überall in Bytes geführt. Ändert sich etwas, melde ich mich.",
    "你好，世界。请查看日志并告诉我原因：昨天晚上的备份没有完成，磁盘只剩下百分之三的空间。",
    "مرحبا بالعالم. من فضلك راجع التغيير رقم 42 قبل الدمج، لأن الاختبار `test_lines` لا يزال يفشل.",
    "שלום. הבדיקות עוברות, אבל הקובץ README.md עדיין לא מעודכן (ראה #12).",
    "Done 🎉 all 42 tests pass 👩‍🔬 🇩🇪 👍🏽",
    TABLE,
    "https://ci.example.org/builds/2026/11/29/a-very-long-path-without-any-break/"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/logs/raw.txt?download=1",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3,
    "日本語のメッセージです。テストは成功しました。次は文書を更新します。",
    "한국어 메시지입니다. 빌드가 끝났습니다.",
    "Покажи последние строки журнала: там ошибка соединения с сервером.",
    "- [x] parser\n- [ ] printer\n- [ ] the documentation of both, with examples",
    "ok",
    "I would like to split the store into two modules, because `store.py` has 900 lines and its "
    "two halves share one table only. The interface stays as it is; the tests need one new "
    "fixture. This takes an hour, and blocks nobody. If you would rather have it after the "
    "release, say so.",
)

OLD: Final = (
    '# The configuration of this agent.\nmodel = "claude-sonnet-4-5"\neffort = "high"\n\n'
    'egress = ["api.github.com:443"]\nports = [3000, 5173]\n\n[resources]\nmemory_max = "2G"\n'
)
NEW: Final = (
    OLD.replace("sonnet", "opus")
    .replace('"2G"', '"4G"')
    .replace(':443"]', ':443", "pypi.org:443", "files.pythonhosted.org:443"]')
)
PLAN: Final = "".join(
    f"{number}. {text}\n" for number, text in enumerate((*BODIES[2:7], *BODIES[:1] * 20), 1)
)


def changed(path: str, old: str, new: str) -> str:
    """Return the change of a file, as Git shows it."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"a/{path}" if old else "/dev/null", f"b/{path}"
    )
    head = f"diff --git a/{path} b/{path}\n" + ("" if old else "new file mode 100644\n")
    return head + "\n".join(line.rstrip("\n") for line in lines) + "\n"


DIFF: Final = (
    'The settings that change:\n  model: "claude-sonnet-4-5" -> "claude-opus-4-5"\n'
    "  memory_max: 2 GiB -> 4 GiB\n  egress: added pypi.org:443, files.pythonhosted.org:443\n\n"
    + changed("agent.toml", OLD, NEW)
    + changed("notes/plan.md", "", PLAN)
)

TOML: Final = """# The configuration of this agent; `hivectl edit alice` opens it, too.
model = "claude-opus-4-5"
effort = "high"
egress = ["api.github.com:443", "pypi.org:443", "files.pythonhosted.org:443"]
ports = [3000, 5173]
prompt = "You work on the parser. Ask the manager before you change an interface that others use."

[resources]
memory_max = "4G"
cpu_quota = 150
tasks_max = 2048

[budget]
day = 10.0
week = 40.0

[permissions]
allow = ["Bash(make test:*)", "Bash(git commit:*)", "Edit", "WebFetch(domain:docs.python.org)"]
"""


def now_us() -> int:
    """Return the present time in microseconds."""
    return time.time_ns() // 1000


def fill(hive: FakeHive) -> None:
    """Fill the fakes, before they are served."""
    chance, now = random.Random(13), now_us()
    _agents(hive, chance, now)
    _messages(hive, chance, now)
    _questions(hive, now)
    _approvals(hive, now)
    _money(hive, chance, now)
    _hosts(hive, chance, now)
    _lines(hive, chance, now)
    hive.lifecycle.kept = [
        Tombstone("oldparser", 734 * 2**20, now - 3 * DAY),
        Tombstone("experimnt", 12 * 2**30, now - 40 * DAY),
        Tombstone("scratch", 4096, now - 2 * HOUR),
    ]


def _agents(hive: FakeHive, chance: random.Random, now: int) -> None:
    hive.agents = {}
    for number, name in enumerate(NAMES):
        hive.agents[name] = agent = FakeAgent(name)
        used = chance.randrange(8_000, 195_000)
        agent.shown = agent.shown._replace(
            since=now - chance.randrange(HOUR, 9 * DAY),
            turn_state=TurnState.THINKING if number % 2 else TurnState.IDLE,
            turn_since=now - chance.randrange(5 * SECOND, 3 * HOUR),
            activity=ACTIVITIES[number % len(ACTIVITIES)] if number % 2 else "",
            model=MODELS[number % len(MODELS)],
            context_tokens=used,
            context_limit=200_000,
            effort="high",
            credential="key",
            port=8000 if name == "manager" else 8100 + number,
            deployed_commit=f"{chance.getrandbits(160):040x}",
            network=Network([], [], [], filtered=True, mode=NetworkMode.GATEWAY, ports=(3000,)),
        )

    def become(name: str, **values: Value) -> None:
        agent = hive.agents[name]
        agent.shown = agent.shown._replace(**values)

    def rest(name: str, state: AgentState) -> None:
        become(name, state=state, turn_state=TurnState.OFFLINE, activity="")

    become(
        ALICE,
        turn_state=TurnState.THINKING,
        turn_since=now - 95 * SECOND,
        activity=ACTIVITIES[0],
        network=Network(
            *([], [], []),
            filtered=True,
            mode=NetworkMode.GATEWAY,
            egress=("api.github.com:443", "pypi.org:443", "files.pythonhosted.org:443"),
            ports=(3000, 5173),
        ),
    )
    rest(BOB, AgentState.STOPPED)
    held = "alice and carol have written to each other 24 times in 10 minutes"
    become("carol", turn_state=TurnState.HELD, activity="", turn_reason=held)
    rest("dave", AgentState.FAILED)
    rest("erin", AgentState.FAILED)
    become("erin", crashes=4, last_crash=now - MINUTE)
    become("frank", turn_state=TurnState.NEEDS_LOGIN, activity="", logged_in=False)
    become(
        "grace",
        turn_state=TurnState.ERROR,
        activity="",
        turn_reason='API Error: 500 {"type":"error","error":{"type":"api_error"}}',
    )
    become(
        "heidi",
        turn_state=TurnState.RATE_LIMITED,
        turn_reason="The provider limits the credential default",
        turn_until=now + 40 * MINUTE,
    )
    become("ivan", turn_state=TurnState.WAITING, activity="Bash: rm -rf build dist")
    become("judy", turn_state=TurnState.COMPACTING, activity="", context_tokens=186_000)
    become(
        "mallory",
        network=Network(
            deny=["localhost", "10.0.0.0/8"],
            allow=[],
            name_servers=[],
            filtered=False,
            mode=NetworkMode.HOST,
        ),
    )
    become("niaj", stale=True, turn_state=TurnState.IDLE, activity="")
    become("olivia", port_shared_with=["peggy"])
    become("peggy", port_shared_with=["olivia"], turn_state=TurnState.IDLE, activity="")
    become("rupert", state=AgentState.PAUSED, activity="")
    become("sybil", turn_state=TurnState.HARNESS_AWAY, activity="")
    budget = "The budget of trent for today is used up: $5.00 of $5.00"
    become("trent", turn_state=TurnState.HELD, activity="", turn_reason=budget)
    become("victor", state=AgentState.STARTING, turn_state=TurnState.OFFLINE, activity="")
    for name in ("walter", "review-2", "docs"):
        rest(name, AgentState.SLEEPING)
    rest("migration", AgentState.STOPPED)
    become(LONG_NAME, stale=True, activity=ACTIVITIES[8], turn_state=TurnState.THINKING)


def _messages(hive: FakeHive, chance: random.Random, now: int) -> None:
    broker = hive.broker
    people = [name for name in NAMES if hive.agents[name].shown.state is AgentState.RUNNING]
    times = sorted(chance.randrange(8 * DAY) for _ in range(MESSAGES))
    for number in range(MESSAGES):
        sender, to = chance.sample(people, 2)
        if chance.random() < 0.08:
            sender, to = chance.choice((("operator", to), (sender, "operator")))
        reply = number - chance.randrange(40) if number > 50 and chance.random() < 0.2 else 0
        broker.add(sender, to, chance.choice(BODIES), in_reply_to=reply)
        broker.log[-1] = broker.log[-1]._replace(
            queued=now - 8 * DAY + times[number],
            state=MessageState.ACKNOWLEDGED,
            urgent=chance.random() < 0.02,
        )
    for name, count in (("dave", 3), ("carol", 14), ("walter", 1), ("trent", 128)):
        for _ in range(count):
            broker.add("manager", name, BODIES[0])
            broker.log[-1] = broker.log[-1]._replace(queued=now - 70 * MINUTE)
    for sender, to, body in (("manager", "dave", BODIES[0]), (ALICE, "frank", BODIES[8])):
        broker.add(sender, to, body)
        broker.log[-1] = broker.log[-1]._replace(
            queued=now - 3 * HOUR,
            state=MessageState.DEAD,
            redeliveries=5,
            reason="The turn failed: API Error: 500",
        )
    # The last ones, which are on the first screen.
    for ago, sender, to, body in (
        (50, "operator", ALICE, "Please mend the parser, and tell the manager."),
        (48, ALICE, "manager", CODE),
        (44, "manager", "docs", BODIES[3]),
        (41, ALICE, "manager", BODIES[4]),
        (37, "tests", "backend", BODIES[5]),
        (30, "frontend", "manager", BODIES[6]),
        (22, "ops", "manager", TABLE),
        (9, "manager", ALICE, "Good. Commit it, and go on with `printer.py`."),
    ):
        broker.add(sender, to, body)
        broker.log[-1] = broker.log[-1]._replace(
            queued=now - ago * MINUTE, state=MessageState.ACKNOWLEDGED
        )
    for ago, sender, body in (
        (8, "manager", BODIES[15]),
        (6, "ops", "The disk of the host is full to 91 %. I have deleted the caches."),
        (4, "docs", BODIES[4]),
        (1, ALICE, CODE),
    ):
        broker.add(sender, "operator", body)
        broker.log[-1] = broker.log[-1]._replace(queued=now - ago * MINUTE)
    for days, owner, body in (
        (0.01, "manager", "Ask *tests* for the figures of the night."),
        (0.4, ALICE, "Look at the build again."),
        (1.2, "ops", BODIES[5]),
        (2, "docs", BODIES[3]),
        (30, LONG_NAME, BODIES[15]),
    ):
        broker.remind(owner, now + int(days * DAY), body)
        broker.reminders[-1] = broker.reminders[-1]._replace(
            created=now - DAY, state=ReminderState.PENDING
        )


def _questions(hive: FakeHive, now: int) -> None:
    ask = hive.broker.ask
    ask(
        *("manager", "operator", "Which database shall the *archive* use?"),
        *("SQLite", "PostgreSQL, as the other services do", "Neither: write files"),
        asked=now - 20 * MINUTE,
        deadline=now + 6 * HOUR,
    )
    ask(
        *("tests", "operator", "Which suites shall run each night?"),
        *("unit", "system", "long", "fuzz", "bench"),
        multi=True,
        asked=now - 2 * HOUR,
        deadline=now + 4 * MINUTE + 30 * SECOND,
    )
    ask(
        *("release", "operator", "What is the name of the release? It must have no space."),
        asked=now - 26 * HOUR,
        deadline=now + 2 * DAY,
    )
    ask(
        *("ivan", "operator", "Bash\nrm -rf build dist \\\n  && git clean -fdx services wire"),
        *("Allow", ALLOW_ALWAYS, DENY),
        asked=now - 3 * MINUTE,
        deadline=now + 57 * MINUTE,
        permission="ivan-1",
        rule="Bash(rm -rf build dist:*)",
    )
    ask(
        *("docs", "operator", "هل أترجم الفصل الثالث الآن أم أنتظر حتى يصدر الإصدار 2.0؟"),
        *("نعم", "لا"),
        asked=now - 50 * MINUTE,
        deadline=now + DAY,
    )
    ask(
        *("system", "operator", "The budget of trent for today is used up: $5.00 of $5.00."),
        *("Raise it by half", "Lift it until the end of the day", "Leave the agent held"),
        asked=now - 15 * MINUTE,
        deadline=0,
    )
    ask(
        "alice",
        "manager",
        "May I change the interface of `lines`?",
        asked=now - 6 * MINUTE,
        deadline=0,
    )
    ends = (QuestionState.ANSWERED, QuestionState.EXPIRED, QuestionState.CANCELLED)
    for number in range(25):
        asked = now - (25 - number) * 5 * HOUR
        is_answered = ends[number % 3] is QuestionState.ANSWERED
        ask(
            *("frontend", "operator", f"Shall I merge branch {number}?", "yes", "no"),
            asked=asked,
            state=ends[number % 3],
            answer=["yes"] if is_answered else [],
            answered_by="operator" if is_answered else "",
            resolved=asked + HOUR,
        )


def _approvals(hive: FakeHive, now: int) -> None:
    approvals = hive.approvals
    approvals.diff = DIFF
    approvals.configs = {"agent.toml": TOML, "notes/plan.md": TABLE, "skills/review.md": CODE}

    def ask(age: int, agent: str, reason: str, kind: str, state: str, note: str = "") -> None:
        number = approvals.ask(agent, reason, kind)
        requested = now - age
        approvals.log[number - 1] = approvals.log[number - 1]._replace(
            commit=f"{random.Random(number).getrandbits(160):040x}",
            requested=requested,
            state=ApprovalState(state),
            note=note,
            resolved=0 if state == "pending" else requested + 7 * MINUTE,
        )

    ends = ("deployed", "deployed", "denied", "superseded", "deployed", "withdrawn", "failed")
    log = "\n".join(("The build failed.", *(f"  CC parser_{n}.o" for n in range(12)), "E: no jq"))
    notes = {"denied": "Not before the release.", "failed": log}
    reasons = (
        "More memory for the tests",
        "Another model",
        "`jq` and `ripgrep` in the container",
        BODIES[3],
    )
    for number in range(70):
        state = ends[number % len(ends)]
        agent = NAMES[number % len(NAMES)]
        ask(
            (75 - number) * 5 * HOUR,
            agent,
            reasons[number % 4],
            "apply",
            state,
            notes.get(state, ""),
        )
    ask(3 * MINUTE, "tests", "Chromium for the tests of the pages", "apply", "building")
    ask(11 * MINUTE, "arabic", "A new agent for the translation into Arabic", "spawn", "pending")
    ask(7 * MINUTE, ALICE, BODIES[15], "apply", "pending")
    ask(2 * MINUTE, "backend", "Back to deployed/31: the new model is slower", "revert", "pending")
    approvals.deploys = [
        Deploy(
            now - (number * 7 + 2) * HOUR,
            NAMES[number % 9] if number % 3 else ALICE,
            f"{random.Random(number).getrandbits(160):040x}",
            80 - number,
            "operator" if number % 4 == 0 else "manager",
            (*reasons, BODIES[4], BODIES[15])[number % 6],
        )
        for number in range(60)
    ]
    for deploy in reversed(approvals.deploys):
        shown = hive.agents[deploy.agent].shown
        hive.agents[deploy.agent].shown = shown._replace(deployed_commit=deploy.commit)


def _money(hive: FakeHive, chance: random.Random, now: int) -> None:
    ledger = hive.ledger

    def used(key: str, weight: float, *, unknown: bool = False) -> UsageSum:
        requests = int(90 * weight) + 1
        return UsageSum(
            key,
            requests=requests,
            failed=requests // 40,
            input_tokens=int(1_900_000 * weight),
            output_tokens=int(41_000 * weight),
            cache_read_tokens=int(9_300_000 * weight),
            cache_write_tokens=int(300_000 * weight),
            cost=int(3_700_000 * weight),
            unknown_price=unknown,
        )

    days = [(date.today() - timedelta(days=ago)).isoformat() for ago in range(29, -1, -1)]
    weights = [0 if number in (5, 6, 19) else 2 + 6 * chance.random() for number in range(30)]
    cost = [17 * 0.82**number for number in range(len(NAMES))]
    ledger.sums = {
        "day": [used(day, weight) for day, weight in zip(days, weights, strict=True) if weight],
        "agent": [used(name, weight) for name, weight in zip(NAMES, cost, strict=True)],
        "model": [
            *(used(model, 40 / (number + 1)) for number, model in enumerate(MODELS)),
            used("a-model-without-a-known-price", 1.5, unknown=True),
            used("", 0.2),
        ],
        "credential": [used("default", 60), used(f"agent:{ALICE}", 20), used("login", 9)],
    }
    for number, name in enumerate(NAMES[:6]):
        ledger.sums[f"day {name}"] = [
            used(day, weight * cost[number] / sum(cost) * (0.5 + chance.random()))
            for day, weight in zip(days, weights, strict=True)
            if weight
        ]
    ledger.days = [
        Cost(
            key=day,
            turns=int(weight * 4),
            duration=int(weight * 240 * SECOND),
            input_tokens=int(900_000 * weight),
            output_tokens=int(11_000 * weight),
            cache_read_tokens=0,
            cache_write_tokens=0,
            cost=int(900_000 * weight),
        )
        for day, weight in zip(days, weights, strict=True)
        if weight
    ]
    for name, weight in zip(NAMES, cost, strict=True):
        if weight > 0.1:
            ledger.record(name, int(730_000 * weight), model=MODELS[0], tool_calls=3)
    outcomes = [*[RequestOutcome.DONE] * 9, RequestOutcome.FAILED, RequestOutcome.BROKEN]
    for number in range(1, 400):
        outcome = outcomes[number % len(outcomes)]
        begun = now - (400 - number) * 70 * SECOND
        ledger.requests.append(
            Request(
                number,
                NAMES[number % 11],
                "default" if number % 5 else f"agent:{ALICE}",
                MODELS[number % len(MODELS)],
                outcome,
                begun,
                begun + chance.randrange(900_000, 70 * SECOND),
                status=529 if outcome is RequestOutcome.FAILED else 200,
                input_tokens=chance.randrange(400, 9_000),
                output_tokens=chance.randrange(20, 4_000),
                cache_read_tokens=chance.randrange(10_000, 150_000),
                cost=0 if outcome is RequestOutcome.FAILED else chance.randrange(1_000, 900_000),
            )
        )
    ledger.limits = [
        ProviderLimit(
            "default",
            until=now + 40 * MINUTE,
            remaining_requests=3,
            remaining_tokens=20_000,
            remaining_until=now + 41 * MINUTE,
            updated=now - 20 * SECOND,
            agents=("heidi", ALICE, "manager", "tests", "frontend"),
        ),
        ProviderLimit(
            f"agent:{ALICE}",
            remaining_requests=4_912,
            remaining_tokens=1_940_000,
            remaining_until=now + MINUTE,
            updated=now - 3 * MINUTE,
            agents=(ALICE,),
        ),
    ]
    day, week, total = BudgetPeriod.DAY, BudgetPeriod.WEEK, BudgetPeriod.TOTAL
    until = now + 9 * HOUR
    dollars = 10**6

    def budget(kind: BudgetKind, name: str, period: BudgetPeriod, **values: int) -> Budget:
        spent = max(
            values.get("spent", 0) / values.get("limit", 1),
            values.get("spent_tokens", 0) / values.get("limit_tokens", 10**18),
        )
        state = BudgetState.EXHAUSTED if spent >= 1 else BudgetState.WARNED
        state = state if spent >= 0.8 else BudgetState.OK
        ends = 0 if period is total else until
        known: dict[str, Value] = {**values}
        return Budget(kind, name, period, state=state, until=ends)._replace(**known)

    hive_, agent, credential = BudgetKind.HIVE, BudgetKind.AGENT, BudgetKind.CREDENTIAL
    ledger.budgets = [
        budget(hive_, "hive", day, limit=100 * dollars, spent=87 * dollars),
        budget(hive_, "hive", week, limit=500 * dollars, spent=203 * dollars),
        budget(agent, ALICE, day, limit=15 * dollars, spent=12_500_000, reserved=800_000),
        budget(agent, ALICE, week, limit=60 * dollars, spent=21 * dollars),
        budget(agent, "trent", day, limit=5 * dollars, spent=5 * dollars),
        budget(agent, "tests", total, limit_tokens=10**9, spent_tokens=41 * 10**7),
        budget(credential, "default", week, limit_tokens=2 * 10**9, spent_tokens=3 * 10**8),
    ]


def _hosts(hive: FakeHive, chance: random.Random, now: int) -> None:
    hosts = (
        *("api.github.com", "pypi.org", "files.pythonhosted.org", "registry.npmjs.org"),
        *("docs.python.org", "10.1.2.3", "xn--80ak6aa92e.example", "crates.io"),
        "a-name-of-a-host-that-is-much-longer-than-most.europe-west-4.storage.example.com",
    )
    states = (EgressState.ALLOWED, EgressState.ALLOWED, EgressState.NONE, EgressState.DENIED)
    for number in range(180):
        state = states[number % len(states)]
        is_allowed = state in (EgressState.ALLOWED, EgressState.NONE)
        last = now - number * 11 * MINUTE
        hive.ledger.hosts.append(
            Egress(
                NAMES[number % 13],
                hosts[number % len(hosts)],
                443 + 1000 * (number // 60),
                state,
                first=last - chance.randrange(9 * DAY),
                last=last,
                allowed=chance.randrange(1, 4_000) if is_allowed else 0,
                refused=0 if is_allowed else chance.randrange(1, 40),
                failed=chance.choice((0, 0, 0, 2)),
                sent=chance.randrange(10**7) if is_allowed else 0,
                received=chance.randrange(10**9) if is_allowed else 0,
                decided=last if state is EgressState.DENIED else 0,
            )
        )
    for agent, host, port, refused, reason in (
        ("frontend", "registry.npmjs.org", 443, 3, "I need vite 6 for the build of the pages"),
        ("docs", "translate.example.com", 8443, 1, BODIES[4]),
        ("mallory", "xn--80ak6aa92e.com", 443, 41, ""),
    ):
        pending = EgressState.PENDING
        hive.ledger.hosts.append(
            Egress(agent, host, port, pending, now - HOUR, now, refused=refused, reason=reason)
        )


def _lines(hive: FakeHive, chance: random.Random, now: int) -> None:
    units = (
        ("hive-broker.service", "hive-broker", "alice -> manager: message 9991, 214 characters"),
        ("hive-lifecycle.service", "hive-lifecycle", "tests: job deploy 2 began"),
        ("systemd-nspawn@hive-alice.service", "systemd-nspawn", "[  OK  ] Reached target Network."),
        ("hive-gateway@frontend.service", "hive-gateway", "refused registry.npmjs.org:443"),
        ("hive-approvals.service", "hive-approvals", f"Request 72 of alice: {BODIES[3]}"),
        ("hive-ledger.service", "hive-ledger", "The budget of trent for today is used up."),
        ("hive-agent@docs.service", "hive-agent", BODIES[4]),
        ("hive-dashboard.service", "python3", "Traceback (most recent call last):"),
        ("init.scope", "systemd", "x" * 200),
    )
    for number in range(420):
        unit, identifier, message = units[chance.randrange(9)]
        hive.lifecycle.write(
            message,
            unit=unit,
            identifier=identifier,
            time=now - (420 - number) * 9 * SECOND,
            priority=(6, 6, 6, 5, 6, 4, 6, 3, 7)[number % 9],
            pid=1000 + number,
        )


def build(bus: Bus, hive: FakeHive) -> FakeJob:
    """Run the job of the request that is carried out, with lines of its output."""
    path = names.job_path(2)
    job = FakeJob("tests", "deploy", [])
    bus.export(path, job)
    hive.lifecycle.JobNew(2, path, "tests", "deploy")
    job.print(
        "tests: building the image of its container",
        *(
            f"Get:{n} https://deb.example.org bookworm/main libpkg{n} [{n * 37} kB]"
            for n in range(9)
        ),
        "Unpacking chromium (131.0.6778.85-1~deb12u1) over (130.0.6723.91-1~deb12u1) ...",
    )
    return job


def crash(hive: FakeHive) -> None:
    """Let an agent crash again and again, and another one once; a start fails."""
    for _ in range(4):
        hive.agents["erin"].Crashed("exit-code", 137)
    hive.agents["tests"].Crashed("oom-kill", 9)
    path = names.job_path(9)
    why = "The container of dave ended with status 1 before its harness had reported."
    hive.lifecycle.JobNew(9, path, "dave", "start")
    hive.lifecycle.JobRemoved(9, path, "dave", "start", "failed", why)


def use(hive: FakeHive, step: int, seconds: float) -> None:
    """Let each agent that runs use a processor and memory for a while, and report that."""
    for number, agent in enumerate(hive.agents.values()):
        if agent.shown.state not in (AgentState.RUNNING, AgentState.PAUSED):
            continue
        chance = random.Random(number * 1000 + step)
        load = (0.02, 0.3, 0.95)[number % 3] * (0.4 + 0.6 * chance.random())
        before = agent.usage
        agent.usage = Usage(
            cpu=(before.cpu or 0) + int(load * seconds * SECOND),
            memory=int((0.2 + 0.03 * (step % 12) + 0.05 * (number % 8)) * 2**31),
            memory_peak=3 * 2**30,
            tasks=12 + number,
            tasks_peak=80,
            disk=7 * 2**30,
        )
        agent.show(context_tokens=agent.shown.context_tokens + step)


def work(harness: FakeHarness) -> None:
    """Fill the harness of an agent that works: events, turns, days, its list and its journal."""
    now = time.time()
    began = now - 95

    def add(kind: str, turn: int, delay: float, **data: object) -> None:
        at = began + delay
        harness.add_raw({"turn": turn, "type": kind, "data": data, "at": at})

    for turn in range(140, 146):
        at = (turn - 146) * 1200
        add("wake", turn, at, messages=[{"id": turn, "from": "manager", "kind": "message"}])
        add("text", turn, at + 2, text=BODIES[turn % len(BODIES)])
        add("tool-use", turn, at + 3, id=f"o{turn}", tool="Bash", input={"command": "make test"})
        add("tool-result", turn, at + 30, id=f"o{turn}", content="ok\n" * 40, error=False)
        add("turn-end", turn, at + 60, outcome="done", error="", seconds=60.0, cost_usd=0.12)
    woken: Sequence[dict[str, object]] = [
        {"id": 9991, "from": "operator", "kind": "message"},
        {"id": 9992, "from": "manager", "kind": "message"},
    ]
    add("wake", 146, 0, messages=woken, prompt="Please mend the parser, and tell the manager.")
    servers = [{"name": "hyperhive", "status": "connected"}, {"name": "gh", "status": "failed"}]
    add("session", 146, 1, model=MODELS[0], tools=["Bash"], mcp_servers=servers, resumed=True)
    add("thinking", 146, 2, text="The last line has no newline, so the loop never yields it.")
    add("text", 146, 3, text="I'll look at the parser and at its tests first.")
    run = "cd /src && make test FAST=1 2>&1 | tail -40"
    add("tool-use", 146, 5, id="t1", tool="Bash", input={"command": run})
    trace = 'File "/src/parser.py", line 41, in lines\n    assert rest == b""\nAssertionError\n'
    add("tool-result", 146, 22, id="t1", content=trace + "1 failed, 41 passed\n" * 12, error=True)
    edit = {
        "file_path": "/src/services/parser/lines.py",
        "old_string": "    for chunk in stream:\n        pass\n",
        "new_string": "    for chunk in stream:\n        pass\n    if rest:\n        yield rest\n",
    }
    add("tool-use", 146, 30, id="t2", tool="Edit", input=edit)
    add("tool-result", 146, 31, id="t2", content="The file was changed.", error=False)
    add("text", 146, 33, text=BODIES[4])
    add("text", 146, 34, text=BODIES[3] + " 🎉")
    add("server-failed", 146, 36, name="gh", error="spawn gh ENOENT")
    add("denied", 146, 40, tool="WebFetch", reason="agent.toml does not allow it.")
    send = {"to": "manager", "body": CODE}
    add("tool-use", 146, 44, id="t3", tool="mcp__hive__send", input=send)
    add("compacted", 146, 60, trigger="auto", before=181_000, after=23_000)
    add("note", 146, 61, text="The notes were condensed.", level="info")
    add("tool-use", 146, 70, id="t4", tool="Bash", input={"command": run})
    harness.state |= {
        "state": "thinking",
        "since": began,
        "turn": 146,
        "activity": ACTIVITIES[0],
        "model": MODELS[0],
        "context_tokens": 138_000,
        "context_limit": 200_000,
        "cost_today_usd": 12.41,
    }
    outcomes = ("done", "done", "done", "done", "error", "cancelled")
    for number in range(1, 147):
        started = now - (147 - number) * 1260
        ended = started + 17 * (1 + number % 40)
        is_open = number == 146
        harness.turns.append(
            {
                "id": number,
                "started": began if is_open else started,
                "ended": 0 if is_open else ended,
                "outcome": "running" if is_open else outcomes[number % len(outcomes)],
                "woken_by": [*woken] if number % 3 else [woken[0]],
                "model": MODELS[0],
                "session": "11111111-2222-3333-4444-555555555555",
                "seconds": 0 if is_open else ended - started,
                "first_request_ms": 40,
                "first_token_ms": 900 + number,
                "input_tokens": 1200 * number,
                "output_tokens": 40 * number,
                "cache_read_tokens": 48_000,
                "cache_write_tokens": 800,
                "context_tokens": 50_000 + 600 * number,
                "cost_usd": 0.0421 * (number % 30),
                "tool_calls": number % 17,
                "tools": {"Bash": number % 9, "Edit": 2, "mcp__hive__send": 1},
                "denied": number % 11 == 0,
                "open_threads": 1,
                "open_reminders": 0,
                "error": "API Error: 500" if number % len(outcomes) == 4 else "",
            }
        )
    harness.days = [
        {
            "day": (date.today() - timedelta(days=ago)).isoformat(),
            "turns": 3 + ago % 9,
            "tools": {"Bash": 40 + ago, "Edit": 20, "Read": 33, "Grep": 9, "Write": 3, "Task": 2},
        }
        for ago in range(29, -1, -1)
    ]
    harness.todo = [
        {"text": "Read the parser", "state": "done"},
        {"text": "Write a test that fails", "state": "done"},
        {"text": "Mend the loop in services/parser/lines.py", "state": "doing"},
        {"text": BODIES[5], "state": "open"},
        {"text": "Tell the manager", "state": "open"},
    ]
    for number in range(120):
        harness.log(
            ("Started session 4 of user agent.", "harness: turn 146 began", BODIES[3])[number % 3],
            at=now - (120 - number) * 20,
            identifier=("systemd", "harness", "npm")[number % 3],
            unit=("init.scope", "harness.service", "dev-server.service")[number % 3],
            priority=(6, 6, 4)[number % 3],
        )


SHELL: Final = (
    "\x1b[1;32mroot@alice\x1b[0m:\x1b[1;34m/src\x1b[0m# git status --short\r\n"
    " \x1b[31mM\x1b[0m services/parser/lines.py\r\n?? tests/test_lines.py\r\n"
    "\x1b[1;32mroot@alice\x1b[0m:\x1b[1;34m/src\x1b[0m# make test FAST=1\r\n"
    "\x1b[32m" + "." * 60 + "\x1b[31mF\x1b[32m" + "." * 17 + "\x1b[0m\r\n"
    "\x1b[1;31mE  AssertionError\x1b[0m: \x1b[33m3\x1b[0m != \x1b[33m4\x1b[0m\r\n"
    "你好，世界 🎉 größer\r\n"
    "\x1b[1;32mroot@alice\x1b[0m:\x1b[1;34m/src\x1b[0m# "
).encode()
"""The screen of a terminal."""
