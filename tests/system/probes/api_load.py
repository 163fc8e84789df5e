"""Requests that a hostile agent sends to its API socket itself: `api_load.py THREADS EACH PROMPT`.

Each of THREADS threads sends EACH requests with the prompt, one after the other. Prints JSON: for
each request its status (0 without an answer), and whether its stream came to its end.
"""

import json
import socket
import sys
import threading

SOCKET = "/run/hive/api.sock"


def request(prompt: str) -> bytes:
    body = json.dumps(
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 50,
            "stream": True,
            "messages": [{"role": "user", "content": prompt}],
        }
    ).encode()
    return (
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: sk-of-somebody-else\r\n"
        b"X-Forwarded-For: bob\r\nX-Hive-Agent: bob\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def send(data: bytes) -> dict[str, object]:
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(100)
            client.connect(SOCKET)
            client.sendall(data)
            while piece := client.recv(65536):
                answer += piece
    except OSError:
        pass
    status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
    return {
        "status": status,
        "whole": b"message_stop" in answer,
        "text": answer[-300:].decode(errors="replace"),
    }


def main() -> None:
    threads, each, prompt = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    results: list[dict[str, object]] = []

    def work() -> None:
        for _ in range(each):
            results.append(send(request(prompt)))

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
