"""Questions of Claude Code and forms of MCP servers, with a fake hive and without Claude Code."""

import asyncio
import json
from typing import Any

import pytest

from harness.tests.fake_operator import Operator
from harness.tests.hive import Hive

COLOURS = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [
        {"label": "Red", "description": "as the old one"},
        {"label": "Blue", "description": "new"},
    ],
}
SIZES = COLOURS | {"question": "Which sizes?", "multiSelect": True}


async def test_claude_codes_own_questions_are_asked_all_at_once(
    operator: Operator, hive: Hive
) -> None:
    task = operator.decide("AskUserQuestion", {"questions": [COLOURS, SIZES]})
    first, second = await operator.asked(2)
    assert first["question"] == ("Which colour?\n\nRed:\n    as the old one\n\nBlue:\n    new")
    assert first["options"] == ["Red", "Blue", "I do not answer"]
    assert (first["multi"], second["multi"]) == (False, True)
    await hive.answer(0, "Green, please")
    await hive.answer(1, "Blue", "Red")
    result = await task
    assert result.updated_input["answers"] == {
        "Which colour?": "Green, please",
        "Which sizes?": "Blue, Red",
    }
    assert result.updated_input["questions"] == [COLOURS, SIZES]


async def test_declining_one_question_takes_the_others_back(operator: Operator, hive: Hive) -> None:
    task = operator.decide("AskUserQuestion", {"questions": [COLOURS, SIZES]})
    await operator.asked(2)
    await hive.answer(0, "I do not answer", "ask the manager")
    assert (await task).message == (
        "AskUserQuestion was not run: the operator declines, and says: ask the manager."
    )
    await hive.until(lambda: hive.open_questions == [])


@pytest.mark.parametrize(
    "questions",
    [
        None,
        [],
        [COLOURS] * 11,
        [{"question": ""}],
        ["x"],
        [COLOURS | {"options": [{"label": "a"}, {"label": "a"}]}],
        [COLOURS | {"options": [{"label": "x" * 201}]}],
        [COLOURS | {"options": [{"label": str(i)} for i in range(30)]}],
    ],
)
async def test_questions_that_cannot_be_asked(
    operator: Operator, hive: Hive, questions: Any
) -> None:
    denied = await operator.decide("AskUserQuestion", {"questions": questions})
    assert denied.message.startswith("AskUserQuestion was not run: ")
    assert hive.questions == []


def form(**properties: Any) -> dict[str, Any]:
    return {
        "mcp_server_name": "booking",
        "message": "Who are you?\nMay I use Bash?",
        "mode": "form",
        "requested_schema": {"type": "object", "properties": properties, "required": ["name"]},
    }


def output(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result["hookSpecificOutput"]
    assert json.loads(result["systemMessage"])["hookSpecificOutput"] == found
    return found


async def test_a_form_of_an_mcp_server_becomes_questions(operator: Operator, hive: Hive) -> None:
    request = form(
        name={"type": "string", "title": "Your name", "minLength": 2},
        guests={"type": "integer", "minimum": 1, "maximum": 4},
        room={"type": "string", "enum": ["s", "d"], "enumNames": ["Single", "Double"]},
        pets={"type": "boolean", "description": "Dogs or cats"},
        extras={"type": "array", "items": {"anyOf": [{"const": 1, "title": "Breakfast"}]}},
        note={"type": "string"},
    )
    task = asyncio.create_task(operator.permissions.elicit(request, None, None))
    name, guests, room, pets, extras, _ = await operator.asked(6)
    assert name["question"] == (
        "The MCP server booking asks:\n    Who are you?\n    May I use Bash?\n\n"
        "Your name:\n    Answer with a text, at least 2 characters."
    )
    assert name["options"] == ["I do not answer"]
    assert guests["options"] == ["Leave this out", "I do not answer"]
    assert room["options"][:2] == ["Single", "Double"]
    assert pets["options"][:2] == ["Yes", "No"]
    assert extras["multi"] is True
    assert 500 < name["ttl_seconds"] < 600, "less than the limit of the tool call"
    await hive.answer(0, "Bob")
    await hive.answer(1, "five")
    await hive.answer(2, "Double")
    await hive.answer(3, "No")
    await hive.answer(4, "Breakfast")
    await hive.answer(5, "Leave this out")
    await operator.asked(7)
    assert hive.questions[6]["question"].endswith(
        "Your answer was not accepted: 'five' is not a whole number."
    )
    await hive.answer(6, "4")
    assert output(await task) == {
        "hookEventName": "Elicitation",
        "action": "accept",
        "content": {"name": "Bob", "guests": 4, "room": "d", "pets": False, "extras": [1]},
    }


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (form() | {"mode": "url", "url": "http://x/"}, "which the hive does not do"),
        (form(), "has no fields"),
        (form() | {"requested_schema": None}, "has no fields"),
        (form(**{f"f{n}": {"type": "string"} for n in range(11)}), "has 11 fields, more than 10"),
        (form(name={"type": "object"}), "has the type 'object'"),
        (
            form(name={"type": "array", "items": {"type": "string"}}),
            "is a list without an enumeration",
        ),
        (form(name=3), "not described by an object"),
    ],
)
async def test_a_form_that_cannot_be_asked_is_declined_with_a_sentence(
    operator: Operator, hive: Hive, request_: dict[str, Any], words: str
) -> None:
    result = await operator.permissions.elicit(request_, None, None)
    assert output(result) == {"hookEventName": "Elicitation", "action": "decline"}
    assert operator.notes[-1]["type"] == "denied"
    assert words in operator.notes[-1]["reason"]
    assert hive.questions == []


@pytest.mark.parametrize(
    ("field", "answer", "words"),
    [
        ({"type": "string", "minLength": 3}, "Bo", "has 2 characters; use at least 3 characters"),
        (
            {"type": "integer", "minimum": 1, "maximum": 4},
            "5",
            "5 is out of bounds; use at least 1 and at most 4",
        ),
        ({"type": "number"}, "nan", "nan is out of bounds; use a finite number"),
    ],
)
async def test_the_refusal_of_an_answer_names_the_rule(
    operator: Operator, hive: Hive, field: dict[str, Any], answer: str, words: str
) -> None:
    task = asyncio.create_task(operator.permissions.elicit(form(name=field), None, None))
    await operator.asked(1)
    await hive.answer(0, answer)
    await operator.asked(2)
    assert words in hive.questions[1]["question"]
    await hive.answer(1, "I do not answer")
    await task


async def test_a_form_is_declined_by_the_operator_and_after_wrong_answers(
    operator: Operator, hive: Hive
) -> None:
    request = form(name={"type": "number"})
    task = asyncio.create_task(operator.permissions.elicit(request, None, None))
    await operator.asked(1)
    await hive.answer(0, "I do not answer")
    assert output(await task)["action"] == "decline"
    task = asyncio.create_task(operator.permissions.elicit(request, None, None))
    for number in (1, 2, 3):
        await operator.asked(number + 1)
        await hive.answer(number, "nan")
    assert output(await task)["action"] == "decline"
    assert operator.notes[-1]["reason"] == "the operator's answer was not accepted 3 times"
