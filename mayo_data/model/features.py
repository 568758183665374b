"""Count features of a history that was cut at the time of the prediction.

The same two functions serve training and prediction: `Reading.history` makes a compact history of events, `matrix` the
rows of a model. They never see an event that `mayo_data.dataset.cut` has not let through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mayo_data.model.plan import FeaturesPlan

COLUMNS = ("time", "code")  # what a history is made of
BIRTH = "MEDS_BIRTH"
_DAY = 86_400_000_000  # microseconds
_YEAR = 365.25
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class History(NamedTuple):
    """What is known of a subject at a time, as numbers.

    Attributes:
        subject_id: Whose.
        at: When.
        value: What came of it, 0 or 1; NaN at a prediction.
        age: Age at that time, years; NaN where no birth is known.
        facts: Numbers of the codes without a time.
        codes: Numbers of the codes with a time, oldest first.
        days: Days from each of them to that time; never negative.
    """

    subject_id: int
    at: datetime
    value: float
    age: float
    facts: Ints
    codes: Ints
    days: Floats


@dataclass
class Reading:
    """Numbers codes as they come, so that a history takes a few bytes an event.

    Attributes:
        numbers: Code to its number.

    >>> reading = Reading()
    >>> at = datetime(2024, 1, 31)
    >>> events = pa.table({"time": [None, datetime(2000, 1, 1), datetime(2024, 1, 1)], "code": ["SEX//F", BIRTH, "X"]})
    >>> events = events.cast(pa.schema([("time", pa.timestamp("us")), ("code", pa.string())]))
    >>> found = reading.history(1, at, events)
    >>> round(found.age), [reading.names[code] for code in found.codes], found.days.tolist()
    (24, ['X'], [30.0])
    """

    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The codes in the order of their numbers."""
        return list(self.numbers)

    def history(self, subject_id: int, at: datetime, events: pa.Table, value: float = math.nan) -> History:
        """Return the compact history of events that were cut at `at`.

        Args:
            subject_id: Whose.
            at: Time of the prediction, UTC.
            events: Columns `time` and `code` at least, oldest first.
            value: The label, 0 or 1.
        """
        encoded = events.column("code").combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        own = [self.numbers.setdefault(name, len(self.numbers)) for name in encoded.dictionary.to_pylist()]
        codes = np.asarray(own, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)] if own else _NONE
        times = events.column("time")
        timed = times.is_valid().to_numpy()
        moments = times.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0).to_numpy()
        days = np.maximum(_micros(at) - moments, 0) / _DAY
        birth = np.zeros(len(codes), np.bool_)
        for name, number in zip(encoded.dictionary.to_pylist(), own, strict=True):
            if name.startswith(BIRTH):
                birth |= codes == number
        born = days[birth & timed]
        kept = timed & ~birth
        age = float(born.max()) / _YEAR if born.size else math.nan
        return History(subject_id, at, value, age, np.unique(codes[~timed & ~birth]), codes[kept], days[kept])


