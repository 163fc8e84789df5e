"""Messages: sending, leases, redelivery and dead letters."""
