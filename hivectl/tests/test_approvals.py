"""The commands about approvals and deployments: their calls to the hive, and their output."""

from pathlib import Path

import pytest

from hivectl.exit_codes import Exit
from hivectl.output.diffstat import diffstat
from hivectl.output.terminal import Output
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import COMMIT
from hivectl.tests.fake_approvals import BASE, DIFF
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.records.approvals import (
    ApplyRequestOptions,
    ApprovalOptions,
    ApprovalState,
    SpawnRequestOptions,
)
from wire.records.lifecycle import JobResult

SHOWN = (
    "request 7: spawn carol, requested by manager at 2023-11-14 22:13\n"
    f"  commit {COMMIT}\n"
    "  to test\n"
    "  agent.toml | +1 -1\n"
)


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
    ran = await hivectl("approve", "7", "--commit", COMMIT[:7])
    assert ran.out == "carol: spawn done\n"
    assert ran.err == SHOWN
    for length in (12, 40):
        ran = await hivectl("approve", "7", "--now", "--commit", COMMIT[:length], "--json")
        assert (ran.json["result"], ran.err) == ("done", "")
    ran = await hivectl("approve", "8", "--commit", COMMIT)
    assert (ran.code, ran.err) == (
        Exit.NOT_FOUND,
        "hivectl: There is no request 8; `hivectl pending --all` lists all requests.\n",
    )
    ran = await hivectl("deny", "7", "--commit", COMMIT[:12], "--note", "not now")
    assert (ran.out, ran.err) == ("request 7 denied\n", SHOWN)
    assert (await hivectl("withdraw", "7")).out == "request 7 withdrawn\n"
    assert (await hivectl("withdraw", "7", "--json")).json == {"id": 7, "state": "withdrawn"}
    assert hive.approvals.calls == [
        ("approve", 7, COMMIT, ApprovalOptions(BASE)),
        ("approve now", 7, COMMIT, ApprovalOptions(BASE)),
        ("approve now", 7, COMMIT, ApprovalOptions(BASE)),
        ("deny", 7, COMMIT, "not now", "the operator"),
        ("withdraw", 7),
        ("withdraw", 7),
    ]


