from __future__ import annotations

import traceback
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import meds
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clinic import DAY, Row, commit, hospital, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mayo_data as md
from mayo_data.dataset import Labels, tasks
from mayo_data.dataset.label_tables import SCHEMA
from mayo_data.errors import ConfigError, MayoDataError
from mayo_data.store.layout import Store

IN = "ENCOUNTER//ACT//IMP"
DEATH = "MEDS_DEATH"


def task(**more: Any) -> dict[str, Any]:
    """Stroke within 30 days after a stay, unless a part is given."""
    base: dict[str, Any] = {
        "name": "stroke",
        "index": {"codes": [IN], "at": "end"},
        "outcome": {"codes": ["STROKE//.*"], "window": "30d"},
        "censoring": {"until": "none"},
    }
    for part, given_ in more.items():
        base[part] = {**base.get(part, {}), **given_} if isinstance(given_, dict) else given_
    return base


def stay(subject: int, day: float, days: float = 2, **more: Any) -> Row:
    start = DAY + timedelta(days=day)
    return row(subject, start, IN, end_time=start + timedelta(days=days), **more)


def at(subject: int, day: float, code: str, known: float | None = None, **more: Any) -> Row:
    when = None if known is None else DAY + timedelta(days=known)
    return row(subject, DAY + timedelta(days=day), code, known=when, **more)


def values(labels: Labels) -> list[tuple[int, float, Any]]:
    """Subject, prediction in days, value."""
    rows = labels.table.to_pylist()
    return [(it["subject_id"], (it["prediction_time"] - DAY) / timedelta(days=1), it[labels.value]) for it in rows]


def test_the_shipped_task_is_what_it_says(ward: Path) -> None:
    labels = md.label(ward, "readmission_30d")
    stays = {}
    for it in hospital():
        if it["code"] == IN:
            stays.setdefault(it["subject_id"], []).append((it["time"], it["end_time"]))
    expected = [
        (subject, end, any(end < again <= end + timedelta(days=30) for again, _ in of))
        for subject, of in stays.items()
        for _, end in of
    ]
    found = [(it["subject_id"], it["prediction_time"], it["boolean_value"]) for it in labels.table.to_pylist()]
    assert sorted(found) == sorted(expected)


def test_labels_are_a_meds_label_table(ward: Path, tmp_path: Path) -> None:
    labels = md.label(ward, "readmission_30d")
    meds.LabelSchema.validate(labels.table)
    labels.write(tmp_path / "labels.parquet")
    meds.LabelSchema.validate(pq.read_table(tmp_path / "labels.parquet"))
    again = Labels.of(tmp_path / "labels.parquet", name="readmission_30d")
    assert (again.digest, again.name) == (labels.digest, labels.name)


@pytest.mark.parametrize("day", [2, 32])
def test_the_window_starts_after_the_prediction_and_ends_with_its_last_day(empty: Store, day: int) -> None:
    commit(empty, [stay(1, 0), at(1, day, "STROKE//a")])
    assert values(md.label(empty.root, task())) == [(1, 2.0, day == 32)]
    assert values(md.label(empty.root, task(outcome={"gap": "30d", "window": "1h"}))) == [(1, 2.0, False)]
    assert values(md.label(empty.root, task(outcome={"gap": "29d", "window": "1d"}))) == [(1, 2.0, day == 32)]


def test_values_of_all_kinds(empty: Store) -> None:
    facts = [
        at(1, 5, "STROKE//b", numeric_value=2.5),
        at(1, 4, "STROKE//a", numeric_value=None),
        at(1, 9, "STROKE//c", numeric_value=7.0),
    ]
    commit(empty, [stay(1, 0), *facts, stay(2, 0)])

    def of(value: str) -> Labels:
        return md.label(empty.root, task(outcome={"value": value}))

    assert values(of("occurs")) == [(1, 2.0, True), (2, 2.0, False)]
    assert values(of("count")) == [(1, 2.0, 3), (2, 2.0, 0)]
    assert values(of("number")) == [(1, 2.0, 2.5)]
    assert values(of("code")) == [(1, 2.0, "STROKE//a")]
    assert of("number").left_out == {"no_value": 1}
    assert [of(value).value for value in ("count", "number", "code")] == [
        "integer_value",
        "float_value",
        "categorical_value",
    ]


def test_a_prediction_moves_to_when_its_index_event_is_known(empty: Store) -> None:
    commit(empty, [stay(1, 0, known=DAY + timedelta(days=6)), at(1, 5, "STROKE//a"), at(1, 7, "STROKE//a")])
    assert values(md.label(empty.root, task(outcome={"window": "1d"}))) == [(1, 6.0, True)]
    assert values(md.label(empty.root, task(index={"offset": "5d"}))) == [(1, 7.0, False)]
    left = md.label(empty.root, task(index={"unknown": "leave_out"}))
    assert (values(left), left.left_out) == ([], {"unknown_then": 1})


