"""The events of an agent: a row for each, by its type."""

import re
from functools import singledispatch
from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.agent.checks import (
    MAX_ITEMS,
    MAX_NAME,
    MAX_REASON,
    call,
    cut,
    messages,
    microseconds,
    name,
    sentence,
)
from services.dashboard.state.agent.texts import Texts
from services.dashboard.state.agent.tools import describe, shown_name
from services.dashboard.state.tables import Row
from wire.agent_web import values
from wire.agent_web.records import (
    Cancelled,
    Compacted,
    Data,
    Denied,
    Event,
    Limit,
    Note,
    Other,
    Partial,
    Permission,
    Result,
    ServerFailed,
    Session,
    StateChanged,
    Thought,
    ToolResult,
    ToolUse,
    TurnEnd,
    Wake,
    Written,
)

PREVIEW: Final = 4_000
"""Characters of all texts of a row in a list or a stream; the page asks for a whole event."""

WHOLE: Final = 512 * 1024
"""Characters of all texts of an event that the page has asked for."""

_NUMBER: Final = re.compile("[0-9]{1,15}")
"""The number of a question."""


def event_row(event: Event, limit: int = PREVIEW) -> Row:
    """Return the row of an event; `limit` characters of all its texts."""
    texts = Texts(limit)
    fields = _fields(event.data, texts)
    other: Row = {"name": name(event.type)} if isinstance(event.data, Other) else {}
    return {
        "seq": event.seq,
        "at": microseconds(event.at),
        "turn": event.turn,
        "type": event.data.type or "other",
        **other,
        **fields,
        "cut": texts.cut,
    }


def partial_row(partial: Partial) -> Row:
    """Return the end of a text that the model is writing."""
    written = partial.text
    return {
        "kind": "thinking" if partial.kind == "thinking" else "text",
        "text": shown.message(written[-PREVIEW:]),
        "cut": len(written) > PREVIEW,
    }


@singledispatch
def _fields(data: Data, texts: Texts) -> Row:
    """Return the fields of an event's row that depend on its type."""
    known = data.values if isinstance(data, Other) else {}
    return {"blocks": [texts.code(values.text(known), "data")]}


@_fields.register(StateChanged)
def _(data: StateChanged, _texts: Texts) -> Row:
    return {
        "state": data.state,
        "reason": sentence(data.reason),
        "until": microseconds(data.until),
    }


@_fields.register(Wake)
def _(data: Wake, texts: Texts) -> Row:
    blocks = [texts.prose(data.prompt, "prompt")] if data.prompt else []
    return {"messages": messages(data.messages), "blocks": blocks}


@_fields.register(Session)
def _(data: Session, texts: Texts) -> Row:
    return {
        "session": name(data.session_id),
        "model": name(data.model),
        "tools": len(data.tools),
        "servers": [
            {"name": texts.name(server.name), "status": texts.name(server.status)}
            for server in data.mcp_servers[:MAX_ITEMS]
        ],
        "resumed": data.resumed,
    }


@_fields.register(Written)
@_fields.register(Thought)
def _(data: Written | Thought, texts: Texts) -> Row:
    return {"blocks": [texts.prose(data.text)]}


@_fields.register(ToolUse)
def _(data: ToolUse, texts: Texts) -> Row:
    tool = cut(data.tool, MAX_NAME)
    title, blocks = describe(tool, values.table(data.input), texts)
    return {
        "call": call(data.id),
        "tool": shown_name(tool),
        "title": shown.exactly(title),
        "blocks": blocks,
    }


@_fields.register(ToolResult)
def _(data: ToolResult, texts: Texts) -> Row:
    content = data.content
    if isinstance(content, list):
        content = "\n".join(
            values.text(part.get("text"))
            if part.get("type") == "text"
            else f"[{values.word(part.get('type'))}]"
            for part in values.objects(content)[:MAX_ITEMS]
        )
    return {
        "call": call(data.id),
        "error": data.error,
        "blocks": [texts.prose(values.text(content))],
    }


@_fields.register(Denied)
def _(data: Denied, texts: Texts) -> Row:
    return {"tool": name(data.tool), "blocks": [texts.prose(data.reason)]}


@_fields.register(Permission)
def _(data: Permission, texts: Texts) -> Row:
    answer = data.answer
    if isinstance(answer, list):
        answer = ", ".join(map(values.text, answer[:MAX_ITEMS]))
    return {
        "question": int(data.id) if _NUMBER.fullmatch(data.id) else 0,
        "tool": name(data.tool),
        "choices": [texts.name(one) for one in data.choices[:MAX_ITEMS]],
        "answer": sentence(values.text(answer), MAX_REASON),
        "blocks": [texts.code(data.summary)],
    }


@_fields.register(ServerFailed)
def _(data: ServerFailed, texts: Texts) -> Row:
    return {"name": name(data.name), "blocks": [texts.prose(data.error)]}


@_fields.register(Compacted)
def _(data: Compacted, _texts: Texts) -> Row:
    return {"trigger": name(data.trigger), "before": data.before, "after": data.after}


@_fields.register(Note)
def _(data: Note, texts: Texts) -> Row:
    return {"level": data.level, "blocks": [texts.prose(data.text)]}


@_fields.register(Cancelled)
def _(data: Cancelled, texts: Texts) -> Row:
    return {"by": name(data.by), "blocks": [texts.prose(data.text)]}


@_fields.register(Limit)
def _(data: Limit, texts: Texts) -> Row:
    return {"until": microseconds(data.until), "blocks": [texts.prose(data.text)]}


@_fields.register(Result)
def _(data: Result, texts: Texts) -> Row:
    return {"error": bool(data.error), "blocks": [texts.prose(data.text)]}


@_fields.register(TurnEnd)
def _(data: TurnEnd, _texts: Texts) -> Row:
    return {
        "outcome": data.outcome,
        "error": sentence(data.error),
        "seconds": data.seconds,
        "cost": data.cost_usd,
    }
