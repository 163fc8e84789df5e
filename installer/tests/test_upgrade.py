"""The digest of a unit changes with the code that the unit runs, and with no other."""

import shutil
from pathlib import Path

import pytest

from installer.upgrade import LATER, Code

REPO = Path(__file__).parents[2]
UNITS = {path.name: path for path in REPO.glob("services/**/hive-*.*")}
SERVICES = {
    *("broker", "ledger", "approvals", "dashboard", "lifecycle", "notify", "agent@", "gateway@"),
}
SITE = "lib/python3.11/site-packages"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an installation of this checkout."""
    prefix = tmp_path_factory.mktemp("prefix")
    left_out = shutil.ignore_patterns("tests", "__pycache__", "vendor")
    for package in ("wire", "services", "harness", "hivectl"):
        shutil.copytree(REPO / package, prefix / SITE / package, ignore=left_out)
    for name in ("aiohttp-3.0", "claude_agent_sdk-0.2", "hyperhive-0.1.0"):
        (prefix / SITE / f"{name}.dist-info").mkdir()
    (prefix / "share/hyperhive/container").mkdir(parents=True)
    return prefix


@pytest.fixture(scope="module")
def running(prefix: Path) -> dict[str, set[str]]:
    """Return the files of which each service depends."""
    code = Code(prefix)
    texts = {name: UNITS[f"hive-{name}.service"].read_text() for name in SERVICES}
    files = {name: code.files(*code.modules(text)) for name, text in texts.items()}
    return {
        name: {str(file.relative_to(prefix / SITE)) for file in found}
        for name, found in files.items()
    }


@pytest.mark.parametrize(
    ("file", "services"),
    [
        ("services/broker/messages/inbox.py", {"broker"}),
        ("services/dashboard/static/index.html", {"dashboard"}),
        ("services/lifecycle/jobs/orders.py", {"lifecycle"}),
        ("services/endpoint/tools/table.py", {"agent@"}),
        ("services/gateway/api/routes.py", {"gateway@"}),
        ("services/ledger/org.hyperhive.Ledger1.xml", {"ledger"}),
        ("hivectl/cli.py", set()),
        ("services/unit.py", SERVICES),
        ("wire/errors.py", SERVICES),
    ],
)
def test_a_file_concerns_the_units_that_run_it(
    prefix: Path, running: dict[str, set[str]], file: str, services: set[str]
) -> None:
    assert (prefix / SITE / file).exists()
    assert {name for name in SERVICES if file in running[name]} == services


def digest(prefix: Path, unit: str, text: str = "") -> str:
    """Return the digest of a unit that runs services.sweep."""
    started = "ExecStart=/usr/lib/hyperhive/bin/python -m services.sweep"
    return Code(prefix).digest(unit, text or started)


def test_another_content_is_another_digest(prefix: Path) -> None:
    file, before = prefix / SITE / "services/sweep/files.py", digest(prefix, "hive-x.service")
    text = file.read_text()
    file.write_text(f"{text}# another version\n")
    after = digest(prefix, "hive-x.service")
    file.write_text(text)
    assert before != after
    assert digest(prefix, "hive-x.service") == before


def test_lifecycle_notices_a_new_harness(prefix: Path) -> None:
    """It puts the harness into the containers, and looks at it when it starts."""
    units = ("hive-lifecycle.service", "hive-x.service")
    before = [digest(prefix, unit) for unit in units]
    file = prefix / SITE / "harness/another.py"
    file.touch()
    after = [digest(prefix, unit) for unit in units]
    file.unlink()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_change_of_a_unit_concerns_itself(prefix: Path) -> None:
    assert digest(prefix, "hive-x.socket", "[Socket]") != digest(prefix, "hive-x.socket", "[Other]")


def test_a_new_version_of_a_dependency_concerns_all_that_run_python(prefix: Path) -> None:
    texts = ("", "[Socket]")
    before = [digest(prefix, "hive-x", text) for text in texts]
    (prefix / SITE / "aiohttp-3.0.dist-info").rename(prefix / SITE / "aiohttp-3.1.dist-info")
    after = [digest(prefix, "hive-x", text) for text in texts]
    (prefix / SITE / "aiohttp-3.1.dist-info").rename(prefix / SITE / "aiohttp-3.0.dist-info")
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_each_service_that_runs_python_is_followed() -> None:
    """A unit whose modules are not found would never be restarted."""
    code = Code(REPO / "nowhere")
    for name, path in UNITS.items():
        text = path.read_text()
        if name.endswith(".service") and "/bin/python" in text:
            assert code.modules(text), name


@pytest.mark.parametrize(
    "unit", ["hive-agent@alice.socket", "hive-api@bob.socket", "hive-filter@7f000001.service"]
)
def test_a_unit_that_a_container_needs_is_left_alone(unit: str) -> None:
    assert LATER.fullmatch(unit)


@pytest.mark.parametrize("unit", ["hive-dashboard.socket", "hive-agent@alice.service"])
def test_other_units_are_restarted(unit: str) -> None:
    assert not LATER.fullmatch(unit)
