"""The HTTP side: listener, middleware, sessions, handlers and event streams."""
