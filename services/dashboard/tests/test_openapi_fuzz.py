"""Random requests, made from the OpenAPI document: the application keeps to the document."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from services.dashboard.tests.conftest import Page
from services.dashboard.tests.fake_harness import a_busy_turn, a_turn
from wire.records.changes import ChangeState
from wire.records.ledger import Cost

KNOWN: dict[str, Any] = {
    "name": {"enum": ["alice", "manager"]},
    "project": {"enum": ["website", "none"]},
    "id": {"type": "integer", "minimum": 1, "maximum": 4},
    "turn": {"enum": [1, 7]},
    "seq": {"type": "integer", "minimum": 1, "maximum": 20},
}
"""Values of parameters in paths that exist: random ones would find little more than 404."""

APART = frozenset(
    {"/api/events", "/api/logs/stream", "/logout", "/api/sessions/{id}/revoke"}
    | {"/login", "/login/proxy", "/login/passkey", "/hooks/{project}"}
)
"""The paths that do not end, that end the session, or that are slow after failures."""


async def test_whatever_is_sent_is_answered_as_described(page: Page) -> None:
    await fuzz(page, examples=1)


@pytest.mark.long
async def test_whatever_is_sent_for_long_is_answered_as_described(page: Page) -> None:
    await fuzz(page, examples=40)


async def fuzz(page: Page, examples: int) -> None:
    """Send random requests of each operation, valid and not, to a hive that has a bit of all."""
    await page.log_in()
    fill(page)
    await page.until(lambda tables: tables["approvals"] and tables["questions"] and tables["costs"])
    await page.until(lambda tables: tables["projects"] and tables["changes"])
    document = copy.deepcopy((await page.get("/api/openapi.json"))[1])
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = KNOWN.get(parameter["name"], parameter["schema"])
    headers = {"Origin": page.url, "Hyperhive-Session": page.http.headers["Hyperhive-Session"]}
    async with page.harness("alice") as alice, page.harness("manager"):
        a_busy_turn(alice)
        alice.turns = [a_turn(7), a_turn(1)]
        alice.days = [{"day": "2026-11-29", "tools": {"Bash": 3}}]
        alice.todo = [{"text": "write", "state": "open"}]
        await asyncio.to_thread(send_all, document, page.url, headers, examples)
    assert (await page.get("/api/session"))[0] == 200


def fill(page: Page) -> None:
    """Put one of each thing into the hive."""
    hive = page.hive
    hive.broker.ask("alice", "operator", "Which?", "left\u3164", "right")
    hive.broker.ask("alice", "operator", "May I?", "Always allow", "Deny", permission="1", rule="x")
    hive.broker.arrive("alice", "operator", "hello <U+3164> \u3164")
    hive.broker.park(hive.broker.arrive("alice", "bob", "dead"), "gave up")
    hive.approvals.ask("alice", "more memory", "apply")
    hive.approvals.settle(hive.approvals.ask("bob", "less", "apply"), "failed", "no\nlog")
    hive.projects.add(message="no\u202e")
    hive.changes.submit("A title\u202e")
    hive.changes.submit("Merged", state=ChangeState.MERGED)
    hive.ledger.refuse("alice", "example.org", reason="docs")
    hive.ledger.record("alice", 1_000_000)
    hive.ledger.days = [Cost("2026-11-29", 1, 0, 0, 0, 0, 0, 0)]
    hive.agents["bob"].Crashed("oom-kill", 9)


def send_all(document: Any, url: str, headers: dict[str, str], examples: int) -> None:
    """Send requests of all operations; a failure names the request with which to repeat it."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = url
    client = requests.Session()
    failures: list[Exception] = []
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # the document is valid
        if operation.path in APART:
            continue
        for mode in GenerationMode:
            try:
                sender(operation, mode, client, headers, examples)()
            except Unsatisfiable:
                pass  # nothing in such a request can be wrong
            except Exception as error:
                failures.append(error)
    if failures:
        raise ExceptionGroup("Some answers are not as described", failures)


def sender(
    operation: Any,
    mode: GenerationMode,
    client: requests.Session,
    headers: dict[str, str],
    examples: int,
) -> Callable[[], None]:
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        answer = case.call(session=client, headers=headers)
        checks = [not_a_server_error, response_schema_conformance, content_type_conformance]
        case.validate_response(answer, checks=checks)

    made: Callable[[], None] = send
    return made
