"""Reading ndjson: every digit, every compression, nothing of another type; and what comes out: files, frames, errors."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import mayo_data as md
from mayo_data.cli.commands import app

VALUE = {
    "resource": "Observation",
    "name": "vitals",
    "select": [
        {
            "column": [
                {"name": "id", "path": "id"},
                {"name": "value", "path": "value.ofType(Quantity).value"},
                {"name": "quantity", "path": "value.ofType(Quantity)", "type": "Quantity"},
                {"name": "texts", "path": "note.text", "collection": True},
            ]
        }
    ],
}


def observation(name: str, digits: str, *texts: str) -> str:
    notes = json.dumps([{"text": text} for text in texts])
    return f'{{"id":{json.dumps(name)},"note":{notes},"valueQuantity":{{"value":{digits}}},"resourceType":"Observation"}}\n'


digits = st.builds(
    lambda sign, whole, part, power: f"{sign}{whole}{part}{power}",
    st.sampled_from(["", "-"]),
    st.integers(0, 10**17).map(str),
    st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=15).map(lambda text: f".{text}")),
    st.sampled_from(["", "", "e0", "E-3", "e+2"]),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tricky = st.one_of(texts, st.sampled_from(['"value":1.50,', "[1.0e5, -2]", '\\"1.5', "\\", '\\\\"', ":1.0}", "{1.0}"]))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(tricky, digits, tricky), min_size=1, max_size=6))
def test_every_digit_and_every_text_arrives_as_it_was(tmp_path: Path, found: list[tuple[str, str, str]]) -> None:
    (tmp_path / "o.ndjson").write_text("".join(observation(*one) for one in found), encoding="utf-8")
    table = md.view(VALUE, tmp_path / "o.ndjson")
    expected = [(name, number, f'{{"value":{number}}}', [text]) for name, number, text in found]
    assert table.preview() == expected
    assert table.arrow().column("value").to_pylist() == [Decimal(number) for _, number, _ in found]
    table.write(tmp_path / "out.ndjson")
    lines = (tmp_path / "out.ndjson").read_text(encoding="utf-8").split("\n")  # not splitlines: it cuts at U+0085
    kept = [json.loads(line, parse_float=str, parse_int=str) for line in lines if line]
    assert [(row["id"], row["value"], row["texts"]) for row in kept] == [(a, b, [c]) for a, b, c in found]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder with files of every kind; four observations in it."""
    folder = tmp_path / "export [1]*"
    (folder / "deep").mkdir(parents=True)
    (folder / "1.Observation.ndjson").write_text(observation("a", "1.10"))
    (folder / "it's.ndjson.gz").write_bytes(gzip.compress(observation("b", "2.0").encode()))
    packed = zstandard.ZstdCompressor().compress(observation("c", "3").encode())
    (folder / "deep" / "x.jsonl.zst").write_bytes(packed)
    mixed = ['{"resourceType":"Patient","id":"p"}\n', "\n", observation("d", "4", "Patient"), "\n"]
    (folder / "mixed.NDJSON").write_text("".join(mixed))
    (folder / ".draft.ndjson").write_text("torn")
    (folder / "report.json").write_text("[]")
    (folder / "empty.ndjson").write_text("")
    return folder


def test_every_file_of_a_folder_is_read(export: Path) -> None:
    table = md.view(VALUE, export)
    assert sorted((row[0], row[1]) for row in table.preview()) == [("a", "1.10"), ("b", "2.0"), ("c", "3"), ("d", "4")]
    patients = {"resource": "Patient", "select": [{"column": [{"name": "id", "path": "id"}]}]}
    assert md.view(patients, export).arrow().to_pydict() == {"id": ["p"]}
    assert md.view({**patients, "resource": "Goal"}, export).arrow().to_pydict() == {"id": []}


def test_frames_and_files_hold_the_same(export: Path, tmp_path: Path) -> None:
    table = md.view(VALUE, export)
    assert table.columns == ("id", "value", "quantity", "texts")
    frame = table.df().sort_values("id")
    assert list(frame["value"]) == [1.1, 2.0, 3.0, 4.0]
    assert table.relation.aggregate("sum(value)").fetchall() == [(Decimal("10.1"),)]
    for name in ("out.csv", "out.parquet", "out.ndjson"):
        assert table.write(tmp_path / name) == 4
    assert sorted((tmp_path / "out.csv").read_text().splitlines())[0] == 'a,1.10,"{""value"":1.10}",[]'
    assert pq.read_table(tmp_path / "out.parquet").sort_by("id").column("value").to_pylist()[0] == Decimal("1.10")
    assert '{"id":"a","value":1.10,"quantity":{"value":1.10},"texts":[]}' in (tmp_path / "out.ndjson").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_polars_takes_it(export: Path) -> None:
    pytest.importorskip("polars", reason="Polars is not installed")
    assert sorted(md.view(VALUE, export).pl()["id"].to_list()) == ["a", "b", "c", "d"]


