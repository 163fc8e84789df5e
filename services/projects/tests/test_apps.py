"""GitHub Apps: the proof, the token, and its end.

The answers have the shapes of GitHub's documentation of its REST API (2022-11-28). GitHub itself
is not asked.
"""

import base64
import json
import ssl
import stat
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from services.egress import Address
from services.projects import access, rest, sources
from services.projects.access import Gate
from services.projects.apps import MARGIN, Apps
from services.projects.credentials import PREFIX, Credentials
from services.projects.rest import Answer, Rest
from services.projects.sources import Source
from services.projects.tests.conftest import FakeNames, Room
from services.projects.tests.forge import NAME, TOKEN, Https, https
from services.projects.tests.test_forge import address, look, root
from wire.credentials import GithubApp
from wire.errors import HiveError, InvalidArgument, Unavailable
from wire.records.projects import ProjectState, SetOptions

__all__ = ["root"]

ID = "Iv23liABCDEFGHIJKLMN"
PUBLIC = "140.82.121.6"
NOW = 1_764_500_000.0
ENDS = "2025-11-30T11:53:20Z"
"""An hour after NOW."""
INSTALLATION = {"id": 1, "app_id": 2, "target_type": "Organization", "permissions": {}}
GIVEN = {"token": "ghs_first", "expires_at": ENDS, "repository_selection": "selected"}
SOURCE = sources.parse("https://github.com/team/website.git")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Return a key as GitHub makes it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def claims(key: rsa.RSAPrivateKey, authorization: str) -> dict[str, Any]:
    """Return the claims of a proof, whose signature must be right."""
    scheme, _, proof = authorization.partition(" ")
    assert scheme == "Bearer"
    head, body, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in proof.split(".")
    )
    signed = proof.rpartition(".")[0].encode()
    key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(head) == {"alg": "RS256", "typ": "JWT"}
    found: dict[str, Any] = json.loads(body)
    return found


class Recorded:
    """A client that answers what a test has recorded, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, object]] = []
        self.headers: dict[str, str] = {}
        self.addresses: Sequence[Address] = ()

    async def request(
        self,
        method: str,
        url: str,
        addresses: Sequence[Address],
        *,
        headers: dict[str, str],
        body: object = None,
    ) -> Answer:
        self.asked.append((method, url, body))
        self.headers, self.addresses = headers, addresses
        return self.answers.pop(0)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Case:
    """A gate with a credential of an app, and recorded answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client = Recorded()
        self.clock = Clock()
        self.names = FakeNames()
        self.names.add("github.com", PUBLIC)
        self.names.add("api.github.com", PUBLIC)
        self.apps = Apps(root / "run", self.client, self.clock)
        self.gate = Gate(Credentials(root), self.names, self.apps)

    def credential(self, text: str) -> None:
        (self.root / f"{PREFIX}app").write_text(text)

    def answer(self, *answers: tuple[int, object]) -> None:
        self.client.answers = [Answer(*one) for one in answers]

    async def token(self, source: Source = SOURCE) -> Path:
        """Return the file that git reads the token from."""
        opened = await self.gate.open(source, "app", private=False, known_hosts=Path("/k"))
        return Path(opened.conditions.environment["HIVE_TOKEN"])


@pytest.fixture
def case(tmp_path: Path, key: rsa.RSAPrivateKey) -> Case:
    made = Case(tmp_path)
    made.credential(GithubApp(ID, pem(key)).text())
    return made


async def test_an_app_gets_a_token_for_one_repository(case: Case, key: rsa.RSAPrivateKey) -> None:
    case.answer((200, INSTALLATION), (201, GIVEN))
    file = await case.token()
    assert file.read_text() == "ghs_first"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert case.client.asked == [
        ("GET", "https://api.github.com/repos/team/website/installation", None),
        (
            "POST",
            "https://api.github.com/app/installations/1/access_tokens",
            {"repositories": ["website"]},
        ),
    ]
    assert case.client.addresses == [ip_address(PUBLIC)]
    assert claims(key, case.client.headers["Authorization"]) == {
        "iss": ID,
        "iat": int(NOW) - 60,
        "exp": int(NOW) + 540,
    }


async def test_a_token_is_used_again_and_replaced_before_it_ends(case: Case) -> None:
    case.answer((200, INSTALLATION), (201, GIVEN))
    first = await case.token()
    case.clock.now += 3600 - MARGIN
    assert await case.token() == first
    assert len(case.client.asked) == 2
    case.clock.now += 1
    second = GIVEN | {"token": "ghs_second", "expires_at": "2025-11-30T12:53:20+00:00"}
    case.answer((200, INSTALLATION), (201, second))
    assert (await case.token()).read_text() == "ghs_second"
    (await case.token()).unlink()
    case.answer((200, INSTALLATION), (201, second))
    assert (await case.token()).read_text() == "ghs_second"
    other = sources.parse("https://github.com/team/other")
    case.answer((200, INSTALLATION), (201, GIVEN | {"token": "ghs_other"}))
    assert (await case.token(other)).read_text() == "ghs_other"
    assert (await case.token()).read_text() == "ghs_second"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(401, {"message": "Bad credentials ghs_x"})], "does not accept the GitHub App"),
        ([(404, {"message": "Not Found"})], "has no repository team/website on which"),
        ([(200, INSTALLATION), (422, {"message": "x"})], "answers 422 to the GitHub App"),
        ([(301, None)], "answers 301 to the GitHub App, and gives no token"),
        ([(200, None)], "answers 200 to the GitHub App"),
        ([(200, {"id": "../../x"})], "does not answer as GitHub does"),
        ([(200, INSTALLATION), (201, {})], "does not answer as GitHub does"),
        ([(200, INSTALLATION), (201, GIVEN | {"token": "a\nb"})], "does not answer as GitHub"),
        ([(200, INSTALLATION), (201, GIVEN | {"expires_at": None})], "does not answer as GitHub"),
    ],
)
async def test_a_refusal_is_a_sentence(
    case: Case, answers: list[tuple[int, object]], said: str
) -> None:
    case.answer(*answers)
    with pytest.raises(HiveError, match=said) as caught:
        await case.token()
    assert "ghs_" not in str(caught.value)
    assert not (case.root / "run").exists()


