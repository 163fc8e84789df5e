"""The real Claude Code, and an upstream that hangs, breaks off, or answers nonsense or too much."""

from collections.abc import Iterator

import pytest

from tests.system import gateway
from tests.system.gateway import Upstream, claude, last_request, main_pid, requests, total
from tests.system.hive import Hive
from tests.system.sleeping import settings

pytestmark = pytest.mark.system

MEMORY = 200 * 1024
"""KiB: more than the gateway needs for an answer, and less than it would need to keep the longest
one."""


@pytest.fixture(scope="module")
def broken(swarm: Hive) -> Iterator[Upstream]:
    """Run the upstream, and a gateway that gives up after five seconds."""
    with gateway.upstream(swarm) as server, settings(swarm, ("", "[gateway]\nidle_timeout = 5")):
        gateway.stop(swarm)
        with gateway.settings(swarm, upstream=server.url("works"), scripted=True):
            gateway.load(swarm, 1, 1, "start the gateway")
        yield server
    gateway.stop(swarm)


def test_claude_answers_with_this_upstream(swarm: Hive, broken: Upstream) -> None:
    """Otherwise its failures would show nothing."""
    with gateway.settings(swarm, upstream=broken.url("works"), scripted=True):
        status, said = claude(swarm, "say it")
    assert (status, said) == (0, "it works\n")


@pytest.mark.long
def test_claude_goes_on_without_the_fast_mode_which_is_not_in_the_price(
    swarm: Hive, broken: Upstream
) -> None:
    counted, seen = last_request(swarm), len(broken.seen())
    with gateway.settings(swarm, upstream=broken.url("works"), scripted=True):
        done = claude(swarm, "say it", "--settings", '{"fastMode": true}')
    assert done == (0, "it works\n")
    assert len(broken.seen()) - seen == len(requests(swarm, counted)) == 1
    assert "fast-mode" in broken.seen()[-1]["headers"]["anthropic-beta"], "it was asked for"


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [
        ("hang", "failed"),
        ("close", "failed"),
        ("garbage", "failed"),
        ("head", "failed"),
        ("redirect", "failed"),
        ("page", "broken"),
        ("large", "broken"),
        ("stall", "broken"),
        ("cut", "broken"),
        ("noise", "broken"),
        ("flood", "broken"),
    ],
)
@pytest.mark.long
def test_claude_gets_a_clean_error_from(
    swarm: Hive, broken: Upstream, mode: str, outcome: str
) -> None:
    counted, seen, process = last_request(swarm), len(broken.seen()), main_pid(swarm)
    with gateway.settings(swarm, upstream=broken.url(mode), scripted=True):
        status, said = claude(swarm, "say it")
    assert status == 1, said
    assert "API Error" in said, said
    assert "Traceback" not in said
    ended = requests(swarm, counted)
    assert {one["outcome"] for one in ended} == {outcome}, ended
    assert len(ended) == len(broken.seen()) - seen, "each is counted once"
    assert total(swarm)["reserved_tokens"] == 0
    if outcome == "broken":
        assert all(one["input_tokens"] for one in ended)
    # It was not killed, and kept no answer.
    assert main_pid(swarm) == process
    status_file = swarm.run("cat", f"/proc/{process}/status").stdout
    [most] = [line.split()[1] for line in status_file.splitlines() if line.startswith("VmHWM:")]
    assert int(most) < MEMORY
