"""Secrets that the operator types or passes on standard input, checked before they are stored."""

import base64
import binascii
import re
import sys
from typing import Final

import click

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.credentials import Place, Purpose
from wire.credentials import MIN_WEBHOOK_SECRET, SIGNING_TOKEN, GithubApp

MAX_SECRET: Final = 4096
MAX_KEY: Final = 16 * 1024
"""Bytes of a private key."""
MIN_SECRET: Final = 8

_APP: Final = re.compile(r"[A-Za-z0-9.]{1,64}")

_KEY: Final = re.compile(
    r"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----\n(?P<body>[A-Za-z0-9+/=\n]+)\n-----END \1-----"
)
_OPENSSH: Final = b"openssh-key-v1\0\0\0\0\x04none"
"""The beginning of a key in the format of OpenSSH that has no passphrase."""


def read(place: Place, github_app: str | None = None) -> str:
    """Return the secret that the operator types, unseen, or that standard input contains.

    Args:
        place: the credential.
        github_app: the id of the app whose key it is; None: it is not of an app.

    Raises:
        CommandError: it cannot be one.
    """
    if github_app is not None and (
        place.purpose is not Purpose.PROJECT or not _APP.fullmatch(github_app)
    ):
        raise CommandError(
            Exit.USAGE,
            "--github-app takes the client id or the number of an app, with --project.",
        )
    if sys.stdin.isatty():
        typed = str(click.prompt(place.prompt, hide_input=True, err=True))
    else:
        typed = sys.stdin.buffer.read(MAX_KEY + 2).decode(errors="replace")
    text = typed.replace("\r\n", "\n").strip()
    if github_app is not None:
        return _app(github_app, text)
    if place.purpose is Purpose.PROJECT and text.startswith("-----BEGIN"):
        return checked_key(text)
    least = MIN_WEBHOOK_SECRET if place.purpose is Purpose.WEBHOOK else MIN_SECRET
    plain = text.isascii() and text.isprintable() and " " not in text
    long = len(text.removeprefix(SIGNING_TOKEN)) if place.purpose is Purpose.WEBHOOK else len(text)
    if not plain or not least <= long or len(text) > MAX_SECRET:
        kind = _kinds(place.purpose)
        # Never with the value: it ends up in the logs of terminals.
        raise CommandError(
            Exit.USAGE,
            f"This is not a valid {kind}: give one line of {least} to {MAX_SECRET} "
            "printable ASCII characters without spaces on standard input. Nothing was changed.",
        )
    return text


def _app(github_app: str, text: str) -> str:
    """Return the credential of a GitHub App; its key is one of RSA, as GitHub makes it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise CommandError(
            Exit.USAGE,
            "This is not the private key of a GitHub App: pass the file that GitHub has made "
            "(NAME.private-key.pem) on standard input. Nothing was changed.",
        )
    return GithubApp(github_app, f"{text}\n").text()


def _kinds(purpose: Purpose) -> str:
    if purpose is Purpose.WEBHOOK:
        return "secret of a webhook"
    return "token or private key" if purpose is Purpose.PROJECT else "API key or token"


def checked_key(text: str) -> str:
    """Return a private key of one end of line, if it is whole and has no passphrase.

    Raises:
        CommandError: it is not.
    """
    found = _KEY.fullmatch(text)
    if found is None or len(text) > MAX_KEY:
        locked = "ENCRYPTED" in text[:200]
        raise CommandError(Exit.USAGE, _LOCKED if locked else _BROKEN)
    try:
        body = base64.b64decode(found["body"].replace("\n", ""), validate=True)
    except binascii.Error:
        raise CommandError(Exit.USAGE, _BROKEN) from None
    opens = not found[1].startswith("OPENSSH") or body.startswith(_OPENSSH)
    if not opens or found[1].startswith("ENCRYPTED"):
        raise CommandError(Exit.USAGE, _LOCKED)
    return f"{text}\n"


_BROKEN: Final = (
    "This private key is not whole: pass the file as ssh-keygen or the forge has made it, from "
    "-----BEGIN to -----END, on standard input. Nothing was changed."
)
_LOCKED: Final = (
    "This private key has a passphrase, and nobody types it when the service fetches. Make one "
    "without: `ssh-keygen -t ed25519 -N '' -f deploy_key`. Nothing was changed."
)
