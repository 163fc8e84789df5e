"""One table of errors, for both directions.

A method that raises `NotFound("There is no agent bob; hivectl list shows all.")` answers the D-Bus
error org.hyperhive.Error.NotFound with that sentence. The caller's call then raises the same class.
The sentence says what to do.

    try:
        await bus.call(names.BROKER, ...)
    except errors.NotFound as error: ...
    except errors.Unavailable: ...        # nobody owns the name, or the bus is gone
    except errors.RemoteError as error:   # of other services: error.name is the D-Bus name
        if error.name == "org.freedesktop.systemd1.NoSuchUnit": ...
"""

from typing import Final

ERROR_PREFIX: Final = "org.hyperhive.Error."


class HiveError(Exception):
    """An error that has a name on the bus."""

    name: str = ERROR_PREFIX + "Internal"
    answered: bool = False
    """Whether a service of the hive has answered this to a call, so its sentence says why."""


class InvalidArgument(HiveError):
    """An argument is out of its bounds; the sentence names the bounds."""

    name = ERROR_PREFIX + "InvalidArgument"


class NotFound(HiveError):
    """The named thing does not exist."""

    name = ERROR_PREFIX + "NotFound"


class AlreadyExists(HiveError):
    """The thing to be made exists already."""

    name = ERROR_PREFIX + "AlreadyExists"


class AccessDenied(HiveError):
    """The caller's principal may not do this."""

    name = ERROR_PREFIX + "AccessDenied"


class Conflict(HiveError):
    """The present state does not allow the call."""

    name = ERROR_PREFIX + "Conflict"


class LimitExceeded(HiveError):
    """A size, a count or a rate is over its limit."""

    name = ERROR_PREFIX + "LimitExceeded"


class BudgetExhausted(HiveError):
    """A budget is used up; the sentence says whose, and until when."""

    name = ERROR_PREFIX + "BudgetExhausted"


class ProviderLimited(HiveError):
    """The provider takes no requests just now; the sentence says until when."""

    name = ERROR_PREFIX + "ProviderLimited"


class Unavailable(HiveError):
    """The other end cannot be reached."""

    name = ERROR_PREFIX + "Unavailable"


class Stopping(HiveError):
    """The service is stopping; call again when it is back."""

    name = ERROR_PREFIX + "Stopping"


class Internal(HiveError):
    """A bug; the sentence has the id of the traceback in the journal."""

    name = ERROR_PREFIX + "Internal"


class CorruptStore(HiveError):
    """A file cannot be read; nothing was changed."""

    name = ERROR_PREFIX + "CorruptStore"


class Timeout(HiveError):
    """No answer came within the time limit."""

    name = ERROR_PREFIX + "Timeout"


class RemoteError(HiveError):
    """An error of a service outside the hive; `name` is its name on the bus."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class StandardError(HiveError):
    """An error of the D-Bus specification that wire itself answers, such as UnknownMethod."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


TABLE: Final[dict[str, type[HiveError]]] = {
    error.name: error
    for error in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        AccessDenied,
        Conflict,
        LimitExceeded,
        BudgetExhausted,
        ProviderLimited,
        Unavailable,
        Stopping,
        Internal,
        CorruptStore,
        Timeout,
    )
}
"""Every error that may be answered, by its name on the bus."""

UNKNOWN_METHOD: Final = "org.freedesktop.DBus.Error.UnknownMethod"
UNKNOWN_OBJECT: Final = "org.freedesktop.DBus.Error.UnknownObject"
UNKNOWN_INTERFACE: Final = "org.freedesktop.DBus.Error.UnknownInterface"
UNKNOWN_PROPERTY: Final = "org.freedesktop.DBus.Error.UnknownProperty"
PROPERTY_READ_ONLY: Final = "org.freedesktop.DBus.Error.PropertyReadOnly"

NOBODY: Final = frozenset(
    {"org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"}
)
"""The errors of the bus daemon for a call that has reached nobody."""

_STANDARD: Final[dict[str, type[HiveError]]] = {
    "org.freedesktop.DBus.Error.AccessDenied": AccessDenied,
    "org.freedesktop.DBus.Error.InvalidArgs": InvalidArgument,
    "org.freedesktop.DBus.Error.LimitsExceeded": LimitExceeded,
    "org.freedesktop.DBus.Error.NameHasNoOwner": Unavailable,
    "org.freedesktop.DBus.Error.NoReply": Unavailable,
    "org.freedesktop.DBus.Error.ServiceUnknown": Unavailable,
    "org.freedesktop.DBus.Error.Disconnected": Unavailable,
    "org.freedesktop.DBus.Error.Timeout": Timeout,
    "org.freedesktop.DBus.Error.TimedOut": Timeout,
    UNKNOWN_OBJECT: NotFound,
}
_SPAWN_PREFIX: Final = "org.freedesktop.DBus.Error.Spawn."


def from_reply(name: str, text: str) -> HiveError:
    """Return the exception for the error reply `name` with the sentence `text`."""
    known = TABLE.get(name) or _STANDARD.get(name)
    if known is None and name.startswith(_SPAWN_PREFIX):
        known = Unavailable  # activation failed: the service is not there
    error = known(text) if known else RemoteError(name, text)
    error.answered = name in TABLE
    return error


def is_answer(error: BaseException) -> bool:
    """Return whether `error` may be the answer of a call; other errors become Internal."""
    return isinstance(error, (*TABLE.values(), StandardError))
