"""The commands about approvals and deployments: their calls to the hive, and their output."""

from pathlib import Path

import pytest

from hivectl.exit_codes import Exit
from hivectl.output.terminal import Output
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import COMMIT
from hivectl.tests.fake_approvals import DIFF
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.records.approvals import ApplyRequestOptions, SpawnRequestOptions
from wire.records.lifecycle import JobResult


async def test_requests_are_shown(hive: FakeHive, hivectl: Hivectl) -> None:
    head, row = (await hivectl("pending")).out.splitlines()
    assert row.index("0123456789ab ") == head.index("COMMIT")
    assert row.split()[:3] == ["7", "spawn", "carol"]
    assert [r["id"] for r in (await hivectl("pending", "--json")).json] == [7]
    everything = await hivectl("pending", "--all")
    assert "to rest (no)" in everything.out
    assert "to fail (no jq:)" in everything.out
    assert [r["commit"] for r in (await hivectl("pending", "--all", "--json")).json] == [
        *(COMMIT, "", COMMIT),
    ]


async def test_a_failed_build_shows_its_log_when_asked(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("pending", "--all", "--full")
    assert ran.out.endswith(
        "5 apply alice 0123456789ab by manager at 2023-11-14 22:13, failed\n"
        "  to fail\n  note: no jq:\n  last line\n"
    )


async def test_requests_are_resolved(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("approve", "7")).out == "carol: spawn done\n"
    assert (await hivectl("approve", "7", "--now")).out == "carol: spawn done\n"
    assert (await hivectl("approve", "8")).code == Exit.NOT_FOUND
    assert (await hivectl("deny", "7", "--note", "not now")).out == "request 7 denied\n"
    assert (await hivectl("withdraw", "7")).out == "request 7 withdrawn\n"
    assert (await hivectl("withdraw", "7", "--json")).json == {"id": 7, "state": "withdrawn"}
    assert hive.approvals.calls == [
        ("approve", 7),
        ("approve now", 7),
        ("deny", 7, "not now", "the operator"),
        ("withdraw", 7),
        ("withdraw", 7),
    ]


async def test_a_build_that_fails_shows_its_log(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.result = (JobResult.FAILED, "The build failed.\nE: no\tjq\nend")
    for extra in ([], ["--json"]):
        ran = await hivectl("approve", "7", *extra)
        assert (ran.code, ran.out) == (Exit.FAILED, "")
        assert ran.err == (
            "hivectl: spawn of carol failed: The build failed.\n  E: no   jq\n  end\n"
        )


async def test_a_diff_is_what_the_hive_says(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("diff", "7")).out == DIFF
    assert (await hivectl("diff", "7", "--json")).json == {"id": 7, "diff": DIFF}
    hive.approvals.text = ""
    assert (await hivectl("diff", "7")).out == "no changes\n"


async def test_a_diff_fakes_no_lines(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.approvals.text = "+harmless\r\x1b[2K\x85\u2028\x0b\x0c-gone\n+\tlast\n"
    ran = await hivectl("diff", "7")
    assert ran.out == (
        "+harmless<U+000D><U+001B>[2K<U+0085><U+2028><U+000B><U+000C>-gone\n+       last\n"
    )


async def test_a_diff_shows_hidden_and_misleading_text(hive: FakeHive, hivectl: Hivectl) -> None:
    selectors = "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE0127)]))
    hive.approvals.text = (
        f"+a = 'x{selectors}'\n+b = '\u3164'\n+c = 'https://cl\u0430ude.ai'\n+d = 'schön'\n"
    )
    first, *rest = (await hivectl("diff", "7")).out.splitlines()
    assert first.isascii()
    assert first.count("<U+") == 55
    assert rest == ["+b = '<U+3164>'", "+c = 'https://xn--clude-5ve.ai'", "+d = 'schön'"]


def test_a_long_line_of_a_diff_goes_on_with_a_mark() -> None:
    output = Output(as_json=False)
    output.columns = 20
    lines = output.diff(f"+# fine {' ' * 30}-gone\n+b\n")
    assert lines[0].startswith("+# fine")
    assert (lines[-2].split(), lines[-1]) == (["…", "-gone"], "+b")
    assert all(line.startswith("… ") and len(line) <= 20 for line in lines[1:-1])


async def test_an_agent_is_asked_for_with_its_configuration(
    hive: FakeHive, hivectl: Hivectl, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("model = 'x'\n")
    ran = await hivectl("request-spawn", "dora", "-m", "docs", "--config", str(file))
    assert (
        ran.out
        == "request 8 waits for approval: spawn dora\n  hivectl diff 8\n  hivectl approve 8\n"
    )
    stdin = b"model = 'y'\n"
    await hivectl("request-spawn", "dora", "-m", "docs", "--config", "-", stdin=stdin)
    ran = await hivectl("request-spawn", "dora", "-m", "docs", "--json")
    assert ran.json == {"id": 8, "state": "pending"}
    assert hive.approvals.calls == [
        ("spawn", "dora", "docs", SpawnRequestOptions("model = 'x'\n")),
        ("spawn", "dora", "docs", SpawnRequestOptions("model = 'y'\n")),
        ("spawn", "dora", "docs", SpawnRequestOptions()),
    ]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, Exit.NOT_FOUND),
        (b"\xff", Exit.USAGE),
        (b"#" * 65537, Exit.USAGE),
        (b"\0", Exit.USAGE),
    ],
)
async def test_a_file_that_is_none_asks_for_nothing(
    hive: FakeHive, hivectl: Hivectl, tmp_path: Path, content: bytes | None, code: Exit
) -> None:
    file = tmp_path / "agent.toml"
    if content is not None:
        file.write_bytes(content)
    ran = await hivectl("request-spawn", "dora", "-m", "docs", "--config", str(file))
    assert (ran.code, hive.approvals.calls) == (code, [])
    assert str(file) in ran.err


async def test_a_change_is_asked_for(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("apply", "alice", COMMIT, "-m", "more")
    assert ran.out.startswith("request 8 waits for approval: alice gets 0123456789ab\n")
    await hivectl("apply", "alice", COMMIT, "-m", "less", "--revert")
    assert (await hivectl("apply", "alice", COMMIT)).code == Exit.USAGE
    ran = await hivectl("revert", "alice", "3")
    assert ran.out.startswith("request 8 waits for approval: alice goes back to deployed/3\n")
    await hivectl("revert", "alice", "deployed/0")
    assert hive.approvals.calls == [
        ("apply", "alice", COMMIT, "more", ApplyRequestOptions()),
        ("apply", "alice", COMMIT, "less", ApplyRequestOptions(revert=True)),
        ("revert", "alice", "deployed/3"),
        ("revert", "alice", "deployed/0"),
    ]


async def test_the_log_of_deployments(hive: FakeHive, hivectl: Hivectl) -> None:
    [first, second] = hive.approvals.deployments
    hive.approvals.deployments = [first._replace(description="More\n memory"), second]
    head, alice, bob = (await hivectl("deploy-log")).out.splitlines()
    assert alice.index("deployed/3") == head.index("TAG")
    assert alice.endswith("0123456789ab  manager   More memory")
    assert bob.split()[2:4] == ["bob-2", "deployed/0"]
    [found] = (await hivectl("deploy-log", "alice", "--limit", "1", "--json")).json
    assert found == {
        "at": "2023-11-14T22:13:20.123456Z",
        "agent": "alice",
        "commit": COMMIT,
        "approval": 3,
        "requested_by": "manager",
        "description": "More\n memory",
        "tag": "deployed/3",
    }
    assert hive.approvals.calls == [("deploy log", "", 50), ("deploy log", "alice", 1)]
    unknown = await hivectl("deploy-log", "zoe")
    assert unknown.code == Exit.NOT_FOUND
    assert unknown.err.startswith("hivectl: Nothing was deployed to 'zoe' yet; ")
    hive.approvals.deployments = []
    assert (await hivectl("deploy-log")).out == "no deployments yet\n"


async def test_nobody_steers_the_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    [request, *_], [deployment, *_] = hive.approvals.requests, hive.approvals.deployments
    hive.approvals.requests = [request._replace(reason=HOSTILE, note=HOSTILE)]
    hive.approvals.deployments = [deployment._replace(description=HOSTILE)]
    hive.approvals.text = HOSTILE
    for command in (["pending", "--full"], ["deploy-log"], ["diff", "7"]):
        ran = await hivectl(*command)
        assert "evil" in ran.out
        assert_harmless(ran.out)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("hivectl withdraw ", "plain,7\n"),
        ("hivectl diff ", "plain,5\nplain,6\nplain,7\n"),
        ("hivectl revert alice ", "plain,deployed/3\n"),
        ("hivectl request-spawn zoe --config ", "file,\n"),
    ],
)
async def test_completion(hive: FakeHive, hivectl: Hivectl, words: str, offered: str) -> None:
    count = str(words.count(" "))
    asked = {"_HIVECTL_COMPLETE": "bash_complete", "COMP_CWORD": count, "COMP_WORDS": words}
    assert (await hivectl(**asked)).out == offered
