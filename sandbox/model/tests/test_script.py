import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sandbox.model import conversation, scenario
from sandbox.model.arithmetic import find_sum
from sandbox.model.script import END, Answer, Script

DEMO = Path(scenario.__file__).with_name("demo.toml")
SCENARIOS = DEMO.with_name("scenarios")


def wake(body: str, sender: str, **head: str) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in head.items())
    return (
        "You have 1 new message.\n\n"
        f'<message-ab12 id="7" from="{sender}" kind="{head.pop("kind", "message")}"{attributes}>\n'
        f"{body}\n</message-ab12>"
    )


def ask(script: Script, agent: str, *messages: Any, model: str = "m") -> Answer:
    """Answers a conversation.

    A str is said by the user, a tuple is a round (tool, result), a dict is a message as it is.
    """
    said: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, str):
            said.append({"role": "user", "content": message})
            continue
        if isinstance(message, dict):
            said.append(message)
            continue
        tool, result = message
        call = {"type": "tool_use", "id": "t", "name": tool, "input": {}}
        said.append({"role": "assistant", "content": [call]})
        given = {"type": "tool_result", "tool_use_id": "t", "content": result}
        said.append({"role": "user", "content": [given]})
    system = [{"type": "text", "text": f"You are...\nHyperhive agent: {agent}\n"}]
    request = {"model": model, "system": system, "messages": said}
    return script.answer(conversation.read(request))


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
    answers = [ask(script, "a", "x").refusal for _ in range(3)]
    assert [refused and refused.status for refused in answers] == [529, 529, None]
    assert ask(script, "a", "x").text == "up"


def test_failures_end_after_their_time(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(
        '[[rule]]\nname = "r"\nstep = [{ error = "overloaded", lasts = 20 }, { text = "up" }]'
    )
    now = 100.0
    script = Script(scenario.load(path), lambda: now)
    assert ask(script, "a", "x").refusal is not None
    now = 119.0
    assert ask(script, "a", "x").refusal is not None
    now = 121.0
    assert ask(script, "a", "x").text == "up"


def steering(frame: str) -> dict[str, Any]:
    """Return a message that came in the middle of a turn, as Claude Code shows it to the model."""
    said = f"The user sent a new message while you were working:\n{frame}\n\nThis is how ..."
    return {"role": "system", "content": [{"type": "text", "text": said}]}


def test_a_message_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    script = scripted(
        tmp_path,
        """
[[rule]]
name = "stop"
body = "^stop"
replaces = true
step = [{ tool = "Stop" }, { text = "I have stopped." }]

[[rule]]
name = "hurry"
urgent = true
step = [{ tool = "Hurry" }]

[[rule]]
name = "work"
step = [{ tool = "One" }, { tool = "Two" }, { text = "Worked." }]
""",
    )
    work = [wake("go", "operator"), ("One", "1")]
    stop = steering(wake("stop", "operator"))
    assert ask(script, "a", *work, stop).calls == (("Stop", {}),)
    assert ask(script, "a", *work, stop, ("Stop", "")).text == "I have stopped."
    hurry = steering(wake("faster", "operator", urgent="true"))
    assert ask(script, "a", *work, hurry).calls == (("Hurry", {}),)
    assert ask(script, "a", *work, hurry, ("Hurry", "")).calls == (("Two", {}),)
    assert ask(script, "a", *work, hurry, ("Hurry", ""), ("Two", "")).text == "Worked."


def test_the_prompt_after_an_interrupted_turn(tmp_path: Path) -> None:
    script = scripted(
        tmp_path,
        """
[[rule]]
name = "next"
body = "^next"
step = [{ text = "Then that." }]

[[rule]]
name = "work"
step = [{ tool = "One" }, { text = "Worked." }]
""",
    )
    call = {"type": "tool_use", "id": "t", "name": "One", "input": {}}
    merged = [
        {"type": "tool_result", "tool_use_id": "t", "content": "stopped", "is_error": True},
        {"type": "text", "text": "[Request interrupted by user for tool use]\n"},
        {"type": "text", "text": wake("next", "operator")},
    ]
    answer = ask(
        script,
        "a",
        wake("go", "operator"),
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": merged},
    )
    assert answer.text == "Then that."


def test_a_summary_after_a_turn_that_was_cut_off() -> None:
    script = Script(scenario.load(SCENARIOS))
    told = wake("run echo hello", "operator")
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "echo hello"}}
    merged = [
        {"type": "tool_result", "tool_use_id": "t", "content": "interrupted", "is_error": True},
        {"type": "text", "text": "Your task is to create a detailed summary of the conversation."},
    ]
    answer = ask(
        script,
        "bob",
        told,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": merged},
    )
    assert told in answer.text
    assert answer.text.count("<summary>") == 1


def test_a_summary_repeats_the_last_prompt() -> None:
    script = Script(scenario.load(SCENARIOS))
    told = wake("play which-model", "operator")
    please = "Your task is to create a detailed summary of the conversation so far, ..."
    answer = ask(script, "bob", told, ("Bash", "x"), please)
    assert told in answer.text
    assert answer.text.count("<summary>") == 1


def test_models_and_the_limit_of_the_context(tmp_path: Path) -> None:
    script = scripted(
        tmp_path,
        """
models = ["small", "large"]
context_limit = 100

[[rule]]
name = "large"
model = "large"
step = [{ text = "I am {model}." }]

[[rule]]
name = "other"
step = [{ text = "I am only {model}.", thinking = "Hm." }]
""",
    )
    assert ask(script, "a", "x", model="large").text == "I am large."
    assert ask(script, "a", "x", model="small").text == "I am only small."
    assert ask(script, "a", "x", model="small").thinking == "Hm."
    gone = ask(script, "a", "x", model="gone").refusal
    assert gone is not None
    assert (gone.status, gone.sentence) == (404, "model: gone")
    long = ask(script, "a", "x" * 1000, model="large").refusal
    assert long is not None
    assert long.status == 400
    assert long.sentence.startswith("prompt is too long: ")


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
        ('[[rule]]\nname = "a"\nstep = [{ text = "x", times = 2 }]', ["step 1", "breaks"]),
        ('[[rule]]\nname = "a"\nstep = [{ error = "weird" }]', ["step 1", "'error'"]),
        (
            '[[rule]]\nname = "a"\nstep = [{ error = "internal", resets_in = 3 }]',
            ["step 1", "rate-limit"],
        ),
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
