"""The routes of a served model (extra `serve`): FastAPI over a `Predictor`.

Errors say what to do and repeat nothing that was sent. Every route but `/health` wants the key.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, Literal

import msgspec
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mayo_data.errors import ConfigError, MayoDataError
from mayo_data.model import chat
from mayo_data.model.access import Access
from mayo_data.model.prediction import Predictor
from mayo_data.types import Json

LARGEST = 64 * 1024  # bytes of a request
_OPEN = ("/health",)


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    prediction_id: str
    feedback: Literal["accepted", "overridden", "outcome"]
    value: bool | float | None = None


class _Limit:
    """Reads a request before anything else does, and refuses it where it is too large, whatever length it claims."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more and len(body) <= self._largest:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > self._largest:
            await _failed(413, "the request is too large", "request_too_large")(scope, receive, send)
            return
        read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return read.pop() if read else await receive()

        await self._app(scope, again, send)


def make(predictor: Predictor, access: Access, largest: int = LARGEST) -> FastAPI:
    """Return the application.

    Args:
        predictor: What answers.
        access: Who may ask.
        largest: Bytes of the largest request.
    """
    version = metadata.version("mayo-data")
    app = FastAPI(title="mayo-data", version=version, docs_url=None, redoc_url=None, openapi_url=None)
    name, digest = predictor.loaded.name, predictor.loaded.digest

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path not in _OPEN and not access.permits(request.headers):
            return _failed(401, "the API key is missing or wrong", "invalid_api_key", "authentication_error")
        try:
            return await call_next(request)
        except MayoDataError as error:
            return _refused(error)
        except Exception as error:
            _tell(error)
            return _failed(500, "this is a bug", "internal_error", "server_error")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        words = {404: "there is no such route", 405: "this route takes another method"}
        return _failed(error.status_code, words.get(error.status_code, "the request is refused"), "not_found")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    @app.get("/openai/models")
    @app.get("/openai/v1/models")
    async def models() -> Json:
        return {"object": "list", "data": [_card(predictor)]}

    @app.get("/v1/models/{asked}")
    @app.get("/openai/v1/models/{asked}")
    async def model(asked: str) -> Response:
        return JSONResponse(_card(predictor)) if asked == name else _no_model()

    @app.post("/predict")
    async def predict(request: Request) -> Json:
        asked = chat.question(await request.body())
        found = await run_in_threadpool(predictor.predict, asked.subject_id, asked.at)
        return chat.answer(found, name, digest)

    async def complete(request: Request, deployment: str | None) -> Response:
        body, asked = chat.chat_question(await request.body())
        if (deployment or body.model) not in ("", name):
            return _no_model()
        if body.n not in (None, 1):
            return _failed(400, "there is one answer: n must be 1", "invalid_request")
        found = chat.answer(await run_in_threadpool(predictor.predict, asked.subject_id, asked.at), name, digest)
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return StreamingResponse(chat.pieces(found, usage=usage), media_type="text/event-stream")
        return JSONResponse(chat.completion(found))

    @app.post("/v1/chat/completions")
    @app.post("/openai/v1/chat/completions")
    async def completions(request: Request) -> Response:
        return await complete(request, None)

    @app.post("/openai/deployments/{deployment}/chat/completions")
    async def deployed(deployment: str, request: Request) -> Response:
        return await complete(request, deployment)

    @app.post("/feedback")
    async def feedback(request: Request) -> Response:
        try:
            told = msgspec.json.decode(await request.body(), type=_Feedback)
        except (msgspec.DecodeError, ValueError) as error:
            hint = 'send JSON like {"prediction_id": "P-...", "feedback": "outcome", "value": 1}'
            raise ConfigError("this is no feedback", hint=hint) from error
        await run_in_threadpool(predictor.feedback, told.prediction_id, told.feedback, told.value)
        return JSONResponse({"recorded": True}, status_code=201)

    app.add_middleware(_Limit, largest=largest)
    return app


def _card(predictor: Predictor) -> Json:
    return {
        "id": predictor.loaded.name, "object": "model", "created": 0, "owned_by": "mayo-data",
        "capabilities": {"chat_completion": True}, "model_digest": predictor.loaded.digest,
        "training_id": predictor.loaded.record["training_id"],
    }  # fmt: skip


def _no_model() -> Response:
    return _failed(404, "there is no such model here", "model_not_found")


def _refused(error: MayoDataError) -> Response:
    text = f"{error}: {error.hint}" if error.hint else str(error)
    if isinstance(error, ConfigError):
        return _failed(400, text, "invalid_request")
    return _failed(409, text, "refused")  # the store or the model says no


def _failed(status: int, message: str, code: str, kind: str = "invalid_request_error") -> JSONResponse:
    return JSONResponse(chat.failure(message, code, kind), status_code=status)


def _tell(error: Exception) -> None:
    frames: Any = traceback.extract_tb(error.__traceback__)[-3:]
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))
    sys.stderr.write(f"mayo-data: bug: {type(error).__name__} at {where}\n")