def test_a_date_without_a_clock_is_known_when_the_day_is_over(empty: Store) -> None:
    commit(empty, [stay(1, 0, time_precision="day"), at(1, 3, "STROKE//a", time_precision="day")])
    ((_, when, value),) = values(md.label(empty.root, task()))
    assert (round(when, 6), value) == (3.0, True)
    assert when < 3.0, "the next day is after it"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"index": {"offset": "-1d"}}, "before its index event"),
        ({"outcome": {"gap": "-1h"}}, "starts before the prediction"),
        ({"outcome": {"window": "0d"}}, "ends when it starts"),
        ({"outcome": {"window": "-30d"}}, "ends when it starts"),
        ({"index": {"which": "last"}}, "only the future tells"),
        ({"exclusion": [{"codes": ["A"], "before": "-30d"}]}, "looks ahead"),
        ({"inclusion": [{"codes": ["A"], "before": "0d"}]}, "looks ahead"),
    ],
)
def test_a_task_that_leaks_is_refused_before_data_are_read(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        tasks.read(task(**more))
    assert "could be known when it is predicted" in str(caught.value)
    assert caught.value.hint


def test_an_outcome_that_was_on_record_is_refused(empty: Store) -> None:
    commit(empty, [stay(1, 0), at(1, 9, "STROKE//planned", known=1), stay(2, 0), at(2, 9, "STROKE//a")])
    with pytest.raises(ConfigError, match="1 predictions have an outcome that was on record by then"):
        md.label(empty.root, task())
    left = md.label(empty.root, task(outcome={"known": "leave_out"}))
    assert (values(left), left.left_out) == ([(2, 2.0, True)], {"outcome_known": 1})


def test_an_outcome_without_a_time_is_refused(empty: Store) -> None:
    commit(empty, [stay(1, 0), row(1, None, "STROKE//ever")])
    with pytest.raises(ConfigError, match="1 facts of the outcome have no time"):
        md.label(empty.root, task())


def test_an_outcome_that_is_recorded_late_counts_by_its_time(empty: Store) -> None:
    commit(empty, [stay(1, 0), at(1, 9, "STROKE//a", known=200)])
    assert values(md.label(empty.root, task())) == [(1, 2.0, True)]


def test_conditions_see_only_what_was_known(empty: Store) -> None:
    rows = [stay(subject, 100) for subject in range(1, 6)]
    rows += [
        at(1, 50, "CANCER//a"),
        at(2, 50, "CANCER//a", known=300),  # found out later: nobody could leave this subject out
        at(3, 103, "CANCER//a"),
        row(4, None, "CANCER//undated"),
    ]
    commit(empty, rows)
    without = {"codes": ["CANCER//.*"]}
    assert [it[0] for it in values(md.label(empty.root, task(exclusion=[without])))] == [2, 3, 5]
    assert [it[0] for it in values(md.label(empty.root, task(inclusion=[without])))] == [1, 4]
    recent = {**without, "before": "30d"}
    assert [it[0] for it in values(md.label(empty.root, task(exclusion=[recent])))] == [1, 2, 3, 5]
    assert md.label(empty.root, task(exclusion=[without])).left_out == {"excluded": 2}
    assert md.label(empty.root, task(inclusion=[without])).left_out == {"not_included": 3}


def test_the_first_is_the_first_that_is_not_left_out(empty: Store) -> None:
    commit(empty, [stay(1, 0), at(1, 10, "CONSENT//a"), stay(1, 20), stay(1, 40), stay(2, 0)])
    asked = task(index={"which": "first"}, inclusion=[{"codes": ["CONSENT//.*"]}])
    found = md.label(empty.root, asked)
    assert values(found) == [(1, 22.0, False)]
    assert found.left_out == {"not_first": 1, "not_included": 2}


def test_who_is_not_seen_until_the_end_of_the_window_gives_no_label(empty: Store) -> None:
    rows = [stay(subject, 0) for subject in (1, 2, 3, 4)]
    rows += [at(1, 10, "VISIT//a"), at(2, 40, "VISIT//a"), at(3, 10, "STROKE//a"), at(4, 10, DEATH)]
    commit(empty, rows)
    found = md.label(empty.root, task(censoring={"until": "last_event"}))
    assert values(found) == [(2, 2.0, False), (3, 2.0, True), (4, 2.0, False)]
    assert found.left_out == {"not_observed": 1}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    facts=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 40), st.integers(0, 20), st.booleans()), min_size=1, max_size=25
    ),
    gap=st.integers(0, 5),
    window=st.integers(1, 20),
)
def test_labels_are_those_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, facts: list[tuple[int, int, int, bool]], gap: int, window: int
) -> None:
    rows = [
        row(subject, DAY + timedelta(days=day), "IDX" if index else "OUT", known=DAY + timedelta(days=day + late))
        for subject, day, late, index in facts
    ]
    store = Store.create(tmp_path_factory.mktemp("loop") / "store", "0123456789ab")
    commit(store, rows)
    asked = task(
        index={"codes": ["IDX"], "at": "start"},
        outcome={"codes": ["OUT"], "gap": f"{gap}d", "window": f"{window}d", "known": "leave_out"},
    )
    expected = set()
    for subject, time in {(it["subject_id"], it["available_time"]) for it in rows if it["code"] == "IDX"}:
        begin = time + timedelta(days=gap)
        seen = [
            it
            for it in rows
            if it["code"] == "OUT"
            and it["subject_id"] == subject
            and begin < it["time"] <= begin + timedelta(days=window)
        ]
        if not any(it["available_time"] <= time for it in seen):
            expected.add((subject, (time - DAY) / timedelta(days=1), bool(seen)))
    assert set(values(md.label(store.root, asked))) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": "x"},
        task(name="two words"),
        task(index={"codes": []}),
        task(index={"codes": ["("]}),
        task(index={"codes": ["a" * 501]}),
        task(index={"at": "middle"}),
        task(outcome={"window": "a month"}),
        task(outcome={"window": "30"}),
        task(outcome={"window": "99999999d"}),
        task(surprise={"a": 1}),
        task(outcome={"codes": "STROKE"}),
        task(censoring={"until": "ever"}),
    ],
)
def test_what_is_no_task_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        tasks.read(wrong)