async def test_the_settings_that_change_are_shown_before_a_decision(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.approvals.text = f"The settings that change:\n  nested: not set -> true\n\n{DIFF}"
    ran = await hivectl("approve", "7", "--commit", COMMIT)
    settings = "  The settings that change:\n    nested: not set -> true\n"
    assert SHOWN.replace("  agent.toml", f"{settings}  agent.toml") in ran.err


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a_decision_about_another_commit_changes_nothing(
    hive: FakeHive, hivectl: Hivectl, verb: str
) -> None:
    for other in ("fedcba9", COMMIT[:39] + "0"):
        ran = await hivectl(verb, "7", "--commit", other)
        assert (ran.code, ran.out) == (Exit.CONFLICT, "")
        assert ran.err == (
            f"hivectl: Request 7 for carol is about commit {COMMIT}, not {other}: look at it again "
            "(`hivectl diff 7`).\n"
        )
    assert hive.approvals.calls == []


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a_decision_without_a_terminal_names_its_commit(
    hive: FakeHive, hivectl: Hivectl, verb: str
) -> None:
    ran = await hivectl(verb, "7", stdin=b"y\n")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err == (
        f"hivectl: {verb} asks for confirmation, and there is no terminal. Name the commit that "
        f"you have read: hivectl {verb} 7 --commit COMMIT.\n"
    )
    for wrong in ("012345", COMMIT.upper(), "main", f"{COMMIT}0"):
        ran = await hivectl(verb, "7", "--commit", wrong)
        assert (ran.code, "is not a valid commit" in ran.err) == (Exit.USAGE, True)
    assert hive.approvals.calls == []


async def test_a_resolved_request_is_refused_by_the_hive(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("approve", "5", "--commit", "fedcba9")
    assert (ran.code, ran.err) == (
        Exit.CONFLICT,
        "hivectl: Request 5 for alice is already failed.\n",
    )


async def test_an_approved_request_is_hurried_by_its_commit(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    [request, *_] = hive.approvals.requests
    hive.approvals.requests = [request._replace(state=ApprovalState.APPROVED)]
    assert (await hivectl("approve", "7", "--commit", COMMIT)).code == Exit.CONFLICT
    assert (await hivectl("approve", "7", "--now", "--commit", "fedcba9")).code == Exit.CONFLICT
    assert (await hivectl("approve", "7", "--now", "--commit", COMMIT)).code == Exit.OK
    assert [how for how, *_ in hive.approvals.calls] == ["approve", "approve now"]


@pytest.mark.parametrize(
    ("diff", "lines"),
    [
        ("", ["no changes"]),
        (DIFF, ["agent.toml | +1 -1"]),
        # The content of a hunk is no header, whatever it looks like.
        (
            "diff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1,3 @@\n"
            "+diff --git a/x b/x\n+++ b/x\n+@@ -1 +1 @@\n"
            "diff --git a/b.bin b/b.bin\nBinary files a/b.bin and b/b.bin differ\n"
            "diff --git a/c d b/c d\n--- a/c d\t\n+++ b/c d\t\n@@ -1,2 +1 @@ x\n"
            "--- a/a\n-b\n+c\n\\ No newline at end of file\n",
            ["a | +3 -0", "b.bin | binary", "c d | +1 -2"],
        ),
        (
            f"{DIFF}[cut here: the diff is longer than 256 KiB.]\n",
            ["agent.toml | +1 -1", "... and more: the diff is too long to be counted"],
        ),
        (
            "".join(f"diff --git a/{n} b/{n}\nold mode 100644\n" for n in range(12)),
            [*(f"{n} | +0 -0" for n in range(10)), "... and 2 more files"],
        ),
    ],
)
def test_a_diff_is_counted(diff: str, lines: list[str]) -> None:
    assert diffstat(diff) == lines


async def test_a_build_that_fails_shows_its_log(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.result = (JobResult.FAILED, "The build failed.\nE: no\tjq\nend")
    for extra in ([], ["--json"]):
        ran = await hivectl("approve", "7", "--commit", COMMIT, *extra)
        assert (ran.code, ran.out) == (Exit.FAILED, "")
        assert ran.err == ("" if extra else SHOWN) + (
            "hivectl: spawn of carol failed: The build failed.\n  E: no   jq\n  end\n"
        )


async def test_a_diff_is_what_the_hive_says(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("diff", "7")).out == DIFF
    shown = {"id": 7, "diff": DIFF, "base": BASE}
    assert (await hivectl("diff", "7", "--json")).json == shown
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
    output = Output()
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
    assert ran.json == {"id": 8, "state": "pending", "commit": COMMIT}
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
    hive.approvals.deployments = [
        first._replace(description="More\n memory"),
        second._replace(kept=False),
    ]
    head, alice, bob = (await hivectl("deploy-log")).out.splitlines()
    assert alice.index("deployed/3") == head.index("TAG")
    assert alice.endswith("0123456789ab  manager   More memory")
    assert bob.split()[2:4] == ["bob-2", "deployed/0"]
    assert bob.endswith(" (purged)")
    [found] = (await hivectl("deploy-log", "alice", "--limit", "1", "--json")).json
    assert found == {
        "at": "2023-11-14T22:13:20.123456Z",
        "agent": "alice",
        "commit": COMMIT,
        "approval": 3,
        "requested_by": "manager",
        "description": "More\n memory",
        "kept": True,
        "tag": "deployed/3",
    }
    assert hive.approvals.calls == [("deploy log", "", 50), ("deploy log", "alice", 1)]
    destroyed = await hivectl("deploy-log", "carol")
    assert destroyed.code == Exit.NOT_FOUND
    assert destroyed.err.startswith("hivectl: Nothing was deployed to 'carol' yet; ")
    unknown = await hivectl("deploy-log", "alise")
    assert unknown.code == Exit.NOT_FOUND
    assert unknown.err.endswith("Did you mean alice?\n")
    hive.approvals.deployments = []
    assert (await hivectl("deploy-log")).out == "no deployments yet\n"


async def test_nobody_steers_the_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    [request, *_], [deployment, *_] = hive.approvals.requests, hive.approvals.deployments
    hive.approvals.requests = [request._replace(reason=HOSTILE, note=HOSTILE)]
    hive.approvals.deployments = [deployment._replace(description=HOSTILE)]
    hive.approvals.text = HOSTILE
    for command in (
        ["pending", "--full"],
        ["deploy-log"],
        ["diff", "7"],
        ["deny", "7", "--commit", COMMIT],
    ):
        ran = await hivectl(*command)
        assert "evil" in ran.out + ran.err
        assert_harmless(ran.out + ran.err)


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
