"""The unit files of the host: each is found here, so that a new one cannot be forgotten."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).parents[1]
UNITS = sorted([*REPO.glob("services/**/*.service"), REPO / "sandbox/hive-model.service"])
MOST = 15
"""Tenths of systemd's exposure level; docs/security.md lists the exposures that remain."""

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def test_every_unit_is_found() -> None:
    assert {path.name for path in UNITS} >= {
        "hive-agent@.service",
        "hive-approvals.service",
        "hive-assistant.service",
        "hive-broker.service",
        "hive-build@.service",
        "hive-canfilter.service",
        "hive-clock.service",
        "hive-dashboard.service",
        "hive-fetch.service",
        "hive-forge.service",
        "hive-ledger.service",
        "hive-lifecycle.service",
        "hive-notify.service",
        "hive-projects.service",
        "hive-sweep.service",
        "hive-telemetry.service",
        "hive-vacuum.service",
    }


def test_no_service_loads_plugins_of_pydantic() -> None:
    services = [path for path in UNITS if "-m services." in path.read_text()]
    without = {
        path.name
        for path in services
        if "\nEnvironment=PYDANTIC_DISABLE_PLUGINS=__all__\n" not in path.read_text()
    }
    # These import no pydantic.
    assert without == {
        "hive-canfilter.service",
        "hive-clock.service",
        "hive-filter@.service",
        "hive-sweep.service",
    }


@needs_analyze
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_its_exposure_is_low(path: Path) -> None:
    limit = f"--threshold={MOST}"
    analyze = ["systemd-analyze", "security", "--offline=true", "--no-pager", limit, str(path)]
    done = subprocess.run(analyze, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def exposures() -> dict[str, set[str]]:
    """Return the settings that systemd-analyze criticizes, each with its units."""
    found: dict[str, set[str]] = {}
    for path in UNITS:
        if path.parent.name == "sandbox":
            continue  # nobody installs it
        analyze = ["systemd-analyze", "security", "--offline=true", "--json=short", str(path)]
        answer = subprocess.run(analyze, capture_output=True, text=True, check=True).stdout
        tests: list[dict[str, Any]] = json.loads(answer)
        for test in tests:
            if test["exposure"] is not None:
                unit = path.stem.removeprefix("hive-")
                found.setdefault(test["name"], set()).add(unit)
    return found


def documented() -> dict[str, str]:
    """Return the second column of the table of exposures in docs/security.md, by the first."""
    text = (REPO / "docs/security.md").read_text().partition("These exposures remain:")[2]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| .+ \|$", text.partition("\n## ")[0], re.MULTILINE)
    return {setting.replace("\\|", "|"): units for setting, units in rows}


def shown(units: set[str], everyone: set[str]) -> str:
    if missing := everyone - units:
        few = len(missing) < 2
        return f"all but {', '.join(missing)}" if few else ", ".join(sorted(units))
    return "all"


@needs_analyze
def test_the_exposures_that_remain_are_documented() -> None:
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True)
    if not version.stdout.startswith("systemd 252"):
        pytest.skip("this is not systemd 252, whose exposures are documented")
    found = exposures()
    everyone = set.union(*found.values())
    assert documented() == {name: shown(units, everyone) for name, units in found.items()}
