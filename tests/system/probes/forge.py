"""Serve a forge, an index of Python, a registry of npm and a mirror of apt, with one file each.

`forge.py ROOT NAME PORT`: https on PORT and http on the next one, on the loopback. ROOT/forge.pem
is the certificate of NAME.
"""

import base64
import gzip
import hashlib
import http.server
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from pathlib import Path


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


def make_npm(root: Path, base: str) -> None:
    """Make a registry with one package."""
    folder = root / "npm"
    folder.mkdir()
    files = {
        "package/package.json": json.dumps({"name": "hive-demo", "version": "1.0.0"}),
        "package/index.js": "module.exports = 1;\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    (folder / "hive-demo-1.0.0.tgz").write_bytes(buffer.getvalue())
    digest = base64.b64encode(hashlib.sha512(buffer.getvalue()).digest()).decode()
    dist = {"tarball": f"{base}/npm/hive-demo-1.0.0.tgz", "integrity": f"sha512-{digest}"}
    version = {"name": "hive-demo", "version": "1.0.0", "dist": dist}
    document = {
        "name": "hive-demo",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": version},
    }
    (folder / "hive-demo").write_text(json.dumps(document))


def make_apt(root: Path) -> None:
    """Make a flat mirror with one package."""
    folder = root / "apt"
    tree = root / "deb/DEBIAN"
    tree.mkdir(parents=True)
    folder.mkdir()
    fields = (
        "Package: hive-demo\nVersion: 1.0\nArchitecture: all\nMaintainer: t <t@hive.invalid>\n"
        "Description: a demo\n"
    )
    (tree / "control").write_text(fields)
    file = folder / "hive-demo_1.0_all.deb"
    run("dpkg-deb", "--build", "--root-owner-group", str(tree.parent), str(file))
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    index = f"{fields}Filename: ./{file.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"
    (folder / "Packages").write_text(index)
    (folder / "Packages.gz").write_bytes(gzip.compress(index.encode()))


def make_certificate(root: Path, name: str) -> tuple[Path, Path]:
    """Make the key and the certificate of the server."""
    key, certificate = root / "forge.key", root / "forge.pem"
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    names = f"subjectAltName=DNS:{name}"
    run(
        *request,
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-subj",
        f"/CN={name}",
        "-addext",
        names,
    )
    return key, certificate


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the files, and is quiet."""

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
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    print("listening", flush=True)
    secure.serve_forever()


if __name__ == "__main__":
    main()
