"""The MCP server of the classic way: one tool, in Python, with the package mcp."""

from mcp.server.mcpserver import MCPServer

server = MCPServer("hive")


@server.tool()
def send(to: str, body: str) -> str:
    """Send a message."""
    return f"sent {len(body)} characters to {to}"


if __name__ == "__main__":
    server.run()
