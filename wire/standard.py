"""The standard interfaces every object has: Introspectable, Peer, Properties, ObjectManager."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wire import errors
from wire.interface import Interface, PropertySpec
from wire.names import OBJECT_MANAGER, PEER, PROPERTIES
from wire.objects import Objects, readable, value_of
from wire.types import Typed, Value

_INTROSPECTABLE: Final = "org.freedesktop.DBus.Introspectable"
STANDARD_INTERFACES: Final = frozenset({_INTROSPECTABLE, PEER, PROPERTIES, OBJECT_MANAGER})


@dataclass(frozen=True, slots=True)
class StandardMethod:
    """A method of a standard interface; everybody in the hive may call it."""

    arguments: str
    result: str
    answer: Callable[[Objects, str, list[Value]], list[Value]]


def find(interface: str | None, member: str) -> StandardMethod | None:
    """Return the standard method that a call names, or None."""
    return _METHODS.get((interface or "", member))


def _introspect(objects: Objects, path: str, arguments: list[Value]) -> list[Value]:
    if not objects.exists(path):
        raise objects.missing(path, _INTROSPECTABLE)
    return [objects.introspect(path)]


def _machine_id(objects: Objects, path: str, arguments: list[Value]) -> list[Value]:
    try:
        return [Path("/etc/machine-id").read_text().strip()]
    except OSError as error:
        raise errors.Unavailable("This machine has no readable /etc/machine-id.") from error


def _get(objects: Objects, path: str, arguments: list[Value]) -> list[Value]:
    interface, spec = _property(objects, path, *arguments)
    value = value_of(interface, spec)
    return [Typed(value.signature, value.value)]


def _get_all(objects: Objects, path: str, arguments: list[Value]) -> list[Value]:
    [name] = arguments
    if name in STANDARD_INTERFACES and objects.exists(path):
        return [{}]
    interface = objects.interface(path, name)
    return [readable(interface, interface.properties.values())]


def _set(objects: Objects, path: str, arguments: list[Value]) -> list[Value]:
    interface, name, _ = arguments
    _property(objects, path, interface, name)
    raise errors.StandardError(errors.PROPERTY_READ_ONLY, f"The property {name} is read-only.")


def _property(objects: Objects, path: str, name: str, prop: str) -> tuple[Interface, PropertySpec]:
    interface = objects.interface(path, name)
    if prop not in interface.properties:
        known = ", ".join(interface.properties) or "none"
        raise errors.StandardError(
            errors.UNKNOWN_PROPERTY, f"{name} has no property {prop}; it has: {known}."
        )
    return interface, interface.properties[prop]


def _managed(objects: Objects, path: str, arguments: list[Value]) -> list[Value]:
    if not objects.is_manager(path):
        raise objects.missing(path, OBJECT_MANAGER)
    return [objects.managed(path)]


_METHODS: Final[dict[tuple[str, str], StandardMethod]] = {
    (_INTROSPECTABLE, "Introspect"): StandardMethod("", "s", _introspect),
    (PEER, "Ping"): StandardMethod("", "", lambda objects, path, arguments: []),
    (PEER, "GetMachineId"): StandardMethod("", "s", _machine_id),
    (PROPERTIES, "Get"): StandardMethod("ss", "v", _get),
    (PROPERTIES, "GetAll"): StandardMethod("s", "a{sv}", _get_all),
    (PROPERTIES, "Set"): StandardMethod("ssv", "", _set),
    (OBJECT_MANAGER, "GetManagedObjects"): StandardMethod("", "a{oa{sa{sv}}}", _managed),
}
