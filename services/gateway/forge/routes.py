"""The requests to the forge that are passed on: the API as far as an agent needs it, and git.

The token must not come back to the container, and the forge must not become a way around the egress
list. So these are not in the tables:

- tokens, keys, OAuth applications and sessions: another way to log in as the agent;
- git LFS: its server repeats the header Authorization of a request in the answer;
- webhooks, migrations, mirrors, Actions and their secrets: the forge would connect to hosts that an
  agent names, or run programs;
- the administration, and pages for browsers.
"""

import re
from enum import Enum, auto
from typing import Final
from urllib.parse import unquote

from services.gateway.proxy.head import HeadError


class Route(Enum):
    """The kinds of requests that are passed on."""

    API = auto()
    GIT = auto()


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
_API: Final = "/api/v1"

_READ: Final = re.compile(
    rf"{_API}/(version|user|users/search|users/{_NAME}|users/{_NAME}/repos|repos/search"
    rf"|repos/issues/search|orgs/{_NAME}|orgs/{_NAME}/repos|user/orgs)"
)
"""The paths that are only read."""
_ANY: Final = re.compile(
    rf"{_API}/(user/repos|markdown|markdown/raw|repos/{_NAME}/{_NAME}"
    rf"|orgs/{_NAME}/repos|notifications(/threads/[0-9]{{1,18}})?)"
)
_IN_REPOSITORY: Final = re.compile(rf"{_API}/repos/{_NAME}/{_NAME}/([a-z_-]{{1,40}})(/[!-~]*)?")
_PARTS: Final = frozenset(
    {
        *("archive", "assignees", "branches", "collaborators", "commits", "compare", "contents"),
        *("diffpatch", "editorconfig", "forks", "git", "issue_config", "issue_templates", "issues"),
        *("labels", "languages", "media", "milestones", "notifications", "pinned", "pulls", "raw"),
        *("releases", "reviewers", "stargazers", "statuses", "subscribers", "subscription"),
        *("tags", "times", "topics", "wiki"),
    }
)
"""The parts of a repository."""

_GIT: Final = re.compile(rf"/{_NAME}/{_NAME}/(info/refs|git-upload-pack|git-receive-pack)")
_SERVICE: Final = re.compile(r"service=git-(upload|receive)-pack")

_QUERY: Final = re.compile(r"[A-Za-z0-9._~%+:;,/@!=&()*$'-]{0,2000}")
_SECRETS: Final = frozenset({"token", "access_token", "private_token", "sudo"})
"""Parameters that name a credential, or another user."""


def find(method: str, target: str) -> Route:
    """Return the route of a request.

    Args:
        method: the method.
        target: the path and the query exactly as the client sent them.

    Raises:
        HeadError: the request is not passed on.
    """
    path, _, query = target.partition("?")
    if not _QUERY.fullmatch(query):
        raise HeadError("The query of a request to the forge has characters that must be escaped.")
    if path.startswith(f"{_API}/"):
        if method in _METHODS and _is_api(method, path) and not _names_a_secret(query):
            return Route.API
    elif _is_git(method, path, query):
        return Route.GIT
    raise HeadError(
        "The gateway does not pass this request on to the forge. It passes git over HTTP, without "
        "LFS, and of the API what concerns repositories, issues, pull requests and notifications."
    )


def _is_api(method: str, path: str) -> bool:
    if _ANY.fullmatch(path) or (method in ("GET", "HEAD") and _READ.fullmatch(path)):
        return True
    found = _IN_REPOSITORY.fullmatch(path)
    return found is not None and found[1] in _PARTS and _is_plain(found[2] or "")


def _is_plain(rest: str) -> bool:
    """Return whether a server that decodes `rest`, once or twice, stays below the part before."""
    for _ in range(3):
        if "\\" in rest or not rest.isprintable():
            return False
        if any(part in (".", "..") for part in rest.split("/")):
            return False
        try:
            rest = unquote(rest, errors="strict")
        except UnicodeDecodeError:
            return False
    return True


def _is_git(method: str, path: str, query: str) -> bool:
    found = _GIT.fullmatch(path)
    if found is None:
        return False
    if found[1] == "info/refs":
        return method in ("GET", "HEAD") and bool(_SERVICE.fullmatch(query))
    return method == "POST" and not query


def _names_a_secret(query: str) -> bool:
    names = (pair.partition("=")[0] for pair in re.split("[&;]", query))
    return any(unquote(name).strip().lower() in _SECRETS for name in names)
