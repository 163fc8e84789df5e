"""Typed clients of the hive's services: one class for each interface, one method for each of its.

    broker = BrokerClient(bus)
    number = await broker.send("bob", "hello", SendOptions(urgent=True))
    messages = await broker.within(200.0).receive(10, 175_000)
    await AgentClient(bus, names.agent_path("bob")).start()

The signatures are derived from the annotations, and the contract test compares them with the
introspection documents. Import a client from its module: a process loads only those that it uses.
"""
