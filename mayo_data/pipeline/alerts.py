"""Tells others how a scheduled run ended: a webhook, and a file that Prometheus' node_exporter reads.

Both are asked for by name, and neither ever fails a run: what cannot be told is said on stderr. Both hold counts, names
of rules and ids of runs, no value of the PHI zone and no path. The webhook is the only thing that this library sends.
"""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from mayo_data.errors import ConfigError, MayoDataError
from mayo_data.pipeline.report import RunReport

TIMEOUT = 10.0  # seconds that a webhook has
_LATE = "the webhook did not answer in time"
_BUG, _INTERRUPTED = 1, 130
_LAST = re.compile(rb"^mayo_data_run_last_success_timestamp_seconds(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        name: Name of the job, for example of its pipeline file.
        report: What the run did; None where it failed.
        error: Kind of the error, empty where there was none.
        message: What the error says; a message of this library holds no PHI, that of any other error is left out.
        exit_code: The exit code of the command line.
        began: When, in seconds since 1970.
        seconds: How long it took.
    """

    name: str
    report: RunReport | None = None
    error: str = ""
    message: str = ""
    exit_code: int = 0
    began: float = 0.0
    seconds: float = 0.0


@contextmanager
def telling(name: str, *, notify: str | None, metrics: Path | None, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Run something and tell how it ended; its errors go on to the caller.

    Args:
        name: Name of the job.
        notify: URL of a webhook, or None.
        metrics: File for node_exporter, or None.
        say: Is told what could not be told to others.

    Raises:
        ConfigError: The URL is none of http or https: said before the run, not after it.
    """
    if notify is not None:
        _checked(notify)
    outcome = Outcome(name, began=time.time())
    try:
        yield outcome
    except BaseException as error:
        outcome.error = type(error).__name__
        outcome.exit_code = error.exit_code if isinstance(error, MayoDataError) else _BUG
        if isinstance(error, KeyboardInterrupt):
            outcome.exit_code = _INTERRUPTED
        outcome.message = str(error) if isinstance(error, MayoDataError) else ""
        raise
    finally:
        outcome.seconds = time.time() - outcome.began
        if metrics is not None:
            try:
                write_metrics(metrics, outcome)
            except OSError as error:
                say(f"the metrics could not be written: {error.strerror}")
        if notify is not None and (why := send(notify, summary(outcome))):
            say(f"nobody was notified: {why}")


def summary(outcome: Outcome) -> str:
    r"""Return how a run ended, in some lines of plain text.

    Args:
        outcome: How it ended.

    >>> summary(Outcome("nightly", error="GateError", message="gate stopped the run", exit_code=4))
    'mayo-data nightly: FAILED with exit code 4 (GateError)\ngate stopped the run'
    """
    head = f"mayo-data {outcome.name}: "
    report = outcome.report
    if report is None:
        said = f"FAILED with exit code {outcome.exit_code} ({outcome.error})"
        return "\n".join(line for line in (head + said, outcome.message) if line)
    where = report.snapshot.name if report.snapshot else "-"
    if report.repeated:
        return f"{head}nothing to do, snapshot {where} holds all of it"
    gone = sum(sum(step.dropped.values()) for step in report.steps)
    minded = [verdict for verdict in report.verdicts if not verdict.passed]
    lines = [
        f"{head}committed snapshot {where} (run {report.run_id})",
        f"{report.subjects:,} subjects, {report.events:,} events, {gone:,} rows dropped, {report.seconds:,.0f} s",
        f"{len(report.verdicts) - len(minded)} of {len(report.verdicts)} gates passed",
    ]
    return "\n".join([*lines, *(f"{one.gate} {one.check}: {one.action}, {one.observed}" for one in minded)])


def send(url: str, text: str, *, timeout: float = TIMEOUT) -> str:
    """Post `{"text": ...}` to a webhook, as Slack and Teams take it; return why it failed, empty where it did not.

    The URL is a secret: it is in no message. Redirects are not followed.

    Args:
        url: The webhook.
        text: What to tell.
        timeout: Seconds that it has, in all: a webhook that answers byte by byte holds up nobody.
    """
    _checked(url)
    said: list[str] = []
    post = threading.Thread(target=lambda: said.append(_posted(url, text, timeout)), daemon=True)
    post.start()
    post.join(timeout + 0.5)
    return said[0] if said else _LATE


def _posted(url: str, text: str, timeout: float) -> str:
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked
        url, data=orjson.dumps({"text": text}), method="POST",
        headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": "mayo-data"},
    )  # fmt: skip
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=timeout) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        return f"the webhook answered with status {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        late = isinstance(reason, TimeoutError)
        return _LATE if late else f"the webhook cannot be reached ({type(reason).__name__})"
    return ""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: what was allowed is this one address."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _checked(url: str) -> str:
    if not re.match(r"https?://[^/\s]", url) or any(ord(char) < 33 for char in url):
        _refuse()
    return url


