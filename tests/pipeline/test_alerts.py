"""What others are told of a run: a webhook, a metrics file, and never anything of a patient."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hospital import cli

from mayo_data.errors import ConfigError, GateError
from mayo_data.pipeline import alerts
from mayo_data.pipeline.alerts import Outcome, exposition, send, summary, telling, write_metrics
from mayo_data.pipeline.report import RunReport
from mayo_data.types import Step, Verdict

REPORT = RunReport(
    run_id="7e74fbe0d3af5bb9", snapshot=Path("/somewhere/secret/000007"), repeated=False,
    steps=(Step("read", 10, 8, {'odd"\\reason\n': 2}), Step("build", 8, 8, {}, {"events": 30})),
    phi={"DATE/shift": 4, "MRN/drop": 1}, notes={},
    verdicts=(Verdict("G0", "files_found", True, "3 files"), Verdict("G2", "late", False, "2 of 30 events", "warn"),
              Verdict("G2", "late", True, "0 of 4 events", "warn")),
    subjects=5, events=30, input_bytes=1234, seconds=2.5, logical_digest="d" * 64, phi_zone=Path("/somewhere/phi"),
)  # fmt: skip


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that remembers, and answers as it is told."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server: Any = self.server
        server.told.append((self.path, self.headers["Content-Type"], json.loads(body)))
        if server.wait:
            server.let_go.wait(30)
        self.send_response(server.status)
        if server.status == 302:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.told, server.status, server.wait, server.let_go = [], 200, False, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/services/T0/s3cret"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.let_go.set()
    server.shutdown()
    server.server_close()


def families(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    parser = pytest.importorskip("prometheus_client.parser", reason='pip install -e ".[test]"')
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in parser.text_string_to_metric_families(text)
    }


def test_the_webhook_is_told_in_plain_text(hook: Any) -> None:
    assert send(hook.url, summary(Outcome("nightly", REPORT))) == ""
    ((path, kind, body),) = hook.told
    assert path == "/services/T0/s3cret"
    assert kind.startswith("application/json")
    assert list(body) == ["text"]  # what Slack, Teams and Mattermost take
    assert body["text"].splitlines() == [
        "mayo-data nightly: committed snapshot 000007 (run 7e74fbe0d3af5bb9)",
        "5 subjects, 30 events, 2 rows dropped, 2 s",
        "2 of 3 gates passed",
        "G2 late: warn, 2 of 30 events",
    ]


def test_no_path_is_told(tmp_path: Path) -> None:
    for text in (summary(Outcome("nightly", REPORT)), exposition(Outcome("nightly", REPORT))):
        assert "somewhere" not in text


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refusal_is_said_without_the_address(hook: Any, status: int) -> None:
    hook.status = status
    why = send(hook.url, "x")
    assert str(status) in why
    assert "s3cret" not in why
    assert len(hook.told) == 1  # no redirect is followed, nothing is tried twice


def test_a_webhook_that_does_not_answer(hook: Any) -> None:
    hook.wait = True
    assert send(hook.url, "x", timeout=0.2) == "the webhook did not answer in time"


def test_a_webhook_that_answers_byte_by_byte() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = threading.Event()

        def drip() -> None:
            line, _ = server.accept()
            with line, contextlib.suppress(OSError):
                line.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not gone.wait(0.05):  # always in time for the next byte
                    line.sendall(b"x")

        drips = threading.Thread(target=drip, daemon=True)
        drips.start()
        said = send(f"http://127.0.0.1:{server.getsockname()[1]}/", "x", timeout=0.3)
        alive = drips.is_alive()
        gone.set()
        assert (said, alive) == ("the webhook did not answer in time", True)


def test_a_webhook_that_is_not_there() -> None:
    assert send("http://127.0.0.1:9/s3cret", "x") == "the webhook cannot be reached (ConnectionRefusedError)"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/b", "hooks.slack.com/x", "http://", "https://a b", ""])
def test_only_a_web_address_is_one(url: str) -> None:
    with pytest.raises(ConfigError, match="no URL"), telling("x", notify=url, metrics=None, say=print):
        pytest.fail("the run must not begin")


def test_a_failure_is_told_and_goes_on_to_the_caller(hook: Any, tmp_path: Path) -> None:
    said: list[str] = []
    metrics = tmp_path / "run.prom"
    with telling("x", notify=None, metrics=metrics, say=said.append) as outcome:
        outcome.report = REPORT
    before = families(metrics.read_text())["mayo_data_run_last_success_timestamp_seconds"]
    with pytest.raises(GateError), telling("x", notify=hook.url, metrics=metrics, say=said.append):
        raise GateError("gate stopped the run: G1 quarantined_share: 9 of 10 rows")
    after = families(metrics.read_text())
    assert after["mayo_data_run_success"] == [({"pipeline": "x"}, 0.0)]
    assert after["mayo_data_run_exit_code"][0][1] == 4
    assert after["mayo_data_run_last_success_timestamp_seconds"] == before
    assert "exit code 4 (GateError)" in hook.told[0][2]["text"]
    with pytest.raises(KeyError), telling("x", notify=hook.url, metrics=None, say=said.append):
        raise KeyError("Doe, Jane")  # not ours: its words may be a patient's
    assert "Doe" not in json.dumps(hook.told)
    with pytest.raises(KeyboardInterrupt), telling("x", notify=None, metrics=metrics, say=said.append):
        raise KeyboardInterrupt
    assert families(metrics.read_text())["mayo_data_run_exit_code"][0][1] == 130
    assert said == []


def test_what_cannot_be_told_never_fails_a_run(tmp_path: Path) -> None:
    said: list[str] = []
    notify, metrics = "http://127.0.0.1:9/s3cret", tmp_path / "no" / "run.prom"
    with telling("x", notify=notify, metrics=metrics, say=said.append) as outcome:
        outcome.report = REPORT
    assert len(said) == 2
    assert said[0].startswith("the metrics could not be written")
    assert said[1].startswith("nobody was notified")


def test_prometheus_reads_the_metrics(tmp_path: Path) -> None:
    path = tmp_path / "run.prom"
    write_metrics(path, Outcome('ward\n"7"', REPORT, began=1e9, seconds=2.5))
    assert [one.name for one in tmp_path.iterdir()] == ["run.prom"]
    assert path.stat().st_mode & 0o777 == 0o644
    found = families(path.read_text())
    name = {"pipeline": 'ward\n"7"'}
    assert found["mayo_data_run_success"] == [(name, 1.0)]
    assert found["mayo_data_run_last_success_timestamp_seconds"] == [(name, 1e9 + 2.5)]
    assert found["mayo_data_rows_dropped"] == [({**name, "step": "read", "reason": 'odd"\\reason\n'}, 2.0)]
    assert ({**name, "gate": "G2", "check": "late"}, 0.0) in found["mayo_data_gate_passed"]
    assert len(found["mayo_data_gate_passed"]) == 2  # node_exporter refuses a series that stands twice
    assert ({**name, "category": "MRN", "action": "drop"}, 1.0) in found["mayo_data_phi_decisions"]
    for line in path.read_text().splitlines():
        assert line.startswith(("# HELP mayo_data_", "# TYPE mayo_data_", "mayo_data_"))


@pytest.mark.slow
def test_the_command_line_tells(synthetic_export: Path, tmp_path: Path, hook: Any) -> None:
    cli("keygen", "--out", tmp_path / "site.key")
    base = (
        "run",
        "fhir.toml",
        "--input",
        synthetic_export / "fhir",
        "--key-file",
        tmp_path / "site.key",
        "--log",
        "quiet",
    )
    told = ("--notify", hook.url, "--metrics", tmp_path / "run.prom")
    done = cli(*base, "--store", tmp_path / "store", "--workers", "1", *told)
    assert done.returncode == 0, done.stderr
    assert "committed snapshot 000001" in hook.told[0][2]["text"]
    assert families((tmp_path / "run.prom").read_text())["mayo_data_snapshot_subjects"][0][1] > 0
    hook.status = 500
    again = cli(*base, "--store", tmp_path / "store", "--workers", "1", *told)
    assert again.returncode == 0
    assert "nobody was notified: the webhook answered with status 500" in again.stderr
    assert "nothing to do" in hook.told[1][2]["text"]
    failed = cli("run", "fhir.toml", "--input", tmp_path / "none", "--store", tmp_path / "store", *base[4:], *told[2:])
    assert failed.returncode == 3
    assert families((tmp_path / "run.prom").read_text())["mayo_data_run_exit_code"][0][1] == 3
    assert alerts.TIMEOUT <= 30
