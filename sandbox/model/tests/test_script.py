import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sandbox.model import conversation, scenario
from sandbox.model.arithmetic import find_sum
from sandbox.model.script import END, Answer, Script

DEMO = Path(scenario.__file__).with_name("demo.toml")


def wake(body: str, sender: str, **head: str) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in head.items())
    return (
        "You have 1 new message.\n\n"
        f'<message-ab12 id="7" from="{sender}" kind="{head.pop("kind", "message")}"{attributes}>\n'
        f"{body}\n</message-ab12>"
    )


def ask(script: Script, agent: str, *messages: Any) -> Answer:
    """Answers a conversation; a str is said by the user, a tuple is a round (tool, result)."""
    said: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, str):
            said.append({"role": "user", "content": message})
            continue
        tool, result = message
        call = {"type": "tool_use", "id": "t", "name": tool, "input": {}}
        said.append({"role": "assistant", "content": [call]})
        given = {"type": "tool_result", "tool_use_id": "t", "content": result}
        said.append({"role": "user", "content": [given]})
    system = [{"type": "text", "text": f"You are...\nHyperhive agent: {agent}\n"}]
    return script.answer(conversation.read({"system": system, "messages": said}))


def scripted(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Script(scenario.load(path))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("six times seven", "42"),
        ("What is 12 + 30, please?", "42"),
        ("2 plus 4 times ten", "42"),
        ("forty-two minus zero", "42"),
        ("84 divided by two", "42"),
        ("1/4", "0.25"),
        ("5x5", "25"),
        ("three over zero", "nothing: one cannot divide by zero"),
    ],
)
def test_sums(text: str, result: str) -> None:
    found = find_sum(text)
    assert found is not None
    assert found.result == result


@pytest.mark.parametrize("text", ["hello", "six", "box 5", "sixtimes seven", ""])
def test_no_sum(text: str) -> None:
    assert find_sum(text) is None


def test_the_main_job() -> None:
    script = Script(scenario.load(DEMO))
    told = wake("ask bob for six times seven", "operator")
    assert ask(script, "manager", told).calls == (
        ("mcp__hive__send", {"to": "bob", "body": "six times seven"}),
    )
    after = ask(script, "manager", told, ("mcp__hive__send", "8"))
    assert (after.calls, after.text) == ((), "I asked bob, and wait for the answer.")
    assert ask(script, "bob", wake("six times seven", "manager")).calls == (
        ("mcp__hive__send", {"to": "manager", "body": "42", "in_reply_to": 7}),
    )
    assert ask(script, "manager", wake("42", "bob", in_reply_to="8")).calls == (
        ("mcp__hive__send", {"to": "operator", "body": "bob says: 42"}),
    )


@pytest.mark.parametrize(
    ("body", "tool", "part"),
    [
        ("spawn carol because we need her", "mcp__hive__request_spawn", "we need her"),
        ("who is there?", "mcp__hive__list_agents", None),
        ("good morning", "mcp__hive__send", None),
    ],
)
def test_what_else_the_manager_does(body: str, tool: str, part: str | None) -> None:
    answer = ask(Script(scenario.load(DEMO)), "manager", wake(body, "operator"))
    assert answer.calls[0][0] == tool
    assert part is None or part in answer.calls[0][1].values()


def test_every_message_of_a_wake_prompt_is_answered() -> None:
    script = Script(scenario.load(DEMO))
    both = wake("1 + 1", "alice") + "\n" + wake("2 + 2", "carol")
    first = ask(script, "bob", both)
    second = ask(script, "bob", both, ("mcp__hive__send", "8"))
    last = ask(script, "bob", both, ("mcp__hive__send", "8"), ("mcp__hive__send", "9"))
    assert [first.calls[0][1]["to"], second.calls[0][1]["to"]] == ["alice", "carol"]
    assert (last.calls, last.text) == ((), END)


def test_only_the_last_wake_prompt_counts() -> None:
    script = Script(scenario.load(DEMO))
    answer = ask(
        script, "bob", wake("1 + 1", "alice"), ("mcp__hive__send", "8"), wake("2 + 2", "carol")
    )
    assert answer.calls[0][1]["body"] == "4"


def test_the_prompt_of_a_failed_turn_before_it_does_not_count() -> None:
    script = Script(scenario.load(DEMO))
    merged = wake("1 + 1", "alice").replace("ab12", "cd34") + "\n" + wake("1 + 1", "alice")
    assert ask(script, "bob", merged).calls
    assert ask(script, "bob", merged, ("mcp__hive__send", "8")).text == END


def test_nobody_knows_the_rule(tmp_path: Path) -> None:
    script = scripted(tmp_path, 'default = "Well, well."')
    answer = ask(script, "bob", "hello")
    assert (answer.text, answer.rule) == ("Well, well.", None)


