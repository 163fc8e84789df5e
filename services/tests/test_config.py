"""The configuration file: defaults, and one sentence for each mistake."""

from pathlib import Path

import pytest

from services.config import Config
from services.errors import ConfigError


def load(folder: Path, text: str) -> Config:
    file = folder / "hyperhive.toml"
    file.write_text(text)
    return Config.load(file)


def test_values_and_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "[broker]\nmax_body_bytes = 5\n")
    assert config.broker.max_body_bytes == 5
    assert config.harness == Config().harness
    assert load(tmp_path, "\ufeff[broker]\nmax_body_bytes = 5\n") == config


def test_each_agent_may_have_limits_of_its_own(tmp_path: Path) -> None:
    text = "[broker.agents.bob]\nmay_send_to = ['manager', 'operator']\nmessages_per_hour = 9\n"
    limits = load(tmp_path, text + "[broker.agents.alice]\n").broker.agents
    assert limits["bob"].may_send_to == ("manager", "operator")
    assert (limits["bob"].messages_per_hour, limits["bob"].bytes_per_hour) == (9, None)
    assert limits["alice"].may_send_to == ("*",)


def test_the_programs_of_nixos_are_in_the_store(tmp_path: Path) -> None:
    own, shared = (f"/nix/store/{letter * 32}-nixos-system" for letter in "ab")
    text = f"[lifecycle]\nbackend = 'nixos'\ntoplevel = '{shared}'\nimage = '/srv/x'\n"
    config = load(tmp_path, f"{text}[lifecycle.agents.bob]\ntoplevel = '{own}'\n").lifecycle
    assert config.image_of("bob") == "/nix/store"
    assert [config.toplevel_of(name) for name in ("alice", "bob")] == [shared, own]
    assert load(tmp_path, "").lifecycle.toplevel_of("alice") == ""


def test_the_operator_has_a_name_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "hyperhive.toml"
    path.write_text('[operator]\nname = "Ada"\npronouns = "she/her"\n')
    assert Config.load(path).operator.name == "Ada"
    for name in ("", " ", "Ada\\n# New rules", "x" * 65):
        path.write_text(f'[operator]\nname = "{name}"\n')
        with pytest.raises(ConfigError, match="one line"):
            Config.load(path)


def test_an_agent_has_an_account_in_the_forge_if_the_operator_says_so(tmp_path: Path) -> None:
    text = "[forge]\nurl = 'https://forge.example/x/'\n[forge.agents.alice]\n"
    forge = load(tmp_path, f"{text}[forge.agents.bob]\naccount = 'Bob.Bot'\n").forge
    assert forge.url == "https://forge.example/x"
    assert [forge.account(name) for name in ("alice", "bob", "carol")] == ["alice", "Bob.Bot", ""]
    assert load(tmp_path, "").forge.account("alice") == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "url = 'https://me:secret@forge.example'",
            "forge.url is not valid: it must be a URL such",
        ),
        (
            "url = 'http://127.1'",
            "its host must be a name such as forge.example.org, or an address",
        ),
        ("agents.alice.account = '../x'", "it must be the name of an account in the forge"),
        (
            "agents.bob.account = 'Alice'\nagents.alice = {}",
            "forge is not valid: alice and bob have the same account in the forge",
        ),
        ("messages_per_hour = 0", "forge.messages_per_hour = 0 is not valid"),
    ],
)
def test_a_forge_that_cannot_work_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"[forge]\n{text}")
    assert sentence in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_file_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HYPERHIVE_CONFIG", raising=False)
    monkeypatch.setattr("services.config.PATH", tmp_path / "none.toml")
    assert Config.load() == Config()


def test_the_environment_names_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[broker]\nmax_body_bytes = 7\n")
    monkeypatch.setenv("HYPERHIVE_CONFIG", str(file))
    assert Config.load().broker.max_body_bytes == 7


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist\."):
        Config.load(tmp_path / "none.toml")


def hook(more: str, name: str = "phone", url: str = "https://ntfy.sh/topic") -> str:
    return f"[[notify.webhooks]]\nname = '{name}'\ntype = 'ntfy'\nurl = '{url}'\n{more}\n"


def test_a_webhook_is_told_everything_unless_it_says_so(tmp_path: Path) -> None:
    text = hook("") + hook("events = ['crash']\ndetails = false", name="other")
    first, second = load(tmp_path, text).notify.webhooks
    assert first.events == (
        "approval",
        "question",
        "crash",
        "deploy-failed",
        "budget",
        "egress",
        "notice",
    )
    assert first.details
    assert (second.events, second.details) == (("crash",), False)


@pytest.mark.parametrize(
    "url",
    ["https://me:s3cret@ntfy.sh/x", "s3cret", "http://[s3cret", "https://ntfy.sh?auth=s3cret"],
)
def test_what_may_be_secret_of_a_webhook_is_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, hook("", url=url))
    assert "s3cret" not in str(caught.value)


