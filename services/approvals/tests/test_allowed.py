"""The operator allows a tool or a host: the edit of agent.toml, its request and its approval."""

import pytest

from services import agentfile
from services.approvals.list_entries import EGRESS, TOOLS, with_entry
from services.approvals.tests.room import MANAGER, Room, apply
from wire.errors import Conflict, InvalidArgument, NotFound
from wire.records.approvals import NO_JOB, ApprovalKind, ApprovalState

RULE = "Bash(git push origin main)"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'allowed_tools = ["{RULE}"]\n'),
        (
            '# ours\n[environment]\nA = "b"\n',
            f'allowed_tools = ["{RULE}"]\n# ours\n[environment]\nA = "b"\n',
        ),
        ('a = 1\nallowed_tools = ["X"] # y\n', f'a = 1\nallowed_tools = ["{RULE}", "X"] # y\n'),
        ('\ufeffallowed_tools = ["X"]\n', f'allowed_tools = ["{RULE}", "X"]\n'),
        ("\ufeff# ours\n", f'allowed_tools = ["{RULE}"]\n# ours\n'),
        ("allowed_tools = []", f'allowed_tools = ["{RULE}"]'),
        (
            'allowed_tools = [ # these\n  "X",  # why\n]\n',
            f'allowed_tools = ["{RULE}",  # these\n  "X",  # why\n]\n',
        ),
        (
            'prompt = """\nallowed_tools = []\n"""\nallowed_tools = []\n',
            f'prompt = """\nallowed_tools = []\n"""\nallowed_tools = ["{RULE}"]\n',
        ),
        (
            'prompt = """\nallowed_tools = []\n"""\n',
            f'allowed_tools = ["{RULE}"]\nprompt = """\nallowed_tools = []\n"""\n',
        ),
    ],
)
def test_a_rule_is_added_and_all_else_stays(before: str, after: str) -> None:
    assert with_entry(before, TOOLS, RULE) == after
    assert with_entry(after, TOOLS, RULE) is None


def test_the_template_takes_a_rule() -> None:
    changed = with_entry(agentfile.TEMPLATE, TOOLS, 'WebFetch(domain:a"b)')
    assert changed is not None
    assert agentfile.parse(changed).allowed_tools == ('WebFetch(domain:a"b)',)


@pytest.mark.parametrize(
    "text", ['"allowed_tools" = []', "allowed_tools = 3", "x.allowed_tools = []\nallowed_tools = 1"]
)
def test_a_text_that_cannot_be_edited_is_left_alone(text: str) -> None:
    with pytest.raises(Conflict, match="have the manager add it"):
        with_entry(text, TOOLS, RULE)


async def test_a_rule_is_requested_approved_and_deployed_in_one_go(room: Room) -> None:
    before = await room.agent()
    allowed = await room.do(room.approvals.allow_tool("alice", RULE, "question 7"))
    row = room.row(allowed.request)
    assert (row.kind, row.requested_by, row.reason) == (
        ApprovalKind.APPLY,
        "operator",
        "question 7",
    )
    assert row.state is ApprovalState.BUILDING
    assert room.lifecycle.orders == [("deploy", "alice", row.commit)]
    assert room.lifecycle.now == [False], "the turn that asked goes on"
    text = await room.git.read("alice", row.commit, agentfile.NAME)
    assert text == f'allowed_tools = ["{RULE}"]\n{agentfile.TEMPLATE}'
    assert await room.git.descends("alice", row.commit, before)
    room.lifecycle.end("alice")
    await room.rest()
    assert room.row(allowed.request).state is ApprovalState.DEPLOYED
    with pytest.raises(Conflict, match="already allows"):
        await room.approvals.allow_tool("alice", RULE, "again")
    await room.check()


async def test_rules_that_are_allowed_during_one_turn_follow_each_other(room: Room) -> None:
    await room.agent()
    first = await room.do(room.approvals.allow_tool("alice", "WebFetch", "1"))
    assert await room.do(room.approvals.allow_tool("alice", "WebFetch", "1")) == (
        first.request,
        NO_JOB,
    )
    second = await room.do(room.approvals.allow_tool("alice", "WebSearch", "2"))
    third = await room.do(room.approvals.allow_tool("alice", RULE, "3"))
    assert (second.job, third.job) == (NO_JOB, NO_JOB)
    assert room.row(second.request).state is ApprovalState.SUPERSEDED
    assert room.row(third.request).state is ApprovalState.PENDING
    room.lifecycle.end("alice")
    await room.rest()
    await room.do(room.yes(third.request))
    room.lifecycle.end("alice")
    await room.rest()
    assert room.row(third.request).state is ApprovalState.DEPLOYED
    text = await room.git.read("alice", room.row(third.request).commit, agentfile.NAME)
    assert agentfile.parse(text).allowed_tools == (RULE, "WebSearch", "WebFetch")


