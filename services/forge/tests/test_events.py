"""The events that are told: to whom, and why."""

from typing import Any

import pytest

from services.forge.events import MAX_MENTIONS, Event, Reason, event, mentions
from services.forge.payload import parse
from services.forge.tests.payloads import comment, encoded, issue, pull, repository, user


def found(payload: Any) -> Event | None:
    return event(parse(encoded(payload)))


ALICES = repository("alice")
APPROVED = {"type": "pull_request_review_approved", "content": "good, @bob"}

TOLD = {
    "a comment reaches the author": (
        comment("ok", author="alice"),
        "commented on",
        {"alice": Reason.AUTHOR},
    ),
    "a comment reaches those it mentions, and the owner": (
        comment("see @Alice, @carol.", repository=repository("bob")),
        "commented on",
        {"alice": Reason.MENTIONED, "carol": Reason.MENTIONED, "bob": Reason.OWNER},
    ),
    "a comment reaches the assignees": (
        comment("ok", assignees=[user("alice"), user("bob")]),
        "commented on",
        {"alice": Reason.ASSIGNEE, "bob": Reason.ASSIGNEE},
    ),
    "a comment on a pull request": (
        comment("ok", author="alice", is_pull=True),
        "commented on",
        {"alice": Reason.AUTHOR},
    ),
    "the strongest reason counts": (
        comment("@alice", author="alice", assignees=[user("alice")], repository=ALICES),
        "commented on",
        {"alice": Reason.ASSIGNEE},
    ),
    "a new issue reaches the owner and those it mentions": (
        issue("opened", repository=ALICES, body="@bob"),
        "opened",
        {"alice": Reason.OWNER, "bob": Reason.MENTIONED},
    ),
    "an assignment": (
        issue("assigned", assignees=[user("alice")], author="bob"),
        "assigned",
        {"alice": Reason.ASSIGNEE},
    ),
    "the end of an issue": (issue("closed", author="alice"), "closed", {"alice": Reason.AUTHOR}),
    "a reopened issue": (issue("reopened", author="bob"), "reopened", {"bob": Reason.AUTHOR}),
    "a new pull request reaches the reviewers": (
        pull("opened", requested_reviewers=[user("alice")], repository=repository("bob")),
        "opened",
        {"alice": Reason.REVIEWER, "bob": Reason.OWNER},
    ),
    "a request for a review reaches the one who is asked": (
        pull("review_requested", asked="alice", requested_reviewers=[user("bob"), user("alice")]),
        "requested a review of",
        {"alice": Reason.REVIEWER},
    ),
    "a review reaches the author": (
        pull("reviewed", author="alice", review=APPROVED, repository=repository("carol")),
        "approved",
        {"alice": Reason.AUTHOR, "bob": Reason.MENTIONED},
    ),
    "new commits reach the reviewers": (
        pull("synchronized", by="alice", author="alice", requested_reviewers=[user("bob")]),
        "pushed commits to",
        {"bob": Reason.REVIEWER},
    ),
    "a merge": (
        pull("closed", author="alice", merged=True, state="closed"),
        "merged",
        {"alice": Reason.AUTHOR},
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_it_is_told(name: str) -> None:
    payload, does, concerned = TOLD[name]
    told = found(payload)
    assert told is not None
    assert told.does == does
    assert told.concerns == concerned


@pytest.mark.parametrize(
    "payload",
    [
        comment("x", action="edited"),
        comment("x", action="deleted"),
        issue("label_updated"),
        issue("edited"),
        issue("unassigned"),
        pull("review_request_removed", asked="alice"),
        pull("reviewed", review={"type": "pull_request_review_unknown", "content": ""}),
        {"ref": "refs/heads/main", "commits": [], "repository": repository(), "pusher": user("a")},
        {"action": "created", "repository": repository(), "sender": user("ann")},
        {"action": "opened", "issue": issue("opened")["issue"]},
        {},
    ],
)
def test_other_events_are_told_to_nobody(payload: Any) -> None:
    assert found(payload) is None


def test_nobody_is_told_of_its_own_act() -> None:
    told = found(comment("I am @alice", by="Alice", author="alice", repository=ALICES))
    assert told is not None
    assert told.concerns == {}


def test_the_page_is_that_of_the_comment() -> None:
    told = found(comment("x"))
    assert told is not None
    assert told.url.endswith("/ann/site/issues/4#issuecomment-21")


@pytest.mark.parametrize(
    ("text", "accounts"),
    [
        ("@alice: look, @bob-2 and (@carol)", ["alice", "bob-2", "carol"]),
        ("@Alice @ALICE", ["alice"]),
        ("@alice.", ["alice"]),
        ("mail ann@alice.example, a/@bob, `@carol`, x@@dora", []),
        ("@\u0430lice @ alice", []),
    ],
)
def test_mentions(text: str, accounts: list[str]) -> None:
    assert mentions(text) == accounts


def test_mentions_are_bounded() -> None:
    assert len(mentions(" ".join(f"@a{n}" for n in range(5000)))) == MAX_MENTIONS


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"[]", "the body: "),
        (b"{", "the body: "),
        (b"[" * 100_000, "the body: "),
        (b"\xff", "the body: "),
        (encoded({"issue": {"number": 0}}), "issue.number: "),
        (encoded({"issue": {"number": "x"}}), "issue.number: "),
        (encoded({"repository": {"full_name": ["x"]}}), "repository.full_name: "),
        (encoded({"issue": {"number": 1, "assignees": [{}] * 1000}}), "issue.assignees: "),
        (encoded({"sender": {"login": "x" * 300}}), "sender.login: "),
    ],
)
def test_a_payload_that_is_none_is_refused_with_its_place(body: bytes, where: str) -> None:
    with pytest.raises(ValueError, match=": ") as raised:
        parse(body)
    assert str(raised.value).startswith(where)
