"""The table of what each role may do, by method and route."""

from collections.abc import Mapping
from typing import Final

from wire.records.dashboard import Role

ORDER: Final = (Role.GUEST, Role.REVIEWER, Role.OPERATOR)
"""Each role may do what those before it may."""

NEEDED: Final[Mapping[tuple[str, str], Role]] = {
    ("POST", "/logout"): Role.GUEST,
    ("POST", "/api/questions/{id}/answer"): Role.REVIEWER,
    ("POST", "/api/agents/{name}/egress"): Role.REVIEWER,
    ("POST", "/api/approvals/{id}/approve"): Role.REVIEWER,
    ("POST", "/api/approvals/{id}/deny"): Role.REVIEWER,
    ("POST", "/api/changes/{id}/approve"): Role.REVIEWER,
    ("POST", "/api/changes/{id}/comment"): Role.REVIEWER,
    ("POST", "/api/changes/{id}/deny"): Role.REVIEWER,
    ("POST", "/api/changes/{id}/request-changes"): Role.REVIEWER,
    ("POST", "/api/passkeys/begin"): Role.REVIEWER,
    ("POST", "/api/passkeys"): Role.REVIEWER,
    ("POST", "/api/passkeys/remove"): Role.REVIEWER,
    ("GET", "/api/passkeys"): Role.REVIEWER,
    ("GET", "/api/push"): Role.REVIEWER,
    ("POST", "/api/push"): Role.REVIEWER,
    ("POST", "/api/push/remove"): Role.REVIEWER,
    ("GET", "/api/sessions"): Role.OPERATOR,
}
"""The role that a route needs, where `needed` would say something else."""

SENTENCES: Final = {
    Role.GUEST: "You are logged in as a guest: you may only read.",
    Role.REVIEWER: "You are logged in as a reviewer: you may only read, answer, comment, approve "
    "and deny.",
}
REMEDY: Final = "`hivectl login-link` on the hive's host makes a link for an operator."


def needed(method: str, route: str, *, upgrade: bool = False) -> Role:
    """Return the role that a request needs: an operator's, unless the request only reads.

    Args:
        method: the method of the request.
        route: the path of its route, with the names of its variable parts.
        upgrade: whether the request opens a connection that carries more than the answer.
    """
    reads = method in ("GET", "HEAD") and not upgrade
    asked = "GET" if method == "HEAD" else method
    return NEEDED.get((asked, route), Role.GUEST if reads else Role.OPERATOR)


def covers(role: Role, wanted: Role) -> bool:
    """Return whether `role` may do what `wanted` may."""
    return ORDER.index(role) >= ORDER.index(wanted)


def refusal(role: Role) -> str:
    """Return the sentence for a role that may not do something."""
    return f"{SENTENCES.get(role, '')} {REMEDY}".strip()
