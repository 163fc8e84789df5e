"""Typed clients: one class for each interface, one method for each of its methods.

    broker = BrokerClient(bus)
    number = await broker.send("bob", "hello", SendOptions(urgent=True))
    messages = await broker.within(200.0).receive(10, 175_000)
    await AgentClient(bus, names.agent_path("bob")).start()

The signatures are derived from the annotations. The contract test compares those of the hive's own
services with the introspection documents; `systemd` and `machined` have only the members that the
hive uses. Import a client from its module: a process loads only those that it uses.
"""
