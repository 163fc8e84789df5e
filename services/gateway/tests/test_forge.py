"""The forge: an agent's token goes to it alone, and only what an agent needs passes."""

import asyncio
import base64
import json
import ssl
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from services.errors import ConfigError
from services.gateway.credentials import load_forge
from services.gateway.forge.requests import rewritten
from services.gateway.forge.routes import Route, find
from services.gateway.forge.site import parse
from services.gateway.proxy.head import Fields, HeadError, Request
from services.gateway.settings import parse as parse_settings
from services.gateway.tests.stage import LIMIT, Stage, stage
from services.gateway.tests.upstream import FakeUpstream, Sent, http, saying, upstream
from wire.forge import HOST, ORIGIN
from wire.records.ledger import EgressOutcome

TOKEN = "0123456789abcdef-of-alice"
BASIC = "Basic " + base64.b64encode(f"alice-bot:{TOKEN}".encode()).decode()


def settings(up: FakeUpstream, folder: str = "") -> dict[str, Any]:
    return {"forge": {"url": up.url + folder, "account": "alice-bot"}}


def request(method: str, path: str, *headers: str, body: str = "") -> bytes:
    lines = [f"{method} {ORIGIN}{path} HTTP/1.1", f"Host: {HOST}", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def ask(hive: Stage, method: str, path: str, *headers: str, body: str = "") -> bytes:
    return await hive.raw(request(method, path, *headers, body=body), proxy=True)


async def test_the_token_goes_with_a_request_to_the_api(tmp_path: Path) -> None:
    async with (
        upstream(saying(http(b'{"login": "alice-bot"}'))) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up)) as hive,
    ):
        answer = await ask(
            hive, "POST", "/api/v1/user/repos?x=1", "Content-Type: application/json", body="{}"
        )
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b'{"login": "alice-bot"}')
        [sent] = up.sent
        assert (sent.first, sent.body) == ("POST /api/v1/user/repos?x=1 HTTP/1.1", b"{}")
        assert dict(sent.headers) == {
            "Host": f"127.0.0.1:{up.port}",
            "Content-Type": "application/json",
            "Authorization": f"token {TOKEN}",
            "Content-Length": "2",
            "Connection": "close",
        }
        assert TOKEN.encode() not in answer
        await hive.gateway.close()
        assert {(r.host, r.port, r.outcome) for r in hive.ledger.egress} == {
            (HOST, 80, EgressOutcome.ALLOWED)
        }
        assert not hive.ledger.checked


async def test_git_gets_the_token_as_a_password(tmp_path: Path) -> None:
    async with (
        upstream(saying(http(b"0000", kind="application/x-git"))) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up, "/forge")) as hive,
    ):
        path = "/ann/site.git/info/refs?service=git-upload-pack"
        assert (await ask(hive, "GET", path, "Git-Protocol: version=2")).endswith(b"0000")
        [sent] = up.sent
        assert sent.first == f"GET /forge{path} HTTP/1.1"
        assert sent.all("authorization") == [BASIC]
        assert sent.all("git-protocol") == ["version=2"]


CREDENTIALS = (
    "Authorization: token another",
    "Proxy-Authorization: Basic eDp5",
    "Cookie: i_like_gitea=x",
    "Remote-User: hive",
    "X-WEBAUTH-USER: hive",
    "X-Forwarded-For: 1.2.3.4",
    "X-Real-IP: 1.2.3.4",
    "Forwarded: for=x",
    "Sudo: hive",
    "X-Gitea-OTP: 123456",
    "X-HTTP-Method-Override: DELETE",
    "Connection: Authorization, X-Gitea-OTP",
)


async def test_no_credential_of_the_client_passes(tmp_path: Path) -> None:
    async with (
        upstream(saying(http(b"{}"))) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up)) as hive,
    ):
        await ask(hive, "GET", "/api/v1/user", "Accept: */*", *CREDENTIALS)
        [sent] = up.sent
        assert [name.lower() for name, _ in sent.headers] == [
            "host",
            "accept",
            "authorization",
            "connection",
        ]
        assert sent.all("authorization") == [f"token {TOKEN}"]


