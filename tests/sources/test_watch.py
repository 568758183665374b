"""A file that is read closely gives the same rows, place by place; a place that is left alone costs its own row only."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.sources import fhir
from mayo_data.sources.watch import BETWEEN, CRASHED, FORM, TOGETHER, Watch

Row = tuple[int, bytes | None, str | None]


def source(path: Path, content: bytes, crashed: frozenset[int] = frozenset()) -> fhir.SourceFile:
    path.write_bytes(content)
    (file,) = fhir.discover(path).files
    return replace(file, crashed=crashed)


def rows(
    file: fhir.SourceFile, at: Any = None, split_bytes: int = 200, single: bool = True
) -> tuple[list[Row], list[Any], list[bytes]]:
    """The rows of a file, whom the survey named, and what it read."""
    named: list[Any] = []
    texts: list[bytes] = []
    found = fhir.survey(file, named.append, longest=1 << 20, split_bytes=split_bytes, texts=texts.append, at=at)
    assert found.sha256 == fhir.sha256(file)
    near = frozenset(range(1, 1000, TOGETHER)) if single else frozenset()
    batches = [batch for split in found.splits for batch in fhir.read(split, longest=1 << 20, at=at, near=near)]
    assert at is None or all(batch.num_rows <= (1 if single else TOGETHER) for batch in batches)
    columns = ("source_row", "body", "fate")
    made = [row for batch in batches for row in zip(*(batch[name].to_pylist() for name in columns), strict=True)]
    return made, named, texts


def resource(number: int, kind: str = "Patient") -> bytes:
    return orjson.dumps({"resourceType": kind, "id": f"i{number}", "code": {"text": f"said {number}"}})


def bundle(*bodies: bytes) -> bytes:
    return b'{"resourceType":"Bundle","type":"collection","entry":[%s]}' % b",".join(
        b'{"resource":%s}' % body for body in bodies
    )


LINE = st.one_of(
    st.integers(0, 99).map(resource),
    st.integers(0, 99).map(lambda number: resource(number, "Observation")),
    st.lists(st.integers(0, 99).map(resource), max_size=3).map(lambda bodies: bundle(*bodies)),
    st.sampled_from([b"", b"  ", b"{bad", b'{"resourceType":"OperationOutcome","issue":[]}', b"[1]", b'"Bundle"']),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINE, max_size=12), st.booleans(), st.data())
def test_lines(tmp_path: Path, lines: list[bytes], bom: bool, data: st.DataObject) -> None:
    content = (b"\xef\xbb\xbf" if bom else b"") + b"\n".join(lines)
    path = tmp_path / "a.ndjson"
    plain, named, texts = rows(source(path, content))
    told: list[int] = []
    closely, again, read = rows(source(path, content), told.append)
    assert closely == plain
    assert again == named
    assert rows(source(path, content), told.append, single=False)[0] == plain
    assert b"".join(read).replace(b"\n", b"") == b"".join(texts).replace(b"\n", b"")
    alive = [number for number, _, ended in plain if ended is None]
    assert {number for number, _, _ in plain if number in alive} <= set(told)
    if not alive:
        return
    left = data.draw(st.sampled_from(alive))
    without, _, _ = rows(source(path, content, frozenset([left])), told.append)
    assert without == [(number, body, f"read/{CRASHED}" if number == left else ended) for number, body, ended in plain]


def test_a_line_that_must_not_be_opened_is_one_row(tmp_path: Path) -> None:
    line = bundle(resource(1), resource(2), resource(3))
    content = b"\n".join([resource(0), line, resource(4)])
    told: list[int] = []
    plain, _, _ = rows(source(tmp_path / "a.ndjson", content), told.append)
    place = -1 - len(resource(0)) - 1
    assert place in told
    assert [number for number, _, _ in plain] == [1, 2, 3, 4, 5]
    made, named, texts = rows(source(tmp_path / "a.ndjson", content, frozenset([place])))
    assert made == [(1, resource(0), None), (2, line, f"read/{CRASHED}"), (3, resource(4), None)]
    assert [one["id"] for one in named] == ["i0", "i4"]
    assert line not in b"".join(texts)


@pytest.mark.parametrize("split_bytes", [50, 1 << 20])
def test_an_entry_of_a_bundle(tmp_path: Path, split_bytes: int) -> None:
    content = b'{"resourceType":"Bundle","type":"collection","entry":[\n' + b",\n".join(
        b'{"fullUrl":"urn:uuid:%d","resource":%s}' % (n, resource(n)) for n in range(4)
    )
    content += b"]}"
    told: list[int] = []
    plain, named, texts = rows(source(tmp_path / "a.json", content), told.append, split_bytes)
    assert (plain, named, texts) == rows(source(tmp_path / "a.json", content), None, split_bytes)
    for place in {place for place in told if place not in (BETWEEN, FORM)}:
        made, _, read = rows(source(tmp_path / "a.json", content, frozenset([place])), None, split_bytes)
        (ended,) = (number for number, _, fate in made if fate == f"read/{CRASHED}")
        assert [row for row in made if row[0] != ended] == [row for row in plain if row[0] != ended]
        assert b"said %d" % (ended - 1) not in b"".join(read)


@pytest.mark.parametrize("place", [FORM, -1, 1])
def test_a_single_resource(tmp_path: Path, place: int) -> None:
    told: list[int] = []
    plain, named, _ = rows(source(tmp_path / "a.json", resource(1)), told.append)
    assert place in told
    assert plain == [(1, resource(1), None)]
    assert len(named) == 1
    made, named, texts = rows(source(tmp_path / "a.json", resource(1), frozenset([place])))
    assert made == [(1, resource(1), f"read/{CRASHED}")]
    assert (named, texts) == ([], [])


def test_each_place_is_left_before_the_next_is_read(tmp_path: Path) -> None:
    """What happens between two rows, such as the reading of the file, is no row's doing."""
    told: list[int] = []
    rows(source(tmp_path / "a.ndjson", resource(1) + b"\n" + resource(2)), told.append)
    assert told[-1] == BETWEEN
    follows = dict(pairwise(told))
    assert follows[2] in (2, BETWEEN)


