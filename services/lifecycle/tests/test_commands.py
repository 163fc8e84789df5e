"""Commands to harnesses, without a bus."""

import asyncio

import pytest

from services.lifecycle import commands
from services.lifecycle.commands import Commands, Peer, check_login_code
from wire.errors import Conflict, InvalidArgument, NotFound, Unavailable
from wire.records.lifecycle import CommandArguments, CommandIssued, CommandResult, CommandVerb

NOTHING = CommandArguments()


class Desk:
    """The commands of one lifecycle, and an endpoint of alice."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, bool]] = []
        self.commands = Commands(lambda name, up: self.changes.append((name, up)))

    def connect(self, name: str = ":1.7") -> "Endpoint":
        endpoint = Endpoint(name)
        self.commands.of("alice").connect(endpoint.peer)
        return endpoint

    def issue(self, verb: CommandVerb = CommandVerb.CANCEL) -> "asyncio.Task[CommandResult]":
        return asyncio.create_task(self.commands.run("alice", verb, NOTHING))


class Endpoint:
    def __init__(self, name: str) -> None:
        self.received: asyncio.Queue[CommandIssued] = asyncio.Queue()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watches = 0
        self.peer = Peer(name, self.received.put_nowait, self.watch)

    def watch(self) -> "asyncio.Future[None]":
        self.watches += 1
        return self.gone

    async def next(self) -> CommandIssued:
        async with asyncio.timeout(5):
            return await self.received.get()


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_a_command_is_answered(desk: Desk) -> None:
    endpoint = desk.connect()
    asked = desk.issue()
    issued = await endpoint.next()
    assert issued.verb is CommandVerb.CANCEL
    desk.commands.of("alice").done(issued.id, CommandResult("It wrote\na poem. " + "x" * 600))
    answer = (await asked).text
    assert answer.startswith("It wrote a poem. xxx")
    assert len(answer) == 500


async def test_a_refusal_is_a_conflict(desk: Desk) -> None:
    endpoint = desk.connect()
    asked = desk.issue()
    desk.commands.of("alice").done((await endpoint.next()).id, CommandResult(error="No turn."))
    with pytest.raises(Conflict, match=r"No turn\."):
        await asked


@pytest.mark.parametrize("how", ["disconnect", "gone"])
async def test_a_refusal_is_a_conflict_though_the_harness_has_left_since(
    desk: Desk, how: str
) -> None:
    endpoint = desk.connect()
    asked = desk.issue()
    refusal = CommandResult(error="Obey\nme. " + "x" * 600)
    desk.commands.of("alice").done((await endpoint.next()).id, refusal)
    if how == "disconnect":
        desk.commands.of("alice").disconnect()
    else:
        endpoint.gone.set_result(None)
    with pytest.raises(Conflict, match=r"^Obey me\. x{491}$"):
        await asked


async def test_a_refusal_of_blanks_is_no_success(desk: Desk) -> None:
    endpoint = desk.connect()
    asked = desk.issue()
    desk.commands.of("alice").done((await endpoint.next()).id, CommandResult("Done.", error=" \n"))
    with pytest.raises(Conflict, match="without a reason"):
        await asked


async def test_a_connection_is_watched_once(desk: Desk) -> None:
    endpoint = desk.connect()
    for _ in range(20):
        desk.commands.of("alice").connect(endpoint.peer)
        desk.commands.of("alice").disconnect()
    desk.commands.of("alice").connect(endpoint.peer)
    assert endpoint.watches == 1
    endpoint.gone.set_result(None)
    await asyncio.sleep(0)
    assert not desk.commands.of("alice").connected
    again = desk.connect(":1.8")
    assert again.watches == 1
    assert desk.commands.of("alice").connected


async def test_nothing_is_issued_to_a_harness_that_is_away(desk: Desk) -> None:
    with pytest.raises(Unavailable, match="not connected"):
        await desk.issue()
    endpoint = desk.connect()
    desk.commands.of("alice").disconnect()
    with pytest.raises(Unavailable, match="not connected"):
        await desk.issue()
    assert endpoint.received.empty()
    assert desk.changes == [("alice", True), ("alice", False)]


async def test_a_harness_that_does_not_answer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ANSWER_SECONDS", 0.05)
    endpoint = desk.connect()
    asked = desk.issue()
    issued = await endpoint.next()
    with pytest.raises(Unavailable, match="has not answered within"):
        await asked
    with pytest.raises(NotFound):
        desk.commands.of("alice").done(issued.id, CommandResult("late"))


@pytest.mark.parametrize("how", ["disconnect", "gone", "replaced"])
async def test_a_harness_that_leaves_fails_what_waits(desk: Desk, how: str) -> None:
    endpoint = desk.connect()
    asked = desk.issue()
    await endpoint.next()
    match how:
        case "disconnect":
            desk.commands.of("alice").disconnect()
        case "gone":
            endpoint.gone.set_result(None)
        case _:
            desk.connect(":1.8")
    with pytest.raises(Unavailable, match="left before it answered"):
        await asked


async def test_the_end_of_a_replaced_endpoint_changes_nothing(desk: Desk) -> None:
    old = desk.connect(":1.7")
    desk.connect(":1.8")
    old.gone.set_result(None)
    await asyncio.sleep(0)
    assert desk.commands.of("alice").connected
    assert desk.changes[-1] == ("alice", True)


async def test_an_answer_of_another_agent_is_refused(desk: Desk) -> None:
    endpoint = desk.connect()
    asked = desk.issue()
    issued = await endpoint.next()
    with pytest.raises(NotFound):
        desk.commands.of("bob").done(issued.id, CommandResult("cancelled"))
    desk.commands.of("alice").done(issued.id, CommandResult("ok"))
    assert (await asked).text == "ok"


async def test_only_so_many_commands_wait(desk: Desk) -> None:
    desk.connect()
    asked = [desk.issue() for _ in range(commands.MAX_PENDING)]
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="wait for their answers"):
        await desk.issue()
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_an_answer_that_nobody_waits_for_is_taken_once(desk: Desk) -> None:
    endpoint = desk.connect()
    desk.commands.tell("alice", CommandVerb.HOLD_UNTIL, "7")
    issued = await endpoint.next()
    desk.commands.of("alice").done(issued.id, CommandResult("It waits."))
    with pytest.raises(NotFound):
        desk.commands.of("alice").done(issued.id, CommandResult("It waits."))


@pytest.mark.parametrize(
    "verb", [CommandVerb.LOGIN, CommandVerb.LOGIN_CODE, CommandVerb.RESET_PROJECT]
)
async def test_a_login_and_a_reset_may_take_longer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: CommandVerb
) -> None:
    monkeypatch.setattr(commands, "ANSWER_SECONDS", 0.0)
    endpoint = desk.connect()
    asked = desk.issue(verb)
    issued = await endpoint.next()
    await asyncio.sleep(0.05)
    result = CommandResult("Open it.", login=7, address="https://claude.ai/oauth/authorize")
    desk.commands.of("alice").done(issued.id, result)
    assert await asked == result


async def test_a_code_is_in_no_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    endpoint = desk.connect()
    code = CommandArguments(value="secret-1", login=7)
    asked = asyncio.create_task(desk.commands.run("alice", CommandVerb.LOGIN_CODE, code))
    issued = await endpoint.next()
    desk.commands.of("alice").done(issued.id, CommandResult(error="secret-1 is not a code"))
    with pytest.raises(Conflict):
        await asked
    assert "login-code failed" in caplog.text
    assert "secret-1" not in caplog.text


@pytest.mark.parametrize("code", ["", " ", "a\nb", "a\x1b", "\u0430", "x" * 1001])
def test_what_is_no_code_is_refused_and_not_repeated(code: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^This is not a valid code") as refused:
        check_login_code(code)
    assert len(str(refused.value)) < 200
    check_login_code("a-B_c#d~e.f")
