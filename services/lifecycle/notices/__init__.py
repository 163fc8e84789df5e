"""Messages about agents to the manager and the operator."""