async def test_an_api_of_a_private_network_gets_no_proof(case: Case) -> None:
    case.names.add("api.github.com", "10.0.0.1")
    with pytest.raises(InvalidArgument, match=r"api\.github\.com leads to 10\.0\.0\.1"):
        await case.token()
    assert case.client.asked == []


@pytest.mark.parametrize(
    ("source", "api"),
    [
        ("https://x@team.ghe.com/team/website.git", "https://api.team.ghe.com"),
        ("https://forge.example:8443/team/website.git", "https://forge.example:8443/api/v3"),
    ],
)
async def test_other_servers_of_github_have_their_own_api(
    case: Case, source: str, api: str
) -> None:
    for name in ("team.ghe.com", "api.team.ghe.com", "forge.example"):
        case.names.add(name, PUBLIC)
    case.answer((200, INSTALLATION), (201, GIVEN))
    await case.token(sources.parse(source))
    assert case.client.asked[0][1] == f"{api}/repos/team/website/installation"


async def test_what_is_no_app_is_told(case: Case, key: rsa.RSAPrivateKey) -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    for text, said in (
        ("{", "is not one of a GitHub App"),
        ("{}", "is not one of a GitHub App"),
        (GithubApp(ID, "no key").text(), "is not one of RSA"),
        (GithubApp(ID, other).text(), "is not one of RSA"),
    ):
        case.credential(text)
        with pytest.raises(InvalidArgument, match=said):
            await case.token()
    case.credential(GithubApp(ID, pem(key)).text())
    with pytest.raises(InvalidArgument, match="is not a repository of GitHub"):
        await case.token(sources.parse("https://github.com/website.git"))
    with pytest.raises(InvalidArgument, match="is a GitHub App, but ssh takes a private key"):
        await case.token(sources.parse("git@github.com:team/website.git"))


@pytest.fixture
def forge(
    root: Path, room: Room, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Https]:
    """Serve git, and the API of a server of GitHub that gives the app a token."""
    leaks: list[str] = []

    def api(method: str, path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        assert claims(key, authorization)["iss"] == ID
        if (method, path) == ("GET", "/api/v3/repos/secret/w/installation"):
            return 200, json.dumps(INSTALLATION).encode()
        if (method, path) != ("POST", "/api/v3/app/installations/1/access_tokens"):
            return 404, b"{}"
        assert json.loads(body) == {"repositories": ["w"]}
        return 201, json.dumps(
            GIVEN | {"token": TOKEN, "expires_at": "2999-01-01T00:00:00Z"}
        ).encode()

    with https(root, on_request=lambda: look(leaks), api=api) as serving:
        configuration = tmp_path / "gitconfig"
        configuration.write_text(
            f"[include]\n\tpath = {access.CONFIGURATION}\n"
            f"[http]\n\tsslCAInfo = {serving.authority}\n"
        )
        monkeypatch.setattr(access, "CONFIGURATION", configuration)
        room.names.add(NAME, "127.0.0.1")
        yield serving
    assert leaks == []


async def test_git_fetches_with_the_token_of_an_app(
    room: Room, forge: Https, key: rsa.RSAPrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    room.credential("app", GithubApp(ID, pem(key)).text())
    source = address(forge, "secret/w.git")
    found = await room.added("w", source, private=True, credential="app")
    assert found.state is ProjectState.FAILED
    assert f"The certificate of {NAME} is not valid" in found.message
    await room.stop()
    room.context = ssl.create_default_context(cafile=forge.authority)
    await room.start()
    found = await room.fetched("w")
    assert (found.state, found.message) == (ProjectState.READY, "")
    assert set(forge.users) == {f"x-access-token:{TOKEN}"}
    kept = [path for path in room.root.rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in caplog.text
    await room.projects.set("w", SetOptions(source=address(forge, "secret/x.git")))
    found = await room.settled("w")
    assert found.state is ProjectState.FAILED
    assert "has no repository secret/x on which the GitHub App is installed" in found.message


async def test_a_silent_or_endless_forge_fails(
    forge: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Rest(ssl.create_default_context(cafile=forge.authority))
    url, at = address(forge, "w.git/HEAD"), [ip_address("127.0.0.1")]
    answer = await client.request("GET", url, at, headers={})
    assert answer == (200, None)
    monkeypatch.setattr(rest, "MAX_ANSWER", 3)
    with pytest.raises(Unavailable, match="answers with more than"):
        await client.request("GET", url, at, headers={})
    with pytest.raises(Unavailable, match="cannot be reached"):
        await client.request("GET", url.replace(f":{forge.port}", ":1"), at, headers={})
    monkeypatch.setattr(rest, "SECONDS", 0.001)
    with pytest.raises(Unavailable):
        await client.request("GET", url, at, headers={})


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_github_is_out_of_order(case: Case, status: int) -> None:
    case.answer((status, None))
    with pytest.raises(Unavailable, match=f"api.github.com answers {status} .*Try again later"):
        await case.token()
