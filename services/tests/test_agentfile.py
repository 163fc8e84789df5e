"""agent.toml: its keys, and one sentence with the line for each mistake."""

import re
import time
from pathlib import Path

import pytest

from services.agentfile import MAX_BYTES, MAX_PROMPT_BYTES, TEMPLATE, AgentFile, McpServer, parse
from services.agentproject import AgentProject
from services.config import BudgetLimits, ResourceLimits

PAGE = Path(__file__).parents[2] / "docs/agent-toml.md"

FULL = """
packages = ["jq", "g++", "libc6-dev"]
model = "claude-sonnet-4-5"
sleep_after = 60
turn_timeout = 90
start_timeout = 120
compact_over_tokens = 120000
compact_idle_after = 240
wake_after_deploy = true
resume_after_limit = false
allowed_tools = ["WebFetch(domain:example.org)", "Task"]
network = "gateway"
egress = ["GitHub.com", "*.pythonhosted.org", "crates.io:443", "10.1.2.3:8080", "*"]
ports = [3000, 8080, 3000]
projects = [
    "website",
    { name = "docs", readonly = true },
    { name = "app", branches = ["main", "hive/*"], wake = true },
]
prompt = "You write."

[environment]
LANG = "C.UTF-8"

[resources]
memory_max = "2G"

[budget]
day = 5
week_tokens = 1000000

[mcp_servers.docs]
command = "npx"
args = ["-y", "some-server"]
env = { DEBUG = "1" }

[mcp_servers.web]
url = "https://example.org/mcp"
headers = { Authorization = "Bearer abc" }
"""


def refused(text: str) -> str:
    """Return the sentence that refuses `text`."""
    with pytest.raises(ValueError, match=r"^agent\.toml.*\.$") as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_keys() -> None:
    file = parse(FULL)
    assert file.packages == ("jq", "g++", "libc6-dev")
    assert file.resources.memory_max == 2 * 2**30
    assert file.sleep_after == 60
    assert file.network == "gateway"
    assert file.egress == (
        *("github.com", "*.pythonhosted.org", "crates.io:443", "10.1.2.3:8080", "*"),
    )
    assert file.ports == (3000, 8080)
    assert file.budget == BudgetLimits(day=5.0, week_tokens=1_000_000)
    assert file.for_harness() == {
        "command_environment": {"LANG": "C.UTF-8"},
        "mcp_servers": {
            "docs": {"command": "npx", "args": ["-y", "some-server"], "env": {"DEBUG": "1"}},
            "web": {
                "url": "https://example.org/mcp",
                "headers": {"Authorization": "Bearer abc"},
            },
        },
        "allowed_tools": ["WebFetch(domain:example.org)", "Task"],
        "projects": [
            {"name": "website"},
            {"name": "docs", "readonly": True},
            {"name": "app", "branches": ["main", "hive/*"], "wake": True},
        ],
        "prompt": "You write.",
        "model": "claude-sonnet-4-5",
        "turn_timeout": 90,
        "start_timeout": 120,
        "compact_over_tokens": 120_000,
        "compact_idle_after": 240,
        "wake_after_deploy": True,
        "resume_after_limit": False,
    }


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("egress = ['github.com']", True),
        ("[budget]\nday = 1", True),
        ("egress = ['github.com']\n[budget]\ntotal_tokens = 1", True),
        ("egress = ['github.com']\nmodel = 'm'", False),
        ("ports = [1]", False),
        ("network = 'none'", False),
        ("", False),
    ],
)
def test_only_egress_and_budget_apply_to_a_running_container(text: str, live: bool) -> None:
    assert AgentFile().differs_live(parse(text)) is live
    assert parse(text).differs_live(AgentFile()) is live


def test_the_template_says_nothing_and_its_examples_fit() -> None:
    assert parse(TEMPLATE) == parse("") == AgentFile()
    assert AgentFile().for_harness() == {}
    examples = re.sub(r"^#(?! )", "", TEMPLATE, flags=re.MULTILINE)
    keys = set(AgentFile.model_fields)
    assert parse(examples).model_fields_set == keys


