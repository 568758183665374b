"""What the order, the size and the age of things in a store tell of the order of the export, and of a single night."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from attack_sides import People

from mayo_data.store.layout import Store

TRIES = 20_000  # pairs that are compared
_TABLES = {
    "rows in shards": "data", "rows in subject_splits": "metadata/subject_splits.parquet",
    "rows in lineage/arrivals": "lineage/arrivals.parquet", "rows in lineage/resources": "lineage/resources",
    "rows in lineage/decisions": "lineage/decisions",
}  # fmt: skip
Pair = tuple[Any, Any]


def _table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    return ds.dataset(files, format="parquet").to_table(columns=columns)


def orders(snapshot: Path) -> dict[str, list[int]]:
    """The subjects in the order in which each table first has a row of them."""
    found = {}
    for name, place in _TABLES.items():
        table = _table(snapshot / place, ["subject_id"])
        found[name] = list(dict.fromkeys(table.column("subject_id").to_pylist()))
    return found


def first_to_first(ours: Sequence[Any], theirs: People) -> dict[Any, Any]:
    """Link the first to the first, the second to the second."""
    return dict(zip(ours, sorted(theirs, key=lambda who: theirs[who].first), strict=False))


def sizes(snapshot: Path) -> dict[int, int]:
    """Bytes of a subject: rows, and characters of texts."""
    table = _table(snapshot / "data", ["subject_id", "text_value", "value_text"])
    said = pc.add(*(pc.fill_null(pc.utf8_length(table.column(name)), 0) for name in ("text_value", "value_text")))
    counted = pa.table({"subject_id": table.column("subject_id"), "n": pc.add(said, 50)})
    summed = counted.group_by("subject_id").aggregate([("n", "sum")])
    return dict(zip(summed.column("subject_id").to_pylist(), summed.column("n_sum").to_pylist(), strict=True))


def by_size(ours: Mapping[int, int], theirs: People) -> dict[Any, Any]:
    """Link the largest record to the largest, and so on."""
    ranked = sorted(theirs, key=lambda who: theirs[who].bytes)
    return dict(zip(sorted(ours, key=lambda who: ours[who]), ranked, strict=False))


def agreement(pairs: Sequence[Pair]) -> float:
    """How often two things stand in the same order on both sides: half of the time where there is nothing in it."""
    dice, same, seen = random.Random(0), 0, 0
    for _ in range(TRIES if len(pairs) > 1 else 0):
        one, other = dice.sample(pairs, 2)
        if one[0] != other[0] and one[1] != other[1]:
            seen += 1
            same += (one[0] < other[0]) == (one[1] < other[1])
    return same / seen if seen else 0.5


def ranks(snapshot: Path, ours: People, theirs: People, truth: Mapping[Any, Any]) -> dict[str, list[Pair]]:
    """Numbers and places of the store beside places of the export: pairs for `agreement`."""
    events = _table(snapshot / "data", ["subject_id", "time", "code", "encounter_id", "source_table", "source_row"])
    rows = events.to_pylist()
    visits = {
        row["encounter_id"]: (row["source_table"], row["source_row"])
        for row in rows
        if row["code"].startswith("ENCOUNTER//") and row["encounter_id"] is not None
    }
    days = {place: day for one in theirs.values() for place, day in one.stays.items()}
    seen: dict[str, tuple[int, int]] = {}
    for row in rows:
        place = (row["source_table"], row["source_row"])
        seen[row["code"]] = min(seen.get(row["code"], place), place)
    codes = pq.read_table(snapshot / "metadata" / "codes.parquet").column("code").to_pylist()
    [(largest, _)] = Counter(table for table, _ in seen.values()).most_common(
        1
    )  # the names of files go by alphabet too
    resources = _table(snapshot / "lineage" / "resources").to_pylist()
    return {
        "subject_id against the first line": [(who, theirs[truth[who]].first) for who in ours if who in truth],
        "encounter_id against the line": list(visits.items()),
        "encounter_id against the day": [(stay, days[place]) for stay, place in visits.items() if place in days],
        "resource_key against the line": [
            (row["resource_key"], (row["source_table"], row["source_row"])) for row in resources
        ],
        "place in codes.parquet against the first line of a file": [
            (at, seen[code]) for at, code in enumerate(codes) if code in seen and seen[code][0] == largest
        ],
    }


def upward(snapshot: Path) -> float:
    """How often, of two neighbours at one moment from two lines, the first is the earlier line."""
    rows = _table(snapshot / "data", ["subject_id", "time", "source_table", "source_row"]).to_pylist()
    lines = [((row["subject_id"], row["time"]), (row["source_table"], row["source_row"])) for row in rows]
    tied = [line < other for (one, line), (two, other) in pairwise(lines) if one == two and line != other]
    return sum(tied) / len(tied) if tied else 0.5


def nights(store: Store) -> dict[str, tuple[int, int]]:
    """Whose rows differ between a snapshot and the one before: who was there that night, to whoever has both."""
    found, names = {}, store.snapshots()
    for before, after in pairwise(names):
        old, new = (_rows_of(store.snapshot(name)) for name in (before, after))
        changed = {who for who in old.keys() | new.keys() if old.get(who) != new.get(who)}
        found[f"between snapshots {before} and {after}"] = (len(changed), len(new))
    return found


def _rows_of(snapshot: Path) -> dict[int, Counter[tuple[Any, ...]]]:
    held: dict[int, Counter[tuple[Any, ...]]] = {}
    for row in _table(snapshot / "data", ["subject_id", "time", "code", "numeric_value"]).to_pylist():
        held.setdefault(row["subject_id"], Counter())[row["time"], row["code"], row["numeric_value"]] += 1
    return held


def touched(snapshot: Path, files: Mapping[int, Path]) -> int:
    """How many files of a snapshot bear the time at which an input file was last written."""
    theirs = {path.stat().st_mtime_ns for path in files.values()}
    return sum(path.stat().st_mtime_ns in theirs for path in snapshot.rglob("*") if path.is_file())
