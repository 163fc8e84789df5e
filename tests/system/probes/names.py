"""Serve a name whose address changes: `names.py FOLDER NET PORT`.

A name server on NET.53 answers each question for an address with NET.1 and NET.2 in turn. On NET.1
a server of HTTP on PORT says `checked`, on NET.2 another one says `changed`. On NET.1, the next
port, is a server of TLS that says the name it was asked for.
"""

import http.server
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

HEADER = 12
_A = 1
_ANSWER = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04"
"""The name of the question, A, IN, kept for no time, four bytes."""


def answer_names(net: str, server: socket.socket) -> None:
    turn = 0
    while True:
        query, client = server.recvfrom(4096)
        end = query.index(b"\0", HEADER) + 5
        kind = int.from_bytes(query[end - 4 : end - 2], "big")
        found = kind == _A
        head = query[:2] + b"\x84\x00\x00\x01" + bytes([0, found]) + b"\0\0\0\0"
        data = b""
        if found:
            data = _ANSWER + socket.inet_aton(f"{net}.{1 + turn % 2}")
            turn += 1
        server.sendto(head + query[HEADER:end] + data, client)


class Handler(http.server.BaseHTTPRequestHandler):
    words = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.words.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def serve(host: str, port: int, words: str, context: ssl.SSLContext | None = None) -> None:
    handler = type("Server", (Handler,), {"words": words})
    server = http.server.ThreadingHTTPServer((host, port), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def certificate(folder: Path) -> ssl.SSLContext:
    folder.mkdir(parents=True, exist_ok=True)
    key, made = folder / "key.pem", folder / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-nodes", "-keyout", str(key), "-out", str(made), "-subj", "/CN=tls.hive.test"]
    subprocess.run([*new, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context


def main() -> None:
    folder, net, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    serve(f"{net}.1", port, "checked")
    serve(f"{net}.2", port, "changed")
    serve(f"{net}.1", port + 1, "over TLS", certificate(folder))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((f"{net}.53", 53))
        print("listening", flush=True)
        answer_names(net, server)


if __name__ == "__main__":
    main()
