import tomllib
from pathlib import Path
from typing import Any

import mcp.types
import pytest
from mcp.types import version

from services.endpoint.mcp import session as under_test
from services.endpoint.mcp.jsonrpc import Code, Request, RpcError
from services.endpoint.mcp.session import Session, ToolCall
from services.endpoint.tools.table import TOOLS, tools_for
from services.endpoint.tools.tool import HARNESS_CLIENT, Audience

TALK = {
    *("send", "unsend", "recv", "ask", "answer", "cancel", "remind"),
    *("get_open_threads", "list_agents", "request_egress"),
    *("submit_change", "update_change", "withdraw_change"),
    *("list_changes", "get_change", "comment_on_change"),
}
EXPECTED = {
    Audience.AGENT: TALK,
    Audience.MANAGER: TALK
    | {"request_spawn", "request_apply_commit", "withdraw_request"}
    | {"start", "kill", "restart", "update", "get_logs", "cancel_turn"},
    Audience.HARNESS: {"recv", "ack", "release", "report", "command_done", "describe"}
    | {"ask_permission", "cancel_permission", "record_turn", "get_open_threads"}
    | {"trace", "record_spans"},
}


def initialized(agent: str = "alice", client: str = "test") -> Session:
    session = Session(agent)
    session.answer(
        Request(0, "initialize", {"protocolVersion": "2025-11-25", "clientInfo": {"name": client}})
    )
    return session


def call(session: Session, name: Any, arguments: Any = None) -> Any:
    return session.answer(Request(1, "tools/call", {"name": name, "arguments": arguments}))


def fault(session: Session, method: str, params: dict[str, Any]) -> RpcError:
    with pytest.raises(RpcError) as caught:
        session.answer(Request(1, method, params))
    return caught.value


def test_the_versions_are_those_of_the_reference() -> None:
    assert under_test.HANDSHAKE_VERSIONS == version.HANDSHAKE_PROTOCOL_VERSIONS
    assert under_test.ENVELOPE_VERSIONS == version.MODERN_PROTOCOL_VERSIONS


def test_the_version_of_the_server_is_the_package_s() -> None:
    pyproject = Path(__file__).parents[3] / "pyproject.toml"
    package = tomllib.loads(pyproject.read_text())["project"]
    assert under_test.SERVER["version"] == package["version"]


@pytest.mark.parametrize("wanted", version.HANDSHAKE_PROTOCOL_VERSIONS)
def test_a_known_version_is_agreed_on(wanted: str) -> None:
    answer = Session("alice").answer(Request(0, "initialize", {"protocolVersion": wanted}))
    assert isinstance(answer, dict)
    assert mcp.types.InitializeResult.model_validate(answer).protocol_version == wanted
    assert "alice" in answer["instructions"]


@pytest.mark.parametrize("wanted", ["2026-07-28", "2030-01-01", "", "x" * 1000])
def test_an_unknown_version_is_answered_with_the_newest(wanted: str) -> None:
    answer = Session("alice").answer(Request(0, "initialize", {"protocolVersion": wanted}))
    assert isinstance(answer, dict)
    assert answer["protocolVersion"] == version.LATEST_HANDSHAKE_VERSION


def test_a_handshake_comes_first_and_once() -> None:
    assert "initialize first" in str(fault(Session("alice"), "tools/list", {}))
    assert Session("alice").answer(Request(1, "ping", {})) == {}
    again = fault(initialized(), "initialize", {"protocolVersion": "2025-11-25"})
    assert again.code is Code.INVALID_REQUEST


@pytest.mark.parametrize("params", [{}, {"protocolVersion": 3}, {"protocolVersion": None}])
def test_a_handshake_without_a_version_is_refused(params: dict[str, Any]) -> None:
    assert fault(Session("alice"), "initialize", params).code is Code.INVALID_PARAMS


def test_without_a_handshake_every_request_carries_its_version() -> None:
    meta = {
        under_test.VERSION_KEY: "2026-07-28",
        under_test.CLIENT_KEY: {"name": HARNESS_CLIENT},
    }
    answer = Session("alice").answer(Request(1, "tools/list", {"_meta": meta}))
    assert isinstance(answer, dict)
    assert {tool["name"] for tool in answer["tools"]} == EXPECTED[Audience.HARNESS]
    assert answer["resultType"] == "complete"
    found = Session("alice").answer(Request(1, "server/discover", {"_meta": meta}))
    assert isinstance(found, dict)
    assert found["supportedVersions"] == ["2026-07-28"]


def test_an_envelope_of_an_unknown_version_names_the_known_ones() -> None:
    error = fault(Session("a"), "tools/list", {"_meta": {under_test.VERSION_KEY: "1999-01-01"}})
    assert error.code is Code.UNSUPPORTED_VERSION
    assert error.data["supported"] == ["2026-07-28"]
    wrong = fault(Session("a"), "tools/list", {"_meta": {under_test.VERSION_KEY: 5}})
    assert wrong.code is Code.INVALID_PARAMS


