"""The events of the forge of which agents are told: which ones, and whom each concerns."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from services.forge.payload import Payload, Repository, Subject, User


class Reason(StrEnum):
    """The reason why an event concerns an account, the strongest first."""

    REVIEWER = "your review is requested"
    ASSIGNEE = "it is assigned to you"
    OWNER = "the repository is yours"
    AUTHOR = "you opened it"
    MENTIONED = "it mentions you"

    @property
    def sees_text(self) -> bool:
        """Whether an account with this reason may read a private repository for certain.

        An account that is mentioned may have no access, and who opened something may have it no
        more.
        """
        return self in (Reason.REVIEWER, Reason.ASSIGNEE, Reason.OWNER)


@dataclass(frozen=True, slots=True)
class Event:
    """An event."""

    does: str
    """The act of the user, in words: `commented on`."""
    actor: str
    """The account that acts; empty if the payload does not tell."""
    repository: Repository
    subject: Subject
    is_pull: bool
    text: str
    """The text of the user, or ""."""
    url: str
    """The page of the event, or ""."""
    concerns: dict[str, Reason]
    """The strongest reason for each account that the event concerns, in lower case."""


_MENTION: Final = re.compile(r"(?<![\w/@`.-])@([A-Za-z0-9_][A-Za-z0-9._-]{0,39})", re.ASCII)

_ALL: Final = frozenset(Reason)
_TAKERS: Final = frozenset({Reason.ASSIGNEE, Reason.OWNER, Reason.AUTHOR})
_REVIEWED: Final = frozenset({Reason.ASSIGNEE, Reason.AUTHOR, Reason.MENTIONED})


class _Kind(NamedTuple):
    """A kind of event that is told."""

    does: str
    """The act in words."""
    reasons: frozenset[Reason]
    """The reasons that count."""
    text: str = ""
    url: str = ""


_REVIEWS: Final = {
    "pull_request_review_approved": "approved",
    "pull_request_review_rejected": "requested changes to",
    "pull_request_review_comment": "commented on the changes of",
}
_CHANGES: Final = {
    "opened": _Kind("opened", _ALL - {Reason.AUTHOR}),
    "reopened": _Kind("reopened", _TAKERS),
    "closed": _Kind("closed", _TAKERS),
    "assigned": _Kind("assigned", frozenset({Reason.ASSIGNEE})),
    "review_requested": _Kind("requested a review of", frozenset({Reason.REVIEWER})),
    "synchronized": _Kind("pushed commits to", frozenset({Reason.REVIEWER})),
}
MAX_MENTIONS: Final = 100


def event(payload: Payload) -> Event | None:
    """Return the event in `payload`; None for one that no agent is told of."""
    subject = payload.pull_request or payload.issue
    repository = payload.repository
    kind = _kind(payload, subject) if subject is not None else None
    if repository is None or subject is None or kind is None:
        return None
    return Event(
        kind.does,
        _login(payload.sender),
        repository,
        subject,
        payload.pull_request is not None or payload.is_pull,
        kind.text,
        kind.url or subject.html_url,
        _concerned(payload, repository, subject, kind),
    )


def _kind(payload: Payload, subject: Subject) -> _Kind | None:
    action, comment, review = payload.action, payload.comment, payload.review
    if comment is not None:
        if action != "created":
            return None
        return _Kind("commented on", _TAKERS | {Reason.MENTIONED}, comment.body, comment.html_url)
    if review is not None:
        does = _REVIEWS.get(review.type)
        return _Kind(does, _REVIEWED, review.content) if does else None
    kind = _CHANGES.get(action)
    if kind is not None and action == "opened":
        return kind._replace(text=subject.body)
    if kind is not None and action == "closed" and subject.merged:
        return kind._replace(does="merged")
    return kind


def _concerned(
    payload: Payload, repository: Repository, subject: Subject, kind: _Kind
) -> dict[str, Reason]:
    asked = (payload.requested_reviewer,) if payload.requested_reviewer else ()
    accounts: dict[Reason, Iterable[str]] = {
        # A request for a review names the one who is asked; those asked before were told then.
        Reason.REVIEWER: map(_login, asked or subject.requested_reviewers),
        Reason.ASSIGNEE: map(_login, subject.assignees),
        Reason.OWNER: (_login(repository.owner),),
        Reason.AUTHOR: (_login(subject.user),),
        Reason.MENTIONED: mentions(kind.text),
    }
    found: dict[str, Reason] = {}
    for reason in Reason:
        if reason in kind.reasons:
            for account in accounts[reason]:
                found.setdefault(account.lower(), reason)
    for nobody in ("", _login(payload.sender).lower()):
        found.pop(nobody, None)  # nobody is told of an act of its own
    return found


def mentions(text: str) -> list[str]:
    """Return the accounts that `text` mentions, in lower case: each once, at most MAX_MENTIONS."""
    found: dict[str, None] = {}
    for match in _MENTION.finditer(text):
        found.setdefault(match[1].lower().rstrip(".-_"))
        if len(found) == MAX_MENTIONS:
            break
    return list(found)


def _login(user: User | None) -> str:
    return user.login if user is not None else ""
