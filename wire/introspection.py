"""Introspection: the hand-written org.*.xml beside an interface's module is the document.

Without such a file (in tests), the document is made from the class, without names of arguments.
dbus-next's own generator invents children, and has neither names of arguments nor EmitsChanged.
"""

import inspect
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from dbus_next.signature import SignatureTree

from wire.interface import Interface
from wire.names import OBJECT_MANAGER, PROPERTIES

_DOCTYPE: Final = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
EMITS_CHANGED: Final = "org.freedesktop.DBus.Property.EmitsChangedSignal"

_STANDARD: Final = f"""
<node>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect"><arg name="xml" type="s" direction="out"/></method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId"><arg name="machine_uuid" type="s" direction="out"/></method>
  </interface>
  <interface name="{PROPERTIES}">
    <method name="Get">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface" type="s" direction="in"/>
      <arg name="properties" type="a{{sv}}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface" type="s"/>
      <arg name="changed" type="a{{sv}}"/>
      <arg name="invalidated" type="as"/>
    </signal>
  </interface>
  <interface name="{OBJECT_MANAGER}">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{{oa{{sa{{sv}}}}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{{sa{{sv}}}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
</node>
"""


def node_xml(interfaces: Iterable[type[Interface]], manager: bool, children: Iterable[str]) -> str:
    """Return the document of one object: its interfaces, the standard ones and its children."""
    node = ET.Element("node")
    for standard in ET.fromstring(_STANDARD):  # noqa: S314 - a constant
        if manager or standard.get("name") != OBJECT_MANAGER:
            node.append(standard)
    node.extend(interface_element(interface) for interface in interfaces)
    node.extend(ET.Element("node", name=child) for child in children)
    ET.indent(node)
    return _DOCTYPE + ET.tostring(node, encoding="unicode")


def interface_element(interface: type[Interface]) -> ET.Element:
    """Return the <interface> of a class: from the file beside its module, else a generated one."""
    documents = _documented(Path(inspect.getfile(interface)).parent)
    documented = documents.get(interface.interface_name)
    return _generated(interface) if documented is None else documented


@cache
def _documented(folder: Path) -> dict[str, ET.Element]:
    """Return the interfaces that the documents in `folder` describe, by name."""
    return {
        element.get("name", ""): element
        for document in sorted(folder.glob("org.*.xml"))
        for element in ET.parse(document).iter("interface")  # noqa: S314 - shipped with the code
    }


def _generated(interface: type[Interface]) -> ET.Element:
    element = ET.Element("interface", name=interface.interface_name)
    for method in interface.methods.values():
        member = ET.SubElement(element, "method", name=method.name)
        _add_arguments(member, method.arguments, direction="in")
        _add_arguments(member, method.result, direction="out")
    for prop in interface.properties.values():
        member = ET.SubElement(
            element, "property", name=prop.name, type=prop.signature, access="read"
        )
        emits = "const" if prop.const else "true"
        ET.SubElement(member, "annotation", name=EMITS_CHANGED, value=emits)
    for signal in interface.signals.values():
        _add_arguments(ET.SubElement(element, "signal", name=signal.name), signal.signature)
    return element


def _add_arguments(member: ET.Element, signature: str, direction: str | None = None) -> None:
    for kind in SignatureTree._get(signature).types:
        argument = ET.SubElement(member, "arg", type=kind.signature)
        if direction is not None:
            argument.set("direction", direction)
