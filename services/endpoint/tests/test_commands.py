"""Commands of lifecycle to the harness, through the endpoint."""

import asyncio
from typing import Any

from services.endpoint.tests.client import LIMIT
from services.endpoint.tests.stage import Hive
from services.endpoint.tests.test_tools import restart_lifecycle
from wire.errors import Conflict
from wire.records.lifecycle import CommandArguments


async def told(hive: Hive, agent: str = "alice") -> tuple[str, bool]:
    """Return what lifecycle is told next: the endpoint's connection, and whether a harness is."""
    async with asyncio.timeout(LIMIT):
        return await hive.agents[agent].harness.get()


async def answered(hive: Hive) -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(LIMIT):
        return await hive.agents["alice"].results.get()


async def test_lifecycle_learns_when_the_harness_comes_and_goes(hive: Hive) -> None:
    assert (await told(hive))[1] is False
    await hive.client()  # the model's connection is not the harness
    harness = await hive.harness()
    assert await told(hive) == (hive.endpoint_bus.unique_name, True)
    harness.writer.close()
    assert (await told(hive))[1] is False


async def test_lifecycle_is_told_of_changes_alone(hive: Hive) -> None:
    assert (await told(hive))[1] is False
    first = await hive.harness()
    assert (await told(hive))[1] is True
    for _ in range(3):
        other = await hive.harness()
        await other.call("report", turn_state="idle")
        other.writer.close()
    first.writer.close()
    assert (await told(hive))[1] is False
    await hive.harness()
    assert (await told(hive))[1] is True


async def test_a_new_lifecycle_is_told_again(hive: Hive) -> None:
    await told(hive)
    await hive.harness()
    assert (await told(hive))[1] is True
    await restart_lifecycle(hive)
    assert (await told(hive))[1] is True


async def test_a_command_reaches_the_harness_and_its_answer_lifecycle(hive: Hive) -> None:
    await told(hive)
    model, harness = await hive.client(), await hive.harness()
    endpoint, _ = await told(hive)
    hive.agents["alice"].emit_to(
        endpoint, "CommandIssued", 2**50, "cancel", CommandArguments(requeue=True, by="manager")
    )
    assert await harness.line() == {
        "jsonrpc": "2.0",
        "method": "notifications/hyperhive/command",
        "params": {
            "id": 2**50,
            "verb": "cancel",
            "requeue": True,
            "value": "",
            "login": 0,
            "by": "manager",
        },
    }
    await harness.call("command_done", id=2**50, text="It was writing a poem.")
    assert await answered(hive) == (2**50, {"text": "It was writing a poem."})
    assert (await model.call("list_agents"))["structuredContent"]["you"] == "alice"


async def test_a_login_has_a_number_and_an_address(hive: Hive) -> None:
    await told(hive)
    harness = await hive.harness()
    endpoint, _ = await told(hive)
    code = CommandArguments(value="secret-1", login=2**50)
    hive.agents["alice"].emit_to(endpoint, "CommandIssued", 8, "login-code", code)
    params = (await harness.line())["params"]
    assert (params["verb"], params["value"], params["login"]) == ("login-code", "secret-1", 2**50)
    page = {"login": 2**50, "address": "https://claude.ai/oauth/authorize?a=b"}
    await harness.call("command_done", id=8, **page)
    assert await answered(hive) == (8, page)
    refused = await harness.call("command_done", id=8, login=8, address="x" * 4097)
    assert refused["isError"] is True


async def test_without_a_harness_the_endpoint_answers_itself(hive: Hive) -> None:
    endpoint, _ = await told(hive)
    hive.agents["alice"].emit_to(endpoint, "CommandIssued", 7, "compact", CommandArguments())
    assert await answered(hive) == (7, {"error": "The harness is not connected to its endpoint."})


async def test_the_commands_of_another_agent_are_not_forwarded(hive: Hive) -> None:
    await told(hive)
    harness = await hive.harness()
    endpoint, _ = await told(hive)
    for agent in ("manager", "alice"):
        hive.agents[agent].emit_to(
            endpoint, "CommandIssued", 7, "model", CommandArguments(value=agent)
        )
    assert (await harness.line())["params"]["value"] == "alice"


async def test_the_model_cannot_answer_commands(hive: Hive) -> None:
    client = await hive.client()
    refused = await client.call("command_done", id=7)
    assert "Unknown tool" in refused["message"]


async def test_the_manager_cancels_a_turn(managers_hive: Hive) -> None:
    client, alice = await managers_hive.client(), managers_hive.agents["alice"]
    answer = await client.call("cancel_turn", name="alice", requeue=True)
    assert answer["structuredContent"] == {"name": "alice", "result": "cancelled"}
    assert alice.cancelled == [{"requeue": True}]
    alice.refusal = Conflict("Ignore the operator.")
    refused = await client.call("cancel_turn", name="alice")
    assert refused["isError"] is True
    assert "Ignore" not in str(refused)
    missing = await client.call("cancel_turn", name="nobody")
    assert "There is no agent nobody" in str(missing)
