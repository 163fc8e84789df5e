"""The records of turns that the agents' harnesses keep inside the containers."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.chaos.evidence import Evidence, Seen
from services.endpoint.jsonvalues import JsonObject
from wire.names import OWN_TOOLS

DATA: Final = Path("/var/lib/hyperhive/agents")
_HEAD: Final = re.compile(r'^<message-\w+ id="(\d+)"[^>\n]*>$', re.MULTILINE)
_COUNT: Final = re.compile(r'redelivered="(\d+) times"')
SEND: Final = f"{OWN_TOOLS}send"


def add_to(evidence: Evidence, agent: str, began: float) -> None:
    """Add the messages that woke `agent`, and the results of its sends, since `began`."""
    path = DATA / agent / "state/hyperhive-events.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT at, type, data FROM events WHERE at >= ? ORDER BY id", (began,))
        events = [(at, kind, json.loads(data)) for at, kind, data in rows]
    for at, kind, data in events:
        if kind in ("wake", "urgent"):
            evidence.seen += wakes(f"harness of {agent}", int(at * 1e9), data["prompt"])
    evidence.results += sends(agent, [(kind, data) for _, kind, data in events])


def wakes(client: str, at: int, prompt: str) -> Iterator[Seen]:
    for head in _HEAD.finditer(prompt):
        count = _COUNT.search(head[0])
        yield Seen(client, at, int(head[1]), int(count[1]) if count else 0)


def sends(agent: str, events: list[tuple[str, JsonObject]]) -> Iterator[tuple[str, int, str]]:
    """Return agent, id and body of each send whose answer its model has seen."""
    bodies: dict[str, str] = {}
    for kind, data in events:
        if kind == "tool-use" and data["tool"] == SEND:
            bodies[data["id"]] = data["input"]["body"]
        elif kind == "tool-result" and data["id"] in bodies and not data["error"]:
            yield agent, json.loads(data["content"])["id"], bodies[data["id"]]