_NONE: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Vocabulary:
    """Which codes are columns. Learned from the training split alone.

    Attributes:
        windows: Days before the prediction; 0 is the whole history.
        facts: Codes without a time: a column each.
        codes: Codes with a time: a column each in every window.
    """

    windows: tuple[int, ...]
    facts: tuple[str, ...]
    codes: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `matrix`, in their order."""
        spans = [f"{days} days" if days else "ever" for days in self.windows]
        return ["age", "age unknown", *self.facts, *(f"{code}, {span}" for span in spans for code in self.codes)]


def learn(histories: Sequence[History], reading: Reading, plan: FeaturesPlan) -> Vocabulary:
    """Return the vocabulary of the training histories: codes of enough subjects, the most frequent first kept.

    >>> one = History(1, datetime(2024, 1, 1), 1.0, 50.0, _NONE, np.array([0, 0, 1]), np.zeros(3))
    >>> two = one._replace(subject_id=2, codes=np.array([0]), days=np.zeros(1))
    >>> learn([one, two], Reading({"A": 0, "B": 1}), FeaturesPlan(min_subjects=2)).codes
    ('A',)
    """
    names = reading.names
    out = {number for number, name in enumerate(names) if name.split("//")[0] in plan.leave_out}
    found: list[tuple[str, ...]] = []
    for part in ("facts", "codes"):
        subjects: dict[int, set[int]] = {}
        for history in histories:
            for number in np.unique(getattr(history, part)).tolist():
                subjects.setdefault(number, set()).add(history.subject_id)
        often = [
            (-len(people), names[number])
            for number, people in subjects.items()
            if len(people) >= plan.min_subjects and number not in out
        ]
        found.append(tuple(sorted(name for _, name in sorted(often)[: plan.max_codes])))
    return Vocabulary(plan.windows, *found)


class Matrix(NamedTuple):
    """Rows of a model as compressed sparse rows: plain arrays, so that prediction needs NumPy alone.

    Attributes:
        data: Values.
        indices: Their columns.
        starts: Where each row begins in `data`, and the end.
        width: Number of columns.
    """

    data: Floats
    indices: Ints
    starts: Ints
    width: int

    def dot(self, weights: Floats) -> Floats:
        """Return the product with a vector of `width` weights, one number a row."""
        if len(self.starts) == 1:
            return np.zeros(0)
        # row by row, so that a prediction is the same to the last bit alone and among others; no row is empty
        return np.asarray(np.add.reduceat(self.data * weights[self.indices], self.starts[:-1]))


def matrix(histories: Sequence[History], reading: Reading, vocabulary: Vocabulary) -> Matrix:
    """Return the rows of histories: age in centuries, one for a fact, log(1 + count) for a code in a window.

    >>> words = Vocabulary((30, 0), (), ("A",))
    >>> one = History(1, datetime(2024, 1, 1), 1.0, 50.0, _NONE, np.array([0, 0]), np.array([400.0, 2.0]))
    >>> rows = matrix([one], Reading({"A": 0}), words)
    >>> [(words.columns[place], round(value, 2)) for place, value in zip(rows.indices, rows.data.tolist())]
    [('age', 0.5), ('A, 30 days', 0.69), ('A, ever', 1.1)]
    """
    facts = _places(vocabulary.facts, reading)
    codes = _places(vocabulary.codes, reading)
    first, size = 2 + len(vocabulary.facts), len(vocabulary.codes)
    data: list[Floats] = []
    indices: list[Ints] = []
    for one in histories:
        known = not math.isnan(one.age)
        own = facts[one.facts]
        parts = [(np.array([0 if known else 1]), np.array([one.age / 100 if known else 1.0]))]
        parts.append((2 + own[own >= 0], np.ones(int((own >= 0).sum()))))
        places = codes[one.codes]
        for number, days in enumerate(vocabulary.windows):
            inside = places >= 0
            if days:
                inside = inside & (one.days <= days)
            counts = np.bincount(places[inside], minlength=size)
            there = np.flatnonzero(counts)
            parts.append((first + number * size + there, np.log1p(counts[there])))
        indices.append(np.concatenate([place for place, _ in parts]).astype(np.int64))
        data.append(np.concatenate([value for _, value in parts]).astype(np.float64))
    lengths = [len(row) for row in data]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    width = first + size * len(vocabulary.windows)
    if not data:
        return Matrix(np.zeros(0), _NONE, starts, width)
    return Matrix(np.concatenate(data), np.concatenate(indices), starts, width)


def _places(codes: Sequence[str], reading: Reading) -> Ints:
    """Return the place in a vocabulary of every numbered code, -1 for none."""
    places = np.full(len(reading.numbers), -1, np.int64)
    for place, code in enumerate(codes):
        if code in reading.numbers:
            places[reading.numbers[code]] = place
    return places


def _micros(at: datetime) -> int:
    plain = at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
    since = plain - datetime(1970, 1, 1)  # noqa: DTZ001 - store times are UTC without a zone
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