async def test_no_session_comes_back_and_addresses_are_those_of_the_agent(tmp_path: Path) -> None:
    async def act(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _sent: Sent) -> None:
        link = f'<{up.url}/x/api/v1/user/repos?page=2>; rel="next"'
        headers = (
            "Set-Cookie: i_like_gitea=session",
            "WWW-Authenticate: Basic",
            f"Link: {link}",
            "X-Total-Count: 9",
            "X-Debug: token",
        )
        writer.write(http(b"[]", *headers))

    async with (
        upstream(act) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up, "/x")) as hive,
    ):
        head = (await ask(hive, "GET", "/api/v1/user/repos")).decode().lower()
    assert "set-cookie" not in head
    assert "www-authenticate" not in head
    assert "x-debug" not in head
    assert "x-total-count: 9" in head
    assert f'link: <{ORIGIN}/api/v1/user/repos?page=2>; rel="next"' in head


PASSES = (
    ("GET", "/api/v1/version"),
    ("GET", "/api/v1/user"),
    ("HEAD", "/api/v1/users/ann"),
    ("GET", "/api/v1/repos/search?q=site&limit=5"),
    ("GET", "/api/v1/repos/issues/search?assigned=true&state=open"),
    ("GET", "/api/v1/notifications?all=true"),
    ("PUT", "/api/v1/notifications"),
    ("PATCH", "/api/v1/notifications/threads/7"),
    ("DELETE", "/api/v1/repos/ann/site"),
    ("POST", "/api/v1/repos/ann/site/issues"),
    ("POST", "/api/v1/repos/ann/site/issues/3/comments"),
    ("POST", "/api/v1/repos/ann/site/pulls/3/reviews"),
    ("POST", "/api/v1/repos/ann/site/pulls/3/merge"),
    ("GET", "/api/v1/repos/ann/site/contents/a%20b/c%2Fd.txt?ref=main"),
    ("GET", "/api/v1/repos/ann/my.site/git/trees/main?recursive=1"),
    ("PUT", "/api/v1/repos/ann/site/collaborators/bob"),
)
GIT = (
    ("GET", "/ann/site/info/refs?service=git-receive-pack"),
    ("GET", "/ann/site.wiki.git/info/refs?service=git-upload-pack"),
    ("POST", "/ann/site.git/git-upload-pack"),
    ("POST", "/ann/site.git/git-receive-pack"),
)
REFUSED = (
    # Other ways to log in as the agent, or as somebody else.
    ("POST", "/api/v1/users/alice-bot/tokens"),
    ("GET", "/api/v1/users/alice-bot/tokens"),
    ("POST", "/api/v1/user/applications/oauth2"),
    ("POST", "/api/v1/user/keys"),
    ("POST", "/api/v1/user/gpg_keys"),
    ("POST", "/api/v1/repos/ann/site/keys"),
    ("POST", "/login/oauth/access_token"),
    ("GET", "/user/login"),
    ("GET", "/api/v1/user?sudo=hive"),
    ("GET", "/api/v1/user?token=x"),
    ("GET", "/api/v1/user?a=1&access%5Ftoken=x"),
    ("GET", "/api/v1/user?a=1;SUDO=hive"),
    # Answers that repeat the token.
    ("POST", "/ann/site.git/info/lfs/objects/batch"),
    ("GET", "/ann/site.git/info/lfs/locks"),
    # Ways around the egress list, and programs that the forge runs.
    ("POST", "/api/v1/repos/ann/site/hooks"),
    ("POST", "/api/v1/repos/ann/site/hooks/git"),
    ("POST", "/api/v1/user/hooks"),
    ("POST", "/api/v1/orgs/ann/hooks"),
    ("POST", "/api/v1/repos/migrate"),
    ("POST", "/api/v1/repos/ann/site/push_mirrors"),
    ("POST", "/api/v1/repos/ann/site/mirror-sync"),
    ("PUT", "/api/v1/repos/ann/site/actions/secrets/x"),
    ("POST", "/api/v1/admin/users"),
    ("POST", "/api/v1/repos/ann/site/transfer"),
    ("PATCH", "/api/v1/user/settings"),
    ("DELETE", "/api/v1/user"),
    ("POST", "/api/v1/users/bob"),
    # Other spellings.
    ("GET", "/"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v1"),
    ("GET", "/API/v1/user"),
    ("GET", "//api/v1/user"),
    ("GET", "/api/v1/../v1/admin/users"),
    ("GET", "/api/v1/repos/ann/site/issues/../hooks"),
    ("GET", "/api/v1/repos/ann/site/issues/%2e%2e/hooks"),
    ("GET", "/api/v1/repos/ann/site/issues/%2E./hooks"),
    ("GET", "/api/v1/repos/ann/site/issues/x%2f..%2f..%2fhooks"),
    ("GET", "/api/v1/repos/ann/site/issues/%252e%252e/hooks"),
    ("GET", "/api/v1/repos/ann/site/issues\\..\\hooks"),
    ("GET", "/api/v1/repos/ann/site/issues/%5c..%5chooks"),
    ("GET", "/api/v1/repos/ann/site/issues/%00"),
    ("GET", "/api/v1/repos/ann/site/issues/%ff"),
    ("GET", "/api/v1/repos/ann/%73ite/hooks"),
    ("GET", "/api/v1/repos/../admin/issues"),
    ("GET", "/api/v1/repos/ann/site/%68ooks"),
    ("GET", "/api/v1/repos/ann/site/issues?q=\x80"),
    ("TRACE", "/api/v1/user"),
    ("CONNECT", "/api/v1/user"),
    ("OPTIONS", "/api/v1/user"),
    ("GET", "/ann/site.git/info/refs"),
    ("GET", "/ann/site.git/info/refs?service=git-upload-archive"),
    ("GET", "/ann/site.git/info/refs?service=git-upload-pack&x=1"),
    ("GET", "/ann/site.git/git-upload-pack"),
    ("POST", "/ann/site.git/git-receive-pack?x"),
    ("GET", "/ann/site.git/HEAD"),
    ("GET", "/ann/site.git/objects/info/packs"),
    ("POST", "/x/ann/site.git/git-receive-pack"),
)


@pytest.mark.parametrize(("method", "target"), PASSES)
def test_the_api_that_agents_need_passes(method: str, target: str) -> None:
    assert find(method, target) is Route.API


@pytest.mark.parametrize(
    ("path", "kind", "passes"),
    [
        ("/api/v1/user/repos", "application/json", True),
        ("/api/v1/repos/ann/site/issues/3/assets?name=x", "multipart/form-data; boundary=x", True),
        ("/api/v1/repos/ann/site/issues", "multipart/form-data; boundary=x", False),
        ("/api/v1/repos/ann/site/issues", "application/x-www-form-urlencoded", False),
        ("/api/v1/repos/ann/site/issues/3/assets", "Application/X-WWW-Form-urlencoded ;a", False),
        ("/ann/site.git/git-receive-pack", "application/x-www-form-urlencoded", False),
    ],
)
def test_a_form_may_name_another_credential(path: str, kind: str, passes: bool) -> None:
    fields = Fields((("Content-Type", "text/plain"), ("content-type", kind)))
    sent = Request("POST", path, 1, fields)
    with nullcontext() if passes else pytest.raises(HeadError, match="no form"):
        rewritten(sent, path, parse("http://forge.example.org", "alice-bot"), TOKEN)


@pytest.mark.parametrize(("method", "target"), GIT)
def test_git_passes(method: str, target: str) -> None:
    assert find(method, target) is Route.GIT


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_nothing_else_passes(method: str, target: str) -> None:
    with pytest.raises(HeadError, match=r"does not pass this request|must be escaped"):
        find(method, target)


async def test_what_does_not_pass_reaches_no_forge(tmp_path: Path) -> None:
    async with (
        upstream(saying(http(b"{}"))) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up)) as hive,
    ):
        answer = await ask(hive, "POST", "/ann/site.git/info/lfs/objects/batch", body="{}")
        assert answer.startswith(b"HTTP/1.1 400 Hyperhive: The gateway does not pass this request")
        assert up.connections == 0
        smuggled = request("GET", "/api/v1/user", "Content-Length: 5", "Transfer-Encoding: chunked")
        assert b" 400 " in await hive.raw(smuggled, proxy=True)
        assert up.connections == 0