def test_the_page_describes_each_key_and_no_other() -> None:
    cells = re.findall(
        r"^\| (`[a-zA-Z_.]+`(?:, `[a-zA-Z_.]+`)*) \|", PAGE.read_text(), re.MULTILINE
    )
    rows = [name.strip("`") for cell in cells for name in cell.split(", ")]
    sections = {"environment", "resources", "mcp_servers", "budget"}
    project = [f"projects.{key}" for key in AgentProject.model_fields if key != "name"]
    assert set(rows) == {
        *(AgentFile.model_fields.keys() - sections),
        *project,
        "environment.NAME",
        *(f"resources.{key}" for key in ResourceLimits.model_fields),
        *(f"mcp_servers.NAME.{key}" for key in McpServer.model_fields),
        *(f"budget.{key}" for key in BudgetLimits.model_fields),
    }
    parse(re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\npackages = 'jq'", "line 2: packages = 'jq' is not valid"),
        (
            "packages = [\n'jq',\n'jq=1.6']",
            "line 1: packages.1 = 'jq=1.6' is not valid: it must be",
        ),
        ("network = 'private'", "line 1: network = 'private' is not valid"),
        ("\negress = ['github.com', '*.*.com']", "line 2: egress.1 = '*.*.com' is not valid"),
        ("egress = ['github.com:0']", "its port must be a number from 1 to 65535"),
        ("egress = ['127.1']", "egress.0 = '127.1' is not valid"),
        (f"egress = {['a.b'] * 101}", "egress"),
        ("ports = [0]", "ports.0 = 0 is not valid"),
        ("ports = [65536]", "ports.0 = 65536 is not valid"),
        (f"ports = {[*range(1, 18)]}", "ports"),
        ("\nprojects = ['Web']", "line 2: projects.0.name = 'Web' is not valid: it must be the"),
        ("projects = ['../x']", "projects.0.name = '../x' is not valid"),
        ("projects = [1]", "projects.0 = 1 is not valid: it must be the name of a project, or"),
        ("projects = 'web'", "projects = 'web' is not valid: input should be a list"),
        ("projects = ['a', {name = 'a'}]", "it must name each project once, and a is there twice"),
        (
            "projects = [{name = 'a', read = 1}]",
            "projects.0.read is not a known key; known keys: n",
        ),
        ("projects = [{readonly = true}]", "projects.0.name"),
        ("projects = [{name = 'a', branches = ['?']}]", "projects.0.branches.0 = '?' is not valid"),
        (
            "projects = [{name = 'a', readonly = true, branches = ['x']}]",
            "a project that is readonly cannot have branches",
        ),
        (f"projects = {[f'p{n}' for n in range(17)]}", "projects"),
        ("[budget]\nday = 0", "line 2: budget.day = 0 is not valid"),
        ("[budget]\nday = nan", "line 2: budget.day = nan is not valid"),
        ("[budget]\nday_tokens = 1.5", "line 2: budget.day_tokens = 1.5 is not valid"),
        ("[budget]\nmonth = 1", "budget.month is not a known key"),
        ("packages = ['-o=Dir::Cache=/']", "the name of a Debian package, without a version"),
        ("packages = ['bash-']", "the name of a Debian package, without a version"),
        ("packages = ['jq/bookworm']", "the name of a Debian package"),
        ("package = []", "line 1: package is not a known key; known keys: packages, environment,"),
        (
            "[environment]\nA = 'b'\n[resources]\n\nmemory_max = 'lots'",
            "line 5: resources.memory_max = 'lots' is not valid: it must be a number of bytes, or",
        ),
        (
            "[resources]\ncpu_quota = 0",
            "line 2: resources.cpu_quota = 0 is not valid: input should",
        ),
        (
            "[resources]\nmemory = 1",
            "line 2: resources.memory is not a known key; known keys: memory_high",
        ),
        ("resources.tasks_max = 1", "line 1: resources.tasks_max = 1 is not valid"),
        ("sleep_after = -1", "sleep_after = -1 is not valid"),
        (
            "sleep_after = 'lots'",
            "sleep_after = 'lots' is not valid: input should be a valid integer.",
        ),
        ("model = 'a b'", "line 1: model = 'a b' is not valid: it must be the name of a model"),
        ("model = '--help'", "model = '--help' is not valid"),
        (
            "allowed_tools = ['Bash(rm\\n)', '']",
            "allowed_tools.1 = '' is not valid: it must be a tool",
        ),
        ("[environment]\n1A = 'x'", "environment.1A = '1A' is not valid: it must be a name of 1"),
        ("[environment]\nA = 1", "line 2: environment.A = 1 is not valid: input should be a valid"),
        ('environment = {A = "\\u0000"}', "must not contain the NUL character"),
        ("[mcp_servers.hive]\ncommand = 'x'", "mcp_servers.hive = 'hive' is not valid: it must be"),
        ("[mcp_servers.A]\ncommand = 'x'", "mcp_servers.A = 'A' is not valid: it must be the name"),
        (
            "\n[mcp_servers.a]\n",
            "line 2: mcp_servers.a = {} is not valid: it must have either a command",
        ),
        ("[mcp_servers.a]\ncommand = 'x'\nurl = 'http://b'", "line 1: mcp_servers.a = {'command'"),
        ("[mcp_servers.a]\nurl = 'http://b'\nargs = ['x']", "they belong to a command"),
        ("[mcp_servers.a]\ncommand = 'x'\nheaders = {A = 'b'}", "they belong to a url"),
        ("[mcp_servers.a]\nurl = 'file:///etc/passwd'", "line 2: mcp_servers.a.url = "),
        ("[mcp_servers.a]\nurl = 'http://b/${ANTHROPIC_API_KEY}'", "must not contain ${"),
        (
            "[mcp_servers.a]\nurl = 'http://b'\n[mcp_servers.a.headers]\nA = '${KEY}'",
            "line 4: mcp_servers.a.headers.A = '${KEY}' is not valid: it must be printable",
        ),
        (
            "[mcp_servers.a]\ncommand = 'x'\nenv = {\"GRÖSSE\" = '1'}",
            "line 3: mcp_servers.a.env.'GRÖSSE' = 'GRÖSSE' is not valid: string should match",
        ),
        (
            "[mcp_servers.a]\ncomand = 'x'",
            "line 2: mcp_servers.a.comand is not a known key; known keys: c",
        ),
        ("a = 1\n\nb = [", "line 3: this is not valid TOML: Invalid value."),
        ("a = 1\na = 2\n", "line 2: this is not valid TOML: Cannot overwrite a value."),
        ('"\\u001b[31m" = 1', "line 1: '\\x1b[31m' is not a known key"),
        ("packages = ['" + "x" * 5000 + "']", "xxx...xxx"),
    ],
)
def test_a_mistake_is_named(text: str, sentence: str) -> None:
    assert sentence in refused(text)


