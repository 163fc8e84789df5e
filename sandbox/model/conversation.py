"""The conversation in a Messages API request: the agent, its messages, its tools' results."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from sandbox.model.jsonvalues import Json, JsonObject

_AGENT: Final = re.compile(r"^Hyperhive agent: (\S+)$", re.MULTILINE)
_MESSAGE: Final = re.compile(
    r"^<message-(?P<mark>\w+) (?P<head>[^>\n]*)>\n(?P<body>.*?)\n</message-(?P=mark)>$",
    re.MULTILINE | re.DOTALL,
)
_HEAD: Final = re.compile(r'(\w+)="([^"]*)"')
_COMPACTION: Final = re.compile(r"create a detailed summary of the conversation", re.IGNORECASE)
_OWN: Final = re.compile(
    r"<(?P<tag>system-reminder|local-command-\w+|command-\w+)>.*?</(?P=tag)>", re.DOTALL
)
"""Text that Claude Code itself inserts into a prompt."""

_STEERING: Final = "sent a new message while you were working"
"""The words with which Claude Code introduces a message that came in the middle of a turn."""

_INTERRUPTED: Final = re.compile(r"^\[Request interrupted by user[^\]]*\]", re.MULTILINE)


@dataclass(frozen=True)
class Wake:
    """A message of the hive in a wake prompt, or the whole prompt if it contains none."""

    body: str
    sender: str = ""
    kind: str = ""
    id: str = ""
    in_reply_to: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class Round:
    """An answer of the model that called tools, and their results."""

    tools: tuple[str, ...]
    result: str
    steering: tuple[Wake, ...] = ()
    """The messages that came while the tools ran."""


@dataclass(frozen=True)
class Conversation:
    """The parts of a request that rules match."""

    agent: str
    prompt: str
    wakes: tuple[Wake, ...]
    rounds: tuple[Round, ...] = field(default=())
    model: str = ""
    tokens: int = 0
    compaction: bool = False
    """Whether Claude Code asks for a summary of the conversation, to go on with that alone."""


def read(request: JsonObject) -> Conversation:
    """Return the conversation in the body of a `POST /v1/messages`, from its last wake prompt on.

    Raises:
        ValueError: the request has no list of messages.
    """
    messages = request.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ValueError("messages: a list of messages is required")
    system = _text(request.get("system", ""))
    prompts = [index for index, message in enumerate(messages) if _is_prompt(message)]
    start = prompts[-1] if prompts else 0
    prompt = _text(messages[start].get("content", "")) if messages else ""
    compaction = bool(_COMPACTION.search(prompt))
    if compaction and len(prompts) > 1:  # the prompt that the summary is about
        start = prompts[-2]
        prompt = _text(messages[start].get("content", ""))
    found = _AGENT.search(system) or _AGENT.search(prompt)
    return Conversation(
        agent=found.group(1) if found else "",
        prompt=prompt,
        wakes=tuple(_wakes(prompt)),
        rounds=tuple(_rounds(messages[start + 1 :])),
        model=str(request.get("model", "")),
        tokens=tokens(messages),
        compaction=compaction,
    )


def tokens(value: Json) -> int:
    """Return roughly how many tokens `value` has; an exact number is not needed."""
    return max(1, len(json.dumps(value)) // 4)


def _wakes(prompt: str) -> Iterator[Wake]:
    frames = list(_frames(prompt))
    yield from frames or [Wake(prompt)]


def _frames(text: str) -> Iterator[Wake]:
    found = list(_MESSAGE.finditer(text))
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
            urgent=head.get("urgent") == "true",
        )


def _rounds(messages: list[JsonObject]) -> Iterator[Round]:
    tools: tuple[str, ...] = ()
    done: Round | None = None
    for message in messages:
        blocks = _blocks(message.get("content", ""))
        if message.get("role") == "assistant":
            tools += tuple(b.get("name", "") for b in blocks if b.get("type") == "tool_use")
            continue
        results = [b for b in blocks if b.get("type") == "tool_result"]
        if tools and results:
            if done:
                yield done
            done = Round(tools, "\n".join(_text(b.get("content", "")) for b in results))
            tools = ()
        text = _text(blocks)
        if done and _STEERING in text:
            done = replace(done, steering=done.steering + tuple(_frames(text)))
    if done:
        yield done


def _is_prompt(message: JsonObject) -> bool:
    """Return whether a message is a prompt.

    A user message with tool results is not one, unless the next prompt was appended to it, as
    Claude Code does after a turn that was interrupted.
    """
    if message.get("role") != "user":
        return False
    blocks = _blocks(message.get("content", ""))
    if not _text(blocks):
        return False
    results = any(b.get("type") == "tool_result" for b in blocks)
    texts = "\n".join(str(b.get("text", "")) for b in blocks if b.get("type") == "text")
    return not results or bool(_INTERRUPTED.search(texts) or _COMPACTION.search(texts))


def _text(content: Json) -> str:
    """Return the text in a content, without the text that Claude Code inserts."""
    parts = (str(b.get("text", "")) for b in _blocks(content) if b.get("type") == "text")
    text = _INTERRUPTED.sub("", _OWN.sub("", "\n".join(parts)))
    return text.strip()


def _blocks(content: Json) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