def test_a_result_takes_over(tmp_path: Path) -> None:
    script = scripted(
        tmp_path,
        r"""
[[rule]]
name = "start"
body = 'go to (?P<place>\w+)'
step = [{ tool = "Bash", args = { command = "go {place}" } }, { text = "There." }]

[[rule]]
name = "blocked"
tool = "Bash"
result = 'blocked by (?P<who>\w+)'
step = [
  { calls = [{ tool = "A", args = { deep = [{ x = "{who} {place}" }] } }, { tool = "B" }] },
  { text = "{who} moved: {result}" },
]
""",
    )
    assert ask(script, "x", "go to town", ("Bash", "fine")).text == "There."
    blocked = ask(script, "x", "go to town", ("Bash", "blocked by ox"))
    assert blocked.calls == (("A", {"deep": [{"x": "ox town"}]}), ("B", {}))
    again = ask(script, "x", "go to town", ("Bash", "blocked by ox"), ("A", "blocked by cow"))
    assert again.text == "ox moved: blocked by cow"


def test_a_rule_for_a_result_does_not_restart_itself(tmp_path: Path) -> None:
    script = scripted(
        tmp_path,
        """
[[rule]]
name = "start"
step = [{ tool = "Bash" }, { text = "There." }]

[[rule]]
name = "blocked"
result = "blocked"
step = [{ tool = "Bash" }, { tool = "Bash" }, { text = "Given up." }]
""",
    )
    blocked = ("Bash", "blocked")
    assert ask(script, "x", "go", blocked, blocked).calls == (("Bash", {}),)
    assert ask(script, "x", "go", blocked, blocked, blocked).text == "Given up."


def test_failures_end_after_their_times(tmp_path: Path) -> None:
    script = scripted(
        tmp_path,
        '[[rule]]\nname = "r"\nbody = "x"\nstep = [{ status = 529, times = 2 }, { text = "up" }]',
    )
    assert [ask(script, "a", "x").status for _ in range(3)] == [529, 529, None]
    assert ask(script, "a", "x").text == "up"


def test_earlier_files_win(tmp_path: Path) -> None:
    first = tmp_path / "first.toml"
    first.write_text('[[rule]]\nname = "mine"\nagent = "bob"\nstep = [{ text = "mine" }]')
    script = Script(scenario.load(first, DEMO))
    assert ask(script, "bob", wake("1 + 1", "alice")).text == "mine"
    assert ask(script, "eve", wake("1 + 1", "alice")).calls[0][1]["body"] == "2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule = [", ["is not valid TOML"]),
        ('[[rule]]\nname = "a"\nstep = [{ txt = "x" }]', ["rule 1 ('a')", "step 1", "'txt'"]),
        ('[[rule]]\nname = "a"\nbody = "("\nstep = [{ text = "x" }]', ["'body'", "regular"]),
        ('[[rule]]\nname = "a"\nstep = [{ text = "{who}" }]', ["rule 1 ('a')", "{who}"]),
        ('[[rule]]\nstep = [{ text = "x" }]', ["rule 1", "'name'"]),
        ('[[rule]]\nname = "a"\nstep = []', ["rule 1 ('a')", "'step'"]),
        ('[[rule]]\nname = "a"\nstep = [{ delay = 1.0 }]', ["step 1", "needs one of"]),
    ],
)
def test_a_bad_file_is_told_in_a_sentence(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(scenario.ScenarioError) as caught:
        scenario.load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in [str(path), *words]:
        assert word in sentence


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(scenario.ScenarioError, match=r"nowhere\.toml: cannot be read"):
        scenario.load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("rule", "words", "line"),
    [
        (
            "manager: give NAME the variable KEY=VALUE",
            {"key": "A", "value": "2"},
            'environment.A = "2"',
        ),
        ("manager: give NAME the package PACKAGE", {"package": "jq"}, 'packages = ["jq"]'),
    ],
)
def test_the_demo_changes_a_configuration_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    words: dict[str, str],
    line: str,
) -> None:
    [found] = [r for r in tomllib.loads(DEMO.read_text())["rule"] if r["name"] == rule]
    command = found["step"][0]["args"]["command"].replace("/agents/{name}", str(tmp_path / "alice"))
    for key, value in words.items():
        command = command.replace(f"{{{key}}}", value)
    # The text of the first line is replaced, too.
    before = line.replace('"2"', '"1"').replace('"jq"', '"hello"')
    applied = tmp_path / "applied"
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@hive.invalid")
    subprocess.run(["git", "init", "-q", "-b", "main", applied], check=True)
    (applied / "agent.toml").write_text(f"{before}\n# The rest.\n")
    subprocess.run(["git", "-C", applied, "add", "agent.toml"], check=True)
    subprocess.run(["git", "-C", applied, "commit", "-q", "-m", "Begin"], check=True)
    subprocess.run(["git", "clone", "-q", "-o", "applied", applied, tmp_path / "alice"], check=True)
    subprocess.run(["sh", "-c", command], check=True)
    assert (tmp_path / "alice" / "agent.toml").read_text() == f"{line}\n# The rest.\n"
