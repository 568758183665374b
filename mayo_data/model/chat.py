"""The form in which chat clients ask and are answered: OpenAI's chat completions, as Azure AI Foundry speaks them too.

The last message of the user holds the question, as JSON: `{"subject_id": "123", "at": "2024-05-06T07:00:00"}`. The
answer is JSON too. What a client asks beyond that (temperature, tools, ...) changes nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
import orjson

from mayo_data.errors import ConfigError
from mayo_data.model.prediction import Prediction
from mayo_data.types import Json

FORM = '{"subject_id": "123", "at": "2024-05-06T07:00:00"}'
_OBJECT = re.compile(r"\{[^{}]{0,500}\}")


class Question(NamedTuple):
    """Who, and when.

    Attributes:
        subject_id: Whose.
        at: ISO 8601.
    """

    subject_id: int
    at: str


class _Ask(msgspec.Struct, forbid_unknown_fields=True):
    subject_id: int | str
    at: str


class _Part(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _Options(msgspec.Struct):
    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """What is read of a chat request; the rest is passed over.

    Attributes:
        messages: The conversation.
        model: Which model is meant.
        stream: Whether the answer comes in pieces.
        n: How many answers; there is one.
    """

    messages: list[_Message]
    model: str = ""
    stream: bool | None = None
    n: int | None = None
    stream_options: _Options | None = None


def question(body: bytes) -> Question:
    """Return the question of `/predict`.

    A `subject_id` has 63 bits, more than a number of JavaScript, so it may be text.

    Raises:
        ConfigError: It is none; the message never repeats what was sent.

    >>> question(b'{"subject_id": "7", "at": "2024-05-06T07:00:00"}')
    Question(subject_id=7, at='2024-05-06T07:00:00')
    """
    try:
        asked = msgspec.json.decode(body, type=_Ask)
        subject_id, at = int(asked.subject_id), datetime.fromisoformat(asked.at)
    except (msgspec.DecodeError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise ConfigError("this is no question", hint=f"send JSON like {FORM}") from error
    if not 0 <= subject_id < 2**63:
        raise ConfigError("this is no subject_id", hint=f"send JSON like {FORM}")
    return Question(subject_id, at.isoformat())


def chat_question(body: bytes) -> tuple[ChatRequest, Question]:
    """Return a chat request and the question in its last message of the user.

    Raises:
        ConfigError: It is no chat request, or there is no question in it.

    >>> asked = {"messages": [{"role": "user", "content": '{"subject_id": 7, "at": "2024-05-06"}'}]}
    >>> chat_question(orjson.dumps(asked))[1].subject_id
    7
    """
    try:
        request = msgspec.json.decode(body, type=ChatRequest)
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError("this is no chat request", hint="send messages, each with role and content") from error
    said = [message.content for message in request.messages if message.role == "user"]
    last = said[-1] if said else None
    text = "".join(part.text for part in last if part.type == "text") if isinstance(last, list) else last or ""
    found = _OBJECT.search(text)
    if found is None:
        raise ConfigError("the last message asks nothing", hint=f"the last message of the user holds {FORM}")
    return request, question(found[0].encode("utf-8", "surrogatepass"))


def answer(found: Prediction, name: str, digest: str) -> Json:
    """Return a prediction as `/predict` answers it.

    >>> answer(Prediction(0.2, "P-1", "L-1", 7, datetime(2024, 1, 1), 12, "000001"), "m", "ab")["subject_id"]
    '7'
    """
    return {
        "probability": round(found.probability, 6), "prediction_id": found.prediction_id,
        "lineage_id": found.lineage_id, "subject_id": str(found.subject_id), "at": found.at.isoformat(),
        "events": found.events, "snapshot": found.snapshot, "model": name, "model_digest": digest,
    }  # fmt: skip


def completion(said: Json) -> Json:
    """Return an answer as a chat completion.

    >>> completion({"model": "m", "prediction_id": "P-1", "model_digest": "ab"})["choices"][0]["finish_reason"]
    'stop'
    """
    message = {"role": "assistant", "content": orjson.dumps(said).decode(), "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {**_head(said, "chat.completion"), "choices": [choice], "usage": _USAGE}


def pieces(said: Json, *, usage: bool = False) -> Iterator[bytes]:
    r"""Yield an answer as the events of a stream.

    >>> list(pieces({"model": "m", "prediction_id": "P-1", "model_digest": "ab"}))[-1]
    b'data: [DONE]\n\n'
    """
    head = _head(said, "chat.completion.chunk")
    first = {"role": "assistant", "content": orjson.dumps(said).decode()}
    for delta, reason in ((first, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        yield b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"
    if usage:
        yield b"data: " + orjson.dumps({**head, "choices": [], "usage": _USAGE}) + b"\n\n"
    yield b"data: [DONE]\n\n"


_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}  # no tokens are read or written


def _head(said: Json, kind: str) -> Json:
    return {
        "id": "chatcmpl-" + str(said["prediction_id"]), "object": kind, "created": int(time.time()),
        "model": said["model"], "system_fingerprint": str(said["model_digest"])[:16],
    }  # fmt: skip


def failure(message: str, code: str, kind: str = "invalid_request_error") -> Json:
    """Return an error in the form that these clients read.

    >>> failure("no", "not_found")["error"]["code"]
    'not_found'
    """
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
