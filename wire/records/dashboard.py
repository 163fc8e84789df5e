"""The records of org.hyperhive.Dashboard1. Times are microseconds since 1970."""

from enum import StrEnum
from typing import NamedTuple

from wire.records.codec import struct
from wire.types import Int64, Str, StrList, UInt64


class Role(StrEnum):
    """The role of somebody who has logged in to the dashboard."""

    OPERATOR = "operator"
    """Everything."""
    REVIEWER = "reviewer"
    """Read, answer questions and requests, approve and deny."""
    GUEST = "guest"
    """Read."""


class Way(StrEnum):
    """The way by which a login was made."""

    LINK = "link"
    PASSKEY = "passkey"
    PROXY = "proxy"


@struct
class Session(NamedTuple):
    """A login of a browser, which has not ended."""

    id: UInt64
    role: Role
    way: Way
    name: Str
    """The passkey, or the user whom the proxy named; empty for a link."""
    address: Str
    """The address from which the browser logged in; empty when it is not known."""
    browser: Str
    began: Int64
    used: Int64
    """The last use, within ten minutes."""
    expires: Int64


@struct
class PushTarget(NamedTuple):
    """A browser that wants notifications although no page is open."""

    id: UInt64
    endpoint: Str
    """The address at the push service of the browser, which is as good as a password."""
    p256dh: Str
    """The browser's public key, in base64url."""
    auth: Str
    """The secret by which the browser recognizes the hive, in base64url."""
    events: StrList


@struct
class PushTargetsChanged(NamedTuple):
    """The arguments of the signal PushTargetsChanged: none."""
