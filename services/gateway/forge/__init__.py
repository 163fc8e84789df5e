"""The forge: the agent reaches it by a name of the hive, and the gateway adds the agent's token."""
