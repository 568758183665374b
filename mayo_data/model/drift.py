"""How far data have moved since a model was trained: from its profile to the newest snapshot, or to what it was asked.

PSI is the population stability index, the sum of (now - then) * ln(now / then) over shares; below 0.1 is taken as
stable, above 0.25 as moved (Siddiqi, Credit Risk Scorecards, 2006). Of few people it is large by chance alone; so what
stays within chance is stable too. Nothing of a few people is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from mayo_data import dataset
from mayo_data.dataset.cutting import moment
from mayo_data.errors import ConfigError
from mayo_data.lineage import inputs
from mayo_data.lineage.ledger import Ledger
from mayo_data.model import evaluation, folder, paper, profile
from mayo_data.store.layout import Store
from mayo_data.types import Json

if TYPE_CHECKING:
    from mayo_data.dataset import Dataset

Against = Literal["snapshot", "inferences"]
STABLE, MOVED = 0.1, 0.25
_FLOOR = 1e-4  # the share that an empty cell counts as
_SHOWN = 20
_RESAMPLES = 200
_SEEN = pa.schema(
    [("subject_id", pa.int64()), ("code", pa.string()), ("unit", pa.string()), ("numeric_value", pa.float32())]
)


def drift(
    model: Path | str, store: Path | str, *, since: datetime | str | None = None, against: Against = "snapshot"
) -> Json:
    """Compare the data that a model was trained on with those of today: `md.drift`, and what `mayo-data drift` calls.

    Args:
        model: Folder of the model.
        store: Folder of its store.
        since: Only events from then on (`snapshot`, in the time of the store), or calls from then on (`inferences`).
        against: `snapshot`: the newest one. `inferences`: the histories that the model was asked about.

    Returns:
        `codes` (`psi`, `verdict`, `new`, `lost`, the codes whose share moved most), `values` (a row a code and unit,
        those that moved most first), `groups` (`psi` and shares an attribute), `feedback` (how many outcomes are
        known, calibration, AUROC). None and empty for what few people stand behind.

    Raises:
        ConfigError: There is no model, or `since` is no time.
        StoreError: The model is not the one that was trained, or the snapshot cannot be read.
    """
    if against not in ("snapshot", "inferences"):
        raise ConfigError("against is snapshot or inferences")
    start = moment(since) if since is not None else None
    opened = Store.open(Path(store))
    loaded = folder.load(Path(model), opened.ledger)
    then = folder.read_json(loaded.folder / folder.PROFILE)
    smallest = int(loaded.about["plan"]["report"]["smallest_cell"])
    data = dataset.open_store(opened.root)
    if against == "snapshot":
        now = profile.of_snapshot(data, smallest, since=start, edges=then["values"])
    else:
        now = _asked(data, loaded.digest, start, smallest, then["values"])
    return {
        "model": loaded.name, "model_digest": loaded.digest, "trained_on": loaded.record["snapshot"],
        "against": against, "snapshot": data.path.name, "since": start.isoformat() if start else None,
        "smallest_cell": smallest,
        "subjects": {"then": then["subjects"], "now": now["subjects"]},
        "codes": _codes(then, now), "values": _values(then, now), "groups": _groups(then, now),
        "feedback": _feedback(opened, loaded.digest, start if against == "inferences" else None, smallest),
    }  # fmt: skip


def psi(then: Sequence[float], now: Sequence[float]) -> float:
    """Return the population stability index of two lists of counts over the same cells.

    >>> psi([10, 10], [100, 100]), round(psi([10, 10], [10, 90]), 2)
    (0.0, 0.88)
    """
    shares = [np.maximum(np.asarray(one, float) / max(sum(one), 1), _FLOOR) for one in (then, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def chance(cells: int, then: float, now: float) -> float:
    """Return the PSI that one comparison in twenty exceeds though nothing moved.

    (1/n + 1/m) times chi-square, as in Yurdakul and Naranjo, Journal of Risk Model Validation 2020;14(4).

    Args:
        cells: How many cells.
        then: How many were counted then.
        now: How many are counted now.

    >>> round(chance(10, 100, 100), 2), chance(1, 100, 100)
    (0.34, 0.0)
    """
    free = cells - 1
    if free < 1 or min(then, now) < 1:
        return 0.0
    quantile = free * (1 - 2 / (9 * free) + 1.645 * math.sqrt(2 / (9 * free))) ** 3  # Wilson and Hilferty
    return quantile * (1 / then + 1 / now)


def verdict(value: float, by_chance: float = 0.0) -> str:
    """Return what a PSI is taken to mean, beside what chance alone would give.

    >>> verdict(0.05), verdict(0.2), verdict(1.0), verdict(1.0, 1.2)
    ('stable', 'watch', 'moved', 'stable')
    """
    return "stable" if value < max(STABLE, by_chance) else "watch" if value < MOVED else "moved"


def _codes(then: Json, now: Json) -> Json:
    """The mix of codes. What either side holds of a few people only is part of its `others`, on both sides."""
    if then["subjects"] is None or now["subjects"] is None:
        return {"psi": None, "verdict": None, "new": [], "lost": [], "moved": []}
    before, after = then["codes"], now["codes"]
    common = sorted((set(before) & set(after)) - {profile.OTHERS})
    cells = [[side.get(code, 0) for code in common] for side in (before, after)]
    new, lost = (sorted(set(one) - set(other) - {profile.OTHERS}) for one, other in ((after, before), (before, after)))
    # what is named on one side only may be few people on the other: its share there is not known, only of all such
    rest = [sum(side.values()) - sum(cell) for side, cell in zip((before, after), cells, strict=True)]
    found = psi([*cells[0], rest[0]], [*cells[1], rest[1]])
    totals = [max(sum(side.values()), 1) for side in (before, after)]
    moved = [
        {"code": code, "then": _share(a, totals[0]), "now": _share(b, totals[1])}
        for code, a, b in zip(common, *cells, strict=True)
    ]
    moved.sort(key=lambda one: -abs(one["now"] - one["then"]))
    return {
        "psi": evaluation.plain(found), "verdict": verdict(found), "new": new, "lost": lost, "moved": moved[:_SHOWN]
    }  # fmt: skip


def _values(then: Json, now: Json) -> list[Json]:
    rows = []
    for key, before in then["values"].items():
        after = now["values"].get(key)
        if after is None or not before["edges"]:
            continue
        found = psi(before["counts"], after["counts"])
        code, _, unit = key.rpartition("|")
        people = sum(before["counts"]), sum(after["counts"])
        luck = chance(len(before["counts"]), *people)
        rows.append({
            "code": code, "unit": unit, "psi": evaluation.plain(found), "chance": evaluation.plain(luck),
            "verdict": verdict(found, luck), "subjects_then": people[0], "subjects_now": people[1],
        })  # fmt: skip
    return sorted(rows, key=lambda row: (_ORDER.index(row["verdict"]), -row["psi"]))


_ORDER = ("moved", "watch", "stable")


def _groups(then: Json, now: Json) -> Json:
    found: Json = {}
    for name, before in then["groups"].items():
        after = now["groups"].get(name)
        if after is None:
            continue
        # a group that one side pools is pooled on both
        common = sorted((set(before) & set(after)) - {profile.OTHERS})
        cells = [[side.get(group, 0) for group in common] for side in (before, after)]
        rest = [sum(side.values()) - sum(cell) for side, cell in zip((before, after), cells, strict=True)]
        if not common:  # every group is small: nothing can be said
            found[name] = {"psi": None, "chance": None, "verdict": None, "shares": []}
            continue
        if any(rest):
            cells = [[*cell, one] for cell, one in zip(cells, rest, strict=True)]
            common.append(profile.OTHERS)
        moved, luck = psi(*cells), chance(len(common), sum(cells[0]), sum(cells[1]))
        found[name] = {
            "psi": evaluation.plain(moved), "chance": evaluation.plain(luck), "verdict": verdict(moved, luck),
            "shares": [
                {"group": group, "then": _share(a, sum(cells[0])), "now": _share(b, sum(cells[1]))}
                for group, a, b in zip(common, *cells, strict=True)
            ],
        }  # fmt: skip
    return found


def _share(part: float, whole: float) -> float:
    return round(part / whole, 6) if whole else 0.0


def _calls(store: Store, digest: str, since: datetime | None) -> Iterator[Json]:
    for record in Ledger(store.ledger).records("inference"):
        at = datetime.fromisoformat(record["at"]).astimezone(UTC).replace(tzinfo=None)
        if record["body"].get("model_digest") == digest and (since is None or at >= since):
            yield record["body"]


def _asked(data: Dataset, digest: str, since: datetime | None, smallest: int, edges: Json) -> Json:
    """The profile of the events that the model saw, each once a snapshot."""
    wanted: dict[str, set[str]] = {}
    for body in _calls(data.store, digest, since):
        wanted.setdefault(body["snapshot"], set()).add(body["inputs"])
    tables = []
    for snapshot, lists in wanted.items():
        if snapshot not in data.store.snapshots():
            continue  # pruned: its rows are gone
        ids = pa.concat_tables([inputs.read(data.store.ledger.parent, one) for one in sorted(lists)])
        with dataset.open_store(data.store.root, snapshot).connect() as db:
            db.register("asked", ids)
            found = db.sql(
                "SELECT subject_id, code, unit, numeric_value FROM event SEMI JOIN asked"
                " USING (source_table, source_row, source_item) WHERE time IS NOT NULL"
            ).to_arrow_table()
            tables.append(found)
            db.unregister("asked")
    with data.connect() as db:
        db.register("fetched", pa.concat_tables(tables) if tables else _SEEN.empty_table())
        db.execute("CREATE TEMP TABLE seen AS SELECT * FROM fetched")
        return profile.measure(db, smallest, edges)


def _feedback(store: Store, digest: str, since: datetime | None, smallest: int) -> Json:
    """What came of the predictions, where somebody said so and their probability was kept; the last word counts."""
    said = {
        body["prediction_id"]: body for body in _calls(store, digest, since) if _number(body.get("output")) is not None
    }
    told: dict[str, float] = {}
    counts = dict.fromkeys(("accepted", "overridden", "outcome"), 0)
    for record in Ledger(store.ledger).records("feedback"):
        body = record["body"]
        if body["prediction_id"] not in said:
            continue
        counts[body["feedback"]] = counts.get(body["feedback"], 0) + 1
        value = _number(body.get("value"))
        if body["feedback"] == "outcome" and value in (0.0, 1.0):
            told[body["prediction_id"]] = value
    scored = evaluation.Scored(
        np.array([said[one]["subject_id"] for one in told], np.int64),
        np.array(list(told.values()), np.float64),
        np.array([_number(said[one]["output"]) for one in told], np.float64),
    )
    people = len({said[one]["subject_id"] for one in told})
    shown = people >= smallest
    return {
        "calls": len(said), "subjects": people if shown else None, "told": counts if shown else None,
        "calibration": evaluation.calibration(scored, smallest),
        "auroc": None if evaluation.withheld(scored, smallest)
        else evaluation.measured(scored, _RESAMPLES, 1)["auroc"],
    }  # fmt: skip


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def page(found: Mapping[str, Any]) -> str:
    """Return a drift report as one HTML page that loads nothing."""
    curve = paper.calibration_curve(found["feedback"]["calibration"]["curve"])
    lead = (
        f"Trained on snapshot {found['trained_on']}, compared with "
        + (f"snapshot {found['snapshot']}" if found["against"] == "snapshot" else "what it was asked about")
        + (f" since {found['since']}" if found["since"] else "")
        + f". PSI below {STABLE} is stable, above {MOVED} it moved. Cells under {found['smallest_cell']} people are "
        "withheld. On invented patients this measures the plumbing, not medicine."
    )
    return paper.html(f"Drift of {found['model']}", lead, list(_sections(found)), {"Feedback": curve})


def _sections(found: Mapping[str, Any]) -> Iterator[paper.Section]:
    codes, told = found["codes"], found["feedback"]
    yield "People", "", ("then", "now"), [(found["subjects"]["then"], found["subjects"]["now"])]
    yield "Mix of codes", "", ("measure", "value"), [
        ("PSI", codes["psi"]), ("verdict", codes["verdict"]), ("new codes", len(codes["new"])),
        ("lost codes", len(codes["lost"])),
    ]  # fmt: skip
    moved = [(one["code"], one["then"], one["now"]) for one in codes["moved"]]
    yield "Codes that moved most", "", ("code", "share then", "share now"), moved
    for name in ("new", "lost"):
        yield f"Codes that are {name}", "", ("code",), [(code,) for code in codes[name][:_SHOWN]]
    columns = ("code", "unit", "psi", "chance", "verdict")
    yield "Values", "", columns, [tuple(row[column] for column in columns) for row in found["values"][:_SHOWN]]
    for name, one in found["groups"].items():
        rows = [(share["group"], share["then"], share["now"]) for share in one["shares"]]
        said = "PSI withheld" if one["psi"] is None else f"PSI {one['psi']:.3f}: {one['verdict']}"
        yield f"By {name}", said, ("group", "share then", "share now"), rows
    yield "Feedback", "", ("measure", "value"), [
        ("calls", told["calls"]), ("slope", told["calibration"]["slope"]),
        ("intercept", told["calibration"]["intercept"]), ("AUROC", paper.interval(told["auroc"])),
    ]  # fmt: skip
