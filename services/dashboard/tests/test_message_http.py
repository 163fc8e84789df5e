"""The history of messages, threads, reminders and questions over HTTP."""

import pytest

from services.dashboard.tests.conftest import Page
from services.dashboard.tests.fakes.now import NOW
from wire.records.broker import QuestionState


@pytest.fixture
async def inside(page: Page) -> Page:
    await page.log_in()
    return page


async def ids(page: Page, query: str) -> tuple[list[int], bool]:
    status, found = await page.get(f"/api/history?{query}")
    assert status == 200
    return [row["id"] for row in found["messages"]], found["more"]


async def test_the_history_has_pages_and_filters(inside: Page) -> None:
    broker = inside.hive.broker
    for number in range(1, 131):
        broker.add("alice" if number % 2 else "bob", "manager", f"text {number}")
    broker.add("alice", "operator", "six times seven", kind="reminder")
    broker.park(broker.add("bob", "operator", "six"))
    assert await ids(inside, "limit=120&before=131") == ([*range(11, 131)], True)
    assert await ids(inside, "limit=120&before=11") == ([*range(1, 11)], False)
    assert await ids(inside, "agent=bob&after=126") == ([128, 130, 132], False)
    assert await ids(inside, "to=operator") == ([131, 132], False)
    assert await ids(inside, "text=six+seven") == ([131], False)
    assert await ids(inside, "kind=reminder") == ([131], False)
    assert await ids(inside, "state=dead") == ([132], False)
    assert await ids(inside, f"since={NOW + 130}&until={NOW + 132}") == ([130, 131], False)


@pytest.mark.parametrize(
    "query",
    ["state=gone", "limit=0", "limit=999", "before=x", "agent=A%00", "nothing=1", "kind=a&kind=b"],
)
async def test_a_filter_that_is_not_valid_is_refused(inside: Page, query: str) -> None:
    status, answer = await inside.get(f"/api/history?{query}")
    assert status == 400
    assert answer["error"]


async def test_a_thread_has_what_is_answered_and_the_answers_in_pages(inside: Page) -> None:
    broker = inside.hive.broker
    first = broker.add("operator", "alice", "first")
    broker.add("bob", "alice", "another")
    second = broker.add("alice", "operator", "second", in_reply_to=first)
    third = broker.add("operator", "alice", "third", in_reply_to=second)
    other = broker.add("operator", "alice", "also", in_reply_to=first)
    broker.add("bob", "alice", "another", in_reply_to=2)
    status, found = await inside.get(f"/api/messages/{second}/thread")
    assert status == 200
    assert [row["id"] for row in found["messages"]] == [first, second, third, other]
    assert not found["more"]
    assert (await inside.get("/api/messages/77/thread"))[0] == 404
    # An answer is found after however many other messages.
    for _ in range(1100):
        broker.add("alice", "bob", "much")
    late = broker.add("operator", "alice", "late", in_reply_to=third)
    for query, wanted, more in (
        ("limit=3", [third, other, late], True),
        (f"limit=3&before={third}", [first, second], False),
        ("", [first, second, third, other, late], False),
    ):
        found = (await inside.get(f"/api/messages/{second}/thread?{query}"))[1]
        assert ([row["id"] for row in found["messages"]], found["more"]) == (wanted, more)
    assert (await inside.get(f"/api/messages/{second}/thread?before=1"))[1]["messages"] == []
    assert (await inside.get(f"/api/messages/{second}/thread?after=1"))[0] == 400


async def test_several_messages_are_marked_as_read(inside: Page) -> None:
    broker = inside.hive.broker
    numbers = [broker.arrive("alice", "operator", "x") for _ in range(3)]
    assert (await inside.post("/api/messages/read", {"ids": numbers[:2]}))[0] == 200
    assert broker.read == numbers[:2]
    for ids_ in ([], [0], ["1"], [2**63]):
        assert (await inside.post("/api/messages/read", {"ids": ids_}))[0] == 400


async def test_questions_and_reminders_are_cancelled(inside: Page) -> None:
    broker = inside.hive.broker
    asked = broker.ask("alice", "bob", "Is it you?")
    number = broker.remind("alice", NOW + 10**12, "y" * 5000, "/state/x")
    tables = await inside.until(lambda t: t["reminders"] and t["questions"])
    row = tables["reminders"][str(number)]
    assert (len(row["body"]), row["length"], row["file"]) == (4096, 5000, "/state/x")
    assert (await inside.get(f"/api/reminders/{number}"))[1] == {"body": "y" * 5000}
    assert (await inside.get("/api/reminders/77"))[0] == 404
    assert (await inside.post(f"/api/questions/{asked}/cancel"))[0] == 200
    assert (await inside.post(f"/api/reminders/{number}/cancel"))[0] == 200
    tables = await inside.until(
        lambda t: not t["reminders"] and t["questions"][str(asked)]["state"] == "cancelled"
    )
    assert broker.questions[asked - 1].state is QuestionState.CANCELLED
    assert (await inside.post("/api/reminders/77/cancel"))[0] == 404


async def test_an_answer_in_other_words_is_given_as_such(inside: Page) -> None:
    broker = inside.hive.broker
    for _ in range(2):
        broker.ask("alice", "operator", "Which?", "red", "blue")
    broker.ask("system", "operator", "Go on?", "yes", "no")
    tables = await inside.until(lambda t: len(t["questions"]) == 3)
    assert [tables["questions"][key]["own"] for key in ("1", "2", "3")] == [True, True, False]
    await inside.post("/api/questions/1/answer", {"answer": ["red"]})
    await inside.post("/api/questions/2/answer", {"answer": ["green"], "own": True})
    assert broker.freely == [2]
