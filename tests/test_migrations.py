"""A migration step is never edited once it has landed: add another step instead.

A store that was made by the earlier text would never get the changes of the later one.
"""

import hashlib
from collections.abc import Sequence

import pytest

from services.approvals import store
from services.broker.storage import schema
from services.ledger.storage.database import MIGRATIONS as LEDGER_MIGRATIONS
from services.lifecycle.store import MIGRATIONS as LIFECYCLE_MIGRATIONS
from services.notify.store import MIGRATIONS as NOTIFY_MIGRATIONS
from services.projects.changes.store import MIGRATIONS as CHANGES_MIGRATIONS
from services.projects.store import MIGRATIONS as PROJECTS_MIGRATIONS

STORES = {
    "approvals": store.MIGRATIONS,
    "broker": schema.FORMAT.steps,
    "changes": CHANGES_MIGRATIONS,
    "ledger": LEDGER_MIGRATIONS,
    "lifecycle": LIFECYCLE_MIGRATIONS,
    "notify": NOTIFY_MIGRATIONS,
    "projects": PROJECTS_MIGRATIONS,
}
LANDED = {
    "approvals": ["02dc1f7c587781d0", "52014b092b133409"],
    "broker": [
        "3757bc86e6fbf0ed",
        "4540275168df15c2",
        "a0df7dc9c2178b3a",
        "13e2da806a8bf608",
        "46dc1d8f45140816",
        "c510c0ea2dbbe366",
        "5d84bf4412669e74",
        "e0b9e4d42477ca94",
    ],
    "ledger": ["1b1662b4a8841ed9", "0c3f26606955c1a9", "9466ac98fe704cf4"],
    "lifecycle": [
        "2654f076b6effe2f",
        "efd657451b18686e",
        "089d6070ac9c1bfa",
        "559e9d9a11748096",
        "dfe4fff17c8d20dc",
        "2e0cdcd39d48e484",
    ],
    "notify": ["c40f83c640198d14"],
    "projects": ["c35ef47823548bbd", "ea17160bc8ace687"],
    "changes": ["ef7191e0d29fc85b"],
}


@pytest.mark.parametrize("room", STORES)
def test_what_has_landed_is_as_it_was(room: str) -> None:
    steps: Sequence[str] = STORES[room]
    marks = [hashlib.sha256(step.encode()).hexdigest()[:16] for step in steps]
    landed = LANDED[room]
    assert marks[: len(landed)] == landed, "a step was edited: take it back, and add another one"
    assert len(marks) == len(landed), "add the new step's mark here: from now on it stays"
