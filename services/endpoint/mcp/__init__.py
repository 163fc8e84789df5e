"""The Model Context Protocol on the socket: lines, JSON-RPC messages, sessions, connections."""
