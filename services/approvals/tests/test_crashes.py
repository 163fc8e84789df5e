"""Each step of each story fails once, or kills the process; everything agrees in the end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from services.approvals.store import Store
from services.approvals.tests.faults import Killed, unavailable
from services.approvals.tests.room import MANAGER, Room, memory
from wire.errors import HiveError
from wire.records.approvals import ApprovalState

CONFIG = 'model = "x"\n'


class Story(Room):
    """A room whose steps fail. A failed call is repeated, as a person would repeat it."""

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        for _ in range(3):
            try:
                return await self.do(question())
            except Killed:
                await self.revive()
            except HiveError:
                # A call that failed may have taken effect all the same: then it is refused now.
                if not self.faults.struck:
                    raise
        return None

    async def go_on(self) -> None:
        """Work until all jobs have ended."""
        busy = True
        while busy:
            try:
                await self.rest()
                busy = self.lifecycle.end_all()
            except Killed:
                await self.revive()

    async def changed(self) -> None:
        """Make a change, at which failed work is tried again."""
        for _ in range(2):
            with suppress(Killed):
                self.controller.lifecycle_appeared()
            await self.go_on()

    async def revive(self) -> None:
        while True:
            with suppress(Killed):
                await self.start()
                return

    @property
    def last(self) -> ApprovalState:
        return self.store.find()[-1].state

    async def apply(self, agent: str, text: str) -> str:
        """Request a configuration on top of what is deployed; return the commit."""
        with self.faults.off():
            commit = await self.propose(agent, text)
        await self.ask(lambda: self.approvals.request_apply(MANAGER, agent, commit, "faster"))
        return commit

    async def approve(self, number: int) -> None:
        await self.ask(lambda: self.yes(number))

    async def settle(self, agent: str) -> None:
        """Approve the last request for `agent`, and work until it has ended."""
        number = self.store.find(agent=agent)[-1].id
        with suppress(HiveError):
            await self.approve(number)
        await self.changed()


async def _adopted(room: Story) -> None:
    room.lifecycle.agents["carol"] = ""
    await room.changed()
    assert room.tags("carol") == {"deployed/0"}


async def _spawn(room: Story) -> None:
    await room.ask(lambda: room.approvals.request_spawn(MANAGER, "bob", "docs", CONFIG))
    await room.settle("bob")
    assert room.git.applied["bob"].commits[room.lifecycle.agents["bob"]].text == CONFIG


async def _failed_spawn(room: Story) -> None:
    room.lifecycle.endings["bob"] = ("failed", "There is no room.")
    await room.ask(lambda: room.approvals.request_spawn(MANAGER, "bob", "docs"))
    await room.settle("bob")
    assert room.lifecycle.agents == {"alice": ""}


async def _deploy(room: Story) -> None:
    commit = await room.apply("alice", CONFIG)
    await room.settle("alice")
    assert room.lifecycle.agents["alice"] == commit


async def _failed_deploy(room: Story) -> None:
    room.lifecycle.endings["alice"] = ("failed", "It does not build.\n" + "line\n" * 50)
    await room.apply("alice", CONFIG)
    await room.settle("alice")
    assert room.last is ApprovalState.FAILED
    assert room.lifecycle.agents["alice"] == ""


async def _hurried(room: Story) -> None:
    """A deploy stops waiting for the end of a turn."""
    commit = await room.apply("alice", CONFIG)
    number = room.store.find(agent="alice")[-1].id
    with suppress(HiveError):
        await room.approve(number)
    with suppress(HiveError):
        await room.ask(lambda: room.yes(number, now=True))
    await room.changed()
    assert room.lifecycle.agents["alice"] == commit


async def _denied(room: Story) -> None:
    await room.apply("alice", CONFIG)
    number = room.store.find()[-1].id
    with suppress(HiveError):
        await room.ask(lambda: room.no(number, "no"))
    await room.changed()
    assert room.state(number) is ApprovalState.DENIED
    assert room.git.applied["alice"].notes[f"denied/{number}"] == "no"


async def _withdrawn(room: Story) -> None:
    await room.apply("alice", CONFIG)
    number = room.store.find()[-1].id
    with suppress(HiveError):
        await room.ask(lambda: room.approvals.withdraw(MANAGER, number))
    await room.changed()
    assert room.state(number) is ApprovalState.WITHDRAWN


async def _replaced(room: Story) -> None:
    for text in ("a = 1\n", CONFIG):
        await room.apply("alice", CONFIG + f"# {text}")
    await room.settle("alice")
    states = [row.state for row in room.store.find()]
    assert set(states[:-1]) == {ApprovalState.SUPERSEDED}
    assert states[-1] is ApprovalState.DEPLOYED


async def _overtaken(room: Story) -> None:
    """A request is made while another one is built, and is not based on that one."""
    first = await room.apply("alice", CONFIG)
    number = room.store.find()[-1].id
    with suppress(HiveError):
        await room.approve(number)
    with suppress(HiveError):
        await room.apply("alice", CONFIG + "# other\n")
    await room.changed()
    rows = {row.commit: row.state for row in room.store.find()}
    assert rows.pop(first) is ApprovalState.DEPLOYED
    assert set(rows.values()) <= {ApprovalState.SUPERSEDED}


async def _reverted(room: Story) -> None:
    await _deploy(room)
    await room.ask(lambda: room.approvals.revert("operator", "alice", "deployed/0"))
    await room.settle("alice")
    assert room.lifecycle.agents["alice"] == room.git.applied["alice"].refs["refs/tags/deployed/0"]


async def _purged(room: Story) -> None:
    await room.apply("alice", CONFIG)
    room.lifecycle.destroy("alice", purge=True)
    await room.changed()
    assert room.git.applied == {}
    assert room.last is ApprovalState.WITHDRAWN


async def _taken_up(room: Story) -> None:
    """An agent that was destroyed comes back with what it had."""
    await _deploy(room)
    commit = room.lifecycle.agents["alice"]
    room.lifecycle.destroy("alice", purge=False)
    await room.changed()
    await room.ask(lambda: room.approvals.request_spawn(MANAGER, "alice", "again"))
    await room.settle("alice")
    assert room.lifecycle.agents["alice"] == commit


async def _several(room: Story) -> None:
    """Requests of several agents are carried out at once, and one of them fails."""
    room.lifecycle.agents["carol"] = ""
    await room.changed()
    room.lifecycle.endings["carol"] = ("failed", "No.")
    for agent in ("alice", "carol"):
        await room.apply(agent, CONFIG)
    for row in room.store.find(state=ApprovalState.PENDING):
        with suppress(HiveError):
            await room.approve(row.id)
    await room.go_on()


def _empty() -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "empty.sqlite"
        Store(path).close()
        return path.read_bytes()


EMPTY = _empty()
"""A store without requests, copied because making one takes long."""

STORIES = [
    _adopted, _spawn, _failed_spawn, _deploy, _failed_deploy, _hurried, _denied, _withdrawn,
    _replaced, _overtaken, _reverted, _purged, _taken_up, _several,
]  # fmt: skip
SHORT = (_several, _deploy, _spawn)
"""The stories that are told with each change; the long tests tell the others, too."""


@asynccontextmanager
async def _room() -> AsyncIterator[Story]:
    with TemporaryDirectory(dir=memory()) as directory:
        room = Story(Path(directory) / "approvals.sqlite")
        room.path.write_bytes(EMPTY)
        try:
            await room.start()
            await room.agent()
            yield room
        finally:
            room.close()


async def _tell(room: Story, story: Callable[[Story], Awaitable[None]]) -> None:
    await story(room)
    await room.changed()
    await room.check()


@pytest.mark.parametrize(
    "story",
    [one if one in SHORT else pytest.param(one, marks=pytest.mark.long) for one in STORIES],
)
@pytest.mark.parametrize("fails", [Killed, pytest.param(unavailable, marks=pytest.mark.long)])
async def test_a_fault_at_any_step_ends_in_agreement(
    story: Callable[[Story], Awaitable[None]], fails: Callable[[], BaseException]
) -> None:
    async with _room() as room:
        begun = len(room.faults.steps)
        room.faults.fails = fails
        await _tell(room, story)
        steps = len(room.faults.steps)
    assert steps > begun + 15
    for fatal in range(begun, steps):
        async with _room() as room:
            room.faults.fails = fails
            room.faults.fatal = fatal
            try:
                await _tell(room, story)
            except Exception as error:
                raise AssertionError(f"step {fatal}, {room.faults.steps[fatal]}") from error


async def test_a_missing_tag_is_noticed() -> None:
    """All tests above rely on this check."""
    async with _room() as room:
        await _tell(room, _deploy)
        room.git.applied["alice"].refs.pop("refs/tags/approved/1")
        with pytest.raises(AssertionError):
            await room.check()