@pytest.mark.parametrize(
    ("token", "values", "sentence"),
    [
        ("", {}, "the host has no token for its account"),
        (TOKEN, {"forge": None}, "the operator has given it no account in a forge"),
        (TOKEN, {"network": "none"}, "its network is none"),
        (TOKEN, {"network": "host"}, "its network is host"),
    ],
)
async def test_an_agent_without_all_that_it_takes_is_told(
    tmp_path: Path, token: str, values: dict[str, Any], sentence: str
) -> None:
    async with (
        upstream(saying(http(b"{}"))) as up,
        stage(tmp_path, forge_token=token, **{**settings(up), **values}) as hive,
    ):
        answer = await ask(hive, "GET", "/api/v1/user")
        assert answer.startswith(b"HTTP/1.1 403 Hyperhive refused the forge for alice: ")
        assert sentence.encode() in answer
        assert up.connections == 0
        assert not hive.ledger.checked, "the operator is not asked about a name of the hive"


async def test_a_rule_for_all_names_leads_to_no_other_host_of_this_name(tmp_path: Path) -> None:
    async with (
        upstream(saying(http(b"{}"))) as up,
        stage(tmp_path, forge_token=TOKEN, egress=["*", f"127.0.0.1:{up.port}"]) as hive,
    ):
        hive.names.add(HOST, ["127.0.0.1"])
        for target in (f"{HOST}:{up.port}", f"{HOST}:443", f"{HOST.upper()}.:80"):
            answer = await hive.raw(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode(), proxy=True)
            assert b" 403 Hyperhive refused the forge for alice: " in answer, target
        assert up.connections == 0
        assert not hive.names.asked


