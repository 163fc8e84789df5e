"""The HTTP proxy: CONNECT and plain HTTP."""
