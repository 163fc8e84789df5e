"""The base of the typed clients: a method's annotations say how it is called over the bus.

class LampClient(Client, interface="org.example.Lamp1", path="/org/example/lamp"):
    @remote("Dim")
    async def dim(self, level: UInt32) -> Bool: ...
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import ClassVar, Concatenate, Final, ParamSpec, Self, TypeVar
from typing import get_type_hints as type_hints

from wire import names
from wire.caller import CALL_TIMEOUT, Caller
from wire.records.codec import Convert, converter, signature_of
from wire.types import Value

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Client")


@dataclass(frozen=True)
class RemoteMethod:
    """The D-Bus member behind a method of a client."""

    member: str
    arguments: str
    result: str
    convert: Convert | None


_GET: Final = RemoteMethod("Get", "ss", "v", None)
_GET_ALL: Final = RemoteMethod("GetAll", "s", "a{sv}", None)
_PING: Final = RemoteMethod("Ping", "", "", None)


class Client:
    """An object of a service, as its callers see it; it has the members that all objects have."""

    interface: ClassVar[str]
    default_path: ClassVar[str]
    default_destination: ClassVar[str]

    def __init_subclass__(cls, *, interface: str, path: str = "", destination: str = "") -> None:
        super().__init_subclass__()
        cls.interface = interface
        cls.default_path = path
        cls.default_destination = destination or interface

    def __init__(
        self,
        bus: Caller,
        path: str = "",
        *,
        destination: str = "",
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        """Make a client that calls over `bus`.

        Args:
            bus: the connection, or a stand-in for it that tries calls again; calls raise what its
                `call` raises.
            path: the object; the service's own object when empty.
            destination: the name on the bus; a call to a unique name never waits for a service
                that systemd is starting.
            timeout: the seconds that each call waits for its answer.
        """
        self._bus = bus
        self._path = path or self.default_path
        self._destination = destination or self.default_destination
        self._timeout = timeout

    def within(self, seconds: float) -> Self:
        """Return the same client with another time limit for each call, in seconds."""
        return type(self)(self._bus, self._path, destination=self._destination, timeout=seconds)

    def at(self, destination: str) -> Self:
        """Return the same client of the connection `destination`, such as a unique name."""
        return type(self)(self._bus, self._path, destination=destination, timeout=self._timeout)

    async def get(self, name: str) -> Value:
        """Return a property of the client's interface."""
        return await self.call(_GET, (self.interface, name), names.PROPERTIES)

    async def get_all(self, interface: str = "") -> dict[str, Value]:
        """Return the properties of the client's interface, or of another one of the object."""
        found: dict[str, Value]
        found = await self.call(_GET_ALL, (interface or self.interface,), names.PROPERTIES)
        return found

    async def ping(self) -> None:
        """Wait for an answer."""
        await self.call(_PING, (), names.PEER)

    async def call(
        self, method: RemoteMethod, arguments: tuple[object, ...], interface: str = ""
    ) -> Value:
        """Call `method` and return its result: a value, a record, or None."""
        values = await self._bus.call(
            self._destination,
            self._path,
            interface or self.interface,
            method.member,
            method.arguments,
            *arguments,
            timeout=self._timeout,
        )
        if not values:
            return None
        [value] = values
        return method.convert(value) if method.convert is not None else value


def remote(
    member: str, interface: str = ""
) -> Callable[
    [Callable[Concatenate[S, P], Awaitable[T]]], Callable[Concatenate[S, P], Awaitable[T]]
]:
    """Make a method with an empty body call `member`; its arguments are positional.

    Args:
        member: the name of the method on the bus.
        interface: the interface that has it, when that is not the client's own.
    """

    def mark(
        function: Callable[Concatenate[S, P], Awaitable[T]],
    ) -> Callable[Concatenate[S, P], Awaitable[T]]:
        @wraps(function)
        async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if kwargs:
                raise TypeError(f"{function.__qualname__} takes positional arguments only")
            result: T = await self.call(method_of(call), args, interface)
            return result

        call.remote_member = member  # type: ignore[attr-defined]
        call.remote_interface = interface  # type: ignore[attr-defined]
        return call

    return mark


@lru_cache(256)
def method_of(function: Callable[..., object]) -> RemoteMethod:
    """Return the method of the bus that a function marked with `remote` calls."""
    hints = type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters)[1:]
    returned = hints.get("return")
    nothing = returned is None or returned is type(None)
    return RemoteMethod(
        member=function.remote_member,  # type: ignore[attr-defined]
        arguments="".join(_signature(function, hints.get(name)) for name in parameters),
        result="" if nothing else _signature(function, returned),
        convert=None if nothing else converter(returned),
    )


def _signature(function: Callable[..., object], hint: object) -> str:
    found = signature_of(hint)
    if found is None:
        raise TypeError(f"{function.__qualname__} has an annotation that is not of wire.types")
    return found
