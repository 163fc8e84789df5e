"""The settings of the units on which the code and the rest of the hive rely."""

import shutil
import subprocess
from pathlib import Path

import pytest

from services.gateway.credentials import load, load_forge
from services.gateway.gateway import DRAIN_SECONDS, SETTLE_SECONDS
from wire.credentials import GATEWAY_DIRECTORY, KEY_FILE
from wire.forge import TOKEN_DIRECTORY

ROOM = Path(__file__).parents[1]
SERVICE = "hive-gateway@.service"


def lines(unit: str) -> list[str]:
    return (ROOM / unit).read_text().splitlines()


@pytest.mark.parametrize("name", ["api", "proxy"])
def test_each_socket_starts_the_gateway_of_its_agent(name: str) -> None:
    assert {
        f"ListenStream=/run/hyperhive/agents/%i/{name}.sock",
        f"FileDescriptorName={name}",
        "Service=hive-gateway@%i.service",
        "SocketMode=0666",
        "DirectoryMode=0700",
    } <= set(lines(f"hive-{name}@.socket"))


@pytest.mark.parametrize(
    "setting",
    [
        "StartLimitIntervalSec=0",  # a hostile agent must not close its own sockets for good
        "User=hive-gateway",
        "Sockets=hive-api@%i.socket hive-proxy@%i.socket",  # both, whichever was used first
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "InaccessiblePaths=/proc",
        "TemporaryFileSystem=/run/hyperhive:ro",
        "BindReadOnlyPaths=/run/hyperhive/gateway",
        "Environment=PYDANTIC_DISABLE_PLUGINS=__all__",
        "Environment=LOCALDOMAIN=",  # a rule for a name is not for one in a search domain
        "LimitCORE=0",  # a dump would contain the credential
    ],
)
def test_what_must_not_go_from_the_service(setting: str) -> None:
    assert setting in lines(SERVICE)


def test_each_credential_has_a_place_and_a_value_for_none(tmp_path: Path) -> None:
    settings = [line.partition("=")[::2] for line in lines(SERVICE)]
    loaded = dict(value.split(":") for key, value in settings if key.startswith("LoadCredential"))
    fallback = dict(value.split(":") for key, value in settings if key == "SetCredential")
    assert loaded == {
        "own": f"{GATEWAY_DIRECTORY}/agents/%i",
        "own.cred": f"{GATEWAY_DIRECTORY}/agents/%i.cred",
        "default": f"{GATEWAY_DIRECTORY}/default",
        "default.cred": f"{GATEWAY_DIRECTORY}/default.cred",
        "forge": f"{TOKEN_DIRECTORY}/agents/%i",
        "forge.cred": f"{TOKEN_DIRECTORY}/agents/%i.cred",
        "old": KEY_FILE,
    }
    assert set(fallback) == set(loaded)
    for id, value in fallback.items():
        (tmp_path / id).write_text(value)
    assert (load(tmp_path, "alice"), load_forge(tmp_path)) == (None, "")
    for id in loaded:
        (tmp_path / id).write_text("a-key")
        # The token of the forge goes to no model, and the key of a model to no forge.
        is_of_forge = id.startswith("forge")
        assert (load(tmp_path, "alice") is None) is is_of_forge
        assert load_forge(tmp_path) == ("a-key" if is_of_forge else "")
        (tmp_path / id).write_text("-")


def test_a_stop_waits_for_the_ends_of_requests() -> None:
    [stop] = [line for line in lines(SERVICE) if line.startswith("TimeoutStopSec=")]
    assert int(stop.partition("=")[2]) > DRAIN_SECONDS + SETTLE_SECONDS


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_exposure_is_low() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", ROOM / SERVICE],
        capture_output=True,
        text=True,
    )
    if "exposure level" not in done.stdout:
        pytest.skip(f"systemd-analyze cannot do this: {done.stderr}")
    assert float(done.stdout.rpartition("service: ")[2].split()[0]) <= 1.5