@pytest.mark.parametrize("name", ["LANG", "PATH", "LD_PRELOAD", "ANTHROPIC_MODEL", "UID", "_x"])
def test_every_name_of_a_variable_is_taken(name: str) -> None:
    assert parse(f"[environment]\n{name} = 'x'").environment == {name: "x"}


@pytest.mark.parametrize(
    "name", ["A-B", "A.B", "A B", "A=B", "A;B", "GRÖSSE", "A\\n", "", 65 * "A"]
)
def test_other_names_cannot_be_set_in_a_shell(name: str) -> None:
    assert "it must be a name of 1 to 64 of" in refused(f'[environment]\n"{name}" = "x"')


def test_sizes() -> None:
    assert parse("prompt = '" + "é" * (MAX_PROMPT_BYTES // 2) + "'").prompt
    assert "at most 16 KiB" in refused("prompt = '" + "é" * (MAX_PROMPT_BYTES // 2) + "x'")
    assert parse("#" * MAX_BYTES) == AgentFile()
    assert refused("#" * (MAX_BYTES + 1)) == "agent.toml has more than 64 KiB; shorten it."
    many = ", ".join(f"'p{number}'" for number in range(101))
    assert "at most 100" in refused(f"packages = [{many}]")


@pytest.mark.parametrize(
    "text",
    [
        "a." * 30_000 + "a = 1",
        '"a".' * 15_000 + "a = 1",
        "[" + "a." * 30_000 + "a]",
        "a = " + "[" * 60_000,
        "a = " + "9" * 60_000,
        "\n".join(f"[t{number}]\na = 1" for number in range(4000)),
        "a = '''" + "\n" * 60_000 + "'''",
        "'" * 60_000,
        '"""' + "\\\n" * 30_000,
    ],
    ids=["dotted", "quoted", "header", "brackets", "number", "tables", "lines", "quotes", "open"],
)
def test_a_hostile_file_is_refused_soon(text: str) -> None:
    began = time.monotonic()
    refused(text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "before",
    [
        "prompt = '''\n[resources]\nmemory_max = 'lots'\n'''\n",
        'prompt = """\n\\"""\n[resources]\nmemory_max = 1""""\n\n',
        "allowed_tools = [\n  'Task', # ]\n  # '\n  'WebFetch',\n]\n",
        "prompt = 'x' # '''\n\r\n",
        '[environment]\nresources = "[resources]"\nmemory_max = "x"\n',
    ],
    ids=["literal", "basic", "array", "comment", "other-table"],
)
def test_the_line_is_that_of_the_key(before: str) -> None:
    lines = before.count("\n")
    assert f"line {lines + 2}: resources.memory_max" in refused(
        f"{before}[resources]\nmemory_max = 'lots'\nmemory_high = '1G'\n"
    )


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse("\ufeffmodel = 'opus'\n").model == "opus"
    assert "line 2: packages" in refused("\ufeffmodel = 'opus'\npackages = 3\n")
