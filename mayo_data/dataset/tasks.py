"""A small language for what is to be predicted: when, for whom, what counts, how far ahead.

    name = "readmission_30d"
    [index]                       # one prediction for each of these events
    codes = ["ENCOUNTER//ACT//IMP"]
    at = "end"                    # start or end of the event
    [outcome]                     # what comes true or not afterwards
    codes = ["ENCOUNTER//ACT//IMP"]
    window = "30d"

Codes are regular expressions that match a whole code, as in the macros of `connect`. Spans are days or hours: `30d`,
`12h`. What would let the future into a prediction is refused here, before any data is read; what only the data can
tell is checked when the labels are made.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.lineage import consumption

_SPAN = re.compile(r"(-?[0-9]{1,6})([dh])")
_LARGEST = 1 << 20  # bytes of a task
_LONGEST = 500  # characters of a code pattern
_LEAK = "the outcome could be known when it is predicted"


class Index(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which events are predicted at, and when.

    Attributes:
        codes: Patterns of their codes.
        at: The moment is the start or the end of the event; events without an end have no such moment.
        offset: The prediction is this much later than the moment, never earlier.
        which: `all`, or each subject's `first`.
        unknown: Where the event itself became known after that: `move` the prediction to then, or `leave_out`.

    >>> Index(codes=["A"]).at
    'start'
    """

    codes: list[str]
    at: Literal["start", "end"] = "start"
    offset: str = "0d"
    which: Literal["all", "first", "last"] = "all"
    unknown: Literal["move", "leave_out"] = "move"


class Outcome(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is predicted: events in (prediction + gap, prediction + gap + window].

    Attributes:
        codes: Patterns of their codes.
        window: Length of the window.
        gap: How long after the prediction it starts; nothing at that very moment counts.
        value: `occurs` (boolean), `count` (integer), `number` (the first numeric_value) or `code` (the first code).
            Without an outcome, `number` and `code` give no label.
        known: Where a fact of the window was on record by the time of the prediction: `refuse` the task, or
            `leave_out` such predictions.

    >>> Outcome(codes=["A"], window="30d").value
    'occurs'
    """

    codes: list[str]
    window: str
    gap: str = "0d"
    value: Literal["occurs", "count", "number", "code"] = "occurs"
    known: Literal["refuse", "leave_out"] = "refuse"


class Condition(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who is left out (or kept alone), by what was known by the time of the prediction.

    Attributes:
        codes: Patterns of codes.
        before: How far back it counts; without it, any time before.

    >>> Condition(codes=["MEDS_DEATH"]).before is None
    True
    """

    codes: list[str]
    before: str | None = None


class Censoring(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whether a prediction without outcome counts where nobody saw the end of its window.

    Attributes:
        until: `last_event`: a subject is observed until its last event, and who leaves earlier gives no label unless
            the outcome was seen. `none`: what was not seen did not happen.
        ends: Patterns of codes after which nothing more can happen, such as death: there the window was seen.

    >>> Censoring().until
    'last_event'
    """

    until: Literal["last_event", "none"] = "last_event"
    ends: list[str] = msgspec.field(default_factory=lambda: ["MEDS_DEATH"])


class Task(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is to be predicted.

    Attributes:
        name: What the labels are called.
        index: Which events are predicted at.
        outcome: What is predicted.
        doc: One sentence.
        exclusion: Whom to leave out, if any of these holds.
        inclusion: Whom to keep, if all of these hold.
        censoring: What counts where the end of a window was not seen.

    >>> read({"name": "again", "index": {"codes": ["A"]}, "outcome": {"codes": ["A"], "window": "30d"}}).name
    'again'
    """

    name: str
    index: Index
    outcome: Outcome
    doc: str = ""
    exclusion: list[Condition] = []
    inclusion: list[Condition] = []
    censoring: Censoring = Censoring()


def read(source: Task | Mapping[str, Any] | Path | str) -> Task:
    """Return a task, checked for leakage.

    Args:
        source: A mapping, the path of a TOML file, or the name of a task that is shipped (`readmission_30d`).

    Raises:
        ConfigError: The task makes no sense, or its outcome could be known when it is predicted.

    >>> read("readmission_30d").outcome.window
    '30d'
    """
    try:
        task = source if isinstance(source, Task) else msgspec.convert(_body(source), Task)
    except msgspec.ValidationError as error:  # names keys and types
        raise ConfigError(f"the task is wrong: {error}", hint="see the tasks in schemas/tasks") from error
    _check(task)
    return task


def span(text: str, what: str) -> timedelta:
    """Return a span of days or hours.

    Raises:
        ConfigError: It is none.

    >>> span("36h", "window")
    datetime.timedelta(days=1, seconds=43200)
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ConfigError(f"{what} is no span", hint="write days or hours: 30d, 12h")
    number = int(match[1])
    return timedelta(days=number) if match[2] == "d" else timedelta(hours=number)


def _body(source: Mapping[str, Any] | Path | str) -> Any:
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    if isinstance(source, str) and not path.suffix and re.fullmatch(r"[a-z0-9_]{1,100}", source):
        try:
            return assets.toml("schemas", "tasks", f"{source}.toml")
        except FileNotFoundError as error:
            raise ConfigError("there is no such task", hint="give the path of a TOML file") from error
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError("the task is too large", hint="a task has some lines")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("the task cannot be read", hint="give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("the task is no TOML", hint="see the tasks in schemas/tasks") from error


def _check(task: Task) -> None:
    consumption.named("the name of a task", task.name)
    zero = timedelta()
    if span(task.index.offset, "index.offset") < zero:
        raise ConfigError(f"{_LEAK}: it is predicted before its index event", hint="index.offset must not be negative")
    if span(task.outcome.gap, "outcome.gap") < zero:
        raise ConfigError(f"{_LEAK}: the window starts before the prediction", hint="outcome.gap must not be negative")
    if span(task.outcome.window, "outcome.window") <= zero:
        raise ConfigError(f"{_LEAK}: the window ends when it starts", hint="outcome.window must be longer than nothing")
    if task.index.which == "last":
        raise ConfigError(f"{_LEAK}: that it is the last, only the future tells", hint='index.which: "all" or "first"')
    for condition in (*task.exclusion, *task.inclusion):
        if condition.before is not None and span(condition.before, "before") <= zero:
            raise ConfigError(f"{_LEAK}: a condition looks ahead", hint="`before` reaches back, so it is positive")
    conditions = [condition.codes for condition in (*task.exclusion, *task.inclusion)]
    for codes in (task.index.codes, task.outcome.codes, *conditions, task.censoring.ends or [""]):
        _patterns(codes)


def _patterns(codes: list[str]) -> None:
    if not codes:
        raise ConfigError("codes are missing", hint="give at least one pattern")
    for code in codes:
        try:
            re.compile(code)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(
                "a code pattern is no regular expression", hint="escape . ( ) * with a backslash"
            ) from error
        if len(code) > _LONGEST:
            raise ConfigError("a code pattern is too long", hint="give several shorter ones")
