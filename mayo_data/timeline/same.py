"""Which events of two sources state the same fact, so that it can be shown once and traced to both.

Two events are the same fact where subject and code agree, the clock on the wall agrees, and (for an observation) the
number. A source that knows only the day, month or year agrees with any time of it; one that writes UTC, with the same
moment.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import schema

Ints = npt.NDArray[np.int64]
_MINUTE = 60_000_000
_ZONES = 14 * 60 * _MINUTE  # how far the clock of one place can be from UTC
_STATIC = np.iinfo(np.int64).min
_GRAINS = ("second", "day", "month", "year")
_UNITS = ("us", "D", "M", "Y")


class _Facts(NamedTuple):
    """Events as columns of numbers."""

    second: npt.NDArray[np.bool_]  # whether the other source states it
    subject: Ints
    code: Ints
    number: Ints
    wall: Ints
    grain: Ints  # how coarse the time is: index in _GRAINS


def same(events: pa.Table, second: Collection[int]) -> pa.Table:
    """Return table `same_facts` for the events of a shard.

    Args:
        events: Table `events`.
        second: Source files of the second source; all others are the first.

    >>> same(schema.table("events").empty_table(), [1]).num_rows
    0
    """
    target = schema.table("same_facts")
    facts = _facts(events, second)
    pairs = _exact(facts)
    left = np.ones(events.num_rows, dtype=bool)
    left[pairs.ravel()] = False
    pairs = np.concatenate([pairs, _near(facts, np.flatnonzero(left))])
    if not len(pairs):
        return target.empty_table()
    places = ("source_table", "source_row", "source_item")
    first = events.select(places).take(pa.array(pairs[:, 0]))
    names = pc.binary_join_element_wise(*(first.column(name).cast(pa.string()) for name in places), ".")
    both = pa.concat_tables([first, events.select(places).take(pa.array(pairs[:, 1]))])
    both = both.append_column("same_as", pa.concat_arrays([*names.chunks, *names.chunks]))
    return both.cast(target).sort_by([(name, "ascending") for name in places])


def _facts(events: pa.Table, second: Collection[int]) -> _Facts:
    code = events.column("code").combine_chunks().dictionary_encode()
    observed = np.asarray(pc.starts_with(code.dictionary, "OBSERVATION//"))[np.asarray(code.indices)]
    number = np.asarray(pc.fill_null(events.column("numeric_value"), np.nan).combine_chunks()).astype(np.float32)
    bits = np.where(observed & ~np.isnan(number), number.view(np.int32), -1).astype(np.int64)
    time = np.asarray(pc.fill_null(events.column("time").cast(pa.int64()), _STATIC))
    offset = np.asarray(pc.fill_null(events.column("utc_offset"), 0)).astype(np.int64)
    wall = np.where(time == _STATIC, _STATIC, time + offset * _MINUTE)
    exact = pc.index_in(events.column("time_precision").combine_chunks(), value_set=pa.array(_GRAINS))
    grain = np.asarray(pc.fill_null(exact, 0)).astype(np.int64)
    table = np.asarray(events.column("source_table"))
    subject = np.asarray(events.column("subject_id")).astype(np.int64)
    return _Facts(np.isin(table, list(second)), subject, np.asarray(code.indices, dtype=np.int64), bits, wall, grain)


def _exact(facts: _Facts) -> Ints:
    """Pairs that agree in everything; where a fact stands several times, the first goes with the first."""
    keys = (facts.number, facts.wall, facts.code, facts.subject)
    order = np.lexsort((facts.second, *keys))
    fresh = np.ones(len(order), dtype=bool)
    for key in keys if len(order) else ():
        fresh[1:] &= key[order][1:] == key[order][:-1]
    if len(order):
        fresh = ~fresh
        fresh[0] = True
    side = facts.second[order]
    starts = fresh.copy()
    starts[1:] |= side[1:] != side[:-1]
    place = np.arange(len(order))
    turn = place - np.maximum.accumulate(np.where(starts, place, 0))
    group = np.cumsum(fresh)
    match = np.lexsort((side, turn, group))
    met = (
        (group[match][1:] == group[match][:-1])
        & (turn[match][1:] == turn[match][:-1])
        & side[match][1:]
        & ~side[match][:-1]
    )
    found = np.flatnonzero(met)
    return np.stack([order[match[found]], order[match[found + 1]]], axis=1).astype(np.int64)


def _near(facts: _Facts, left: Ints) -> Ints:
    """Pairs among the rest whose times can be the same: one knows only the day, or writes another zone."""
    keys = (facts.number[left], facts.code[left], facts.subject[left])
    order = left[np.lexsort((facts.wall[left], *keys))]
    if not len(order):
        return np.empty((0, 2), dtype=np.int64)
    fresh = np.zeros(len(order), dtype=bool)
    for key in (facts.number, facts.code, facts.subject):
        fresh[1:] |= key[order][1:] != key[order][:-1]
    edges = np.flatnonzero(np.concatenate([[True], fresh[1:], [True]]))
    sides = np.add.reduceat(facts.second[order].astype(np.int64), edges[:-1])
    pairs: list[tuple[int, int]] = []
    for start, end, ours in zip(edges[:-1], edges[1:], sides, strict=True):
        if 0 < ours < end - start:
            pairs += _greedy(facts, order[start:end])
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _together(facts: _Facts, one: int, other: int, grain: int) -> bool:
    """Whether two times fall on the same day, month or year."""
    first, second = (np.datetime64(int(facts.wall[row]), "us").astype(f"M8[{_UNITS[grain]}]") for row in (one, other))
    return bool(first == second)


def _greedy(facts: _Facts, group: Ints) -> list[tuple[int, int]]:
    """Go through both sides in time and let those meet that can."""
    first = [int(row) for row in group if not facts.second[row]]
    second = [int(row) for row in group if facts.second[row]]
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(first) and j < len(second):
        one, other = first[i], second[j]
        apart = int(facts.wall[one]) - int(facts.wall[other])
        grain = max(int(facts.grain[one]), int(facts.grain[other]))
        if apart == 0 or (_together(facts, one, other, grain) if grain else abs(apart) <= _ZONES):
            pairs.append((one, other))
            i, j = i + 1, j + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return pairs
