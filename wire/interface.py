"""Typed methods, properties and signals of an exported object.

    class Lamp1(Interface, name="org.example.Lamp1"):
        def __init__(self, lamp: Lamp) -> None:
            self._lamp = lamp

        @method(allow=OPERATOR)
        async def Dim(self, level: UInt32) -> Bool:
            return await self._lamp.dim(caller(), level)

        @prop()
        def State(self) -> Str:
            return self._lamp.state

        @signal()
        def Broken(self, reason: Str) -> None: ...

    lamp = Lamp1(...)
    bus.export("/org/example/lamp", lamp)
    lamp.emit_changed("State")             # PropertiesChanged with the current values
    lamp.Broken("too hot")                 # emits; before the export it does nothing
    lamp.emit_to(":1.7", "Broken", "too hot")  # only this connection receives it

A getter must not call `caller`: signals read the getter, too.

The class only forwards: the rules are in a class that knows no D-Bus. Decorated members stay
ordinary Python, so tests can call them without a bus (`with calling(principal): ...`).
Introspection shows the org.*.xml beside the module, with the names of the arguments.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import ClassVar, Final, ParamSpec, Protocol, TypeVar, get_type_hints

from wire.errors import InvalidArgument
from wire.principal import Allow, Principal
from wire.records.codec import signature_of
from wire.types import Value, complete_types

_P = ParamSpec("_P")
_AsyncMethod = TypeVar("_AsyncMethod", bound=Callable[..., Awaitable[object]])
_T = TypeVar("_T")

_ALLOW: Final = "_wire_allow"
_SIGNAL: Final = "_wire_signal"

_caller: ContextVar[tuple[Principal, str]] = ContextVar("caller")


def caller() -> Principal:
    """Return the principal whose call is being handled; raise LookupError outside of a call."""
    return _caller.get()[0]


def sender() -> str:
    """Return the unique name of the connection whose call is being handled."""
    return _caller.get()[1]


@contextmanager
def calling(principal: Principal, connection: str = ":1.0") -> Iterator[None]:
    """Make `principal` the caller within the block; tests call methods so without a bus."""
    token = _caller.set((principal, connection))
    try:
        yield
    finally:
        _caller.reset(token)


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method on the bus."""

    name: str
    arguments: str
    result: str
    allow: Allow
    function: Callable[..., Awaitable[object]]

    def body(self, value: Value) -> list[Value]:
        """Return the values of the reply for the `value` that the method returned."""
        match complete_types(self.result):
            case 0:
                return []
            case 1:
                return [value]
            case _:
                return list(value)


@dataclass(frozen=True, slots=True)
class PropertySpec:
    """A read-only property on the bus."""

    name: str
    signature: str
    const: bool
    getter: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """A signal on the bus."""

    name: str
    signature: str


class Emitter(Protocol):
    """The way of an interface's signals to the bus, for one object path."""

    def emit(
        self,
        interface: str,
        member: str,
        signature: str,
        values: list[Value],
        destination: str = "",
    ) -> None:
        """Send one signal, to all subscribers or to the connection `destination` alone."""

    def emit_changed(self, interface: "Interface", changed: Mapping[str, "PropertySpec"]) -> None:
        """Send PropertiesChanged with the current values of `changed`."""


def method(*, allow: Allow) -> Callable[[_AsyncMethod], _AsyncMethod]:
    """Mark an `async def` as a D-Bus method that the principals in `allow` may call."""

    def mark(function: _AsyncMethod) -> _AsyncMethod:
        setattr(function, _ALLOW, allow)
        return function

    return mark


class _Property(property):
    """A property with its place on the bus."""

    const: bool = False


def prop(*, const: bool = False) -> Callable[[Callable[[Value], _T]], property]:
    """Mark a getter as a read-only D-Bus property; one that is `const` never changes."""

    def mark(getter: Callable[[Value], _T]) -> property:
        marked = _Property(getter)
        marked.const = const
        return marked

    return mark


def signal() -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Make a call of a function with an empty body emit the signal of its name."""

    def mark(function: Callable[_P, None]) -> Callable[_P, None]:
        shape = inspect.signature(function)

        @wraps(function)
        def emit(*args: _P.args, **kwargs: _P.kwargs) -> None:
            interface: Interface
            bound: tuple[Value, ...] = shape.bind(*args, **kwargs).args if kwargs else args
            interface, *values = bound
            interface._emit(function.__name__, values)

        setattr(emit, _SIGNAL, True)
        return emit

    return mark


class Interface:
    """The base of all exported interfaces; the module has an example."""

    interface_name: ClassVar[str]
    methods: ClassVar[dict[str, MethodSpec]]
    properties: ClassVar[dict[str, PropertySpec]]
    signals: ClassVar[dict[str, SignalSpec]]

    _emitter: Emitter | None = None

    def __init_subclass__(cls, *, name: str) -> None:
        super().__init_subclass__()
        cls.interface_name = name
        # With the members of an interface that this one extends.
        cls.methods = dict(getattr(cls, "methods", {}))
        cls.properties = dict(getattr(cls, "properties", {}))
        cls.signals = dict(getattr(cls, "signals", {}))
        for member, value in vars(cls).items():
            if isinstance(value, _Property) and value.fget is not None:
                cls.properties[member] = PropertySpec(
                    member, _result(value.fget), value.const, value.fget
                )
            elif hasattr(value, _ALLOW):
                if not inspect.iscoroutinefunction(value):
                    raise TypeError(f"{value.__qualname__} must be an async def")
                cls.methods[member] = MethodSpec(
                    member, _arguments(value), _result(value), getattr(value, _ALLOW), value
                )
            elif hasattr(value, _SIGNAL):
                cls.signals[member] = SignalSpec(member, _arguments(value))

    def emit_changed(self, *changed: str) -> None:
        """Emit PropertiesChanged with the present values of these properties.

        Before the export this does nothing, for nobody has seen the old values.

        Raises:
            InvalidArgument: a name is not a property, or is one that never changes.
        """
        specs = {}
        for name in changed:
            spec = self.properties.get(name)
            if spec is None or spec.const:
                raise InvalidArgument(f"{self.interface_name} has no changing property {name!r}.")
            specs[name] = spec
        if self._emitter is not None:
            self._emitter.emit_changed(self, specs)

    def emit_to(self, connection: str, member: str, *values: Value) -> None:
        """Emit a signal that only the connection with this unique name receives."""
        self._emit(member, list(values), connection)

    def _emit(self, member: str, values: list[Value], destination: str = "") -> None:
        if self._emitter is not None:
            signature = self.signals[member].signature
            self._emitter.emit(self.interface_name, member, signature, values, destination)


def _arguments(function: Callable[..., object]) -> str:
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters)[1:]
    return "".join(_signature(function, hints.get(name)) for name in parameters)


def _result(function: Callable[..., object]) -> str:
    hint = get_type_hints(function, include_extras=True).get("return")
    return "" if hint is None or hint is type(None) else _signature(function, hint)


def _signature(function: Callable[..., object], hint: object) -> str:
    found = signature_of(hint)
    if found is None:
        raise TypeError(f"{function.__qualname__} has an annotation that is not of wire.types")
    return found
