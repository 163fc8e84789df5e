"""Passkeys (WebAuthn): the second way to log in. This module does not know HTTP.

A passkey belongs to a host name, and has the role of the session that has registered it. What the
browser sends is verified by the library `webauthn`, which is imported when it is needed.
"""

import hmac
import ipaddress
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from services.dashboard.http import kept
from wire.errors import AccessDenied, Conflict, InvalidArgument, LimitExceeded, NotFound
from wire.records.dashboard import Role

CHALLENGE_SECONDS: Final = 300.0
MAX_PASSKEYS: Final = 64
MAX_NAME: Final = 64
VERSION: Final = 1

REFUSED: Final = "This passkey is not registered here, or its answer came too late. Try again."


class Passkey(kept.Kept):
    """A registered passkey; times are in seconds since 1970."""

    id: str
    """The id of the credential, in base64url."""
    name: str
    role: Role
    host: str
    """The host name that it belongs to."""
    public_key: str
    """In hexadecimal digits."""
    sign_count: int
    made: float
    used: float
    session: str = ""
    """The key of the session that has made it."""


class _Stored(kept.Kept):
    """The file."""

    version: Literal[1]
    passkeys: list[Passkey] = Field(default_factory=list)


class Passkeys:
    """The registered passkeys, in one file, and the challenges for them."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        """Read the file, if it exists.

        Raises:
            CorruptStore: the file is damaged; it is left as it is.
        """
        self._path = path
        self._now = now
        self._stored = kept.read(
            path,
            _Stored,
            what="file of passkeys",
            lost="Only the passkeys are lost; log in with `hivectl login-link`.",
        ) or _Stored(version=VERSION)
        # A challenge is signed, and not kept: nobody can push out those of others.
        self._key = secrets.token_bytes(32)
        self._used: set[bytes] = set()

    def of_host(self, origin: str) -> list[Passkey]:
        """Return the passkeys of the host name of an origin, the oldest first."""
        host = urlsplit(origin).hostname
        return [one for one in self._stored.passkeys if one.host == host]

    def list(self) -> list[Passkey]:
        """Return all passkeys, the oldest first."""
        return list(self._stored.passkeys)

    def begin_registration(self, origin: str, role: Role) -> dict[str, Any]:
        """Return the options for `navigator.credentials.create`, as JSON.

        Raises:
            InvalidArgument: browsers have no passkeys for this host.
            LimitExceeded: there are too many passkeys.
        """
        import webauthn
        from webauthn.helpers import options_to_json_dict
        from webauthn.helpers.structs import (
            AuthenticatorSelectionCriteria,
            PublicKeyCredentialDescriptor,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        host = host_for_passkeys(origin)
        if len(self._stored.passkeys) >= MAX_PASSKEYS:
            raise LimitExceeded(f"There are {MAX_PASSKEYS} passkeys already: remove one.")
        options = webauthn.generate_registration_options(
            rp_id=host,
            rp_name="Hyperhive",
            user_name=f"{role} of the hive",
            user_id=secrets.token_bytes(16),
            challenge=self._challenge(origin, role),
            timeout=int(CHALLENGE_SECONDS * 1000),
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=_bytes(one.id)) for one in self.of_host(origin)
            ],
        )
        return dict(options_to_json_dict(options))

    def register(
        self, origin: str, credential: dict[str, Any], name: str, session: str = ""
    ) -> Passkey:
        """Keep the passkey that a browser has made.

        Args:
            origin: the origin of the page.
            credential: the browser's answer to a challenge.
            name: the name by which its owner knows it.
            session: the key of the owner's session.

        Raises:
            InvalidArgument: the browser's answer does not fit a challenge.
            Conflict: the passkey is known.
        """
        import webauthn
        from webauthn.helpers.exceptions import WebAuthnException

        challenge, role = self._answered(origin, credential)
        if role is None:
            raise InvalidArgument(REFUSED)
        try:
            made = webauthn.verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=host_for_passkeys(origin),
                expected_origin=origin,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise InvalidArgument(f"The browser's answer is not valid: {error}") from error
        self._use_up(challenge)
        key, now = _text(made.credential_id), self._now()
        if any(one.id == key for one in self._stored.passkeys):
            raise Conflict("This passkey is registered already.")
        passkey = Passkey(
            id=key,
            name=name.strip()[:MAX_NAME] or "passkey",
            role=role,
            host=host_for_passkeys(origin),
            public_key=made.credential_public_key.hex(),
            sign_count=made.sign_count,
            made=now,
            used=now,
            session=session,
        )
        self._stored.passkeys.append(passkey)
        kept.write(self._path, self._stored)
        return passkey

    def begin_login(self, origin: str) -> dict[str, Any]:
        """Return the options for `navigator.credentials.get`, as JSON.

        Raises:
            InvalidArgument: browsers have no passkeys for this host.
        """
        import webauthn
        from webauthn.helpers import options_to_json_dict
        from webauthn.helpers.structs import UserVerificationRequirement

        options = webauthn.generate_authentication_options(
            rp_id=host_for_passkeys(origin),
            challenge=self._challenge(origin, None),
            timeout=int(CHALLENGE_SECONDS * 1000),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return dict(options_to_json_dict(options))

    def verify(self, origin: str, credential: dict[str, Any]) -> Passkey:
        """Return the passkey with which a browser has answered a challenge.

        Raises:
            AccessDenied: it is none of those that are registered for this host.
        """
        import webauthn
        from webauthn.helpers.exceptions import WebAuthnException

        try:
            challenge, role = self._answered(origin, credential)
        except InvalidArgument as error:
            raise AccessDenied(str(error)) from error
        named = credential.get("id")
        known = next((one for one in self.of_host(origin) if one.id == named), None)
        if known is None or role is not None:
            raise AccessDenied(REFUSED)
        try:
            found = webauthn.verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=known.host,
                expected_origin=origin,
                credential_public_key=bytes.fromhex(known.public_key),
                credential_current_sign_count=known.sign_count,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, KeyError, TypeError) as error:
            raise AccessDenied(REFUSED) from error
        self._use_up(challenge)
        known.sign_count, known.used = found.new_sign_count, self._now()
        kept.write(self._path, self._stored)
        return known

    def remove(self, key: str) -> None:
        """Forget a passkey.

        Raises:
            NotFound: there is none.
        """
        left = [one for one in self._stored.passkeys if one.id != key]
        if len(left) == len(self._stored.passkeys):
            raise NotFound("There is no such passkey.")
        self._stored.passkeys = left
        kept.write(self._path, self._stored)

    def _challenge(self, origin: str, registers: Role | None) -> bytes:
        """Return a challenge that nobody else can make; nothing is kept for it."""
        expires = int(self._now() + CHALLENGE_SECONDS)
        data = secrets.token_bytes(16) + expires.to_bytes(8) + _kind(registers)
        return data + self._signature(data, origin)

    def _answered(self, origin: str, credential: dict[str, Any]) -> tuple[bytes, Role | None]:
        """Return the challenge that a browser's answer names, and the role of a new passkey.

        Raises:
            InvalidArgument: there is no such challenge.
        """
        from webauthn.helpers import base64url_to_bytes, parse_client_data_json

        try:
            client = parse_client_data_json(
                base64url_to_bytes(credential["response"]["clientDataJSON"])
            )
        except Exception as error:  # the library lets the errors of all parsers pass
            raise InvalidArgument(REFUSED) from error
        found = client.challenge
        data, signature = found[:25], found[25:]
        fits = hmac.compare_digest(signature, self._signature(data, origin))
        if not fits or int.from_bytes(data[16:24]) <= self._now() or found in self._used:
            raise InvalidArgument(REFUSED)
        registers = next((role for role in Role if _kind(role) == data[24:]), None)
        return found, registers

    def _use_up(self, challenge: bytes) -> None:
        """Note that a challenge was answered: the answer is good once."""
        now = self._now()
        self._used = {one for one in self._used if int.from_bytes(one[16:24]) > now} | {challenge}

    def _signature(self, data: bytes, origin: str) -> bytes:
        return hmac.digest(self._key, data + origin.encode(), "sha256")


def _kind(registers: Role | None) -> bytes:
    return bytes([0 if registers is None else list(Role).index(registers) + 1])


def host_for_passkeys(origin: str) -> str:
    """Return the host name of an origin, to which its passkeys belong.

    Raises:
        InvalidArgument: it is an address. Browsers have passkeys for names only.
    """
    host = urlsplit(origin).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    raise InvalidArgument(
        f"Browsers have no passkeys for an address such as {host}. Open the dashboard under a host "
        "name of dashboard.allowed_hosts: behind a proxy with TLS, or, on this host, a name that "
        "ends with .localhost."
    )


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    from webauthn.helpers import base64url_to_bytes

    return bytes(base64url_to_bytes(text))
