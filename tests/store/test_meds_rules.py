from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import meds
import meds_reader
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mayo_data.errors import StoreError
from mayo_data.store import validate
from mayo_data.store.layout import Store

T = [None, datetime(1990, 1, 1), datetime(2000, 1, 1), datetime(2001, 1, 1)]


class Dataset:
    """Somebody else's MEDS dataset, made with the schemas of the meds package."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data("train/0", [(1, T[0], "SEX//F"), (1, T[1], "MEDS_BIRTH"), (1, T[2], "A"), (2, T[2], "B")])
        self.data("tuning/0", [(3, T[2], "A"), (3, T[2], "B"), (3, T[3], "A")])
        self.write(
            "metadata/codes.parquet",
            meds.CodeMetadataSchema,
            code=["A", "B", "MEDS_BIRTH", "SEX//F"],
            description=None,
        )
        self.write(
            "metadata/subject_splits.parquet",
            meds.SubjectSplitSchema,
            subject_id=[1, 2, 3],
            split=["train"] * 2 + ["tuning"],
        )
        about = {"dataset_name": "x", "meds_version": meds.__version__, "created_at": "2024-01-01T00:00:00"}
        meds.DatasetMetadataSchema.validate(about)
        (root / "metadata" / "dataset.json").write_text(json.dumps(about))

    def data(self, name: str, rows: list[tuple[int | None, datetime | None, str | None]]) -> None:
        subject, time, code = (list(column) for column in zip(*rows, strict=True))
        self.write(
            f"data/{name}.parquet",
            meds.DataSchema,
            subject_id=subject,
            time=time,
            code=code,
            numeric_value=None,
        )

    def write(self, path: str, schema: Any, **columns: Any) -> None:
        arrow = schema.schema()
        size = max(len(values) for values in columns.values() if values is not None)
        arrays = {
            name: pa.array([None] * size if values is None else values, arrow.field(name).type)
            for name, values in columns.items()
        }
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(arrays), self.root / path)

    def edit(self, path: str, change: Callable[[pa.Table], pa.Table]) -> None:
        pq.write_table(change(pq.read_table(self.root / path, partitioning=None)), self.root / path)

    def findings(self) -> list[tuple[str, str, str, int]]:
        return [(found.rule, found.severity, found.file, found.count) for found in validate.validate(self.root)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path)


CODES = "metadata/codes.parquet"
SPLITS = "metadata/subject_splits.parquet"
ABOUT = "metadata/dataset.json"


def test_a_sound_dataset_has_no_findings(dataset: Dataset) -> None:
    assert dataset.findings() == []


def test_our_own_snapshot_has_none(store: Store) -> None:
    assert validate.validate(store.root) == []
    assert validate.validate(store.current()) == []


def column(name: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (
            lambda d: d.data("tuning/0", [(None, T[1], "A"), (3, T[2], "B")]),
            ("subject_null", "error", "data/tuning/0.parquet", 1),
        ),
        (
            lambda d: d.data("tuning/0", [(3, T[1], None), (3, T[2], "B")]),
            ("code_null", "error", "data/tuning/0.parquet", 1),
        ),
        (
            lambda d: d.data("tuning/0", [(3, T[2], "A"), (3, T[1], "B")]),
            ("time_order", "error", "data/tuning/0.parquet", 1),
        ),
        (
            lambda d: d.data("tuning/0", [(3, T[2], "A"), (3, None, "B")]),
            ("time_order", "error", "data/tuning/0.parquet", 1),
        ),
        (lambda d: d.data("tuning/1", [(3, T[3], "A")]), ("subject_in_two_files", "error", "data", 1)),
        (lambda d: d.data("tuning/0", [(3, T[2], "NEW")]), ("code_not_listed", "error", CODES, 1)),
        (
            lambda d: d.data("tuning/0", [(3, T[1], "A"), (4, T[2], "B")]),
            ("subject_without_split", "error", SPLITS, 1),
        ),
        (
            lambda d: (d.root / "data/tuning/0.parquet").write_bytes(b"PAR1"),
            ("unreadable", "error", "data/tuning/0.parquet", 1),
        ),
        (lambda d: (d.root / CODES).unlink(), ("codes_missing", "error", CODES, 1)),
        (lambda d: (d.root / CODES).write_bytes(b""), ("unreadable", "error", CODES, 1)),
        (
            lambda d: d.edit(CODES, lambda t: pa.concat_tables([t, t.slice(0, 1)])),
            ("code_twice", "error", CODES, 1),
        ),
        (
            lambda d: d.edit(CODES, lambda t: t.rename_columns(["kode", "description"])),
            ("column_missing", "error", CODES, 1),
        ),
        (
            lambda d: d.edit(CODES, lambda t: t.append_column("parent_codes", [["x"] * 4])),
            ("column_type", "error", CODES, 1),
        ),
        (lambda d: (d.root / SPLITS).unlink(), ("splits_missing", "warning", SPLITS, 1)),
        (lambda d: (d.root / SPLITS).write_bytes(b"PAR1xxxxPAR1"), ("unreadable", "error", SPLITS, 1)),
        (
            lambda d: d.edit(SPLITS, lambda t: pa.concat_tables([t, t.slice(0, 1)])),
            ("subject_twice", "error", SPLITS, 1),
        ),
        (
            lambda d: d.edit(SPLITS, column("subject_id", [[1, 2, 9]])),
            ("split_unknown_subject", "error", SPLITS, 1),
        ),
        (
            lambda d: d.edit(SPLITS, column("split", [["train", "train", None]])),
            ("split_null", "error", SPLITS, 1),
        ),
        (
            lambda d: d.edit(SPLITS, column("split", [["train", "train", "dev"]])),
            ("split_name", "warning", SPLITS, 1),
        ),
        (
            lambda d: d.edit(SPLITS, lambda t: t.append_column("x", [[1] * 3])),
            ("column_extra", "error", SPLITS, 1),
        ),
        (lambda d: (d.root / ABOUT).unlink(), ("dataset_missing", "error", ABOUT, 1)),
        (lambda d: (d.root / ABOUT).write_text("[]"), ("dataset_unreadable", "error", ABOUT, 1)),
        (lambda d: (d.root / ABOUT).write_text("{"), ("dataset_unreadable", "error", ABOUT, 1)),
        (lambda d: (d.root / ABOUT).write_text('{"etl_name": 3}'), ("dataset_field", "error", ABOUT, 1)),
        (
            lambda d: (d.root / ABOUT).write_text('{"created_at": "soon"}'),
            ("dataset_field", "error", ABOUT, 1),
        ),
        (
            lambda d: (d.root / ABOUT).write_text('{"site_id_columns": [1]}'),
            ("dataset_field", "error", ABOUT, 1),
        ),
        (lambda d: shutil.rmtree(d.root / "data"), ("no_data", "error", "data", 0)),
    ],
)
def test_each_rule_is_seen_when_broken_once(
    dataset: Dataset, break_it: Callable[[Dataset], object], found: tuple[str, str, str, int]
) -> None:
    break_it(dataset)
    assert found in dataset.findings()


def test_subjects_must_be_in_one_piece_and_better_in_order(dataset: Dataset) -> None:
    dataset.data("train/0", [(2, T[2], "B"), (1, T[2], "A"), (2, T[3], "B")])
    assert dataset.findings() == [
        ("not_contiguous", "error", "data/train/0.parquet", 1),
        ("subject_order", "warning", "data/train/0.parquet", 1),
    ]


def test_order_is_seen_across_row_groups_and_batches(dataset: Dataset) -> None:
    size = (1 << 17) + 3
    times = pa.array(range(size), pa.int64())
    for swapped in (False, True):
        if swapped:  # the fault lies exactly where one batch ends and the next begins
            order = [*range(1 << 17), size - 1, *range((1 << 17) + 1, size - 1), 0]
            times = times.take(pa.array(order))
        table = pa.table(
            {"subject_id": pa.array([3] * size), "time": times.cast(pa.timestamp("us")), "code": ["A"] * size}
        )
        pq.write_table(table, dataset.root / "data/tuning/0.parquet", row_group_size=1000)
        rules = [rule for rule, *_ in dataset.findings()]
        assert rules == (["time_order"] if swapped else [])


DATA = {
    "subject_id": pa.array([3], pa.int64()),
    "time": pa.array([0], pa.timestamp("us")),
    "code": pa.array(["A"]),
    "numeric_value": pa.array([1.0], pa.float32()),
    "text_value": pa.array(["x"], pa.large_string()),
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"numeric_value": None},
        {"text_value": None},
        {"code": None},
        {"time": None},
        {"subject_id": None},
        {"more": pa.array([1])},
        {"subject_id": pa.array([3], pa.int32())},
        {"subject_id": pa.array([3], pa.uint64())},
        {"subject_id": pa.array(["3"])},
        {"time": pa.array([0], pa.timestamp("ns"))},
        {"time": pa.array([0], pa.timestamp("us", "UTC"))},
        {"time": pa.array(["2020"])},
        {"code": pa.array([1])},
        {"code": pa.array(["A"], pa.large_string())},
        {"code": pa.array(["A"]).dictionary_encode()},
        {"numeric_value": pa.array([1.0])},
        {"numeric_value": pa.array([1])},
        {"text_value": pa.array(["x"])},
    ],
)
def test_it_agrees_on_columns_with_the_meds_package(dataset: Dataset, change: dict[str, Any]) -> None:
    table = pa.table({name: values for name, values in {**DATA, **change}.items() if values is not None})
    pq.write_table(table, dataset.root / "data/tuning/0.parquet")
    try:
        meds.DataSchema.validate(table)
        allowed = True
    except Exception:
        allowed = False
    ours = [found for found in validate.validate(dataset.root) if found.file == "data/tuning/0.parquet"]
    assert (not ours) == allowed


def test_numbers_that_are_none_are_warned_of(dataset: Dataset) -> None:
    table = pa.table({**DATA, "numeric_value": pa.array([float("nan")], pa.float32())})
    pq.write_table(table, dataset.root / "data/tuning/0.parquet")
    assert dataset.findings() == [("number_not_finite", "warning", "data/tuning/0.parquet", 1)]


def test_findings_carry_no_value(dataset: Dataset) -> None:
    dataset.data("tuning/0", [(777777, T[2], "SECRET"), (777777, T[1], "SECRET")])
    text = str(validate.validate(dataset.root))
    assert "SECRET" not in text
    assert "777777" not in text


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        validate.validate(tmp_path / "none")


@pytest.mark.parametrize(
    "path",
    [
        "data/0000.parquet",
        "metadata/dataset.json",
        "metadata/codes.parquet",
        "catalog.duckdb",
        "manifest.json",
    ],
)
def test_a_flipped_bit_in_a_snapshot_is_found(store: Store, path: str) -> None:
    file = store.current() / path
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.chmod(0o644)
    file.write_bytes(content)
    rules = {found.rule for found in validate.validate(store.root)}
    assert rules & {"file_changed", "manifest_unreadable", "manifest_changed", "file_missing"}


def test_a_lost_or_added_file_of_a_snapshot_is_found(store: Store) -> None:
    (store.current() / "lineage" / "sources.parquet").unlink()
    (store.current() / "data" / "extra.txt").write_text("x")
    rules = {(found.rule, found.file) for found in validate.validate(store.root)}
    assert {("file_missing", "lineage/sources.parquet"), ("file_not_listed", "data/extra.txt")} <= rules


def test_our_snapshot_is_valid_for_the_meds_package(store: Store) -> None:
    root = store.current()
    for path in sorted((root / "data").glob("*.parquet")):
        meds.DataSchema.validate(pq.read_table(path))
    meds.CodeMetadataSchema.validate(pq.read_table(root / meds.code_metadata_filepath))
    meds.SubjectSplitSchema.validate(pq.read_table(root / meds.subject_splits_filepath))
    meds.DatasetMetadataSchema.validate(json.loads((root / meds.dataset_metadata_filepath).read_bytes()))


def test_meds_reader_opens_our_snapshot_and_sees_every_column(store: Store, made: Any, tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    for command in ("meds_reader_convert", "meds_reader_verify"):
        more = ["--num_threads", "1"] if command == "meds_reader_convert" else []
        call = [str(scripts / command), str(store.current()), str(tmp_path / "reader"), *more]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with meds_reader.SubjectDatabase(str(tmp_path / "reader")) as database:
        assert sorted(database) == sorted(made.subjects)
        events = database[made.subjects[2]].events
        assert [event.code for event in events] == [event["code"] for event in made.events(1)]
        result = events[5]
        assert (result.value_text, result.unit, result.source_item) == ("1.10", "mg/dL", 5)
        assert (events[6].text_value, events[6].utc_offset) == ("Seen in clinic.", -300)
