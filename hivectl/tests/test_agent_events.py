"""The pages of events of a harness that answers without end."""

from collections.abc import Mapping
from typing import Any

import pytest

from hivectl.clients.agent_events import MOST, MOST_BYTES, MOST_PAGES, PAGE, AgentEvents
from wire.agent_web import AgentWeb
from wire.agent_web.client import JsonObject
from wire.agent_web.http import MAX_BODY
from wire.errors import HiveError, LimitExceeded, Unavailable

NO_BUS: Any = None
"""Pages come without the bus."""


class Endless(AgentWeb):
    """A harness that answers each question with so many events, with falling numbers."""

    def __init__(self, data: object, count: int = 1) -> None:
        super().__init__()
        self.data: Any = data
        self.count = count
        self.asked = 0

    async def get(
        self, agent: str, path: str, query: Mapping[str, str | int] | None = None
    ) -> JsonObject:
        self.asked += 1
        assert self.asked <= 2 * MOST_PAGES, "it is asked without end"
        seq = 10**9 - self.asked * self.count
        return {"events": [{"seq": seq + n, "data": self.data} for n in range(self.count)]}


def deep() -> object:
    found: Any = []
    for _ in range(3000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("data", "most", "error", "words"),
    [
        ("x" * (MAX_BODY - 100), MOST_BYTES // MAX_BODY + 1, LimitExceeded, "more than 48 MiB"),
        ("x", MOST_PAGES + 1, Unavailable, "sent an answer that is not valid"),
        (deep(), 1, Unavailable, "sent an answer that is not valid"),
    ],
    ids=["large", "small", "deep"],
)
async def test_pages_without_end_end(
    data: object, most: int, error: type[HiveError], words: str
) -> None:
    web = Endless(data)
    with pytest.raises(error, match=words):
        await AgentEvents(NO_BUS, web, "alice").newest(MOST)
    assert web.asked <= most


async def test_the_most_events_of_a_turn_are_read() -> None:
    web = Endless("x" * 2000, PAGE)
    assert len(await AgentEvents(NO_BUS, web, "alice").newest(MOST)) == MOST
    assert web.asked == MOST // PAGE
