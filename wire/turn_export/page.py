"""A turn as one page of HTML, without any script."""

import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from wire.agent_web import edits
from wire.agent_web.client import Json, JsonObject
from wire.agent_web.values import MAX_DEPTH, is_deep
from wire.text import escaping

MAX_TEXT: Final = 256 * 1024
"""Characters of one text."""
MAX_TOGETHER: Final = 2 * MAX_TEXT
"""Characters of all texts of one event, or of the figures of the turn."""
MAX_SUMMARY: Final = 120

TOO_DEEP: Final = "(too deep)"

STYLE: Final = """
:root { color-scheme: light dark; --line: light-dark(#d0d7de, #30363d); --dim: light-dark(#57606a, #8b949e);
  --add: light-dark(#e6ffec, #12261e); --del: light-dark(#ffebe9, #2d1518); --bad: light-dark(#b00020, #ff7b72); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); padding: .5rem 0; }
header { color: var(--dim); font-size: .85rem; } header b { color: canvastext; }
pre { font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: .25rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; } .bad { color: var(--bad); } .dim { color: var(--dim); }
.add, .del, .same { display: block; } .add { background: var(--add); } .del { background: var(--del); }
"""  # noqa: E501

_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
)
"""Nothing may be loaded, run or sent: only the one style sheet above applies."""

_FOLDED: Final = frozenset({"thinking", "tool-result", "wake", "urgent", "session"})
_FIGURES: Final = (
    ("woken by", "woken_by"),
    ("outcome", "outcome"),
    ("error", "error"),
    ("model", "model"),
    ("session", "session"),
    ("started", "started"),
    ("seconds", "seconds"),
    ("to the first request, ms", "first_request_ms"),
    ("to the first token, ms", "first_token_ms"),
    ("tokens read", "input_tokens"),
    ("tokens written", "output_tokens"),
    ("from the cache", "cache_read_tokens"),
    ("to the cache", "cache_write_tokens"),
    ("context", "context_tokens"),
    ("cost, US dollars", "cost_usd"),
    ("calls of tools", "tools"),
)


class HtmlPage:
    """The page: the figures of the turn, then a section for each event."""

    def __init__(self) -> None:
        self._began: float | None = None

    def head(self, agent: str, turn: JsonObject) -> str:
        """Return the beginning of the page."""
        turn = _bounded(turn)
        self._began = _number(turn.get("started"))
        title = f"{_exact(agent)}: turn {_exact(turn.get('id'))}"
        return "\n".join(
            [
                "<!DOCTYPE html>",
                '<html lang="en"><head><meta charset="utf-8">',
                # The first element: what follows it is subject to it.
                f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="referrer" content="no-referrer">',
                f"<title>{title}</title>",
                f"<style>{STYLE}</style></head><body>",
                f"<h1>{title}</h1>",
                '<p class="dim">Everything below is what the agent&#x27;s container has told.</p>',
                "<dl>",
                *_figures(turn),
                "</dl>",
                "",
            ]
        )

    def event(self, event: JsonObject) -> str:
        """Return an event."""
        return _section(_bounded(event), self._began) + "\n"

    def end(self, left_out: str) -> str:
        """Return the end of the page; `left_out` says which events are not in it, or is empty."""
        last = f'<p class="bad">{html.escape(left_out)}</p>\n' if left_out else ""
        return f"{last}</body></html>\n"


class _Cutter:
    """The copying of JSON whose texts together are cut to MAX_TOGETHER characters.

    Each text is cut where it is shown, too, but an event may have thousands of them.
    """

    def __init__(self) -> None:
        self._left = MAX_TOGETHER

    def object(self, value: JsonObject, depth: int = 0) -> JsonObject:
        """Return the object with bounded texts."""
        return {self._text(key): self._any(item, depth + 1) for key, item in value.items()}

    def _any(self, value: Json, depth: int) -> Json:
        if isinstance(value, dict | list) and depth > MAX_DEPTH:
            return TOO_DEEP
        match value:
            case str():
                return self._text(value)
            case dict():
                return self.object(value, depth)
            case list():
                return [self._any(item, depth + 1) for item in value]
        return value

    def _text(self, text: str) -> str:
        shown = min(len(text), MAX_TEXT)
        left, self._left = self._left, max(0, self._left - shown)
        return text if shown <= left else f"{text[:left]} [cut: {len(text)} characters]"


def _bounded(value: JsonObject) -> JsonObject:
    return _Cutter().object(value)


def _figures(turn: JsonObject) -> Iterator[str]:
    for label, key in _FIGURES:
        value = turn.get(key)
        if value in (None, "", [], {}):
            continue
        shown = _time(value) if key == "started" else _exact(_plain(key, value))
        yield f"<dt>{label}</dt><dd>{shown}</dd>"


def _plain(key: str, value: Json) -> Json:
    match key, value:
        case "woken_by", list():
            causes = [cause for cause in value if isinstance(cause, dict)]
            return ", ".join(_cause(cause) for cause in causes)
        case "tools", dict():
            return ", ".join(f"{name} {_string(calls)}" for name, calls in value.items())
    return value


