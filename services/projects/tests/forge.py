"""A forge for the tests: git over https with tokens, and over ssh with keys, both real."""

import asyncio
import base64
import datetime
import http.server
import os
import shlex
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "forge.hive.test"
TOKEN = "s3cret-token-of-the-forge"
_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
    "GIT_CONFIG_VALUE_1": "true",
}


class Https(NamedTuple):
    """A server of https that runs."""

    port: int
    authority: Path
    """The certificate of the authority that knows it."""
    users: list[str]
    """The users and passwords of the requests that had any."""


def certificate(root: Path) -> Path:
    """Make a certificate for NAME that is its own authority; return the file, with the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(NAME), x509.IPAddress(ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (root / "authority.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (root / "server.pem").write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return root / "server.pem"


_JSON = "application/json; charset=utf-8"
Api = Callable[[str, str, str, bytes], tuple[int, bytes]]
"""Answers to the method, the path, the header Authorization and the body of a request."""


def _no_api(*_request: object) -> tuple[int, bytes]:
    return 404, b"{}"


def _user(header: str) -> str:
    """Return the user and the password of the header Authorization."""
    scheme, _, given = header.partition(" ")
    return base64.b64decode(given).decode() if scheme == "Basic" else ""


def _run(
    root: Path,
    request: http.server.BaseHTTPRequestHandler,
    path: str,
    query: str,
    body: bytes,
) -> tuple[int, bytes, dict[str, str]]:
    """Return the answer of git's own program: status, content and headers."""
    variables = {
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": request.command,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
    }
    done = subprocess.run(
        ["git", "http-backend"], input=body, capture_output=True, env=_ENVIRONMENT | variables
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
    return int(fields.pop("Status", "200").split()[0]), content, fields


@contextmanager
def https(
    root: Path, *, on_request: Callable[[], None] = lambda: None, api: Api = _no_api
) -> Iterator[Https]:
    """Serve the repositories below `root` by git's own program.

    Below /secret/ a request needs TOKEN; below /moved/ it is redirected to another host; `api`
    answers those below /api/.
    """
    users: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None: ...

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _answer(self, body: bytes) -> None:
            on_request()
            path, _, query = self.path.partition("?")
            header = self.headers.get("Authorization", "")
            user = _user(header)
            users.extend([user] if user else [])
            if path.startswith("/api/"):
                self._send(*api(self.command, path, header, body), {"Content-Type": _JSON})
            elif path.startswith("/moved/"):
                where = f"https://elsewhere.hive.test{path[6:]}?{query}"
                self._send(302, b"", {"Location": where})
            elif path.startswith("/secret/") and user.partition(":")[2] != TOKEN:
                self._send(401, b"", {"WWW-Authenticate": 'Basic realm="forge"'})
            else:
                self._send(*_run(root, self, path.removeprefix("/secret"), query, body))

        def _send(self, status: int, content: bytes, fields: dict[str, str]) -> None:
            self.send_response(status)
            for field, value in {**fields, "Content-Length": str(len(content))}.items():
                self.send_header(field, value)
            self.end_headers()
            self.wfile.write(content)

    file = certificate(root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield Https(server.server_address[1], root / "authority.pem", users)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class Ssh(NamedTuple):
    """A server of ssh that runs."""

    port: int
    key: str
    """The private key of a user that it lets in."""
    fingerprint: str
    """The key of the host, as `ssh-keygen -l` shows it."""


async def _nothing(path: str) -> None: ...


async def _serve(
    asked: Callable[[str], Awaitable[None]], process: "asyncssh.SSHServerProcess[bytes]"
) -> None:
    command = shlex.split(process.command or "")
    assert command[0] == "git-upload-pack"
    await asked(command[-1])
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=_ENVIRONMENT
    )
    await process.redirect(child.stdin, child.stdout, child.stderr)
    process.exit(await child.wait())
    await process.wait_closed()


@asynccontextmanager
async def ssh(
    root: Path, port: int = 0, *, asked: Callable[[str], Awaitable[None]] = _nothing
) -> AsyncIterator[Ssh]:
    """Serve git over ssh, with keys of its own; `port` 0 takes any that is free.

    `asked` is awaited with the path of each repository before that is served.
    """
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    user.write_public_key(root / "user.pub")
    async with await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[host],
        authorized_client_keys=str(root / "user.pub"),
        process_factory=partial(_serve, asked),
        encoding=None,
    ) as server:
        secret = user.export_private_key("openssh").decode()
        yield Ssh(server.get_port(), secret, f"ssh-ed25519 {host.get_fingerprint()}")
