from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.errors import SourceError
from mayo_data.sources import fhir

MIB = 1 << 20
PATIENT = b'{"resourceType":"Patient","id":"p1"}'
OBSERVATION = b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"}}'


def survey(path: Path, *, longest: int = MIB, split_bytes: int = 32 * MIB) -> tuple[fhir.Survey, list[dict[str, Any]]]:
    named: list[dict[str, Any]] = []
    [file] = fhir.discover(path).files
    return fhir.survey(file, named.append, longest=longest, split_bytes=split_bytes), named


def rows(found: fhir.Survey, *, longest: int = MIB) -> list[tuple[int, bytes | None, str | None]]:
    batches = [batch for split in found.splits for batch in fhir.read(split, longest=longest)]
    if not batches:
        return []
    table = pa.Table.from_batches(batches)
    return list(zip(*(table.column(name).to_pylist() for name in ("source_row", "body", "fate")), strict=True))


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ── what is found ─────────────────────────────────────────────────────────────────────────────────


def test_every_name_of_an_export_is_found_in_order(tmp_path: Path) -> None:
    names = [
        "1.Condition.ndjson", "Condition.1.ndjson", "Patient.NDJSON", "a.jsonl", "b.ndjson.gz", "c.ndjson.zst",
        "deep/er/Patient.ndjson", "z.json", "z.json.gz",
    ]  # fmt: skip
    ignored = [".hidden.ndjson", ".git/a.ndjson", "README.md", "manifest.json", "a.ndjson.part", "SHA256SUMS"]
    for name in names + ignored:
        put(tmp_path, name, PATIENT)
    found = fhir.discover(tmp_path).files
    assert [file.path.relative_to(tmp_path).as_posix() for file in found] == sorted(names)
    assert [file.source_table for file in found] == list(range(len(names)))
    assert {file.format for file in found} == {"ndjson", "ndjson.gz", "ndjson.zst", "json", "json.gz"}


