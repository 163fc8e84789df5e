"""The real process between a bus with the other services and a webhook on a real socket."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from py_vapid import Vapid02

from services.notify.store import Store
from services.notify.tests.conftest import TIME_LIMIT, Hook, asks
from services.notify.tests.fakes import FakeDashboard, FakeHive
from wire import names
from wire.bus import Bus
from wire.fixtures import Connect
from wire.principal import Kind, Principal
from wire.records.broker import QuestionState
from wire.records.ledger import EgressState
from wire.testing import FixedPrincipals

Start = Callable[[], Awaitable[Process]]


class Told:
    """The messages of the process to systemd."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def until(self, word: bytes) -> None:
        async with asyncio.timeout(TIME_LIMIT):
            while word not in await asyncio.get_running_loop().sock_recv(self._socket, 4096):
                pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def broker_bus(connect: Connect, principals: FixedPrincipals) -> Bus:
    principals.default = Principal(Kind.SERVICE, "notify")
    return await connect()


@pytest.fixture
async def hive(connect: Connect, broker_bus: Bus) -> FakeHive:
    hive = FakeHive()
    await hive.serve_broker(broker_bus)
    await hive.serve_approvals(await connect())
    await hive.serve_ledger(await connect())
    return hive


@pytest.fixture
async def dashboard(connect: Connect) -> FakeDashboard:
    dashboard = FakeDashboard()
    bus = await connect()
    bus.export(names.DASHBOARD_PATH, dashboard)
    await bus.own(names.DASHBOARD)
    return dashboard


@pytest.fixture
def config(tmp_path: Path, hook: Hook) -> Path:
    file = tmp_path / "hyperhive.toml"
    # A request may take longer than any test waits.
    head = "[notify]\nattempt_timeout = 60\n"
    file.write_text(
        f'{head}[[notify.webhooks]]\nname = "log"\ntype = "json"\nurl = "{hook.url}/"\n'
    )
    return file


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    told = Told(tmp_path / "systemd")
    yield told
    told.close()


@pytest.fixture
async def start(bus_address: str, tmp_path: Path, config: Path, told: Told) -> AsyncIterator[Start]:
    """Return a function that starts `python -m services.notify` as systemd does."""
    (tmp_path / "state").mkdir()
    (tmp_path / "credentials").mkdir()
    environment = {
        "DBUS_SYSTEM_BUS_ADDRESS": bus_address,
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "NOTIFY_SOCKET": str(tmp_path / "systemd"),
        "HYPERHIVE_CONFIG": str(config),
    }
    started: list[Process] = []

    async def run() -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.notify"),
            env=environment,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_it_has_looked(hive: FakeHive) -> None:
    """Wait until the process has noted the items of every list: later items are new."""
    async with asyncio.timeout(TIME_LIMIT):
        await hive.looked.until_asked(1)
        hive.announce_changes()
        await hive.looked.until_asked(2)  # so the first answers were noted


async def test_each_event_is_sent(hive: FakeHive, hook: Hook, start: Start) -> None:
    hive.broker.ask("alice", "was there before")
    await start()
    await until_it_has_looked(hive)
    hive.broker.wonder("alice", "Where to?", "staging", "production")
    [question] = await hook.until(1)
    assert (question["event"], question["id"]) == ("question", "question-2")
    assert question["text"] == "Where to?\n1  staging\n2  production"
    hive.broker.say("alice", "message", "no news for a phone")
    hive.broker.say("system", "container-crash", "The container of bob does not come up again.")
    crash = (await hook.until(2))[1]
    assert (crash["event"], crash["id"]) == ("crash", "crash-2")
    hive.broker.say("system", "needs-login", "bob needs a login.")
    assert (await hook.until(3))[2]["event"] == "notice"
    hive.approvals.request("apply", "alice", "more memory")
    approval = (await hook.until(4))[3]
    assert (approval["event"], approval["text"]) == ("approval", "manager: more memory")
    assert approval["title"] == "apply of alice waits for approval 1"
    hive.approvals.resolve(1, "approved", "")
    hive.approvals.resolve(1, "failed", "E: no such package")
    failed = (await hook.until(5))[4]
    assert (failed["event"], failed["text"]) == ("deploy-failed", "E: no such package")
    hive.broker.say("system", "budget-warning", "80 % of the budget of alice are used.")
    assert (await hook.until(6))[5]["event"] == "budget"


async def test_a_refused_host_is_told_of_once(hive: FakeHive, hook: Hook, start: Start) -> None:
    hive.ledger.add("alice", "was.refused.before")
    await start()
    await until_it_has_looked(hive)
    hive.ledger.refuse("alice", "github.com", reason="to clone")
    [refused] = await hook.until(1)
    assert (refused["event"], refused["text"]) == ("egress", "github.com:443\nto clone")
    assert refused["title"] == "alice was refused a host"
    asked = hive.looked.times["egress"]
    hive.ledger.refuse("alice", "github.com")
    hive.ledger.refuse("alice", "pypi.org", state=EgressState.ONCE, decided=1)
    hive.ledger.refuse("bob", "fd00::1")
    assert (await hook.until(2))[1]["text"] == "[fd00::1]:443"
    assert hive.looked.times["egress"] == asked + 1, "a refusal that repeats is no reason to ask"
    # A host that was allowed once, and is refused again, waits for another decision.
    hive.ledger.refuse("alice", "pypi.org", state=EgressState.PENDING)
    assert (await hook.until(3))[2]["text"] == "pypi.org:443"


