"""What was knowable of a subject at a time: the one cut that training and inference share.

A fact belongs to the past of a moment when it had happened, and when it had become known. What a row says of later
times (its end, its status) is taken out of it, so that nothing of the future is seen through a fact of the past.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data.errors import ConfigError

Ints = npt.NDArray[np.int64]

# How long a time that is not exact may stand for, in days: known is such a fact at the end of it.
DAYS = {"day": 1, "month": 31, "year": 366}
BIRTH = "MEDS_BIRTH"
NEEDED = ("time", "code", "available_time", "end_time", "time_precision", "status", "encounter_id")
_VALUES = ("numeric_value", "text_value", "value_text")
_US = pa.timestamp("us")
_NEVER = np.iinfo(np.int64).min  # of a null time
_DAY = 86_400_000_000


def moment(at: datetime | date | str) -> datetime:
    """Return a time in UTC without a zone, as the store keeps times.

    Args:
        at: A time; without a zone it is UTC. A date is its first moment. Text as in ISO 8601.

    Raises:
        ConfigError: It is no time.

    >>> moment("2020-03-01T12:00:00+02:00")
    datetime.datetime(2020, 3, 1, 10, 0)
    """
    if at != at:  # pandas' NaT calls itself a time
        raise ConfigError("this is no time", hint="leave out rows without one")
    try:
        found = datetime.fromisoformat(at) if isinstance(at, str) else at
        if not isinstance(found, datetime):
            found = datetime(found.year, found.month, found.day)  # noqa: DTZ001 - the store's times have no zone
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError("this is no time", hint="write it as 2020-03-01T12:00:00, in UTC") from error


def known(events: pa.Table) -> pa.ChunkedArray:
    """Return when each fact became known: `available_time`, else `time`; null where nobody can say.

    A fact that is dated to a day, month or year alone is known at the end of that day, month or year: what happened in
    the evening must not be seen at noon. A birth is exempt.

    Args:
        events: Rows with `time`; `available_time`, `end_time`, `time_precision` and `code` where they have them.

    Returns:
        timestamp[us], UTC.

    >>> from datetime import datetime
    >>> rows = pa.table({"time": pa.array([datetime(2020, 1, 1)], _US), "time_precision": ["day"]})
    >>> known(rows)[0].as_py()
    datetime.datetime(2020, 1, 1, 23, 59, 59, 999999)
    """
    found = _known(events)
    return pa.chunked_array([pa.array(found, pa.int64(), mask=found == _NEVER).cast(_US)])


def _known(events: pa.Table) -> Ints:
    time, said = _ints(events, "time"), _ints(events, "available_time")
    found = np.where(said == _NEVER, time, said)
    if "time_precision" not in events.column_names:
        return found
    which = pc.index_in(events.column("time_precision"), value_set=pa.array(list(DAYS)))
    days = np.array([*DAYS.values(), 0])[np.asarray(pc.fill_null(which, -1))]
    # What the source recorded at a time of its own is exact; what only repeats the inexact time is not.
    inexact = (days > 0) & (found != _NEVER) & ((found == time) | (found == _ints(events, "end_time")))
    if "code" in events.column_names and inexact.any():
        inexact &= np.asarray(pc.not_equal(events.column("code"), BIRTH))
    return np.where(inexact, found + days * _DAY - 1, found)


def cut(events: pa.Table, at: datetime | date | str) -> pa.Table:
    """Return what was knowable at a time: the rows that had happened and were known, without what they say of later.

    - A row stays where `time` and `known` are not after `at`. Undated rows stay where they are attributes of the
      subject (sex, race); an undated fact that has a status or belongs to an encounter does not, for nobody can say
      when it became known.
    - An `end_time` after `at` becomes null. So do the values of a row that was still going on and that the source
      gives no later `available_time` for: a volume over a day is known when the day is over.
    - `status` is the one at the time of the export, so it stays only where the fact had ended by then.

    The same rows in, the same rows out, in the same order; no column is added or taken away.

    Args:
        events: Rows of table `events`, of any subjects, with at least the columns `NEEDED`; a foreign MEDS dataset
            may lack all of them but `time`.
        at: The time; without a zone it is UTC.

    Raises:
        ConfigError: `at` is no time.

    >>> from datetime import datetime
    >>> rows = pa.table({"time": pa.array([datetime(2020, 1, 1), datetime(2021, 1, 1), None], _US)})
    >>> cut(rows, "2020-06-01").num_rows
    2
    """
    limit = pa.scalar(moment(at), _US).cast(pa.int64()).as_py()
    time, when = _ints(events, "time"), _known(events)
    dated = time != _NEVER
    stays = (time <= limit) & (when <= limit)  # never is before all times
    for name in ("status", "encounter_id"):
        if name in events.column_names and not dated.all():
            stays &= dated | np.asarray(pc.is_null(events.column(name)))
    return _masked(events.filter(pa.array(stays)), limit)


def _masked(events: pa.Table, limit: int) -> pa.Table:
    end, time, said = (_ints(events, name) for name in ("end_time", "time", "available_time"))
    going_on = end > limit
    without_word = going_on & ((said == _NEVER) | (time == _NEVER) | (said <= time))
    events = _nulled(events, "end_time", going_on)
    for name in _VALUES:
        events = _nulled(events, name, without_word)
    return _nulled(events, "status", (end == _NEVER) | going_on)


def _nulled(events: pa.Table, name: str, where: npt.NDArray[np.bool_]) -> pa.Table:
    index = events.schema.get_field_index(name)
    if index < 0 or not where.any():
        return events
    field = events.schema.field(index)
    column = pc.if_else(pa.array(where), pa.scalar(None, field.type), events.column(index))
    return events.set_column(index, field, column)


def _ints(events: pa.Table, name: str) -> Ints:
    """Times as microseconds; null, or a column that is not there, is `_NEVER`."""
    if name not in events.column_names:
        return np.full(events.num_rows, _NEVER)
    found: Ints = np.asarray(pc.fill_null(events.column(name).cast(_US).cast(pa.int64()), _NEVER))
    return found


def known_sql() -> str:
    """Return `known` as an expression of DuckDB, over the columns of table `events`.

    >>> "available_time" in known_sql()
    True
    """
    spans = " ".join(f"WHEN '{name}' THEN {days * _DAY - 1}" for name, days in DAYS.items())
    found = "coalesce(available_time, time)"
    repeats = f"(coalesce({found} = time, false) OR coalesce({found} = end_time, false)) AND code <> '{BIRTH}'"
    return (
        f"{found} + to_microseconds(CASE WHEN {repeats} THEN CASE time_precision {spans} ELSE 0 END ELSE 0 END::BIGINT)"
    )