async def test_a_tunnel_carries_one_request_and_nothing_unread(tmp_path: Path) -> None:
    """fetch of node opens a tunnel for plain HTTP, too."""
    async with (
        upstream(saying(http(b"{}"))) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up)) as hive,
    ):
        tunnel = f"CONNECT {HOST}:80 HTTP/1.1\r\n\r\n".encode()
        own = f"GET /api/v1/user HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        answer = await hive.raw(tunnel + own, proxy=True)
        assert b"Connection established" in answer
        assert answer.endswith(b"{}")
        assert up.sent[0].all("authorization") == [f"token {TOKEN}"]
        for inner in (
            b"\x16\x03\x01\x00\x05hello",
            own.replace(b"/api/v1/user", b"/api/v1/admin/users"),
            own.replace(HOST.encode(), b"other.test"),
            b"raw bytes\r\n\r\n",
        ):
            reader, writer = await hive.open()
            writer.write(tunnel + inner)
            writer.write_eof()
            async with asyncio.timeout(LIMIT):
                refused = await reader.read(-1)
            writer.close()
            assert b" 400 " in refused.partition(b"\r\n\r\n")[2], inner
        assert len(up.sent) == 1


async def test_a_changed_setting_ends_the_connections(tmp_path: Path) -> None:
    async def hang(
        reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _sent: Sent
    ) -> None:
        await reader.read(-1)

    async with (
        upstream(hang) as up,
        stage(tmp_path, forge_token=TOKEN, **settings(up)) as hive,
    ):
        asking = asyncio.create_task(ask(hive, "GET", "/api/v1/user"))
        async with asyncio.timeout(LIMIT):
            await up.asked.wait()
            hive.settings(forge=None)
            await up.gone.wait()
            assert b" 502 " in await asking


