"""The sentences about a fetch or a push that failed, with the remedy."""

import re
from typing import Final

from services.projects.sources import Kind, Source
from services.quarantine.runner import Ended
from wire.text.escaping import prose

_LONGEST: Final = 300

_BY_TEXT: Final = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the key of the host {host} is not the one that it had. If its operator confirms the new "
        "key, run: hivectl project set {name} --forget-host-keys",
    ),
    (
        "Host key verification failed",
        "the key of the host {host} is not known. Run: hivectl project set {name} "
        "--forget-host-keys",
    ),
    (
        "Permission denied (",
        "{host} refuses the key. Give this project the deploy key of the repository: hivectl "
        "project set {name} --credential CREDENTIAL",
    ),
    (
        "could not read Username",
        "{host} wants a token, or has no such repository. Name the credential: hivectl project set "
        "{name} --credential CREDENTIAL",
    ),
    (
        "Authentication failed",
        "{host} refuses the token. Store a valid one: hivectl credentials set --project CREDENTIAL",
    ),
    (
        "unable to update url base from redirection",
        "{host} redirects to another address. Give that one: hivectl project set {name} --source "
        "ADDRESS",
    ),
    (
        "The requested URL returned error: 30",
        "{host} redirects to another address. Give that one: hivectl project set {name} --source "
        "ADDRESS",
    ),
    (
        "server certificate verification failed",
        "the certificate of {host} is not valid. If its authority is the operator's own, install "
        "the certificate of the authority on this host",
    ),
    (
        "SSL certificate problem",
        "the certificate of {host} is not valid. If its authority is the operator's own, install "
        "the certificate of the authority on this host",
    ),
    (
        "No space left on device",
        "the disk is full. Make room below /var/lib/hyperhive/projects",
    ),
    (
        "dubious ownership",
        "git refuses the directory {source} because of its owner. Give the path of the repository "
        "itself, without links",
    ),
    (
        "does not appear to be a git repository",
        "there is no git repository at {source}, or the user hive-projects may not read it. "
        "Check the path and its permissions",
    ),
    (
        "Permission denied",
        "the user hive-projects may not read {source}. Make the repository and the directories "
        "above it readable, or fetch from a forge instead",
    ),
    (
        "is not a commit and a branch",
        "a branch of upstream leads to an object that is no commit",
    ),
    (
        "couldn't find remote ref HEAD",
        "upstream names no branch",
    ),
)


_REFUSED: Final = re.compile(r"^!\t[^\t]*\t\[remote rejected\] \((.*)\)$", re.MULTILINE)
"""The line of `git push --porcelain` about a reference that upstream refuses."""
_READ_ONLY: Final = ("Read-only file system", "insufficient permission", "unable to create temp")


def of_push(name: str, source: Source, ended: Ended) -> str:
    """Return why a push failed, as `sentence` does for a fetch."""
    where = source.text if source.kind is Kind.DIRECTORY else str(source.host)
    if refused := _REFUSED.search(ended.output.decode(errors="replace")):
        said = prose(refused[1], one_line=True)[:_LONGEST]
        return (
            f"The push failed: {where} refuses it: {said}. Check the rules for the branch there, "
            "and the rights of the credential."
        )
    if source.kind is Kind.DIRECTORY and any(one in ended.complaints for one in _READ_ONLY):
        return (
            f"The push failed: the user hive-projects may not write {where}. Give it the right, "
            f"and the unit, too: systemctl edit hive-projects, [Service], ReadWritePaths={where}"
        )
    return sentence(name, source, ended, "push")


def sentence(name: str, source: Source, ended: Ended, what: str = "fetch") -> str:
    """Return why a fetch failed, and what to do.

    Args:
        name: the project.
        source: its upstream.
        ended: the end of git, whose texts are untrusted.
        what: the word for it.
    """
    words = {
        "name": name,
        "host": str(source.host),
        "source": source.text if source.kind is Kind.DIRECTORY else "that address",
    }
    for text, reason in _BY_TEXT:
        if text in ended.complaints:
            return f"The {what} failed: {reason.format(**words)}."
    said = prose(ended.message or f"git exited with status {ended.status}", one_line=True)
    return f"The {what} failed: {said[:_LONGEST].rstrip('.')}."