def _cause(cause: JsonObject) -> str:
    kind, number, sender = (_string(cause.get(key)) for key in ("kind", "id", "from"))
    return f"{kind} {number} of {sender}"


def _section(event: JsonObject, began: float | None) -> str:
    said, data = event.get("type"), event.get("data")
    kind = said if isinstance(said, str) else ""
    values = data if isinstance(data, dict) else {}
    at = _number(event.get("at"))
    after = f"+{at - began:.1f} s" if at is not None and began is not None else ""
    number = _exact(event.get("seq"))
    head = f'<header><b>{_exact(said)}</b> {after} <span class="dim">{number}</span></header>'
    shown = _SHOWN.get(kind, _other)(values)
    if kind in _FOLDED:
        shown = f"<details><summary>{_summary(values)}</summary>{shown}</details>"
    return f"<section>{head}{shown}</section>"


def _text(data: JsonObject) -> str:
    return _pre(data.get("text"))


def _prompt(data: JsonObject) -> str:
    return _pre(data.get("prompt"))


def _tool_use(data: JsonObject) -> str:
    tool, given = data.get("tool"), data.get("input")
    values = given if isinstance(given, dict) else {}
    head = f"<p><b>{_exact(tool)}</b> {_exact(edits.path_of(values))}</p>"
    if isinstance(tool, str) and tool in edits.TOOLS:
        changes = "".join(map(_changed, edits.changes(values)))
        return head + (changes or _pre(_dumped(given)))
    match values:
        case {"command": str(command)}:
            return head + _pre(command)
        case {"body": str(body), "to": to}:
            return head + f"<p>to {_exact(to)}</p>" + _pre(body)
    return head + _pre(_dumped(given))


def _changed(change: edits.Change) -> str:
    counts = f"+{change.count('+')} -{change.count('-')}"
    everywhere = ", every occurrence" if change.everywhere else ""
    cut = f" [cut: the first {edits.MAX_TEXT} characters]" if change.cut else ""
    parts = "".join(map(_part, change.parts))
    summary = f"<summary>{counts}{everywhere}{cut}</summary>"
    return f"<details open>{summary}<pre>{parts}</pre></details>"


def _part(part: edits.Part) -> str:
    kind = {"+": "add", "-": "del"}.get(part.sign, "same")
    lines = "".join(f"{part.sign} {line}\n" for line in part.lines)
    # A cut text is as long as a text may be; its signs are ours.
    body = html.escape(_encodable(escaping.prose(lines)))
    return f'<span class="{kind}">{body}</span>'


def _tool_result(data: JsonObject) -> str:
    content = data.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        if all(isinstance(text, str) for text in texts):
            content = "\n".join(map(str, texts))
    return _pre(content, "bad" if data.get("error") is True else "")


def _result(data: JsonObject) -> str:
    return _pre(data.get("text"), "bad" if data.get("error") is True else "")


def _other(data: JsonObject) -> str:
    pairs = "".join(
        f"<dt>{_exact(key)}</dt><dd>{_prose(_string(value))}</dd>" for key, value in data.items()
    )
    return f"<dl>{pairs}</dl>"


_SHOWN: Final[Mapping[str, Callable[[JsonObject], str]]] = {
    "text": _text,
    "thinking": _text,
    "wake": _prompt,
    "urgent": _prompt,
    "tool-use": _tool_use,
    "tool-result": _tool_result,
    "result": _result,
}


def _summary(data: JsonObject) -> str:
    """Return the beginning of an event that is folded."""
    for key in ("text", "content", "prompt", "model"):
        if value := data.get(key):
            line = " ".join(_string(value)[: 4 * MAX_SUMMARY].split())
            return _prose(line[:MAX_SUMMARY], one_line=True) or "(empty)"
    return "(empty)"


def _pre(value: Json, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<pre{attribute}>{_prose(_string(value))}</pre>"


def _string(value: Json) -> str:
    return value if isinstance(value, str) else _dumped(value)


def _dumped(value: Json) -> str:
    return TOO_DEEP if is_deep(value) else json.dumps(value, indent=2, ensure_ascii=False)


def _prose(text: str, *, one_line: bool = False) -> str:
    """Return a text in any language as HTML, with what is hidden or misleading spelled out."""
    cut = text[:MAX_TEXT]
    more = f" [cut: {len(text)} characters]" if len(text) > MAX_TEXT else ""
    return html.escape(_encodable(escaping.prose(cut, one_line=one_line)) + more)


def _exact(value: Json) -> str:
    """Return a name, a path or a number as HTML, on one line."""
    text = "" if value is None else _string(value)
    return html.escape(_encodable(escaping.literal(text[:MAX_TEXT], one_line=True)))


def _encodable(text: str) -> str:
    """Return the text with each control character and half of a pair spelled out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"<U+{ord(c):04X}>" if "\ud800" <= c <= "\udfff" or (c < " " and c not in "\n\t") else c
        for c in text
    )


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def _time(value: Json) -> str:
    number = _number(value)
    try:
        if number is None:
            raise ValueError
        return datetime.fromtimestamp(number, UTC).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return _exact(value)
