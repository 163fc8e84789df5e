"""The HTTP server: the routes of the Messages API that Claude Code uses, answered from a script."""

import asyncio
import json
import logging
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.model import conversation, failures, stream
from sandbox.model.failures import Failure
from sandbox.model.journal import Journal, summary
from sandbox.model.jsonvalues import JsonObject
from sandbox.model.script import DEFAULT_MODEL, Answer, Script

log = logging.getLogger(__name__)

MAX_REQUEST: Final = 64 * 1024 * 1024

MAX_WAIT: Final = 600.0
"""Seconds that a client may wait for the next request in the journal."""


def application(script: Script) -> web.Application:
    """Return the web application; `HEAD /` answers 200, because Claude Code tries it first."""
    app = web.Application(client_max_size=MAX_REQUEST, middlewares=[_unknown_path])
    app[_SCRIPT] = script
    app[_JOURNAL] = Journal()
    app.router.add_get("/", _root)
    app.router.add_get("/requests", _requests)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/messages", _messages)
    app.router.add_post("/v1/messages/count_tokens", _count_tokens)
    return app


_SCRIPT: Final = web.AppKey("script", Script)
_JOURNAL: Final = web.AppKey("journal", Journal)


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
    await request.app[_JOURNAL].add(asked, answer, bool(body.get("stream")))
    if answer.delay:
        # The scenario wants a slow model.
        await asyncio.sleep(answer.delay)
    if refused := answer.refusal:
        return web.json_response(refused.body, status=refused.status, headers=refused.headers)
    whole = stream.message(answer, asked.model or DEFAULT_MODEL, asked.tokens)
    if not body.get("stream"):
        return web.json_response(whole)
    return await _send(request, whole, answer)


async def _send(request: web.Request, whole: JsonObject, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    deltas = 0
    for event in stream.events(whole):
        if event["type"] == "content_block_delta":
            if answer.breaks and deltas == answer.breaks.after:
                await _break(request, response, answer.breaks.how)
                return response
            deltas += 1
            if answer.pace:
                # The scenario wants a slow stream.
                await asyncio.sleep(answer.pace)
        await response.write(stream.encode(event))
    await response.write_eof()
    return response


async def _break(request: web.Request, response: web.StreamResponse, how: str) -> None:
    """Break the stream in the way that the scenario names."""
    match how:
        case "stall":
            await asyncio.Event().wait()  # until the client closes the connection
        case "error":
            refused = failures.refusal(Failure.OVERLOADED, "").body
            await response.write(stream.encode(refused))
            await response.write_eof()
            return
        case "garbage":
            await response.write(b"event: content_block_delta\ndata: {\xff\xfe not json\n\n")
    if request.transport is not None:
        request.transport.abort()


async def _requests(request: web.Request) -> web.Response:
    """Answer the requests after the number `after`; wait up to `wait` seconds for the first."""
    try:
        after = int(request.query.get("after", "0"))
        wait = min(float(request.query.get("wait", "0")), MAX_WAIT)
    except ValueError:
        return _error(400, "after: an integer is required; wait: a number of seconds")
    return web.json_response(await request.app[_JOURNAL].after(after, wait))


async def _models(request: web.Request) -> web.Response:
    names = request.app[_SCRIPT].models
    models = [{"type": "model", "id": name, "display_name": name} for name in names]
    return web.json_response({"data": models, "has_more": False})


async def _count_tokens(request: web.Request) -> web.Response:
    try:
        body = await _json(request)
    except ValueError as exc:
        return _error(400, str(exc))
    return web.json_response({"input_tokens": conversation.tokens(body.get("messages", []))})


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
    if answer.rule is None and answer.refusal is None:
        log.warning("no rule matches the prompt of %s: %.300s", who, asked.prompt)
        return
    log.info("%s: rule %s -> %s", who, answer.rule, summary(answer))


def _error(status: int, sentence: str) -> web.Response:
    return web.json_response(failures.body(status, sentence), status=status)


@web.middleware
async def _unknown_path(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors of the router in the form of the API, so that clients show their sentence."""
    try:
        answer: web.StreamResponse = await handler(request)
    except web.HTTPException as exc:
        return _error(exc.status, f"{request.method} {request.path}: {exc.reason}")
    return answer