def certificate(folder: Path, name: str) -> Path:
    file = folder / f"{name}.pem"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN={name} -addext subjectAltName=DNS:{name}"
    )
    command = ["openssl", *words.split(), "-keyout", str(file), "-out", str(folder / f"{name}.crt")]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + (folder / f"{name}.crt").read_text())
    return file


async def test_a_forge_with_tls_must_have_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, "forge.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(b"{}"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        for name, trusted, status in (
            ("forge.test", True, b" 200 "),
            ("forge.test", False, b" 502 "),
            ("other.test", True, b" 502 "),
        ):
            if trusted:
                monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "forge.test.crt"))
            else:
                monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            forge = {"url": f"https://{name}:{port}", "account": "alice-bot"}
            folder = tmp_path / f"{name}-{trusted}"
            folder.mkdir()
            async with stage(folder, forge_token=TOKEN, forge=forge) as hive:
                hive.names.add(name, ["127.0.0.1"])
                answer = await ask(hive, "GET", "/api/v1/user")
                assert status in answer.partition(b"\r\n")[0], answer
        assert len(sent) == 1
        assert f"Authorization: token {TOKEN}".encode() in sent[0]
        assert b"its certificate is not valid" in answer
    finally:
        server.close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1", b"cannot reach 127.0.0.1:1: connection refused."),
        ("http://gone.test", b"the name has no address"),
    ],
)
async def test_a_forge_that_is_away_is_said(tmp_path: Path, url: str, sentence: bytes) -> None:
    forge = {"url": url, "account": "alice-bot"}
    async with stage(tmp_path, forge_token=TOKEN, forge=forge) as hive:
        answer = await ask(hive, "GET", "/api/v1/user")
        assert b" 502 Hyperhive" in answer
        assert sentence in answer


@pytest.mark.parametrize(
    ("url", "origin", "header", "folder"),
    [
        ("http://127.0.0.1:7002/", "http://127.0.0.1:7002", "127.0.0.1:7002", ""),
        ("https://Forge.Example/x/", "https://forge.example", "forge.example", "/x"),
        ("http://[::1]:80", "http://[::1]", "[::1]", ""),
        ("https://forge.example:80", "https://forge.example:80", "forge.example:80", ""),
    ],
)
def test_the_address_of_a_forge(url: str, origin: str, header: str, folder: str) -> None:
    site = parse(url, "alice")
    assert (site.origin, site.host_header, site.folder) == (origin, header, folder)


@pytest.mark.parametrize(
    "forge",
    [5, {}, {"url": "x", "account": "a"}, {"url": "ftp://x", "account": "a"}, {"url": "http://x"}],
)
def test_settings_that_are_none_let_nothing_out(forge: Any) -> None:
    with pytest.raises(ValueError, match="forge"):
        parse_settings(json.dumps({"network": "gateway", "forge": forge}))


def test_the_token_is_a_credential(tmp_path: Path) -> None:
    assert load_forge(None) == ""
    assert load_forge(tmp_path) == ""
    (tmp_path / "forge").write_text("-")
    (tmp_path / "forge.cred").write_text("-")
    assert load_forge(tmp_path) == ""
    (tmp_path / "forge").write_text(f"{TOKEN}\n")
    assert load_forge(tmp_path) == TOKEN
    (tmp_path / "forge.cred").write_text("the-encrypted-one")
    assert load_forge(tmp_path) == "the-encrypted-one"
    (tmp_path / "forge.cred").write_text("two\r\nlines")
    with pytest.raises(
        ConfigError, match=r"forge\.cred in /etc/hyperhive/credentials/forge"
    ) as raised:
        load_forge(tmp_path)
    assert "two" not in str(raised.value)
