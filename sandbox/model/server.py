"""The HTTP server: the routes of the Messages API that Claude Code uses, answered from a script."""

import asyncio
import json
import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.model import conversation, stream
from sandbox.model.jsonvalues import JsonObject
from sandbox.model.script import Answer, Script

log = logging.getLogger(__name__)

MAX_REQUEST: Final = 64 * 1024 * 1024

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def application(script: Script) -> web.Application:
    """Return the web application; `HEAD /` answers 200, because Claude Code tries it first."""
    app = web.Application(client_max_size=MAX_REQUEST, middlewares=[_unknown_path])
    app[_SCRIPT] = script
    app.router.add_get("/", _root)
    app.router.add_post("/v1/messages", _messages)
    app.router.add_post("/v1/messages/count_tokens", _count_tokens)
    return app


_SCRIPT: Final = web.AppKey("script", Script)


async def _root(_: web.Request) -> web.Response:
    return web.Response(text="The scripted model of the hive's sandbox.\n")


async def _messages(request: web.Request) -> web.StreamResponse:
    try:
        body = await _json(request)
        asked = conversation.read(body)
    except ValueError as exc:
        return _error(400, str(exc))
    answer = request.app[_SCRIPT].answer(asked)
    _log(asked, answer)
    if answer.delay:
        await asyncio.sleep(answer.delay)  # the scenario wants a slow model
    if answer.status:
        return _error(answer.status, answer.text or "The scenario contains this failure.")
    model = str(body.get("model", "scripted"))
    whole = stream.message(answer, model, stream.tokens(body["messages"]))
    if not body.get("stream"):
        return web.json_response(whole)
    return await _send(request, whole)


async def _send(request: web.Request, whole: JsonObject) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    for event in stream.events(whole):
        await response.write(stream.encode(event))
    await response.write_eof()
    return response


async def _count_tokens(request: web.Request) -> web.Response:
    try:
        body = await _json(request)
    except ValueError as exc:
        return _error(400, str(exc))
    return web.json_response({"input_tokens": stream.tokens(body.get("messages", []))})


async def _json(request: web.Request) -> JsonObject:
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")
    return body


def _log(asked: conversation.Conversation, answer: Answer) -> None:
    who = asked.agent or "an unknown agent"
    if answer.rule is None:
        log.warning("no rule matches the prompt of %s: %.300s", who, asked.prompt)
        return
    done = ", ".join(tool for tool, _ in answer.calls) or answer.status or "text"
    log.info("%s: rule %s -> %s", who, answer.rule, done)


def _error(status: int, sentence: str) -> web.Response:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = {"type": "error", "error": {"type": kind, "message": sentence}}
    return web.json_response(body, status=status)


@web.middleware
async def _unknown_path(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of the router in the form of the API, so that clients show their sentence."""
    try:
        answer: web.StreamResponse = await handler(request)
    except web.HTTPException as exc:
        return _error(exc.status, f"{request.method} {request.path}: {exc.reason}")
    return answer