def test_documents_take_turns_within_their_folder_only(tmp_path: Path) -> None:
    """What was delivered later counts where two versions have no date; names of documents tell nothing."""
    for name in ("2023/a.json", "2023/b.json", "2023/c.json", "2024/a.json", "2024/b.json", "2024/c.ndjson"):
        put(tmp_path, name, PATIENT)
    orders = set()
    for key in range(20):
        found = fhir.discover(tmp_path, lambda path, key=key: hashlib.sha256(f"{key}{path}".encode()).digest()).files
        names = [file.path.relative_to(tmp_path).as_posix() for file in found]
        assert [file.source_table for file in found] == list(range(6))
        assert {name[:4] for name in names[:3]} == {"2023"}
        assert names[5] == "2024/c.ndjson"
        orders.add(tuple(names))
    assert len(orders) > 5


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        fhir.discover(tmp_path / "none")
    with pytest.raises(SourceError, match="no FHIR file"):
        fhir.discover(tmp_path)
    with pytest.raises(SourceError, match="no FHIR file"):
        fhir.discover(put(tmp_path, "a.csv", b"x"))


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.sampled_from([b"", b" ", b"\r", b"   \t", b"{}", OBSERVATION, PATIENT, b"x" * 40]), max_size=30),
    st.integers(1, 200),
    st.sampled_from(["", "gz", "zst"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_splits_cover_every_line_once_under_its_own_number(
    tmp_path: Path, content: list[bytes], split_bytes: int, compression: str
) -> None:
    body = b"\n".join(content)
    packed = {"": bytes, "gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}[compression](body)
    path = put(tmp_path, f"a.ndjson{'.' + compression if compression else ''}", packed)
    found, named = survey(path, split_bytes=split_bytes)
    wanted = [(number, line, None) for number, line in enumerate(content, 1) if line.strip()]
    assert sorted(rows(found)) == wanted
    assert len(named) == content.count(PATIENT)
    assert found.sha256 == hashlib.sha256(packed).hexdigest()
    assert not found.broken


def test_however_large_an_archive_little_is_unpacked_in_vain(tmp_path: Path) -> None:
    """A part is reached by unpacking what lies before it: parts of one size would cost the square of the file."""
    content = b"\n".join([OBSERVATION + b" " * 8000] * 15_000)
    found, _ = survey(put(tmp_path, "a.ndjson.gz", gzip.compress(content, 1)), split_bytes=1000)
    assert sum(split.start for split in found.splits) <= 9 * len(content)
    assert len(found.splits) > 10
    plain, _ = survey(put(tmp_path, "b.ndjson", content), split_bytes=1000)
    assert len(plain.splits) > len(found.splits)


def test_splits_do_not_depend_on_a_line_that_is_too_long(tmp_path: Path) -> None:
    content = b"\n".join([OBSERVATION] * 20 + [b"y" * 3000] + [OBSERVATION] * 20)
    found, _ = survey(put(tmp_path, "a.ndjson", content), longest=1000, split_bytes=200)
    got = sorted(rows(found, longest=1000))
    assert [number for number, _, _ in got] == list(range(1, 42))
    assert [fate for _, _, fate in got if fate] == ["read/line_too_long"]
    assert got[20][:2] == (21, None)


def test_a_byte_order_mark_hides_nobody(tmp_path: Path) -> None:
    for name in ("a.ndjson", "a.json"):
        path = put(tmp_path, name, b"\xef\xbb\xbf" + PATIENT + b"\n" + OBSERVATION + b"\n")
        found, named = survey(path)
        assert [one["id"] for one in named] == ["p1"]
        assert rows(found) == [(1, PATIENT, None), (2, OBSERVATION, None)]


def test_resource_type_may_come_last(tmp_path: Path) -> None:
    line = b'{"contained":[{"resourceType":"Medication"}],"id":"p1","resourceType" : "Patient"}'
    _, named = survey(put(tmp_path, "a.ndjson", line))
    assert [one["id"] for one in named] == ["p1"]


@pytest.mark.parametrize(
    ("kind", "wanted"), [("Practitioner", ["o"]), ("Patient", ["o"]), ("Medication", []), ("Device", [])]
)
def test_a_line_that_contains_a_person_or_a_place_is_handed_in(tmp_path: Path, kind: str, wanted: list[str]) -> None:
    line = b'{"resourceType":"Observation","id":"o","contained":[{"resourceType":"%s","id":"x"}]}' % kind.encode()
    _, named = survey(put(tmp_path, "a.ndjson", line))
    assert [one["id"] for one in named] == wanted


def test_what_breaks_is_a_row_and_what_stood_before_is_read(tmp_path: Path) -> None:
    packed = gzip.compress((OBSERVATION + b"\n") * 30_000)
    found, _ = survey(put(tmp_path, "a.ndjson.gz", packed[:-100]))
    assert found.broken
    got = rows(found)
    assert got[-1][2] == "read/corrupt_file"
    assert all(body == OBSERVATION for _, body, fate in got[:-1] if fate is None and body.endswith(b"}}"))


# ── documents ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("indent", [None, 2])
def test_a_bundle_becomes_its_entries(tmp_path: Path, indent: int | None) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": "urn:uuid:aa", "resource": {"resourceType": "Patient", "birthDate": "2000"}},
            {"resource": {"resourceType": "Observation", "id": "o", "valueQuantity": {"value": 1}}},
            {"request": {}},
            5,
        ],
    }
    text = json.dumps(bundle, indent=indent).replace('"value": 1', '"value": 1.10')
    found, named = survey(put(tmp_path, "b.json", text.encode()))
    assert [one["id"] for one in named] == ["aa"]
    got = rows(found)
    assert [number for number, _, _ in got] == [1, 2, 3, 4]
    assert b"1.10" in (got[1][1] or b"")  # the digits of a decimal stay
    assert [json.loads(body or b"null") for _, body, _ in got][3] == 5


def test_ndjson_named_json_is_read_line_by_line(tmp_path: Path) -> None:
    last = b'{"id":"p1","resourceType":"Patient"}'
    for content in (last + b"\n\n" + OBSERVATION, b'{"resourceType":"Pat\n' + last + b"\n" + OBSERVATION):
        found, named = survey(put(tmp_path, "a.json", content))
        assert [one["id"] for one in named] == ["p1"]
        lines = content.split(b"\n")
        assert rows(found) == [(number, line, None) for number, line in enumerate(lines, 1) if line]


@pytest.mark.parametrize(
    "content",
    [b'{"resourceType":"Bundle","entry":[{"resource":', b'{\n "resourceType": "Bundle",\n "entry": [\n', b"x"],
)
def test_a_broken_document_is_one_bad_row(tmp_path: Path, content: bytes) -> None:
    found, named = survey(put(tmp_path, "b.json", content))
    assert named == []
    reason = "not_a_bundle" if content == b"x" else "corrupt_file"
    assert [(number, fate) for number, _, fate in rows(found)] == [(1, f"read/{reason}")]
    assert found.broken == (content != b"x")


def test_one_resource_or_none_in_a_document(tmp_path: Path) -> None:
    found, named = survey(put(tmp_path, "b.json", json.dumps(json.loads(PATIENT), indent=1).encode()))
    assert len(named) == len(rows(found)) == 1
    found, named = survey(put(tmp_path, "b.json", b'{"resourceType":"Bundle"}'))
    assert rows(found) == named == []


def test_batches_are_small(tmp_path: Path) -> None:
    path = put(tmp_path, "a.ndjson", (b'{"a":"' + b"x" * 2000 + b'"}\n') * 9000)
    found, _ = survey(path)
    batches = [batch for split in found.splits for batch in fhir.read(split, longest=MIB)]
    assert max(batch.nbytes for batch in batches) < 5 * MIB
    assert sum(batch.num_rows for batch in batches) == 9000