def test_the_sql_is_complete_and_runs_on_any_connection(export: Path, synthetic_store: Path) -> None:
    table = md.view(VALUE, export)
    with md.connect(synthetic_store, confined=False) as db:
        assert db.sql(table.sql).aggregate("count(*)").fetchall() == [(4,)]
        joined = md.view(VALUE, export, db=db)
        found = joined.relation
        assert db.sql("select count(*) from found, (select 1 from event limit 1)").fetchall() == [(4,)]
        assert found.columns == list(joined.columns)


@pytest.mark.parametrize(
    ("content", "says"),
    [('{"resourceType":"Observation","id":"Jane\n', "cannot be read"), ("not json Jane\n", "cannot be read")],
)
def test_a_broken_line_is_told_without_its_content(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "Jane.ndjson").write_text(observation("a", "1") + content)
    for ask in ("arrow", "df", "preview"):
        with pytest.raises(md.SourceError, match=says) as caught:
            getattr(md.view(VALUE, tmp_path), ask)()
        assert "Jane" not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}"
    with pytest.raises(md.SourceError):
        md.view(VALUE, tmp_path).write(tmp_path / "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Jane.ndjson"]


def test_a_number_that_is_too_large_stops_the_query_unless_it_is_text(tmp_path: Path) -> None:
    (tmp_path / "o.ndjson").write_text(observation("a", "123456789012345678901234567890.5"))
    with pytest.raises(md.ConfigError, match="does not fit") as caught:
        md.view(VALUE, tmp_path).arrow()
    assert "1234" not in str(caught.value)
    assert md.view(VALUE, tmp_path).preview()[0][1] == "123456789012345678901234567890.5"


def test_a_place_without_fhir_is_told(tmp_path: Path) -> None:
    with pytest.raises(md.SourceError, match="no FHIR ndjson"):
        md.view(VALUE, tmp_path)
    with pytest.raises(md.SourceError):
        md.view(VALUE, tmp_path / "nowhere")
    with pytest.raises(md.ConfigError, match="local files"):
        md.view(VALUE, "s3://bucket/fhir")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": NaN}'])
def test_a_view_that_is_no_json_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(md.ConfigError, match="the view is no JSON"):
        md.view(tmp_path / "v.json", tmp_path)
    with pytest.raises(md.ConfigError, match="cannot be read"):
        md.view(tmp_path / "absent.json", tmp_path)
    (tmp_path / "large.json").write_bytes(b" " * (5 << 20))
    with pytest.raises(md.ConfigError, match="too large"):
        md.view(tmp_path / "large.json", tmp_path)


def test_constants_of_a_file_keep_their_digits(tmp_path: Path) -> None:
    (tmp_path / "o.ndjson").write_text(observation("a", "0.30"))
    (tmp_path / "v.json").write_text(
        '{"resource":"Observation","constant":[{"name":"c","valueDecimal":0.300000000000000001}],'
        '"select":[{"column":[{"name":"less","path":"value.ofType(Quantity).value < %c"}]}]}'
    )
    assert md.view(tmp_path / "v.json", tmp_path).preview() == [(True,)]


# ── the command ───────────────────────────────────────────────────────────────────────────────────


def call(*words: Any) -> tuple[int, str, str, BaseException | None]:
    done = CliRunner().invoke(app, ["view", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr, done.exception


def test_the_command_shows_writes_and_explains(export: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    noted = {**VALUE, "select": [*VALUE["select"], {"column": [{"name": "y", "path": "code.nme"}]}]}  # type: ignore[misc]
    path.write_text(json.dumps(noted))
    code, out, err, _ = call(path, "--fhir", export)
    assert (code, "vitals" in out, "1.10" in out) == (0, True, True)
    assert "note: select[1].column[0]: CodeableConcept has no element nme" in err
    code, out, _, _ = call(path, "--fhir", export, "--out", tmp_path / "o.csv")
    assert (code, out) == (0, f"4 rows written to {tmp_path / 'o.csv'}\n")
    code, out, _, _ = call(path, "--fhir", export, "--sql")
    assert (code, out.startswith("WITH resources AS (")) == (0, True)
    code, _, _, error = call(path, "--fhir", export, "--out", tmp_path / "o.xlsx")
    assert (code, type(error)) == (1, md.ConfigError)
