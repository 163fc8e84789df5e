"""Serve a forge, an index of Python, registries of npm, cargo and go, and a mirror of apt.

`forge.py ROOT NAME PORT`: https on PORT, http on the next one, and git over ssh on the one after
that, on the loopback. ROOT/forge.pem is the authority that knows it as NAME, ROOT/user the key of a
user.
"""

import asyncio
import base64
import gzip
import hashlib
import http.server
import io
import json
import os
import shlex
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from pathlib import Path

import asyncssh


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a program that must succeed."""
    own = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t", "HOME": "/nonexistent"}
    own |= {"GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t"}
    subprocess.run(command, check=True, cwd=cwd, env=os.environ | own, stdout=subprocess.DEVNULL)


def make_repository(root: Path) -> None:
    """Make a bare repository that plain HTTP can serve."""
    work = root / "work"
    run("git", "init", "--quiet", "--initial-branch=main", str(work))
    (work / "README").write_text("a demo\n")
    run("git", "add", "README", cwd=work)
    run("git", "commit", "--quiet", "--message=demo", cwd=work)
    run("git", "clone", "--quiet", "--bare", str(work), str(root / "demo.git"))
    run("git", "update-server-info", cwd=root / "demo.git")


def make_wheel(root: Path) -> None:
    """Make an index with one wheel."""
    folder = root / "simple/hive-demo"
    folder.mkdir(parents=True)
    info = "hive_demo-1.0.dist-info"
    name = "hive_demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.writestr("hive_demo.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: hive-demo\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{name}">{name}</a>\n')


def tarball(files: dict[str, str]) -> bytes:
    """Return a compressed archive of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def make_npm(root: Path, base: str) -> None:
    """Make a registry with one package."""
    folder = root / "npm"
    folder.mkdir()
    files = {
        "package/package.json": json.dumps({"name": "hive-demo", "version": "1.0.0"}),
        "package/index.js": "module.exports = 1;\n",
    }
    content = tarball(files)
    (folder / "hive-demo-1.0.0.tgz").write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    dist = {"tarball": f"{base}/npm/hive-demo-1.0.0.tgz", "integrity": f"sha512-{digest}"}
    version = {"name": "hive-demo", "version": "1.0.0", "dist": dist}
    document = {
        "name": "hive-demo",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": version},
    }
    (folder / "hive-demo").write_text(json.dumps(document))


def make_cargo(root: Path, base: str) -> None:
    """Make a sparse registry with one crate."""
    folder = root / "cargo"
    (folder / "hi/ve").mkdir(parents=True)
    crate = "hive-demo-1.0.0"
    manifest = '[package]\nname = "hive-demo"\nversion = "1.0.0"\nedition = "2021"\n'
    content = tarball({f"{crate}/Cargo.toml": manifest, f"{crate}/src/lib.rs": ""})
    download = folder / "hive-demo/1.0.0"
    download.mkdir(parents=True)
    (download / "download").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    line = {"name": "hive-demo", "vers": "1.0.0", "deps": [], "cksum": digest, "features": {}}
    (folder / "hi/ve/hive-demo").write_text(json.dumps({**line, "yanked": False}) + "\n")
    (folder / "config.json").write_text(json.dumps({"dl": f"{base}/cargo"}))


def make_go(root: Path) -> None:
    """Make a module proxy with one module, hive.test/demo."""
    folder = root / "go/hive.test/demo/@v"
    folder.mkdir(parents=True)
    module = "module hive.test/demo\n"
    (folder / "list").write_text("v1.0.0\n")
    (folder / "v1.0.0.info").write_text('{"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}')
    (folder / "v1.0.0.mod").write_text(module)
    with zipfile.ZipFile(folder / "v1.0.0.zip", "w") as archive:
        archive.writestr("hive.test/demo@v1.0.0/go.mod", module)
        archive.writestr("hive.test/demo@v1.0.0/demo.go", "package demo\n")


def make_apt(root: Path) -> None:
    """Make a flat mirror with some packages; apt asks for them without waiting for the answers."""
    folder = root / "apt"
    folder.mkdir()
    index = ""
    for number in range(1, 9):
        tree = root / f"deb/{number}/DEBIAN"
        tree.mkdir(parents=True)
        fields = (
            f"Package: hive-demo-{number}\nVersion: 1.0\nArchitecture: all\n"
            "Maintainer: t <t@hive.invalid>\nDescription: a demo\n"
        )
        (tree / "control").write_text(fields)
        file = folder / f"hive-demo-{number}_1.0_all.deb"
        run("dpkg-deb", "--build", "--root-owner-group", str(tree.parent), str(file))
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        index += f"{fields}Filename: ./{file.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"
    (folder / "Packages").write_text(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index.encode()))


def make_certificate(root: Path, name: str) -> tuple[Path, Path]:
    """Make an authority, and the key and the certificate of the server."""
    key, certificate = root / "server.key", root / "server.pem"
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    run(
        *request, "-keyout", str(root / "ca.key"), "-out", str(root / "forge.pem"), "-subj", "/CN=t"
    )
    signed = ("-CA", str(root / "forge.pem"), "-CAkey", str(root / "ca.key"))
    files = ("-keyout", str(key), "-out", str(certificate), "-subj", f"/CN={name}")
    extensions = (f"subjectAltName=DNS:{name}", "basicConstraints=critical,CA:FALSE")
    run(*request, *signed, *files, *(word for one in extensions for word in ("-addext", one)))
    return key, certificate


async def serve_git(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Serve one command of git over ssh."""
    command = shlex.split(process.command or "")
    if not command or command[0] not in {"git-upload-pack", "git-receive-pack"}:
        process.exit(127)
        return
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    await process.redirect(child.stdin, child.stdout, child.stderr)
    process.exit(await child.wait())


def make_keys(root: Path) -> None:
    """Make the key of the ssh server, and that of a user."""
    for name in ("host", "user"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(root / name)
        key.write_public_key(root / f"{name}.pub")


async def serve_ssh(root: Path, port: int) -> None:
    """Serve git over ssh for ever."""
    await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[root / "host"],
        authorized_client_keys=str(root / "user.pub"),
        process_factory=serve_git,
        encoding=None,
    )
    print("listening", flush=True)
    await asyncio.Event().wait()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the files, and is quiet."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Make everything anew, and serve it."""
    root, name, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    run("rm", "-rf", str(root))
    root.mkdir(parents=True)
    (root / "hello").write_text("hello\n")
    key, certificate = make_certificate(root, name)
    make_repository(root)
    make_wheel(root)
    make_npm(root, f"https://{name}:{port}")
    make_cargo(root, f"https://{name}:{port}")
    make_go(root)
    make_keys(root)
    if Path("/usr/bin/dpkg-deb").exists():
        make_apt(root)
    handler = partial(Handler, directory=str(root))
    secure = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(
        secure.socket, server_side=True, do_handshake_on_connect=False
    )
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", port + 1), handler)
    for server in (secure, plain):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    asyncio.run(serve_ssh(root, port + 2))


if __name__ == "__main__":
    main()
