"""An agent on a test's bus: its properties are a record, its methods are the test's.

class Startable(FakeAgent, name=names.AGENT_INTERFACE):
    @method(allow=OPERATOR)
    async def Start(self) -> ObjectPath: ...

agent = Startable(properties("bob", state=AgentState.STOPPED))
bus.export(names.agent_path("bob"), agent)
agent.show(state=AgentState.RUNNING)     # PropertiesChanged
"""

from typing import get_type_hints

from wire import names
from wire.interface import Interface, prop, signal
from wire.records import keys
from wire.records.lifecycle import AgentProperties, AgentState, Network, Resources, TurnState
from wire.types import Int32, Str, Value


def properties(name: str, **values: Value) -> AgentProperties:
    """Return the properties of an idle agent, with these `values` of its fields."""
    idle = AgentProperties(
        name=name,
        machine=names.machine_name(name),
        unit=f"systemd-nspawn@{names.machine_name(name)}.service",
        uid_base=655360,
        enabled=True,
        state=AgentState.RUNNING,
        since=0,
        invocation_id="",
        turn_state=TurnState.IDLE,
        turn_since=0,
        model="",
        context_tokens=0,
        logged_in=True,
        resources=Resources(),
        network=Network(deny=[], allow=[], name_servers=[], filtered=True),
        image="/",
        stale=False,
        port=0,
        port_shared_with=[],
        deployed_commit="",
    )
    return idle._replace(**values)


def _property(name: str) -> property:
    def getter(agent: "FakeAgent") -> Value:
        return getattr(agent.shown, name)

    getter.__annotations__ = {"return": get_type_hints(AgentProperties, include_extras=True)[name]}
    return prop()(getter)


class FakeAgent(Interface, name=names.AGENT_INTERFACE):
    """The object of one agent; `shown` has its properties."""

    # All of them, whatever the record has: lifecycle's own object has them one by one.
    vars().update({key: _property(name) for name, key in keys(AgentProperties).items()})

    def __init__(self, shown: AgentProperties) -> None:
        self.shown = shown

    def show(self, **values: Value) -> None:
        """Change fields of `shown`, and signal that."""
        self.shown = self.shown._replace(**values)
        self.emit_changed(*(keys(AgentProperties)[name] for name in values))

    @signal()
    def Crashed(self, result: Str, status: Int32) -> None:
        """See docs/dbus.md."""