def _refuse() -> NoReturn:
    raise ConfigError("the address to notify is no URL", hint="it begins with https:// or http://")


def write_metrics(path: Path, outcome: Outcome) -> None:
    """Write how a run ended in the text format of Prometheus, whole or not at all.

    The time of the last success is kept from the file before, where the run failed.

    Args:
        path: File in node_exporter's textfile folder; its name ends with `.prom`.
        outcome: How it ended.

    Raises:
        OSError: The file cannot be written.
    """
    try:
        before = _LAST.search(path.read_bytes())
    except OSError:
        before = None
    body = exposition(outcome, float(before[1]) if before else None)
    draft = path.with_name(f".{path.name}.{os.getpid()}")  # does not end with .prom: nobody reads it
    try:
        with draft.open("wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(body.encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def exposition(outcome: Outcome, last_success: float | None = None) -> str:
    """Return the metrics of a run as text.

    Args:
        outcome: How it ended.
        last_success: When the run before succeeded, in seconds since 1970.
    """
    report, ended = outcome.report, outcome.began + outcome.seconds
    if outcome.exit_code == 0:
        last_success = ended
    lines: list[str] = []

    def gauge(name: str, words: str, values: list[tuple[dict[str, str], float]]) -> None:
        if values:
            lines.extend((f"# HELP mayo_data_{name} {words}", f"# TYPE mayo_data_{name} gauge"))
        for labels, value in values:
            inner = ",".join(f'{key}="{_escaped(said)}"' for key, said in {"pipeline": outcome.name, **labels}.items())
            lines.append(f"mayo_data_{name}{{{inner}}} {value!r}")

    gauge("run_success", "1 where the last run ended well, else 0.", [({}, float(outcome.exit_code == 0))])
    gauge("run_exit_code", "Exit code of the last run.", [({}, float(outcome.exit_code))])
    gauge("run_duration_seconds", "How long the last run took.", [({}, outcome.seconds)])
    gauge("run_timestamp_seconds", "When the last run ended.", [({}, ended)])
    gauge("run_last_success_timestamp_seconds", "When a run last ended well.",
          [] if last_success is None else [({}, last_success)])  # fmt: skip
    if report is None:
        return "\n".join(lines) + "\n"
    gauge("run_repeated", "1 where there was nothing to do.", [({}, float(report.repeated))])
    gauge("snapshot_subjects", "Subjects in the snapshot.", [({}, float(report.subjects))])
    gauge("snapshot_events", "Events in the snapshot.", [({}, float(report.events))])
    gauge("input_bytes", "Size of the input.", [({}, float(report.input_bytes))])
    gauge("rows_in", "Rows into an arrow.", [({"step": one.name}, float(one.rows_in)) for one in report.steps])
    gauge("rows_out", "Rows out of an arrow.", [({"step": one.name}, float(one.rows_out)) for one in report.steps])
    gauge("rows_dropped", "Rows dropped at an arrow, by reason.",
          [({"step": one.name, "reason": reason}, float(rows))
           for one in report.steps for reason, rows in sorted(one.dropped.items())])  # fmt: skip
    verdicts = sorted(_verdicts(report).items())
    gauge(
        "gate_passed",
        "1 where a check of a gate passed.",
        [({"gate": gate, "check": check}, passed) for (gate, check), passed in verdicts],
    )
    gauge("phi_decisions", "PHI decisions, by category and action.",
          [({"category": key.partition("/")[0], "action": key.partition("/")[2]}, float(count))
           for key, count in sorted(report.phi.items())])  # fmt: skip
    return "\n".join(lines) + "\n"


def _verdicts(report: RunReport) -> dict[tuple[str, str], float]:
    """A check that was asked twice passed where it passed both times."""
    found: dict[tuple[str, str], float] = {}
    for one in report.verdicts:
        key = (one.gate, one.check)
        found[key] = min(found.get(key, 1.0), float(one.passed))
    return found


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
