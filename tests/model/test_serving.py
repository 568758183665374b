"""The served model, asked by real clients over a real socket: httpx, and the client of OpenAI and of Azure."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import mayo_data as md
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install -e '.[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install -e '.[serve]'")

KEY = "a-key-that-is-never-logged-42"
AT = "2024-01-01T00:00:00"


class Server(NamedTuple):
    address: str
    store: Path
    subject: str
    log: Path

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {"api-key": KEY})
        return httpx.request(method, self.address + path, headers=headers, timeout=60, trust_env=False, **more)

    def last(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = list(Ledger(Store.open(self.store).ledger).records(kind))[-1]["body"]
        return found


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mayo_data", *words]


@pytest.fixture(scope="module")
def server(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    for name in ("store", "model"):
        shutil.copytree(trained / name, folder / name)
    (folder / "key").write_text(KEY + "\n")
    words = ("serve", str(folder / "model"), "--store", str(folder / "store"), "--port", "0")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command(*words, "--api-key-file", str(folder / "key")), stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, (folder / "log").read_text()
            subject = str(md.open(folder / "store").subjects("held_out")[0])
            one = Server(found[0], folder / "store", subject, folder / "log")
            for _ in range(200):
                try:
                    one.ask("GET", "/health")
                    break
                except httpx.ConnectError:
                    time.sleep(0.1)
            yield one
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()


def question(server: Server) -> dict[str, str]:
    return {"subject_id": server.subject, "at": AT}


def test_health_needs_no_key_and_says_nothing_else(server: Server) -> None:
    assert server.ask("GET", "/health", headers={}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"authorization": KEY}, {"api-key": KEY[:-1]}],
)
@pytest.mark.parametrize("path", ["/predict", "/v1/models", "/nothing", "/v1/chat/completions", "/feedback"])
def test_without_the_key_nothing_is_said(server: Server, path: str, headers: dict[str, str]) -> None:
    answer = server.ask("POST", path, headers=headers, content=b"{}")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("headers", [{"api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"Api-Key": KEY}])
def test_a_prediction_is_in_the_ledger_and_leads_back(server: Server, headers: dict[str, str]) -> None:
    said = server.ask("POST", "/predict", json=question(server), headers=headers).json()
    assert 0 < said["probability"] < 1
    assert said["subject_id"] == server.subject
    body = server.last("inference")
    assert body["prediction_id"] == said["prediction_id"]
    assert body["model_digest"] == said["model_digest"]
    assert body["latency_ms"] > 0
    found = md.trace(server.store, said["prediction_id"])
    assert found["counts"]["events"] == said["events"]


def test_a_number_is_a_subject_too(server: Server) -> None:
    said = server.ask("POST", "/predict", json={"subject_id": int(server.subject), "at": AT}).json()
    assert said["subject_id"] == server.subject


def test_openai_s_own_client_is_answered(server: Server) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")
    with openai.OpenAI(base_url=server.address + "/v1", api_key=KEY, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["back"]
        assert client.models.retrieve("back").owned_by == "mayo-data"
        messages = [
            {"role": "system", "content": "You predict."},
            {"role": "user", "content": f"How likely? {json.dumps(question(server))}"},
        ]
        done = client.chat.completions.create(model="back", messages=messages, temperature=0)
        said = json.loads(done.choices[0].message.content)
        assert done.id == "chatcmpl-" + said["prediction_id"] == "chatcmpl-" + server.last("inference")["prediction_id"]
        assert done.choices[0].finish_reason == "stop"
        parts = [{"role": "user", "content": [{"type": "text", "text": json.dumps(question(server))}]}]
        chunks = list(
            client.chat.completions.create(
                model="back", messages=parts, stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert json.loads(text)["probability"] == said["probability"]
        assert chunks[-1].usage.total_tokens == 0
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="other", messages=messages)
        with pytest.raises(openai.BadRequestError, match="asks nothing"):
            client.chat.completions.create(model="back", messages=[{"role": "user", "content": "Hello"}])
    wrong = openai.OpenAI(base_url=server.address + "/v1", api_key="wrong-wrong-wrong", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError):
        wrong.models.list()


def test_azure_s_client_is_answered(server: Server) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")
    messages = [{"role": "user", "content": json.dumps(question(server))}]
    with openai.AzureOpenAI(
        azure_endpoint=server.address, api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        done = client.chat.completions.create(model="back", messages=messages)
        assert json.loads(done.choices[0].message.content)["model"] == "back"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="other", messages=messages)
    # the route of Azure's v1 API, as Foundry on premises has it too
    with openai.OpenAI(base_url=server.address + "/openai/v1/", api_key=KEY, max_retries=0) as client:
        assert client.chat.completions.create(model="back", messages=messages).model == "back"


SECRET = "Jane-Roe-1931"  # what a client might send by mistake
HOSTILE = [
    ("/predict", b""),
    ("/predict", b"null"),
    ("/predict", b"\xff\xfe"),
    ("/predict", f'{{"subject_id": "{SECRET}", "at": "{AT}"}}'.encode()),
    ("/predict", f'{{"subject_id": "1", "at": "{SECRET}"}}'.encode()),
    ("/predict", f'{{"subject_id": "1", "at": "{AT}", "name": "{SECRET}"}}'.encode()),
    ("/predict", f'{{"subject_id": -5, "at": "{AT}"}}'.encode()),
    ("/predict", f'{{"subject_id": "{2**63}", "at": "{AT}"}}'.encode()),
    ("/predict", f'{{"subject_id": "{"9" * 5000}", "at": "{AT}"}}'.encode()),
    ("/predict", f'{{"subject_id": 1, "at": "{AT}"}}'.encode()),
    ("/predict", b'{"subject_id": 1, "at": "0001-01-01T00:00:00+14:00"}'),
    ("/predict", b"[" * 30_000),
    ("/v1/chat/completions", b"{}"),
    ("/v1/chat/completions", b'{"messages": []}'),
    ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "' + b"{" * 20_000 + b'"}]}'),
    ("/v1/chat/completions", f'{{"messages": [{{"role": "user", "content": "{SECRET}"}}]}}'.encode()),
    ("/v1/chat/completions", b'{"n": 3, "messages": [{"role": "user", "content": "{}"}]}'),
    ("/feedback", f'{{"prediction_id": "{SECRET}", "feedback": "outcome", "value": 1}}'.encode()),
    ("/feedback", f'{{"prediction_id": "P-1", "feedback": "{SECRET}"}}'.encode()),
    ("/feedback", f'{{"prediction_id": "P-1", "feedback": "outcome", "value": "{SECRET}"}}'.encode()),
]


@pytest.mark.parametrize(("path", "body"), HOSTILE, ids=range(len(HOSTILE)))
def test_nonsense_is_refused_and_not_repeated(server: Server, path: str, body: bytes) -> None:
    before = len(Store.open(server.store).ledger.read_bytes())
    answer = server.ask("POST", path, content=body)
    assert answer.status_code in (400, 409)
    assert answer.json()["error"]["message"]
    added = Store.open(server.store).ledger.read_bytes()[before:]
    for text in (answer.text, added.decode(), server.log.read_text()):
        assert SECRET not in text
        assert "bug" not in text


def test_what_is_not_there(server: Server) -> None:
    assert server.ask("GET", "/nothing").status_code == 404
    assert server.ask("GET", "/predict").status_code == 405
    assert server.ask("GET", "/v1/models/other").status_code == 404
    assert server.ask("GET", "/docs").status_code == 404  # no page that loads scripts from elsewhere


def test_a_large_request_is_refused_whatever_it_claims(server: Server) -> None:
    assert server.ask("POST", "/predict", content=b" " * 70_000).status_code == 413

    def endless() -> Iterator[bytes]:  # chunked: there is no length to go by
        for _ in range(100):
            yield b" " * 1000

    assert server.ask("POST", "/predict", content=endless()).status_code == 413


def test_feedback_is_recorded(server: Server) -> None:
    said = server.ask("POST", "/predict", json=question(server)).json()
    told = {"prediction_id": said["prediction_id"], "feedback": "outcome", "value": 1}
    assert server.ask("POST", "/feedback", json=told).status_code == 201
    body = server.last("feedback")
    assert body == told


def test_the_key_is_nowhere(server: Server) -> None:
    server.ask("POST", "/predict", json=question(server))
    assert KEY not in server.log.read_text()
    assert KEY not in Store.open(server.store).ledger.read_text()


@pytest.mark.parametrize(("env", "code"), [({}, 2), ({"MAYO_DATA_API_KEY": "short"}, 2)])
def test_without_a_key_it_does_not_start(trained: Path, env: dict[str, str], code: int) -> None:
    words = command("serve", str(trained / "model"), "--store", str(trained / "store"), "--port", "0")
    clean = {name: value for name, value in os.environ.items() if name != "MAYO_DATA_API_KEY"}
    done = subprocess.run(words, env={**clean, **env}, capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert "API key" in done.stderr


def test_it_listens_on_this_machine_alone_by_default() -> None:
    import inspect

    from mayo_data.cli import models
    from mayo_data.model import serving

    assert inspect.signature(serving.serve).parameters["host"].default == "127.0.0.1"
    assert inspect.signature(models.serve).parameters["host"].default == "127.0.0.1"


def test_a_bug_tells_its_place_and_not_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    import asyncio
    from types import SimpleNamespace

    from mayo_data.model import access, app

    def broken(subject_id: int, at: str) -> None:
        raise RuntimeError(SECRET)

    loaded = SimpleNamespace(name="back", digest="ab", record={"training_id": "T-1"})
    made = app.make(SimpleNamespace(loaded=loaded, predict=broken), access.Access(KEY))  # type: ignore[arg-type]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(made)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/predict", json={"subject_id": 1, "at": AT}, headers={"api-key": KEY})

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    told = capsys.readouterr().err
    assert "RuntimeError at test_serving.py" in told
    assert SECRET not in answer.text + told
