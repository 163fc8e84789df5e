"""Payloads of webhooks, in the shapes of `modules/structs/hook.go` of Forgejo and Gitea."""

import hmac
import json
from typing import Any, Final

SECRET: Final = "0123456789abcdef-webhook"
ORIGIN: Final = "http://127.0.0.1:7002"


def user(login: str) -> dict[str, Any]:
    return {"id": 7, "login": login, "login_name": "", "full_name": "", "email": f"{login}@x"}


def repository(
    owner: str = "ann", name: str = "site", *, private: bool = False, internal: bool = False
) -> dict[str, Any]:
    return {
        "id": 3,
        "owner": user(owner),
        "name": name,
        "full_name": f"{owner}/{name}",
        "private": private,
        "internal": internal,
        "html_url": f"{ORIGIN}/{owner}/{name}",
        "permissions": {"admin": False, "push": True, "pull": True},
    }


def subject(kind: str = "issues", author: str = "ann", **values: Any) -> dict[str, Any]:
    """Return an issue, or with `kind` pulls a pull request."""
    reviewers = {"requested_reviewers": None, "merged": False} if kind == "pulls" else {}
    return {
        "id": 11,
        "number": 4,
        "html_url": f"{ORIGIN}/ann/site/{kind}/4",
        "user": user(author),
        "title": "The colours",
        "body": "They are wrong.",
        "labels": [],
        "assignee": None,
        "assignees": None,
        "state": "open",
        "created_at": "2026-11-30T04:00:00Z",
        "updated_at": "2026-11-30T04:10:00Z",
        **reviewers,
        **values,
    }


def _event(action: str, by: str, where: dict[str, Any] | None, **values: Any) -> dict[str, Any]:
    return {
        "action": action,
        **values,
        "repository": where or repository(),
        "sender": user(by),
    }


def issue(
    action: str, by: str = "ann", repository: dict[str, Any] | None = None, **values: Any
) -> dict[str, Any]:
    """Return an event of an issue, which has the `values`."""
    return _event(action, by, repository, number=4, issue=subject(**values), commit_id="")


def pull(
    action: str,
    by: str = "ann",
    repository: dict[str, Any] | None = None,
    review: dict[str, Any] | None = None,
    asked: str | None = None,
    **values: Any,
) -> dict[str, Any]:
    """Return an event of a pull request, which has the `values`."""
    return _event(
        action,
        by,
        repository,
        number=4,
        pull_request=subject("pulls", **values),
        requested_reviewer=user(asked) if asked else None,
        commit_id="",
        review=review,
    )


def comment(
    text: str,
    by: str = "ann",
    action: str = "created",
    repository: dict[str, Any] | None = None,
    *,
    is_pull: bool = False,
    **values: Any,
) -> dict[str, Any]:
    """Return an event of a comment on an issue, which has the `values`."""
    kind = "pulls" if is_pull else "issues"
    return _event(
        action,
        by,
        repository,
        issue=subject(kind, **values),
        comment={
            "id": 21,
            "html_url": f"{ORIGIN}/ann/site/{kind}/4#issuecomment-21",
            "user": user(by),
            "body": text,
        },
        is_pull=is_pull,
    )


def encoded(payload: Any) -> bytes:
    """Return the body, indented as the forges do."""
    return json.dumps(payload, indent=2).encode()


def signature(body: bytes, secret: str = SECRET) -> str:
    return hmac.digest(secret.encode(), body, "sha256").hex()
