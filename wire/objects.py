"""The exported objects: interfaces by object path, and their answers to the standard interfaces.

The objects know no connection: their signals leave through an `emit` function. One interface object
belongs to one path, because its signals come from that path.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from wire import errors
from wire.encoding import check
from wire.interface import Interface, PropertySpec
from wire.introspection import node_xml
from wire.names import OBJECT_MANAGER, PROPERTIES
from wire.types import Typed, Value

log = logging.getLogger(__name__)

Emit = Callable[[str, str, str, str, list[Value], str], None]
"""A function that sends a signal: path, interface, member, signature, plain values, destination."""


class Exported:
    """The emitter of an interface at its path."""

    def __init__(self, path: str, emit: Emit) -> None:
        self.path = path
        self._emit = emit

    def emit(
        self,
        interface: str,
        member: str,
        signature: str,
        values: list[Value],
        destination: str = "",
    ) -> None:
        """See wire.interface.Emitter."""
        self._emit(self.path, interface, member, signature, values, destination)

    def emit_changed(self, interface: Interface, changed: Mapping[str, PropertySpec]) -> None:
        """See wire.interface.Emitter. A property whose getter raises is sent as invalidated."""
        values = readable(interface, changed.values())
        invalid = [name for name in changed if name not in values]
        body = [interface.interface_name, values, invalid]
        self._emit(self.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body, "")


class Objects:
    """The exported objects of one connection."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._paths: dict[str, dict[str, Interface]] = {}
        self._managers: set[str] = set()

    def export(self, path: str, interface: Interface) -> None:
        """Make `interface` available at `path`, and emit InterfacesAdded of its object manager.

        Raises:
            ValueError: the interface is exported already, or the path has one of that name.
        """
        here = self._paths.get(path, {})
        if interface._emitter is not None or interface.interface_name in here:
            raise ValueError(
                f"{interface.interface_name} is exported already; one object has one path"
            )
        self._paths.setdefault(path, {})[interface.interface_name] = interface
        interface._emitter = Exported(path, self._emit)
        if managers := self._managers_of(path):
            added = {interface.interface_name: readable(interface, interface.properties.values())}
            for manager in managers:
                self._emit(
                    manager, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, added], ""
                )

    def unexport(self, path: str, interface: Interface | None = None) -> None:
        """Remove one interface of `path`, or all; an interface that is not there is ignored."""
        here = self._paths.get(path, {})
        removed = [name for name, one in here.items() if interface is None or one is interface]
        for name in removed:
            here.pop(name)._emitter = None
        if not here:
            self._paths.pop(path, None)
        if removed:
            for manager in self._managers_of(path):
                self._emit(manager, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, removed], "")

    def unexport_all(self) -> None:
        """Remove everything without a signal: the connection is closed."""
        for here in self._paths.values():
            for interface in here.values():
                interface._emitter = None
        self._paths.clear()

    def export_object_manager(self, root: str) -> None:
        """Answer GetManagedObjects at `root`, and emit InterfacesAdded and -Removed there."""
        self._managers.add(root)

    def is_manager(self, path: str) -> bool:
        """Return whether `path` is the root of an object manager."""
        return path in self._managers

    def exists(self, path: str) -> bool:
        """Return whether there is an object at `path` or below it."""
        return path in self._paths or path in self._managers or bool(self._children(path))

    def at(self, path: str) -> dict[str, Interface]:
        """Return the interfaces at `path` by name; none for a path that only leads to others."""
        return self._paths.get(path, {})

    def interface(self, path: str, name: str) -> Interface:
        """Return the interface `name` at `path`; raise the error of `missing` without one."""
        try:
            return self._paths[path][name]
        except KeyError:
            raise self.missing(path, name) from None

    def missing(self, path: str, interface: str) -> errors.StandardError:
        """Return the error for a call to an interface that is not at `path`."""
        if not self.exists(path):
            return errors.StandardError(errors.UNKNOWN_OBJECT, f"There is no object {path}.")
        known = ", ".join(self.at(path)) or "only standard ones"
        return errors.StandardError(
            errors.UNKNOWN_INTERFACE, f"{path} has no interface {interface}; it has: {known}."
        )

    def managed(self, root: str) -> dict[str, dict[str, dict[str, Typed]]]:
        """Return the answer of GetManagedObjects: the objects below `root` and their properties."""
        return {
            path: {
                name: readable(interface, interface.properties.values())
                for name, interface in here.items()
            }
            for path, here in self._paths.items()
            if _is_under(path, root)
        }

    def introspect(self, path: str) -> str:
        """Return the introspection document of `path`; see wire.introspection."""
        interfaces = [type(interface) for interface in self.at(path).values()]
        return node_xml(interfaces, self.is_manager(path), sorted(self._children(path)))

    def _children(self, path: str) -> set[str]:
        prefix = path.rstrip("/") + "/"
        return {
            other[len(prefix) :].partition("/")[0]
            for other in (*self._paths, *self._managers)
            if other.startswith(prefix) and other != prefix
        }

    def _managers_of(self, path: str) -> list[str]:
        return [root for root in self._managers if _is_under(path, root)]


def _is_under(path: str, root: str) -> bool:
    return path != root and path.startswith(root.rstrip("/") + "/")


def readable(interface: Interface, specs: Iterable[PropertySpec]) -> dict[str, Typed]:
    """Return the values of the properties whose getters do not raise.

    One getter that raises must not hide all the others from GetAll and GetManagedObjects. Its
    property is left out, and the journal has the error.
    """
    values = {}
    for spec in specs:
        try:
            values[spec.name] = value_of(interface, spec)
        except Exception:
            log.exception("property %s.%s cannot be read", interface.interface_name, spec.name)
    return values


def value_of(interface: Interface, spec: PropertySpec) -> Typed:
    """Return the value of one property, as a variant of its type."""
    value = spec.getter(interface)
    check(spec.signature, value)
    return Typed(spec.signature, value)