async def test_a_pending_request_of_the_operator_is_not_approved_with_a_rule(room: Room) -> None:
    await room.agent()
    commit = room.git.propose("alice", 'model = "big"\n', room.git.applied["alice"].refs["main"])
    await room.do(room.approvals.request_apply("operator", "alice", commit, "think first"))
    allowed = await room.do(room.approvals.allow_tool("alice", RULE, "1"))
    assert allowed.job == NO_JOB
    assert room.row(allowed.request).state is ApprovalState.PENDING
    assert room.lifecycle.orders == []


async def test_a_pending_request_of_the_manager_is_not_part_of_it(room: Room) -> None:
    await room.agent()
    pending = await apply(room, 'model = "big"\n')
    assert room.row(pending).requested_by == MANAGER
    allowed = await room.do(room.approvals.allow_tool("alice", RULE, "1"))
    text = await room.git.read("alice", room.row(allowed.request).commit, agentfile.NAME)
    assert agentfile.parse(text).model is None
    assert room.row(pending).state is ApprovalState.SUPERSEDED


@pytest.mark.parametrize(
    ("agent", "rule", "error"),
    [
        ("nobody", RULE, NotFound),
        ("alice", "Bash(x)\nBash", InvalidArgument),
        ("alice", "", InvalidArgument),
        ("Alice", RULE, InvalidArgument),
    ],
)
async def test_what_cannot_be_allowed(
    room: Room, agent: str, rule: str, error: type[Exception]
) -> None:
    await room.agent()
    with pytest.raises(error):
        await room.approvals.allow_tool(agent, rule, "why")
    assert room.lifecycle.orders == []


async def test_a_host_is_allowed_in_the_same_way(room: Room) -> None:
    await room.agent()
    allowed = await room.do(room.approvals.allow_egress("alice", "github.com:443", "to clone"))
    assert room.lifecycle.orders == [("deploy", "alice", room.row(allowed.request).commit)]
    text = await room.git.read("alice", room.row(allowed.request).commit, agentfile.NAME)
    assert text == f'egress = ["github.com:443"]\n{agentfile.TEMPLATE}'
    assert agentfile.loads(text)["egress"] == ["github.com:443"]
    room.lifecycle.end("alice")
    await room.rest()
    with pytest.raises(Conflict, match="already allows"):
        await room.approvals.allow_egress("alice", "github.com:443", "again")
    await room.check()


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        ("GitHub.com", "github.com"),
        ("*.PythonHosted.org", "*.pythonhosted.org"),
        ("*:8443", "*:8443"),
        ("[FD00::0:1]:8080", "[fd00::1]:8080"),
    ],
)
async def test_each_form_of_rule_is_written_in_its_usual_form(
    room: Room, rule: str, written: str
) -> None:
    await room.agent()
    allowed = await room.do(room.approvals.allow_egress("alice", rule, "why"))
    text = await room.git.read("alice", room.row(allowed.request).commit, agentfile.NAME)
    assert agentfile.loads(text)["egress"] == [written]


@pytest.mark.parametrize("rule", ["", "git hub.com", "github.com:0", 'a"]\nnested = true\nx = ["'])
async def test_an_invalid_host_changes_nothing(room: Room, rule: str) -> None:
    await room.agent()
    with pytest.raises(InvalidArgument):
        await room.approvals.allow_egress("alice", rule, "why")
    assert room.lifecycle.orders == []


def test_a_host_and_a_tool_have_lists_of_their_own() -> None:
    assert with_entry('egress = ["a.org"]\n', EGRESS, "b.org") == 'egress = ["b.org", "a.org"]\n'
    assert with_entry('egress = ["a.org"]\n', TOOLS, "a") == (
        'allowed_tools = ["a"]\negress = ["a.org"]\n'
    )
