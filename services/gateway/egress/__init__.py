"""The decision about a connection to another host."""
