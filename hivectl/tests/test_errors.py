"""Failures of the hive: their names, and the remedy in each sentence."""

import subprocess
import sys

import pytest

from hivectl.cli import run
from hivectl.exit_codes import Exit
from wire.errors import Timeout


@pytest.mark.parametrize(
    ("sentence", "hint"),
    [
        (
            "org.hyperhive.Lifecycle1 did not answer GetManagedObjects within 25 s.",
            " `systemctl status hive-lifecycle` may show why.",
        ),
        ("Job 3 still runs after 2 s.", ""),
    ],
)
def test_of_a_service_that_is_silent_it_says_where_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sentence: str, hint: str
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise Timeout(sentence)

    monkeypatch.setattr("hivectl.cli.cli.main", fail)
    assert run(["list"]) == Exit.TIMEOUT
    assert capsys.readouterr().err == f"hivectl: {sentence}{hint}\n"


def test_help_does_not_wait_for_the_bus_to_be_imported() -> None:
    command = "import hivectl.cli, sys; print(*sys.modules.keys() & {'wire.bus', 'wire.clients'})"
    ran = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "\n"
