"""Delivery of messages: leases from the broker, and the connections that hold them."""
