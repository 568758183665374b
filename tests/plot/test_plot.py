"""The pictures: what is in them, what is not, and that they can be drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import mayo_data as md

alt = pytest.importorskip("altair")


def values(chart: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of data that a chart carries."""
    return [row for rows in chart["datasets"].values() for row in rows]


def busiest(db: Any) -> int:
    return int(db.sql("SELECT subject_id FROM subject ORDER BY n_events DESC, subject_id LIMIT 1").fetchall()[0][0])


def test_a_timeline_counts_every_event_of_its_lanes(synthetic_store: Path) -> None:
    with md.connect(synthetic_store) as db:
        subject = busiest(db)
        chart = md.plot.timeline(db, subject).to_dict()
        lanes = {kind: lane for lane, (_, kinds) in md.plot.LANES.items() for kind in kinds}
        wanted: dict[str, int] = {}
        for kind, count in db.sql(
            f"SELECT split_part(code, '//', 1), count(*) FROM timeline({subject}) WHERE time IS NOT NULL GROUP BY 1"
        ).fetchall():
            if kind in lanes:
                wanted[lanes[kind]] = wanted.get(lanes[kind], 0) + count
    drawn: dict[str, int] = {}
    for row in values(chart):
        if "day" in row and "n" in row:
            drawn[row["lane"]] = drawn.get(row["lane"], 0) + row["n"]
    assert drawn == wanted
    assert {"Encounters", "Conditions", "Measurements"} <= set(drawn)


def test_no_text_of_a_note_and_no_other_subject_is_in_a_picture(synthetic_store: Path) -> None:
    with md.connect(synthetic_store) as db:
        subject = busiest(db)
        charts = json.dumps(
            [md.plot.timeline(db, subject).to_dict(), md.plot.coverage(db).to_dict()], ensure_ascii=False, default=str
        )
        texts = [
            row[0] for row in db.sql("SELECT DISTINCT text_value FROM event WHERE length(text_value) > 20").fetchall()
        ]
        others = [row[0] for row in db.sql(f"SELECT subject_id FROM subject WHERE subject_id <> {subject}").fetchall()]
    assert len(texts) > 20
    assert [text for text in texts if json.dumps(text, ensure_ascii=False)[1:-1] in charts] == []
    assert [other for other in others if str(other) in charts] == []


def test_coverage_is_a_share_of_those_under_observation(synthetic_store: Path) -> None:
    with md.connect(synthetic_store) as db:
        chart = md.plot.coverage(db).to_dict()
        observed = dict(
            db.sql(
                "SELECT y, count(*) FROM (SELECT unnest(range(year(first_time), year(last_time) + 1)) AS y FROM subject) GROUP BY y"
            ).fetchall()
        )
        visits = dict(
            db.sql(
                "SELECT year(time), count(DISTINCT subject_id) FROM event WHERE code LIKE 'ENCOUNTER//%' GROUP BY 1"
            ).fetchall()
        )
    found = values(chart)
    assert {row["year"]: row["observed"] for row in found if "lane" not in row} == observed
    cells = [row for row in found if row.get("lane") == "Encounters"]
    assert {row["year"]: row["share"] for row in cells} == {year: n / observed[year] for year, n in visits.items()}


def test_they_can_be_drawn(synthetic_store: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    with md.connect(synthetic_store) as db:
        md.plot.timeline(db, busiest(db)).save(tmp_path / "timeline.png")
        md.plot.coverage(db).save(tmp_path / "coverage.png")
    for name in ("timeline.png", "coverage.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_errors_say_what_to_do(synthetic_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with md.connect(synthetic_store) as db:
        with pytest.raises(md.StoreError, match="no such subject"):
            md.plot.timeline(db, 1)
        with pytest.raises(ValueError, match="invalid literal"):
            md.plot.timeline(db, "1); drop view event")  # type: ignore[arg-type]
        monkeypatch.setitem(sys.modules, "altair", None)
        for draw in (lambda: md.plot.coverage(db), lambda: md.plot.timeline(db, 1)):
            with pytest.raises(md.ConfigError, match="Altair is not installed"):
                draw()
