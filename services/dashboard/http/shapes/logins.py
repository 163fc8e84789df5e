"""The shapes of answers about logins, sessions, passkeys and notifications."""

from pydantic import JsonValue

from services.dashboard.http.shapes.shape import Shape, Text


class Begun(Shape):
    """A new session, and its role."""

    session: str
    role: str


class Ways(Shape):
    """The ways to log in besides a link: as the proxy's user, and with a passkey."""

    user: Text
    passkeys: bool


class Challenge(Shape):
    """The options for the browser's passkeys."""

    options: dict[str, JsonValue]


class OwnSession(Shape):
    """The session of the request."""

    role: str
    id: int


class Sessions(Shape):
    """The sessions, the last used first."""

    sessions: list[dict[str, JsonValue]]


class PasskeyRow(Shape):
    """A passkey."""

    id: str
    name: Text
    role: str
    host: str
    made: int
    used: int


class Passkeys(Shape):
    """The passkeys, the oldest first."""

    passkeys: list[PasskeyRow]


class KeptPasskey(Shape):
    """The passkey that is kept."""

    passkey: PasskeyRow


class Push(Shape):
    """The public key for notifications, and the events that are sent to this browser."""

    key: str
    events: list[str] | None
    all: list[str]
