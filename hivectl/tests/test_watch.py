"""hivectl watch and chat, beside a harness that is played."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import SINCE
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.test_terminal import Terminal, terminal
from wire.agent_web.tests.fake_web import FakeWeb, event
from wire.records.broker import MessageState
from wire.records.lifecycle import TurnState


@pytest.fixture
async def busy(web: FakeWeb) -> FakeWeb:
    """Return a harness with two turns."""
    await web.add(
        event(1, "wake", messages=[{"id": 1, "from": "bob", "kind": "message"}]),
        event(2, "text", text="first words"),
        event(3, "turn-end", outcome="done"),
        event(4, "wake", turn=2, messages=[{"id": 2, "from": "operator", "kind": "message"}]),
        event(5, "text", turn=2, text="second words"),
    )
    return web


async def test_watch_shows_the_newest_events(
    hive: FakeHive, busy: FakeWeb, hivectl: Hivectl
) -> None:
    ran = await hivectl("watch", "alice", "-n", "4")
    assert ran.code == Exit.OK
    *found, state = ran.out.splitlines()
    assert state.endswith(" state     idle")
    assert [line.split(maxsplit=2)[1:] for line in found] == [
        ["text", "first words"],
        ["turn", "1 done after 0.0s, $0.00"],
        ["turn", "2: message 2 from operator"],
        ["text", "second words"],
    ]


async def test_watch_shows_one_turn(hive: FakeHive, busy: FakeWeb, hivectl: Hivectl) -> None:
    ran = await hivectl("watch", "alice", "--turn", "1", "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert found == busy.events[:3]
    gone = await hivectl("watch", "alice", "--turn", "9")
    assert (gone.code, gone.out) == (Exit.NOT_FOUND, "")
    assert "No events of this turn" in gone.err
    # The turn is over, so there is nothing to follow.
    assert (await hivectl("watch", "alice", "--turn", "1", "-f", "--json")).out == ran.out


async def test_watch_reads_all_pages_of_a_turn(
    hive: FakeHive, web: FakeWeb, hivectl: Hivectl
) -> None:
    await web.add(*(event(n, "text", text=str(n)) for n in range(1, 1203)))
    ran = await hivectl("watch", "alice", "--turn", "1", "--json")
    assert [json.loads(line)["seq"] for line in ran.out.splitlines()] == list(range(1, 1203))


@pytest.mark.parametrize("command", ["watch", "export-turn"])
async def test_a_turn_of_any_length_is_shown_whole(
    hive: FakeHive, web: FakeWeb, hivectl: Hivectl, command: str
) -> None:
    await web.add(*(event(n, "text", text=str(n)) for n in range(1, 20_502)))
    web.turns = [{"id": 1, "started": 1.0}]
    arguments = ("--turn", "1", "--json") if command == "watch" else ("1",)
    ran = await hivectl(command, "alice", *arguments)
    found = [json.loads(line).get("seq") for line in ran.out.splitlines()]
    assert found[-20_501:] == list(range(1, 20_502))


async def test_watch_ends_with_a_harness_that_repeats_itself(
    hive: FakeHive, web: FakeWeb, hivectl: Hivectl
) -> None:
    page = json.dumps({"events": [event(7, "text", text="x")], "state": "idle", "last_seq": 7})
    web.raw = b"HTTP/1.0 200 OK\r\n\r\n" + page.encode()
    ran = await hivectl("watch", "alice", "--turn", "1")
    assert ran.code == Exit.UNAVAILABLE
    assert "sent an answer that is not valid" in ran.err


async def test_watch_of_an_agent_without_a_harness(
    hive: FakeHive, web: FakeWeb, hivectl: Hivectl
) -> None:
    ran = await hivectl("watch", "bob-2")
    assert (ran.code, ran.out) == (Exit.UNAVAILABLE, "")
    assert "The harness of bob-2 is away" in ran.err
    assert (await hivectl("watch", "nobody")).code == Exit.NOT_FOUND


async def test_watch_follows_over_restarts_of_the_harness(
    hive: FakeHive, busy: FakeWeb, environment: dict[str, str]
) -> None:
    async with terminal(environment, "watch", "-f", "alice", NO_COLOR="1") as shown:
        await shown.shows("second words")
        await busy.until_streams()
        await busy.show("partial", {"turn": 2, "kind": "text", "text": "grows\nand gr"})
        await shown.shows("grows")
        await busy.add(event(6, "text", turn=2, text="grows\nand grew"))
        await shown.shows("and grew")
        hive.lifecycle.agents["alice"].show(turn_state=TurnState.HARNESS_AWAY)
        busy.drop_streams()
        await shown.shows("The harness of alice is away; waiting for it. `hivectl status alice`")
        await busy.add(event(7, "text", turn=2, text="said meanwhile"))
        hive.lifecycle.agents["alice"].show(turn_state=TurnState.IDLE)
        await shown.shows("said meanwhile")
        shown.process.send_signal(signal.SIGINT)
        code, text = await shown.end()
    assert code == Exit.INTERRUPTED
    assert text.count("grows") == 1
    assert text.count("second words") == 1


async def test_watch_waits_for_an_agent_that_sleeps(
    hive: FakeHive, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment["WEB_DIRECTORY"] = str(tmp_path)
    hive.lifecycle.agents["alice"].show(turn_state=TurnState.OFFLINE)
    async with terminal(environment, "watch", "-f", "alice", NO_COLOR="1") as shown:
        await shown.shows("waiting for it")
        async with FakeWeb().serve(tmp_path) as web:
            await web.add({**event(1, "text", text="long ago"), "at": 1.0})
            await web.add({**event(2, "text", text="just now"), "at": 2.0**33})
            hive.lifecycle.agents["alice"].show(turn_state=TurnState.IDLE)
            await shown.shows("just now")
            shown.process.send_signal(signal.SIGINT)
            _, text = await shown.end()
    assert "long ago" not in text


class Player:
    """A harness that begins a turn for each message, and ends it at once unless told otherwise."""

    def __init__(self, hive: FakeHive, web: FakeWeb) -> None:
        self._web = web
        self._tasks: set[asyncio.Task[None]] = set()
        self.ends = True
        self.seq = 100
        hive.broker.on_send = lambda number, body: self._begin(self.turn(number, body))
        hive.lifecycle.on_steer = lambda verb: self._begin(self.steered(verb))

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def add(self, type: str, turn: int = 5, **data: Any) -> None:
        self.seq += 1
        await self._web.add(event(self.seq, type, turn=turn, **data))

    async def turn(self, number: int, body: str) -> None:
        # Of another turn: not shown.
        await self.add("text", turn=4, text="to somebody else")
        await self.add("wake", messages=[{"id": number, "from": "operator", "kind": "message"}])
        await self.add("text", text=f"You said: {body}")
        if self.ends:
            await self.add("turn-end", outcome="done", seconds=1.0, cost_usd=0.5)

    async def steered(self, verb: str) -> None:
        if verb != "cancel":
            return
        await self.add("cancelled", by="operator", text="cut off")
        await self.add("turn-end", outcome="cancelled")


@pytest.fixture
def player(hive: FakeHive, web: FakeWeb) -> Player:
    return Player(hive, web)


async def test_chat_shows_the_turns_of_its_messages(
    hive: FakeHive, player: Player, hivectl: Hivectl
) -> None:
    ran = await hivectl("chat", "alice", stdin=b"hello\n\n//not a command\n")
    assert ran.code == Exit.OK
    assert [body for _, body, _ in hive.broker.sent] == ["hello", "/not a command"]
    assert ran.out.count("You said: hello") == 1
    assert ran.out.count("You said: /not a command") == 1
    assert ran.out.count("5 done after 1.0s, $0.5000") == 2
    assert "to somebody else" not in ran.out


async def test_chat_for_programs(hive: FakeHive, player: Player, hivectl: Hivectl) -> None:
    ran = await hivectl("chat", "alice", "--json", stdin=b"hello\n")
    found = [json.loads(line)["type"] for line in ran.out.splitlines()]
    assert found == ["wake", "text", "turn-end"]


async def test_slash_commands(hive: FakeHive, player: Player, hivectl: Hivectl) -> None:
    script = (
        "/compact\n/model opus\n/model\n/model default\n/effort high\n/effort\n/new-session\n"
        "/cancel\n/cancel requeue\n/exit\nhello\n"
    )
    ran = await hivectl("chat", "alice", stdin=script.encode())
    alice = hive.lifecycle.agents["alice"]
    assert alice.steered == [
        ("compact",),
        ("model", "opus"),
        ("model", "default"),
        ("effort", "high"),
        ("new-session",),
        ("cancel", False),
        ("cancel", True),
    ]
    assert "claude-x\n" in ran.err, "/model alone shows it"
    assert "default\n" in ran.err
    assert alice.sentence in ran.err
    assert hive.broker.sent == []
    for wrong in (b"/help\n", b"/modle opus\n", b"/compact now\n", b"/cancel now\n", b'/model "\n'):
        ran = await hivectl("chat", "alice", stdin=wrong)
        assert "/new-session" in ran.err
    assert len(alice.steered) == 7


async def prompts(shown: Terminal, line: str) -> None:
    await shown.shows("alice> ")
    shown.type(f"{line}\n")


async def test_ctrl_c_interrupts_the_turn_and_the_chat_goes_on(
    hive: FakeHive, player: Player, environment: dict[str, str]
) -> None:
    player.ends = False
    async with terminal(environment, "chat", "alice", NO_COLOR="1") as shown:
        await prompts(shown, "hello")
        await shown.shows("You said: hello")
        shown.process.send_signal(signal.SIGINT)
        await shown.shows(hive.lifecycle.agents["alice"].sentence)
        await shown.shows("5 cancelled after")
        player.ends = True
        shown.type("again\n")
        await shown.shows("You said: again")
        await shown.shows("5 done after")
        shown.type("/exit\n")
        code, _ = await shown.end()
    assert code == Exit.OK


async def test_ctrl_c_before_the_turn_leaves_the_message_in_the_inbox(
    hive: FakeHive, web: FakeWeb, environment: dict[str, str]
) -> None:
    web.state["state"] = "thinking"
    async with terminal(environment, "chat", "alice", NO_COLOR="1") as shown:
        await prompts(shown, "hello")
        await shown.shows("alice is thinking; your message waits.")
        shown.process.send_signal(signal.SIGINT)
        await shown.shows("in the inbox of alice, and is read later")
        assert hive.lifecycle.agents["alice"].steered == []
        shown.type("/exit\n")
        code, _ = await shown.end()
    assert code == Exit.OK


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (MessageState.RETRACTED, "was taken back"),
        (MessageState.DEAD, "is a dead letter (`hivectl dead-letters` shows why)"),
    ],
)
async def test_chat_ends_the_wait_for_a_message_that_nobody_reads_any_more(
    hive: FakeHive, web: FakeWeb, environment: dict[str, str], state: MessageState, words: str
) -> None:
    web.state["state"] = "thinking"
    async with terminal(environment, "chat", "alice", NO_COLOR="1") as shown:
        await prompts(shown, "hello")
        await shown.shows("your message waits")
        await web.until_streams()
        hive.broker.end(2**63 + 1, state)
        await shown.shows(f"Message {2**63 + 1} {words}. No turn has read it")
        await shown.shows("alice> ")
        shown.type("/exit\n")
        code, _ = await shown.end()
    assert code == Exit.OK


async def test_a_held_agent_is_shown_as_held(
    hive: FakeHive, busy: FakeWeb, hivectl: Hivectl, environment: dict[str, str]
) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.show(turn_state=TurnState.HELD, turn_reason="she and bob thank", turn_since=SINCE)
    ran = await hivectl("watch", "alice", "-n", "1")
    assert ran.out.splitlines()[-1].endswith(" state     held: she and bob thank")
    async with terminal(environment, "chat", "alice", NO_COLOR="1") as shown:
        await prompts(shown, "hello")
        await shown.shows("alice is held: she and bob thank; your message waits.")
        alice.show(turn_state=TurnState.IDLE, turn_reason="")
        alice.show(turn_state=TurnState.HELD, turn_reason="once more")
        await shown.shows("alice is held: once more; your message waits.")
        shown.process.send_signal(signal.SIGINT)
        await shown.shows("is read later")
        shown.type("/exit\n")
        await shown.end()
    async with terminal(environment, "watch", "-f", "alice", NO_COLOR="1") as shown:
        await shown.shows("held: once more")
        await busy.until_streams()
        alice.show(turn_reason="for ever")
        await shown.shows("The agent is held: for ever.")
        shown.process.send_signal(signal.SIGINT)
        await shown.end()


@pytest.mark.parametrize("key", ["ctrl-c", "ctrl-d"])
async def test_keys_that_end_the_chat(
    hive: FakeHive, web: FakeWeb, environment: dict[str, str], key: str
) -> None:
    async with terminal(environment, "chat", "alice", NO_COLOR="1") as shown:
        await shown.shows("alice> ")
        shown.type("h")
        await shown.shows("alice> h")  # the prompt reads keys now
        if key == "ctrl-d":
            shown.type("\x7f\x04")
        else:
            shown.process.send_signal(signal.SIGINT)
            # readline does not notice a signal that comes between two keys.
            shown.type("\n")
        code, _ = await shown.end()
    assert code == Exit.OK
    assert hive.broker.sent == []


async def test_tab_completes_commands(
    hive: FakeHive, web: FakeWeb, environment: dict[str, str]
) -> None:
    async with terminal(environment, "chat", "alice", NO_COLOR="1") as shown:
        await shown.shows("alice> ")
        shown.type("/new\t\n")
        await shown.shows(hive.lifecycle.agents["alice"].sentence)
        shown.type("/exit\n")
        await shown.end()


@pytest.mark.long
async def test_export_a_turn_as_lines_or_as_a_page(
    hive: FakeHive, busy: FakeWeb, hivectl: Hivectl, tmp_path: Path
) -> None:
    busy.turns = [{"id": 1, "started": 1.0, "outcome": "done"}]
    shown = await hivectl("export-turn", "alice", "1")
    first, *events = [json.loads(line) for line in shown.out.splitlines()]
    assert first == {"agent": "alice", "turn": busy.turns[0]}
    assert events == busy.events[:3]
    lines, page = tmp_path / "turn.jsonl", tmp_path / "turn.html"
    ran = await hivectl("export-turn", "alice", "1", "-o", str(lines), "--json")
    assert ran.json == {"file": str(lines), "events": 3, "left_out": None}
    assert lines.read_text() == shown.out
    assert lines.stat().st_mode & 0o777 == 0o600
    assert (await hivectl("export-turn", "alice", "1", "-o", str(page))).code == Exit.OK
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "first words" in page.read_text()
    assert (await hivectl("export-turn", "alice", "1", "--html")).out == page.read_text()
    again = await hivectl("export-turn", "alice", "1", "-o", str(page))
    assert again.code == Exit.CONFLICT
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert (await hivectl("export-turn", "alice", "1", "-o", str(tmp_path / "link"))).code != 0
    assert not (tmp_path / "elsewhere").exists()
    assert (
        await hivectl("export-turn", "alice", "1", "-o", str(tmp_path), "--html")
    ).code == Exit.OK
    assert (tmp_path / "alice-turn-1.html").read_text() == page.read_text()
    assert (await hivectl("export-turn", "alice", "9")).code == Exit.NOT_FOUND
    missing = tmp_path / "missing.jsonl"
    assert (await hivectl("export-turn", "alice", "9", "-o", str(missing))).code == Exit.NOT_FOUND
    assert not missing.exists()
    assert (await hivectl("export-turn", "alice", "1", "--json")).code == Exit.USAGE
