"""The way to an upstream: addresses, credentials, and nothing secret on a command line."""

from pathlib import Path

import pytest

from services.projects import sources
from services.projects.access import Gate
from services.projects.apps import Apps
from services.projects.credentials import DECRYPTED, PREFIX, Credentials
from services.projects.rest import Rest
from services.projects.tests.conftest import FakeNames
from wire.errors import InvalidArgument, NotFound, Unavailable

TOKEN = "s3cret-token"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"
PUBLIC = "140.82.121.4"
HTTPS = sources.parse("https://forge.example/w.git")
SSH = sources.parse("git@forge.example:w.git")
DIRECTORY = sources.parse("/srv/git/it's; touch x")


@pytest.fixture
def names() -> FakeNames:
    made = FakeNames()
    made.add("forge.example", PUBLIC, "2606:50c0:8000::153")
    return made


@pytest.fixture
def gate(tmp_path: Path, names: FakeNames) -> Gate:
    (tmp_path / f"{PREFIX}token").write_text(f"{TOKEN}\n")
    (tmp_path / f"{PREFIX}key").write_text(KEY)
    (tmp_path / f"{PREFIX}bad").write_text("two words\n")
    (tmp_path / f"{PREFIX}folder").mkdir()
    return Gate(Credentials(tmp_path), names, Apps(tmp_path / "run", Rest()))


async def test_https_goes_to_the_addresses_that_were_checked(gate: Gate) -> None:
    access = await gate.open(HTTPS, "", private=False, known_hosts=Path("/k"))
    pinned = f"http.curloptResolve=forge.example:443:{PUBLIC},[2606:50c0:8000::153]"
    assert pinned in access.options
    assert access.conditions.environment["GIT_ALLOW_PROTOCOL"] == "https"


async def test_a_token_is_named_and_never_shown(gate: Gate, tmp_path: Path) -> None:
    access = await gate.open(HTTPS, "token", private=False, known_hosts=Path("/k"))
    variables = access.conditions.environment
    assert variables["HIVE_TOKEN"] == str(tmp_path / f"{PREFIX}token")
    assert TOKEN not in f"{access}"
    [helper] = [one for one in access.options if ".helper=!" in one]
    assert helper.startswith("credential.https://forge.example.helper=")


async def test_a_credential_that_was_encrypted_counts_first(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / f"{DECRYPTED}token").write_text("another\n")
    access = await gate.open(HTTPS, "token", private=False, known_hosts=Path("/k"))
    assert access.conditions.environment["HIVE_TOKEN"] == str(tmp_path / f"{DECRYPTED}token")
    (tmp_path / f"{DECRYPTED}w.webhook").write_text("a" * 16)
    assert Credentials(tmp_path).webhook("w") == "a" * 16


async def test_ssh_goes_to_the_address_that_was_checked_and_keeps_the_name(gate: Gate) -> None:
    access = await gate.open(SSH, "key", private=False, known_hosts=Path("/k/known hosts"))
    command = access.conditions.environment["GIT_SSH_COMMAND"]
    for option in (
        f"HostName={PUBLIC}",
        "HostKeyAlias=forge.example",
        "StrictHostKeyChecking=accept-new",
        "'UserKnownHostsFile=/k/known hosts'",
        "IdentityAgent=none",
    ):
        assert f"-o {option}" in command
    assert access.conditions.environment["GIT_ALLOW_PROTOCOL"] == "ssh"


async def test_a_directory_is_served_by_a_git_that_fetches_nothing(gate: Gate) -> None:
    access = await gate.open(DIRECTORY, "", private=False, known_hosts=Path("/k"))
    assert access.upload_pack.startswith("env GIT_ALLOW_PROTOCOL=none git -c ")
    assert "-c 'safe.directory=/srv/git/it'\"'\"'s; touch x'" in access.upload_pack
    assert access.conditions.environment["GIT_ALLOW_PROTOCOL"] == "file"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "64:ff9b::a00:1"]
)
async def test_a_name_that_leads_into_a_private_network_needs_a_word_of_the_operator(
    gate: Gate, names: FakeNames, address: str
) -> None:
    names.add("forge.example", PUBLIC, address)
    with pytest.raises(InvalidArgument, match=r"forge\.example leads to .*set NAME --private"):
        await gate.open(HTTPS, "", private=False, known_hosts=Path("/k"))
    assert await gate.open(HTTPS, "", private=True, known_hosts=Path("/k"))
    source = sources.parse("https://10.1.2.3/w.git")
    with pytest.raises(InvalidArgument, match="leads to"):
        await gate.open(source, "", private=False, known_hosts=Path("/k"))


async def test_a_name_that_nobody_knows_is_told(gate: Gate) -> None:
    source = sources.parse("https://none.example/w.git")
    with pytest.raises(Unavailable, match=r"none\.example cannot be reached: the name has no addr"):
        await gate.open(source, "", private=False, known_hosts=Path("/k"))


@pytest.mark.parametrize(
    ("source", "credential", "said"),
    [
        (HTTPS, "key", "is a private key of ssh, but https takes a token"),
        (SSH, "token", "is a token, but ssh takes a private key of ssh"),
        (DIRECTORY, "token", "Only an upstream of https or ssh"),
        (HTTPS, "bad", "is not a valid token"),
        (HTTPS, "folder", "cannot be read: Is a directory"),
        (HTTPS, "../other", "is not a valid name of a credential"),
        (HTTPS, "a/b", "is not a valid name of a credential"),
    ],
)
def test_a_credential_that_does_not_suit_is_refused(
    gate: Gate, source: sources.Source, credential: str, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        gate.check(source, credential)
    assert "two words" not in str(caught.value)


def test_a_credential_that_is_missing_is_told_with_the_command(tmp_path: Path) -> None:
    for folder in (tmp_path, None):
        gate = Gate(Credentials(folder), FakeNames(), Apps(tmp_path / "run", Rest()))
        with pytest.raises(NotFound, match="hivectl credentials set --project deploy"):
            gate.check(HTTPS, "deploy")
