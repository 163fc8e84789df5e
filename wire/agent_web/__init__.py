"""The client of an agent's web.sock, on which its harness shows what it does.

    web = AgentWeb()
    state = await web.state("alice")
    async for shown in web.follow("alice", after=state.last_seq):
        match shown:
            case Event(): ...
            case State() | Partial(): ...

`AgentWeb.get` and `AgentWeb.stream` return the plain JSON for callers that pass it on. A hostile
agent may send anything on the socket: each answer is bounded in size and time, and its texts must
be escaped where they are shown (wire.text).
"""

from wire.agent_web.client import AgentWeb
from wire.agent_web.records import (
    Day,
    Event,
    Events,
    Journal,
    JournalLine,
    Partial,
    State,
    Step,
    Turn,
    Turns,
)

__all__ = [
    "AgentWeb",
    "Day",
    "Event",
    "Events",
    "Journal",
    "JournalLine",
    "Partial",
    "State",
    "Step",
    "Turn",
    "Turns",
]