@pytest.mark.long
async def test_items_from_the_time_it_was_down_are_sent(
    hive: FakeHive, hook: Hook, start: Start
) -> None:
    first = await start()
    await until_it_has_looked(hive)
    hive.broker.wonder("alice", "one")
    await hook.until(1)
    first.kill()
    await first.wait()
    hive.broker.ask("alice", "two")
    hive.broker.ask("alice", "three, and answered already", state=QuestionState.ANSWERED)
    hive.approvals.add("spawn", "carol", "docs")
    await start()
    # The process may have been killed before it noted that the first post was delivered.
    bodies = await hook.until_different(3)
    assert [body["text"] for body in bodies] == ["manager: docs", "one", "two"]
    # No other post follows: the next one is about the next question.
    hive.broker.wonder("bob", "four")
    bodies = await hook.until_different(4)
    assert bodies[-1]["text"] == "four"


async def test_after_a_kill_a_post_is_repeated_with_the_same_id(
    hive: FakeHive, hook: Hook, start: Start
) -> None:
    first = await start()
    await until_it_has_looked(hive)
    hook.silent = True
    hive.broker.wonder("alice", "one")
    await hook.until(1)
    first.kill()
    await first.wait()
    hook.silent = False
    await start()
    assert [body["id"] for body in await hook.until(2)] == ["question-1", "question-1"]


async def test_a_stop_does_not_wait_for_a_post(hive: FakeHive, hook: Hook, start: Start) -> None:
    process = await start()
    await until_it_has_looked(hive)
    hook.silent = True
    hive.broker.wonder("alice", "one")
    await hook.until(1)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(TIME_LIMIT):
        assert await process.wait() == 0


async def test_a_webhook_that_fails_gets_the_post_later(
    hive: FakeHive, hook: Hook, start: Start
) -> None:
    await start()
    await until_it_has_looked(hive)
    hook.answers = [web.Response(status=500), web.Response(status=500)]
    hive.broker.wonder("alice", "one")
    assert [body["text"] for body in await hook.until(3)] == ["one"] * 3


async def test_a_broker_that_comes_back_is_asked_again(
    hive: FakeHive, hook: Hook, start: Start, broker_bus: Bus, connect: Connect
) -> None:
    await start()
    await until_it_has_looked(hive)
    await broker_bus.close()
    again = FakeHive()
    again.broker.ask("alice", "asked while nobody listened")
    await again.serve_broker(await connect())
    assert (await hook.until(1))[0]["text"] == "asked while nobody listened"


async def test_without_webhooks_it_waits_for_a_browser(
    hive: FakeHive, hook: Hook, start: Start, config: Path, told: Told, dashboard: FakeDashboard
) -> None:
    await asyncio.to_thread(config.write_text, "")
    hook.decode = dashboard.decrypted
    hive.broker.wonder("alice", "was there before")
    await start()
    await told.until(b"READY=1")
    await told.until(b"STATUS=No webhooks are configured, and no browser")
    assert not hive.looked.times
    dashboard.add(hook.url, "question", "message")
    await until_it_has_looked(hive)
    hive.broker.wonder("alice", "Where to?", "staging", "production")
    [asked] = await hook.until(1)
    hive.broker.say("system", "needs-login", "of no interest")
    hive.broker.say("alice", "message", "done")
    wrote = (await hook.until(2))[1]
    assert (asked["event"], asked["number"]) == ("question", 2)
    assert asked["choices"] == ["staging", "production"]
    assert (wrote["event"], wrote["text"]) == ("message", "done")
    _, headers, _ = hook.got[0]
    assert headers["TTL"] == "86400"
    assert headers["Topic"] == "question-2"
    assert Vapid02.verify(headers["Authorization"])
    hook.answers = [web.Response(status=410)]
    hive.broker.wonder("alice", "Still there?")
    await dashboard.until_forgotten(1)


async def test_posts_for_a_removed_webhook_are_dropped(
    hive: FakeHive, hook: Hook, start: Start, tmp_path: Path
) -> None:
    store = Store(tmp_path / "state" / "notify.sqlite")
    store.record("questions", [1], [("log", asks(1)), ("old", asks(1))], complete=False)
    await start()
    await hook.until(1)
    assert store.count("old") == 0
    store.close()


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("credentials/notify_log", "two words s3cret", "is not a valid token"),
        ("credentials/notify_log", None, "notify_log cannot be read: Is a directory"),
        ("state/notify.sqlite", "no database " * 1000, "move it"),
    ],
    ids=["token", "directory", "store"],
)
async def test_it_refuses_with_one_sentence(
    start: Start, tmp_path: Path, file: str, text: str | None, sentence: str
) -> None:
    if text is None:
        (tmp_path / file).mkdir()
    else:
        (tmp_path / file).write_text(text)
    process = await start()
    async with asyncio.timeout(TIME_LIMIT):
        _, errors = await process.communicate()
    assert process.returncode == 78
    assert "Traceback" not in errors.decode()
    assert "s3cret" not in errors.decode()
    assert sentence in errors.decode()


async def test_the_token_is_sent_and_not_logged(
    hive: FakeHive, hook: Hook, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "credentials" / "notify_log").write_text("s3cret\n")
    process = await start()
    await until_it_has_looked(hive)
    hook.answers = [web.Response(status=401)]
    hive.broker.wonder("alice", "one")
    await hook.until(2)
    assert {headers["Authorization"] for _, headers, _ in hook.got} == {"Bearer s3cret"}
    process.terminate()
    async with asyncio.timeout(TIME_LIMIT):
        _, errors = await process.communicate()
    assert b"log does not accept posts; they are retried: it answered 401" in errors
    assert b"s3cret" not in errors
    assert hook.url.encode() not in errors