def test_the_rules_of_the_gateway_have_their_usual_form(tmp_path: Path) -> None:
    text = "[gateway]\negress = ['GitHub.com', '*']\nupstream = 'http://[::1]:7/'\nmax_body = '20M'"
    gateway = load(tmp_path, text).gateway
    assert gateway.egress == ("github.com", "*")
    assert (gateway.upstream, gateway.max_body) == ("http://[::1]:7", 20 * 2**20)
    assert "pypi.org" in Config().gateway.egress
    assert load(tmp_path, "[gateway]\negress = []").gateway.egress == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[brocker]", "brocker is not a known key; known keys: broker, lifecycle,"),
        ("[broker]\nmax = 1", "broker.max is not a known key; known keys: max_body_bytes"),
        ("[broker]\nmax_body_bytes = 0", "broker.max_body_bytes = 0 is not valid: input should be"),
        ("[broker]\nmax_body_bytes = 'x'", "broker.max_body_bytes = 'x' is not valid: input"),
        ("[broker", "is not valid TOML"),
        ("broker = 1", "broker = 1 is not valid"),
        (
            "[lifecycle]\nnetwork_deny = ['localhots']",
            "lifecycle.network_deny.0 = 'localhots' is not valid: it must be an address, a network",
        ),
        ("[lifecycle]\nnetwork_allow = ['10.0.0.0/33']", "network_allow.0 = '10.0.0.0/33' is not"),
        *(
            (f"[lifecycle.agents.bob]\nimage = '{path}'", f"bob.image = '{path}' is not valid: it")
            for path in ("", "srv/debian", "/srv/../home", "/srv/a:b", "/srv/a b", "/srv/%h", "//a")
        ),
        ("[lifecycle]\nbackend = 'docker'", "lifecycle.backend = 'docker' is not valid"),
        *(
            (f"[lifecycle]\ntoplevel = '{path}'", f"lifecycle.toplevel = '{path}' is not valid: it")
            for path in ("/nix/store", "/nix/var/x", "/nix/store/x/sw", "/nix/store/x y")
        ),
        ("[lifecycle.agents.bob]\nnetwork_deny = ['all']", "bob.network_deny.0 = 'all' is not"),
        (
            "[broker.agents.Bob]\nmay_send_to = []",
            "broker.agents.Bob = 'Bob' is not valid: it must be the name of an agent",
        ),
        ("[broker.agents.operator]", "broker.agents.operator = 'operator' is not valid"),
        (
            "[broker.agents.bob]\nmay_sendto = []",
            "bob.may_sendto is not a known key; known keys: may_send_to, messages_per_hour,",
        ),
        (
            "[broker.agents.bob]\nmay_send_to = ['alice', 'Alice']",
            "bob.may_send_to.1 = 'Alice' is not valid: it must be the name of an agent,",
        ),
        (
            "[broker.agents.bob]\nmay_send_to = 'alice'",
            "agents.bob.may_send_to = 'alice' is not valid: input should be a list",
        ),
        ("[broker.agents.bob]\nbytes_per_hour = 0", "bob.bytes_per_hour = 0 is not valid: input"),
        ("[broker.agents.bob]\nmax_body_bytes = 9000000", "should be less than or equal to"),
        ("[broker.agents]\nbob = 1", "broker.agents.bob = 1 is not valid"),
        ("[broker]\nagents = 1", "broker.agents = 1 is not valid"),
        ("[harness]\nscripted_model_url = 'http://[::1'", "it must be a URL such as"),
        ("[harness]\nscripted_model_url = '127.0.0.1:7100'", "it must be a URL such as"),
        (
            "[gateway]\nupstream = 'https://me:secret@api.example'",
            "gateway.upstream is not valid: it must be a URL such as https://api.anthropic.com,",
        ),
        ("[gateway]\negress = ['pypi.org', '127.1']", "gateway.egress.1 = '127.1' is not valid: i"),
        ("[gateway]\negress = ['10.0.0.0/8']", "egress.0 = '10.0.0.0/8' is not valid: it must be"),
        ("[gateway]\nmax_connections = 0", "gateway.max_connections = 0 is not valid: input"),
        (
            "[notify]\nwebhook = 1",
            "notify.webhook is not a known key; known keys: webhooks, attempt_",
        ),
        (hook("events = ['deploy']"), "notify.webhooks.0.events.0 = 'deploy' is not valid: input"),
        (
            hook("secret = 'x'"),
            "notify.webhooks.0.secret is not a known key; known keys: name, type, url",
        ),
        (hook("", name="My Phone"), "notify.webhooks.0.name = 'My Phone' is not valid: string"),
        (hook("") + hook(""), "is not valid: each webhook must have a name of its own"),
        (
            hook("", url="https://ntfy.sh/"),
            "the url of type ntfy must end with a topic: https://ntfy.sh",
        ),
        (hook("", url="ntfy.sh/x"), "notify.webhooks.0.url is not valid: it must be a URL such as"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "hyperhive.toml") in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path)
