"""Hidden and misleading text of a manager and an agent, as the operator sees it on real parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.dashboard.tests.browser import needs_chromium, open_browser
from tests.system.hive import Hive
from tests.system.inside import call, clone_anew, hivectl, inside, refused

pytestmark = pytest.mark.system

SELECTORS = "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE0127)]))
LINES = f"# a{SELECTORS}\n# \u3164\n# https://cl\u0430ude.ai/mcp\n# schön \u202e\n"
SHOWN = ["+# <U+3164>", "+# https://xn--clude-5ve.ai/mcp", "+# schön <U+202E>"]
COMMIT = """
set -e
cd /agents/alice
printf '%s' "$1" >> agent.toml
git commit -qam 'Harmless'
git rev-parse HEAD
"""


@pytest.fixture
def request_id(swarm: Hive) -> Iterator[str]:
    """The number of a request whose change has hidden text."""
    clone_anew(swarm, "alice")
    commit = inside(swarm, "manager", "sh", "-c", COMMIT, "sh", LINES).stdout.strip()
    swarm.hivectl("apply", "alice", commit, "-m", f"Harmless{SELECTORS}")
    number = str(hivectl(swarm, "pending")[-1]["id"])
    yield number
    swarm.hivectl("withdraw", number)
    clone_anew(swarm, "alice")


def test_hivectl_spells_out_what_a_diff_hides(swarm: Hive, request_id: str) -> None:
    lines = swarm.hivectl("diff", request_id).stdout.splitlines()
    [first] = [line for line in lines if line.startswith("+# a")]
    assert first == "+# a" + "".join(f"<U+{ord(c):04X}>" for c in SELECTORS)
    assert [line for line in lines if line in SHOWN] == SHOWN
    reasons = swarm.hivectl("pending", "--full").stdout
    assert "Harmless<U+FE00>" in reasons


@needs_chromium
@pytest.mark.long
async def test_the_page_marks_what_a_diff_hides(
    swarm: Hive, request_id: str, tmp_path: Path
) -> None:
    async with open_browser(tmp_path) as browser:
        await browser.open(swarm.hivectl("login-link").stdout.strip())
        await browser.click("#with-link button")
        card = f".pending [data-key='{request_id}']"
        await browser.sees(f"{card} .reason .hidden-character", "U+FE00")
        await browser.click(f"{card} summary")
        await browser.sees(f"{card} .diff", "schön")
        marks = f"[...document.querySelectorAll(`{card} .diff .hidden-character`)]"
        assert await browser.value(f"{marks}.map((mark) => mark.textContent)") == [
            " ".join(f"U+{ord(c):04X}" for c in SELECTORS),
            "U+3164",
            "xn--clude-5ve.ai",
            "U+202E",
        ]


def test_messages_stay_readable(swarm: Hive) -> None:
    text = "Привет 👩\u200d🔬, 你好, see https://cl\u0430ude.ai \u202e\u3164"
    sent = call(swarm, "alice", "send", to="operator", body=text)
    assert not refused(sent), sent
    shown = "Привет 👩\u200d🔬, 你好, see https://xn--clude-5ve.ai <U+202E><U+3164>"
    assert shown in swarm.hivectl("history", "--full", "--from", "alice").stdout