def test_nobody_listens_and_nothing_is_left_alone() -> None:
    assert Watch.over(frozenset(), None) is None
    quiet = Watch.over(frozenset([3]), None)
    assert quiet is not None
    assert [quiet.works_at(place) for place in (2, 3)] == [True, False]
    assert msgspec.json.decode(b"[3]", type=frozenset[int]) == quiet.crashed


def test_only_near_a_place_rows_are_alone(tmp_path: Path) -> None:
    content = b"\n".join(resource(number, "Observation") for number in range(1000))
    (split,) = fhir.survey(source(tmp_path / "a.ndjson", content), print, longest=1 << 20).splits
    told: list[int] = []
    batches = list(fhir.read(split, longest=1 << 20, at=told.append, near=frozenset([129])))
    sizes = [batch.num_rows for batch in batches]
    assert sizes == [64, 64] + [1] * 64 + [64] * 12 + [40]
    firsts = [batch["source_row"][0].as_py() for batch in batches]
    assert [place for place in told if place != BETWEEN] == firsts


@pytest.mark.parametrize("blank", [0, 1, 3, 70])
def test_rows_that_are_one_place_lie_near_each_other(tmp_path: Path, blank: int) -> None:
    """Blank lines have numbers: where a batch spans more of them, going row by row near its first row misses the last."""
    content = b"".join(resource(number) + b"\n" * (1 + blank) for number in range(200))
    file = source(tmp_path / "a.ndjson", content)
    (split,) = fhir.survey(file, lambda _: None, longest=1 << 20).splits
    batches = list(fhir.read(split, longest=1 << 20, at=lambda _: None))
    assert sum(batch.num_rows for batch in batches) == 200
    for batch in batches:
        numbers = batch["source_row"].to_pylist()
        assert max(numbers) - min(numbers) < TOGETHER
