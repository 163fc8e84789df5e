"""Speak to the agent socket as anything in the container may: raw lines, standard library only.

Runs inside a container: `python3 -c SOURCE < REQUEST`. REQUEST is a JSON object:
`{"client": NAME, "calls": [[TOOL, ARGUMENTS], ...]}` makes tool calls after a handshake;
`{"raw": [LINE, ...], "half": bool}` writes lines as they are, `half` without their end
(`{"repeat": TEXT, "times": N}` stands for a long one) and collects one answer to each;
`{"flood": N}` makes N connections, says how many were taken, and waits until there is
room again.
Prints the answers as one JSON array.
"""

import json
import socket
import sys
import time
from typing import Any

PATH = "/run/hive/mcp.sock"


def connect() -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(PATH)
    return peer


def expand(line: Any) -> bytes:
    if isinstance(line, dict):
        return bytes(line["repeat"].encode() * line["times"])
    return bytes(line.encode("utf-8", "surrogateescape"))


def read_line(stream: Any) -> Any:
    line = stream.readline()
    return json.loads(line) if line else None


def calls(request: Any) -> Any:
    stream = connect().makefile("rwb")
    answers: list[Any] = []

    def ask(number: int, method: str, params: Any) -> Any:
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()
        return read_line(stream)

    hello: dict[str, Any] = {"protocolVersion": "2025-06-18", "capabilities": {}}
    hello["clientInfo"] = {"name": request.get("client", "probe"), "version": "1"}
    ask(0, "initialize", hello)
    stream.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    for number, (tool, arguments) in enumerate(request["calls"], 1):
        answers.append(ask(number, "tools/call", {"name": tool, "arguments": arguments}))
    return answers


def raw(request: Any) -> Any:
    peer = connect()
    stream = peer.makefile("rwb")
    answers: list[Any] = []
    for line in request["raw"]:
        try:
            stream.write(expand(line) + (b"" if request.get("half") else b"\n"))
            stream.flush()
            if request.get("half"):
                peer.shutdown(socket.SHUT_WR)
            answers.append(read_line(stream))
        except OSError as error:
            answers.append(type(error).__name__)
            break
    return answers


def flood(request: Any) -> Any:
    peers = []
    outcome = {"connected": 0, "refused": 0}
    for _ in range(request["flood"]):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(20)
        try:
            peer.connect(PATH)
            outcome["connected"] += 1
        except OSError:
            outcome["refused"] += 1
        peers.append(peer)
    for peer in peers:
        peer.close()
    # The endpoint hangs up until it has seen them leave.
    deadline = time.monotonic() + 20
    while not is_served() and time.monotonic() < deadline:
        pass
    return outcome


def is_served() -> bool:
    try:
        return bool(calls({"calls": [["list_agents", {}]]}) != [None])
    except OSError:
        return False


ANSWER = {"calls": calls, "raw": raw, "flood": flood}
wanted = json.load(sys.stdin)
print(json.dumps(next(ANSWER[kind] for kind in ANSWER if kind in wanted)(wanted)))
