"""The events of an agent: a row for each, by its type."""

from collections.abc import Callable, Mapping
from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.agent.checks import (
    MAX_ITEMS,
    MAX_NAME,
    MAX_REASON,
    Data,
    call,
    cut,
    dictionaries,
    integer,
    messages,
    microseconds,
    name,
    number,
    sentence,
    text,
    word,
)
from services.dashboard.state.agent.texts import Texts
from services.dashboard.state.agent.tools import describe, shown_name
from services.dashboard.state.tables import Row

PREVIEW: Final = 4_000
"""Characters of all texts of a row in a list or a stream; the page asks for a whole event."""

WHOLE: Final = 512 * 1024
"""Characters of all texts of an event that the page has asked for."""


def event_row(
    seq: int, at: object, turn: int | None, kind: str, data: Data, limit: int = PREVIEW
) -> Row:
    """Return the row of an event.

    Args:
        seq: the number of the event.
        at: the time of the event in seconds since 1970, unchecked.
        turn: the number of its turn; None outside of a turn.
        kind: the event's type.
        data: the event's data, unchecked.
        limit: the characters of all its texts.
    """
    make = _MAKERS.get(kind)
    texts = Texts(limit)
    fields = make(data, texts) if make else _other(kind, data, texts)
    return {
        "seq": seq,
        "at": microseconds(at),
        "turn": turn,
        "type": kind if make else "other",
        **fields,
        "cut": texts.cut,
    }


def partial_row(partial: Data) -> Row:
    """Return the end of a text that the model is writing."""
    written = text(partial.get("text"))
    return {
        "kind": "thinking" if partial.get("kind") == "thinking" else "text",
        "text": shown.message(written[-PREVIEW:]),
        "cut": len(written) > PREVIEW,
    }


def _state(data: Data, _texts: Texts) -> Row:
    return {
        "state": word(data.get("state")),
        "reason": sentence(data.get("reason")),
        "until": microseconds(data.get("until")),
    }


def _wake(data: Data, texts: Texts) -> Row:
    blocks = [texts.prose(data.get("prompt"), "prompt")] if data.get("prompt") else []
    return {"messages": messages(data.get("messages")), "blocks": blocks}


def _session(data: Data, _texts: Texts) -> Row:
    tools = data.get("tools")
    return {
        "session": name(data.get("session_id")),
        "model": name(data.get("model")),
        "tools": len(tools) if isinstance(tools, list) else integer(tools),
        "servers": [
            {"name": name(server.get("name")), "status": name(server.get("status"))}
            for server in dictionaries(data.get("mcp_servers"))
        ],
        "resumed": data.get("resumed") is True,
    }


def _said(data: Data, texts: Texts) -> Row:
    return {"blocks": [texts.prose(data.get("text"))]}


def _tool_use(data: Data, texts: Texts) -> Row:
    tool = cut(text(data.get("tool")), MAX_NAME)
    arguments = data.get("input")
    title, blocks = describe(tool, arguments if isinstance(arguments, dict) else {}, texts)
    return {
        "call": call(data.get("id")),
        "tool": shown_name(tool),
        "title": shown.exactly(title),
        "blocks": blocks,
    }


def _tool_result(data: Data, texts: Texts) -> Row:
    content = data.get("content")
    if isinstance(content, list):
        content = "\n".join(
            text(part.get("text")) if part.get("type") == "text" else f"[{word(part.get('type'))}]"
            for part in dictionaries(content)
        )
    return {
        "call": call(data.get("id")),
        "error": bool(data.get("error")),
        "blocks": [texts.prose(content)],
    }


def _denied(data: Data, texts: Texts) -> Row:
    return {"tool": name(data.get("tool")), "blocks": [texts.prose(data.get("reason"))]}


def _permission(data: Data, texts: Texts) -> Row:
    choices, answer = data.get("choices"), data.get("answer")
    if isinstance(answer, list):
        answer = ", ".join(text(one) for one in answer[:MAX_ITEMS])
    return {
        "question": integer(data.get("id")),
        "tool": name(data.get("tool")),
        "choices": [
            name(one) for one in (choices if isinstance(choices, list) else [])[:MAX_ITEMS]
        ],
        "answer": sentence(answer, MAX_REASON),
        "blocks": [texts.code(data.get("summary"))],
    }


def _server_failed(data: Data, texts: Texts) -> Row:
    return {"name": name(data.get("name")), "blocks": [texts.prose(data.get("error"))]}


def _compacted(data: Data, _texts: Texts) -> Row:
    return {
        "trigger": name(data.get("trigger")),
        "before": integer(data.get("before")),
        "after": integer(data.get("after")),
    }


def _note(data: Data, texts: Texts) -> Row:
    return {"level": word(data.get("level")), "blocks": [texts.prose(data.get("text"))]}


def _cancelled(data: Data, texts: Texts) -> Row:
    return {"by": name(data.get("by")), "blocks": [texts.prose(data.get("text"))]}


def _limit(data: Data, texts: Texts) -> Row:
    return {"until": microseconds(data.get("until")), "blocks": [texts.prose(data.get("text"))]}


def _result(data: Data, texts: Texts) -> Row:
    return {"error": bool(data.get("error")), "blocks": [texts.prose(data.get("text"))]}


def _turn_end(data: Data, _texts: Texts) -> Row:
    return {
        "outcome": word(data.get("outcome")),
        "error": sentence(data.get("error")),
        "seconds": number(data.get("seconds")),
        "cost": number(data.get("cost_usd")),
    }


def _other(kind: str, data: Data, texts: Texts) -> Row:
    return {"name": name(kind), "blocks": [texts.code(dict(data), "data")]}


_MAKERS: Final[Mapping[str, Callable[[Data, Texts], Row]]] = {
    "state": _state,
    "wake": _wake,
    "urgent": _wake,
    "session": _session,
    "text": _said,
    "thinking": _said,
    "tool-use": _tool_use,
    "tool-result": _tool_result,
    "denied": _denied,
    "permission": _permission,
    "server-failed": _server_failed,
    "compacted": _compacted,
    "note": _note,
    "cancelled": _cancelled,
    "limit": _limit,
    "result": _result,
    "turn-end": _turn_end,
}