@pytest.mark.parametrize(
    ("agent", "client", "audience"),
    [
        ("alice", "claude-code", Audience.AGENT),
        ("manager", "claude-code", Audience.MANAGER),
        ("alice", HARNESS_CLIENT, Audience.HARNESS),
        ("manager", HARNESS_CLIENT, Audience.HARNESS),
    ],
)
def test_everybody_sees_their_own_tools(agent: str, client: str, audience: Audience) -> None:
    session = initialized(agent, client)
    answer = session.answer(Request(1, "tools/list", {}))
    assert isinstance(answer, dict)
    listed = mcp.types.ListToolsResult.model_validate(answer).tools
    assert {tool.name for tool in listed} == EXPECTED[audience] == set(tools_for(audience))
    for hidden in {tool.name for tool in TOOLS} - EXPECTED[audience]:
        assert "Unknown tool" in str(fault(session, "tools/call", {"name": hidden}))


def test_schemas_are_closed_bounded_and_described() -> None:
    for tool in TOOLS:
        shown = tool.describe()
        schema = shown["inputSchema"]
        assert schema["additionalProperties"] is False
        assert schema["type"] == "object"
        assert len(shown["description"]) > 60
        for name, field in schema["properties"].items():
            assert field["description"], (tool.name, name)
            kinds = field.get("anyOf", [field])
            for kind in [*kinds, *(kind["items"] for kind in kinds if "items" in kind)]:
                if kind.get("type") == "array":
                    assert "maxItems" in kind, (tool.name, name)
                if kind.get("type") == "string" and "pattern" not in kind and "enum" not in kind:
                    assert "maxLength" in kind, (tool.name, name)
                if kind.get("type") in ("integer", "number"):
                    assert {"minimum", "maximum"} <= kind.keys(), (tool.name, name)


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("send", {"to": "bob"}, "body"),
        ("send", {"to": "bob", "body": "x", "extra": 1}, "extra"),
        ("send", {"to": "bob", "body": "x" * (1024 * 1024 + 1)}, "body"),
        ("send", ["bob", "x"], "arguments"),
        ("recv", {"wait_seconds": 181}, "wait_seconds"),
        ("recv", {"wait_seconds": -1}, "wait_seconds"),
        ("recv", {"max": 0}, "max"),
        ("start", {"name": "../x"}, "name"),
        ("start", {"name": "toolongname"}, "name"),
        ("start", {"name": "Alice"}, "name"),
        ("start", {"name": "bob\n"}, "name"),
        ("ask", {"question": ""}, "question"),
        ("ask", {"question": "x", "options": []}, "options"),
        ("ask", {"question": "x", "options": ["a"] * 33}, "options"),
        ("ask", {"question": "x", "ttl_seconds": 0}, "ttl_seconds"),
        ("ask", {"question": "x", "ttl_seconds": 30 * 86400 + 1}, "ttl_seconds"),
        ("answer", {"id": 0, "answer": "x"}, "id"),
        ("answer", {"id": 1, "answer": 7}, "answer"),
        ("answer", {"id": 1, "answer": []}, "answer"),
        ("cancel", {"kind": "message", "id": 1}, "kind"),
        ("remind", {"text": "x", "after_seconds": 365 * 86400 + 1}, "after_seconds"),
        ("remind", {"file": "/" + "x" * 1024, "after_seconds": 1}, "file"),
        ("get_open_threads", {"limit": 51}, "limit"),
        ("get_logs", {"name": "alice", "lines": 201}, "lines"),
    ],
)
def test_wrong_arguments_are_a_result_that_the_model_can_act_on(
    name: str, arguments: Any, word: str
) -> None:
    answer = call(initialized("manager"), name, arguments)
    assert answer["isError"] is True
    text = answer["content"][0]["text"]
    assert word in text
    assert "Call it again" in text
    assert len(text) < 1000


def test_an_unknown_argument_is_answered_with_the_known() -> None:
    text = call(initialized(), "cancel", {"kind": "reminder", "number": 1})["content"][0]["text"]
    assert text == (
        "cancel was not called. id is missing; there is no argument number; cancel takes kind, id."
        " Call it again with these corrected."
    )


def test_right_arguments_are_a_call() -> None:
    answer = call(initialized(), "send", {"to": "bob", "body": "hi"})
    assert isinstance(answer, ToolCall)
    assert answer.tool.name == "send"


@pytest.mark.parametrize("name", [None, 5, "no_such_tool", ["send"], "x" * 10000])
def test_an_unknown_tool_is_an_error_that_names_the_known(name: Any) -> None:
    error = fault(initialized(), "tools/call", {"name": name})
    assert error.code is Code.INVALID_PARAMS
    assert "send" in str(error)
    assert len(str(error)) < 300


def test_an_unknown_method_and_an_unknown_page() -> None:
    assert fault(initialized(), "resources/list", {}).code is Code.METHOD_NOT_FOUND
    assert fault(initialized(), "server/discover", {}).code is Code.METHOD_NOT_FOUND
    assert fault(initialized(), "tools/list", {"cursor": "x"}).code is Code.INVALID_PARAMS