def test_patterns_are_never_sql(empty: Store) -> None:
    commit(empty, [stay(1, 0)])
    for code in ("' OR true --", "x' OR (true); DROP VIEW events; --", "\\'", '"'):
        assert values(md.label(empty.root, task(outcome={"codes": [code]}))) == [(1, 2.0, False)]
    with pytest.raises(ConfigError, match="cannot be asked"):  # Python's expressions know what DuckDB's do not
        md.label(empty.root, task(outcome={"codes": ["(?=a)a"]}))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = ", b"[index]\ncodes = 5", b"a" * (2 << 20)])
def test_files_that_are_no_task_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "task.toml").write_bytes(content)
    with pytest.raises(ConfigError):
        tasks.read(tmp_path / "task.toml")
    with pytest.raises(ConfigError):
        tasks.read(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="no such task"):
        tasks.read("absent")


def test_every_shipped_task_can_be_read() -> None:
    from mayo_data import assets

    shipped = sorted(assets.path("schemas", "tasks").glob("*.toml"))
    assert shipped
    for path in shipped:
        assert tasks.read(path).name == path.stem
        assert tasks.read(path.stem).doc.endswith(".")


def made(**columns: Any) -> pa.Table:
    base = {"subject_id": [1, 2], "prediction_time": [datetime(2020, 1, 1)] * 2, "boolean_value": [True, False]}
    return pa.table({name: value for name, value in {**base, **columns}.items() if value is not None})


def test_labels_of_others_are_taken() -> None:
    plain = Labels.of(made(more=["x", "y"]))
    assert plain.table.schema.equals(SCHEMA.remove(5).remove(4).remove(3))
    meds.LabelSchema.validate(plain.table)
    assert Labels.of(made().to_pandas()).digest == plain.digest
    assert Labels.of(made().take([1, 0])).digest == plain.digest
    assert Labels.of(made(boolean_value=[True, True])).digest != plain.digest
    assert Labels.of(pd.DataFrame({"subject_id": [1], "prediction_time": [datetime(2020, 1, 1)]})).table.num_rows == 1


@pytest.mark.parametrize(
    "wrong",
    [
        made(subject_id=None),
        made(prediction_time=None),
        made(subject_id=["a", "b"]),
        made(subject_id=[1, None]),
        made(subject_id=[1, 1]),
        made(prediction_time=["soon", "later"]),
        "absent.parquet",
        ["Jane Doe"],
        pd.DataFrame({"subject_id": ["Jane Doe", 1], "prediction_time": [datetime(2020, 1, 1)] * 2}),
    ],
)
def test_what_are_no_labels_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Labels.of(wrong)
    told = "".join(traceback.format_exception(caught.value, limit=0))
    assert not [cell for cell in ("Jane", "'a'", "'soon'") if cell in told]  # nor does the cause quote a cell


@pytest.mark.parametrize(
    "wrong", [made(boolean_value=[True, None]), made(integer_value=[1, 2]), made(boolean_value=None)]
)
def test_a_reader_wants_one_value_a_label(ward: Path, wrong: pa.Table) -> None:
    with pytest.raises(MayoDataError, match="one value a row"):
        md.open(ward).reader(consumer="test", labels=wrong)
