"""The conversation in a Messages API request: the agent, its messages, its tools' results."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sandbox.model.jsonvalues import Json, JsonObject

_AGENT: Final = re.compile(r"^Hyperhive agent: (\S+)$", re.MULTILINE)
_MESSAGE: Final = re.compile(
    r"^<message-(?P<mark>\w+) (?P<head>[^>\n]*)>\n(?P<body>.*?)\n</message-(?P=mark)>$",
    re.MULTILINE | re.DOTALL,
)
_HEAD: Final = re.compile(r'(\w+)="([^"]*)"')
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


@dataclass(frozen=True)
class Wake:
    """A message of the hive in a wake prompt, or the whole prompt if it contains none."""

    body: str
    sender: str = ""
    kind: str = ""
    id: str = ""
    in_reply_to: str = ""


@dataclass(frozen=True)
class Round:
    """An answer of the model that called tools, and their results."""

    tools: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class Conversation:
    """The parts of a request that rules match."""

    agent: str
    prompt: str
    wakes: tuple[Wake, ...]
    rounds: tuple[Round, ...] = field(default=())


def read(request: JsonObject) -> Conversation:
    """Return the conversation in the body of a `POST /v1/messages`, from its last wake prompt on.

    Raises:
        ValueError: the request has no list of messages.
    """
    messages = request.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ValueError("messages: a list of messages is required")
    system = _text(request.get("system", ""))
    start = max((i for i, m in enumerate(messages) if _is_prompt(m)), default=0)
    prompt = _text(messages[start].get("content", "")) if messages else ""
    found = _AGENT.search(system) or _AGENT.search(prompt)
    return Conversation(
        agent=found.group(1) if found else "",
        prompt=prompt,
        wakes=tuple(_wakes(prompt)),
        rounds=tuple(_rounds(messages[start + 1 :])),
    )


def _wakes(prompt: str) -> Iterator[Wake]:
    found = list(_MESSAGE.finditer(prompt))
    if not found:
        yield Wake(prompt)
    for message in found:
        if message["mark"] != found[-1]["mark"]:
            continue  # a prompt of a turn that failed: Claude Code merges it with the next one
        head = dict(_HEAD.findall(message["head"]))
        yield Wake(
            body=message["body"],
            sender=head.get("from", ""),
            kind=head.get("kind", ""),
            id=head.get("id", ""),
            in_reply_to=head.get("in_reply_to", ""),
        )


def _rounds(messages: list[JsonObject]) -> Iterator[Round]:
    tools: tuple[str, ...] = ()
    for message in messages:
        blocks = _blocks(message.get("content", ""))
        if message.get("role") == "assistant":
            tools += tuple(b.get("name", "") for b in blocks if b.get("type") == "tool_use")
            continue
        results = [b for b in blocks if b.get("type") == "tool_result"]
        if tools and results:
            yield Round(tools, "\n".join(_text(b.get("content", "")) for b in results))
            tools = ()


def _is_prompt(message: JsonObject) -> bool:
    """Return whether a message is a prompt; a user message with tool results is not."""
    if message.get("role") != "user":
        return False
    blocks = _blocks(message.get("content", ""))
    return bool(_text(blocks)) and all(b.get("type") != "tool_result" for b in blocks)


def _text(content: Json) -> str:
    """Return the text in a content, without the reminders that Claude Code inserts."""
    parts = (str(b.get("text", "")) for b in _blocks(content) if b.get("type") == "text")
    return _REMINDER.sub("", "\n".join(parts)).strip()


def _blocks(content: Json) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
