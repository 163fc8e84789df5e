"""The credentials of gateways and projects: how they are stored, listed and removed."""

import io
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hivectl.cli import run
from hivectl.exit_codes import CommandError, Exit
from hivectl.host import credentials
from hivectl.host.credentials import Places
from hivectl.tests.conftest import Hivectl
from wire.credentials import GithubApp

SECRET = "sk-ant-api03-the-secret"
HEAD = "-----BEGIN OPENSSH PRIVATE KEY-----"

Script = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Make a program; $LOG is a file for its words."""

    def make(body: str) -> Path:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        *(tmp_path / "etc" / name for name in ("gateway", "old_key", "forge", "projects"))
    )


@pytest.mark.parametrize("agent", [None, "alice"])
def test_a_secret_is_stored_for_its_owner_alone(places: Places, agent: str | None) -> None:
    place = places.of(agent)
    assert credentials.store(place, "sk-former", None) == place.plain
    assert credentials.store(place, SECRET, None) == place.plain
    assert place.plain.read_text() == SECRET
    assert stat.S_IMODE(place.plain.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.plain.parent.stat().st_mode) == 0o700
    assert [file.name for file in place.plain.parent.iterdir()] == [place.plain.name]


@pytest.mark.parametrize(("agent", "name"), [(None, "default.cred"), ("alice", "own.cred")])
def test_a_secret_is_encrypted_as_the_credential_of_the_unit(
    places: Places, script: Script, tmp_path: Path, agent: str | None, name: str
) -> None:
    place = places.of(agent)
    credentials.store(place, "sk-former", None)
    program = script(f'echo "$@" > {tmp_path}/said; echo sealed; cat > {tmp_path}/got')
    assert credentials.store(place, SECRET, str(program)) == place.encrypted
    assert place.encrypted.read_text() == "sealed\n"
    assert stat.S_IMODE(place.encrypted.stat().st_mode) == 0o600
    assert not place.plain.exists()
    assert (tmp_path / "got").read_text() == SECRET
    assert (tmp_path / "said").read_text() == f"encrypt --name={name} - -\n"
    credentials.store(place, SECRET, None)
    assert place.files == [place.plain]


@pytest.mark.parametrize("body", ["echo no key >&2; exit 1", "exit 0", "echo half; exit 1"])
def test_a_secret_that_is_not_encrypted_is_not_stored(
    places: Places, script: Script, body: str
) -> None:
    place = places.of("alice")
    credentials.store(place, "sk-former", None)
    with pytest.raises(CommandError, match="Use --plain") as raised:
        credentials.store(place, SECRET, str(script(body)))
    assert SECRET not in str(raised.value)
    assert [file.read_text() for file in place.files] == ["sk-former"]


def test_a_disk_that_is_full_keeps_the_former_secret(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places.of("alice")
    credentials.store(place, "sk-former", None)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="No space left"):
        credentials.store(place, SECRET, None)
    assert [file.read_text() for file in place.plain.parent.iterdir()] == ["sk-former"]


def test_stored_credentials_are_listed_and_removed(places: Places, script: Script) -> None:
    assert places.stored() == []
    with pytest.raises(CommandError) as raised:
        credentials.remove(places.of(None))
    assert raised.value.code == Exit.NOT_FOUND
    old = places.of(None).old
    assert old is not None
    old.parent.mkdir(parents=True)
    old.write_text("sk-old")
    assert [(one.owner, one.file, one.used) for one in places.stored()] == [(None, old, True)]
    credentials.store(places.of(None), SECRET, str(script("echo sealed")))
    credentials.store(places.of("bob"), SECRET, None)
    assert [(one.owner, one.encrypted, one.used) for one in places.stored()] == [
        (None, True, True),
        (None, False, False),
        ("bob", False, True),
    ]
    assert len(credentials.remove(places.of(None))) == 2
    assert [one.owner for one in places.stored()] == ["bob"]


def test_a_credential_of_another_machine_is_found(
    places: Places, script: Script, tmp_path: Path
) -> None:
    seals = str(script(f'echo "$@" > {tmp_path}/said; echo sealed'))
    credentials.store(places.of(None), SECRET, None)
    credentials.store(places.of("bob"), SECRET, seals)
    plain, sealed = places.stored()
    assert credentials.can_decrypt(plain, None)
    assert credentials.can_decrypt(sealed, seals)
    assert (tmp_path / "said").read_text() == f"decrypt --name=own.cred {sealed.file} -\n"
    assert not credentials.can_decrypt(sealed, str(script("exit 1")))
    assert not credentials.can_decrypt(sealed, None)


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Have hivectl, in this process, use directories of its own, as root and without systemd."""
    places = Places(
        *(tmp_path / "etc" / name for name in ("gateway", "old_key", "forge", "projects"))
    )
    monkeypatch.setattr("wire.forge.TOKEN_DIRECTORY", str(tmp_path / "etc/forge"))
    monkeypatch.setattr("wire.credentials.GATEWAY_DIRECTORY", str(tmp_path / "etc/gateway"))
    monkeypatch.setattr("wire.credentials.PROJECT_DIRECTORY", str(tmp_path / "etc/projects"))
    monkeypatch.setattr("wire.credentials.KEY_FILE", str(tmp_path / "etc/old_key"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/stopped\n')
    (commands / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/bin")
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    return places


def _type(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_the_commands_store_list_and_remove(
    etc: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ([], ["alice"]):
        _type(monkeypatch, f"{SECRET}\n".encode())
        assert run(["credentials", "set", *name]) == Exit.OK
    shown = capsys.readouterr()
    assert [line.partition(" is stored in ")[0] for line in shown.out.splitlines()] == [
        "the credential of all agents",
        "the credential of alice",
    ]
    assert run(["credentials", "list"]) == Exit.OK
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["FOR", "ENCRYPTED", "CHANGED", "FILE"]
    assert [row.split()[0] for row in rows] == ["all", "alice"]
    assert run(["credentials", "list", "--json"]) == Exit.OK
    listed = capsys.readouterr().out
    assert SECRET not in listed
    assert '"agent": null' in listed
    assert run(["credentials", "remove", "alice", "--yes"]) == Exit.OK
    assert run(["credentials", "remove", "alice", "--yes"]) == Exit.NOT_FOUND
    assert [one.owner for one in etc.stored()] == [None]
    assert (tmp_path / "stopped").read_text().splitlines() == [
        "stop --no-block hive-gateway@*.service",
        "stop --no-block hive-gateway@alice.service",
        "stop --no-block hive-gateway@alice.service",
    ]


def test_the_token_of_the_forge_is_another_one(
    etc: Places,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for more in ([], ["--forge"]):
        _type(monkeypatch, f"{SECRET}{len(more)}\n".encode())
        assert run(["credentials", "set", "alice", *more]) == Exit.OK
    assert (tmp_path / "etc/gateway/agents/alice").read_text() == f"{SECRET}0"
    assert (tmp_path / "etc/forge/agents/alice").read_text() == f"{SECRET}1"
    assert "the token of alice in the forge is stored in " in capsys.readouterr().out
    assert run(["credentials", "list"]) == Exit.OK
    assert "alice (forge)" in capsys.readouterr().out
    assert run(["credentials", "list", "--json"]) == Exit.OK
    assert capsys.readouterr().out.count('"forge": true') == 1
    assert run(["credentials", "remove", "alice", "--forge", "--yes"]) == Exit.OK
    assert [one.purpose for one in etc.stored()] == [credentials.Purpose.AGENT]
    assert run(["credentials", "set", "--forge"]) == Exit.USAGE
    assert "name the agent" in capsys.readouterr().err
    program = script(f'echo "$@" > {tmp_path}/said; echo sealed')
    credentials.store(etc.of_forge("alice"), SECRET, str(program))
    assert (tmp_path / "said").read_text() == "encrypt --name=forge.cred - -\n"


def test_the_prompt_names_the_credential(etc: Places) -> None:
    assert [
        place.prompt
        for place in (
            *(etc.of(None), etc.of("alice"), etc.of_forge("alice")),
            *(etc.of_project("website"), etc.of_webhook("website")),
        )
    ] == [
        "API key or token for all agents",
        "API key or token for alice",
        "Token of alice in the forge",
        "Token for projects with the credential website",
        "Secret of the webhook of website",
    ]


@pytest.mark.parametrize(
    "text", [b"", b"short", b"sk ant with blanks", b"sk-\xff\xff\xff\xff\xff", b"a" * 4097]
)
def test_a_text_that_is_not_a_secret_is_not_stored(
    etc: Places,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: bytes,
) -> None:
    _type(monkeypatch, text)
    assert run(["credentials", "set"]) == Exit.USAGE
    shown = capsys.readouterr()
    assert "is not a valid API key or token" in shown.err
    assert not text or text.decode(errors="replace") not in shown.err
    assert etc.stored() == []


def key(*options: str) -> str:
    """Make a private key."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        made = ("ssh-keygen", "-q", "-t", "ed25519", "-f", str(file), *options)
        subprocess.run(made, check=True)
        return file.read_text()


def test_projects_have_credentials_and_secrets_of_webhooks(
    etc: Places,
    tmp_path: Path,
    script: Script,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deploy = key("-N", "")
    for text, *options in (
        (deploy.replace("\n", "\r\n"), "--project", "website"),
        (f"{SECRET}\n", "--project", "2-token"),
        ("0123456789abcdef\n", "--webhook", "website"),
    ):
        _type(monkeypatch, text.encode())
        assert run(["credentials", "set", *options]) == Exit.OK
    folder = tmp_path / "etc/projects"
    assert (folder / "website").read_text() == deploy
    assert stat.S_IMODE((folder / "website").stat().st_mode) == 0o600
    assert (folder / "2-token").read_text() == SECRET
    assert (folder / "website.webhook").read_text() == "0123456789abcdef"
    shown = capsys.readouterr().out
    assert "the credential website of projects is stored in" in shown
    assert "the secret of the webhook of website is stored in" in shown
    assert run(["credentials", "list"]) == Exit.OK
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [" ".join(row.split()[:2]) for row in rows] == [
        "2-token (project)",
        "website (project)",
        "website (webhook)",
    ]
    assert run(["credentials", "list", "--json"]) == Exit.OK
    listed = capsys.readouterr().out
    assert listed.count('"project": "website"') == 2
    assert listed.count('"webhook": true') == 1
    assert not any(secret in listed for secret in (SECRET, "0123456789abcdef", deploy[50:60]))
    assert run(["credentials", "remove", "--webhook", "website", "--yes"]) == Exit.OK
    assert [one.purpose for one in etc.stored()] == [credentials.Purpose.PROJECT] * 2
    asked = (tmp_path / "stopped").read_text().splitlines()
    assert asked == ["try-restart --no-block hive-projects.service"] * 4
    for place, name in (
        (etc.of_project("website"), "website"),
        (etc.of_webhook("website"), "website.webhook"),
    ):
        program = script(f'echo "$@" > {tmp_path}/said; echo sealed; cat > {tmp_path}/got')
        credentials.store(place, deploy, str(program))
        assert place.encrypted == tmp_path / "etc/projects.cred" / name
        assert not place.plain.exists()
        assert (tmp_path / "said").read_text() == f"encrypt --name=projects.cred_{name} - -\n"
        assert (tmp_path / "got").read_text() == deploy
    (tmp_path / "etc/projects/.website.0123").touch()  # of a write that a crash has ended
    assert [(one.owner, one.encrypted) for one in etc.stored()] == [
        ("2-token", False),
        ("website", True),
        ("website", True),
    ]
    [*_, sealed] = etc.stored()
    assert credentials.can_decrypt(sealed, str(script(f'echo "$@" > {tmp_path}/said')))
    said = (tmp_path / "said").read_text()
    assert said == f"decrypt --name=projects.cred_website.webhook {sealed.file} -\n"


def test_a_github_app_is_stored_with_its_id(
    etc: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = key("-N", "", "-m", "PEM", "-t", "rsa", "-b", "2048")
    _type(monkeypatch, made.encode())
    assert run(["credentials", "set", "--project", "app", "--github-app", "Iv1.0a"]) == Exit.OK
    [stored] = etc.stored()
    assert GithubApp.parse(stored.file.read_text()) == ("Iv1.0a", made)
    for options, text, said in (
        (["--project", "app", "--github-app", "1"], key("-N", ""), "private-key.pem"),
        (["--project", "app", "--github-app", "1"], "a-token", "private-key.pem"),
        (["--project", "app", "--github-app", "a b"], made, "with --project"),
        (["--webhook", "app", "--github-app", "1"], made, "with --project"),
        (["app", "--github-app", "1"], made, "with --project"),
    ):
        _type(monkeypatch, text.encode())
        assert run(["credentials", "set", *options]) == Exit.USAGE
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text", "said"),
    [
        (["--project", "website"], "two words", "not a valid token or private key"),
        (["--project", "website"], ("-N", "five words as a passphrase"), "has a passphrase"),
        (["--project", "website"], ("-N", "secret", "-m", "PEM", "-t", "rsa"), "has a passphrase"),
        (["--project", "website"], f"{HEAD}\nb3BlbnNzaC1r", "is not whole"),
        (["--project", "website"], f"{HEAD}\n?\n-----END OPENSSH PRIVATE KEY-----", "is not whole"),
        (["--webhook", "website"], "0123456789abcde", "one line of 16 to"),
        (["--webhook", "website"], "whsec_0123456789", "one line of 16 to"),
        (["--webhook", "website"], ("-N", ""), "not a valid secret of a webhook"),
        (["--webhook", "Website"], SECRET, "not a valid name of a project"),
        (["--project", "web.site"], SECRET, "not a valid name of a credential"),
        (["--project"], SECRET, "Name the credential"),
        (["--webhook"], SECRET, "Name the project"),
        (["--webhook", "--project", "x"], SECRET, "Give one of"),
    ],
)
def test_a_text_that_is_no_credential_of_projects_is_not_stored(
    etc: Places,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    text: str | tuple[str, ...],
    said: str,
) -> None:
    text = key(*text) if isinstance(text, tuple) else text
    _type(monkeypatch, text.encode())
    assert run(["credentials", "set", *options]) == Exit.USAGE
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert text not in error
    assert etc.stored() == []


def test_a_secret_is_never_an_argument(etc: Places) -> None:
    assert run(["credentials", "set", "alice", SECRET]) == Exit.USAGE
    assert run(["credentials", "set", "../default"]) == Exit.USAGE
    assert etc.stored() == []


@pytest.mark.parametrize("command", [["set"], ["list"], ["remove", "--yes"]])
def test_only_root_may(
    etc: Places,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run(["credentials", *command]) == Exit.DENIED
    assert "as root" in capsys.readouterr().err


async def test_the_commands_are_completed(hivectl: Hivectl) -> None:
    asked = {"_HIVECTL_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    ran = await hivectl(**asked, COMP_WORDS="hivectl credentials ")
    assert ran.out == "plain,list\nplain,remove\nplain,set\n"
