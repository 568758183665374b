from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.sources import blocks, bundles, fhir
from mayo_data.sources.blocks import Broken
from mayo_data.sources.bundles import Document

MIB = 1 << 20
PATIENT = {"resourceType": "Patient", "id": "p1"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab\\"{}[],:é\n😀'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a\\"}]', max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def rows(path: Path, *, split_bytes: int = 32 * MIB, longest: int = MIB) -> list[tuple[int, Any, str | None]]:
    [file] = fhir.discover(path).files
    found = fhir.survey(file, lambda resource: None, longest=longest, split_bytes=split_bytes)
    batches = [batch for split in found.splits for batch in fhir.read(split, longest=longest)]
    if not batches:
        return []
    table = pa.Table.from_batches(batches)
    return list(zip(*(table.column(name).to_pylist() for name in ("source_row", "body", "fate")), strict=True))


def put(folder: Path, name: str, content: bytes | Any) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


# ── the scan ──────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.dictionaries(st.text(max_size=3), json_values, max_size=3), max_size=6),
    st.lists(st.tuples(st.sampled_from(["id", "meta", "link", "entry2"]), json_values), max_size=3),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.booleans(),
)
@settings(deadline=None)
def test_entries_are_what_a_parser_finds_wherever_blocks_end(
    entries: list[Any], around: list[tuple[str, Any]], size: int, indent: int | None, unicode: bool
) -> None:
    whole = {"resourceType": "Bundle", **dict(around), "entry": entries, "after": {"entry": [{"no": 1}]}}
    text = json.dumps(whole, indent=indent, ensure_ascii=unicode).encode()
    document = Document(cut(text, size), MIB)
    found = list(document.entries())
    assert [json.loads(body or b"") for _, body in found] == entries
    assert all(text[offset : offset + len(body or b"")] == body for offset, body in found)
    assert document.kind == "Bundle"
    for number, (offset, _) in enumerate(found):  # reading can begin at any entry
        again = list(Document(cut(text[offset:], size), MIB, offset).entries())
        assert again == found[number:]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":\\,entry1 ', max_size=60).map(str.encode), st.integers(1, 9))
@settings(deadline=None)
def test_any_bytes_end(content: bytes, size: int) -> None:
    try:
        for _, body in Document(cut(b'{"entry":[' + content, size), 20).entries():
            assert body is None or len(body) <= 20
    except Broken:
        pass


def test_a_document_that_is_cut_gives_what_stands_before() -> None:
    text = b'{"resourceType":"Bundle","entry":[{"a":1},{"b":2},{"c":'
    found = []
    with pytest.raises(Broken):
        for entry in Document([text], MIB).entries():
            found.append(entry[1])
    assert found == [b'{"a":1}', b'{"b":2}']
    with pytest.raises(Broken):
        list(Document([b'{"resourceType":"Bundle","entry":[]} and more'], MIB).entries())


def test_an_entry_that_is_too_long_hides_no_other(tmp_path: Path) -> None:
    entries = [
        {"resource": PATIENT},
        {"resource": {"resourceType": "Binary", "data": "x" * 5000}},
        {"resource": PATIENT},
    ]
    found = rows(put(tmp_path, "a.json", {"resourceType": "Bundle", "entry": entries}), longest=2000)
    assert [(number, fate) for number, _, fate in found] == [(1, None), (2, "read/line_too_long"), (3, None)]


# ── splits ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_bundle_is_split_between_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, indent: int | None
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 700)
    entries: list[Any] = [
        {"fullUrl": f"urn:uuid:u{n}", "resource": {**PATIENT, "id": f"p{n}", "link": [{"other": {"reference": "urn:uuid:u7"}}]}}
        for n in range(200)
    ]  # fmt: skip
    entries[50:50] = [5, "x", None]
    text = json.dumps({"resourceType": "Bundle", "entry": entries, "total": 200}, indent=indent).encode()
    path = put(tmp_path, "a.json.gz" if packed else "a.json", gzip.compress(text) if packed else text)
    [file] = fhir.discover(path).files
    whole = rows(path)
    found = fhir.survey(file, lambda resource: None, longest=MIB, split_bytes=300 if packed else 2000)
    assert len(found.splits) > 5
    assert rows(path, split_bytes=300 if packed else 2000) == whole
    assert [number for number, _, _ in whole] == list(range(1, 204))
    assert [json.loads(body)["link"][0]["other"]["reference"] for _, body, _ in whole[:50]] == ["Patient/p7"] * 50


@given(st.integers(1, 400), st.integers(1, 60), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_a_packed_file_is_split_by_what_is_in_it(tmp_path: Path, split: int, size: int, bundles_too: bool) -> None:
    lines = [b'{"resourceType":"Observation","id":"%d"}' % number for number in range(60)]
    lines[20] = b"y" * 900
    if bundles_too:
        lines[5] = json.dumps({"resourceType": "Bundle", "entry": [{"resource": PATIENT}] * 3}).encode()
        lines[6] = b'{"resourceType": "Bundle", "entry": []}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", size)
        for name, packed in (("a.ndjson", b"\n".join(lines)), ("a.ndjson.gz", gzip.compress(b"\n".join(lines)))):
            found = rows(put(tmp_path, name, packed), split_bytes=split, longest=500)
            assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
            assert len(found) == 60 + (2 - 1 if bundles_too else 0)
            assert [fate for _, _, fate in found if fate] == ["read/line_too_long"]


# ── what an entry comes to ────────────────────────────────────────────────────────────────────────


def test_a_bundle_in_a_line_is_opened(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "entry": [{"resource": PATIENT}, {"resource": {**PATIENT, "id": "p2"}}],
    }
    nested = {"resourceType": "Bundle", "entry": [{"resource": bundle}, {"resource": {**PATIENT, "id": "p3"}}]}
    lines = [
        PATIENT,
        bundle,
        {"resourceType": "List", "entry": [{"item": {}}]},
        nested,
        {"resourceType": "Bundle", "entry": {}},
    ]
    found = rows(put(tmp_path, "a.ndjson", b"\n".join(json.dumps(line).encode() for line in lines)))
    assert [number for number, _, _ in found] == list(range(1, 9))
    assert [json.loads(body).get("id") for _, body, _ in found] == ["p1", "p1", "p2", None, "p1", "p2", "p3", None]
    assert found[-1][2] == "read/not_a_bundle"


def test_bundles_in_bundles_end() -> None:
    line = b'{"resourceType":"Bundle","entry":[{"resource":' * 5000 + b"{}" + b"}]}" * 5000
    found = bundles.special(line)
    assert found is None or [row.reason for row in found] == [""]
    few = b'{"resourceType":"Bundle","entry":[{"resource":' * 30 + b"{}" + b"}]}" * 30
    [row] = bundles.special(few) or []
    assert (row.body or b"").startswith(b'{"resourceType":"Bundle"')  # the scrub says that it knows no such type


def test_names_inside_a_bundle_are_resolved() -> None:
    entries = [
        {"fullUrl": "urn:uuid:aa", "resource": {"resourceType": "Patient", "id": "p9"}},
        {"fullUrl": "urn:uuid:bb", "resource": {"resourceType": "Encounter"}, "request": {"method": "POST", "url": "Encounter"}},
        {"resource": {"resourceType": "Observation", "id": "o", "subject": {"reference": "urn:uuid:aa"},
                      "encounter": {"reference": "urn:uuid:bb"}, "note": [{"text": "urn:uuid:aa"}]}},
    ]  # fmt: skip
    found = [
        json.loads(row.body or b"")
        for row in bundles.special(json.dumps({"resourceType": "Bundle", "entry": entries}).encode()) or []
    ]
    assert found[0] == {"resourceType": "Patient", "id": "p9"}
    assert found[1] == {"resourceType": "Encounter", "id": "bb"}
    assert found[2]["subject"] == {"reference": "Patient/p9"}
    assert found[2]["encounter"] == {"reference": "urn:uuid:bb"}  # which is the id of that Encounter


@pytest.mark.parametrize(
    ("url", "named"),
    [("Patient/123", "Patient/123"), ("https://e.org/fhir/Observation/a-1.b", "Observation/a-1.b"), ("Patient?identifier=1", None),
     ("Patient", None), ("../etc/passwd", None), ("", None), (5, None)],
)  # fmt: skip
def test_a_delete_entry_is_an_order(url: Any, named: str | None) -> None:
    bundle = {"resourceType": "Bundle", "meta": {"lastUpdated": "2020-04-27T02:56:00Z"}, "type": "transaction",
              "entry": [{"request": {"method": "DELETE", "url": url}}]}  # fmt: skip
    [row] = bundles.special(json.dumps(bundle).encode()) or []
    if named is None:
        assert row.reason == ""  # the scrub says that it has no type
    else:
        assert row.reason == "deletion"
        assert json.loads(row.body or b"") == {"reference": named, "version": 1_587_956_160_000_000}


def test_the_time_of_a_deletion() -> None:
    entry: dict[str, Any] = {"request": {"method": "DELETE", "url": "Patient/1"}}
    answered = {**entry, "response": {"lastModified": "1970-01-01T00:00:02Z"}}
    for one, wanted in ((entry, None), (answered, 2_000_000), ({**entry, "response": {"lastModified": "soon"}}, None)):
        [row] = bundles.opened(json.dumps(one).encode(), {}, None)
        assert json.loads(row.body or b"")["version"] == wanted


def test_a_pretty_printed_bundle_of_deletions(tmp_path: Path) -> None:
    bundle = {"resourceType": "Bundle", "meta": {"versionId": "1", "lastUpdated": "1970-01-01T00:00:03Z"},
              "entry": [{"request": {"method": "DELETE", "url": "Patient/1"}}]}  # fmt: skip
    [(_, body, fate)] = rows(put(tmp_path, "a.json", json.dumps(bundle, indent=2).encode()))
    assert (json.loads(body)["version"], fate) == (3_000_000, "read/deletion")


@pytest.mark.parametrize(
    ("severity", "reason"), [("error", "export_error"), ("fatal", "export_error"), ("information", "export_note")]
)
def test_what_the_server_says_is_no_resource(tmp_path: Path, severity: str, reason: str) -> None:
    said = {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "exception"}]}
    for name, content in (
        ("a.ndjson", json.dumps(said).encode()),
        ("b.json", json.dumps(said, indent=1).encode()),
        ("c.ndjson", json.dumps({"resourceType": "Bundle", "entry": [{"resource": said}]}).encode()),
    ):
        assert [fate for _, _, fate in rows(put(tmp_path, name, content))] == [f"read/{reason}"]


def test_a_pretty_printed_resource_keeps_its_digits_and_doubled_keys() -> None:
    [row] = bundles.opened(b'{"resource": {\n "id": "a", "value": 1.10,\r\n "id": "b", "text": "x\\n  y"}}', {}, None)
    assert row.body == b'{"id":"a","value":1.10,"id":"b","text":"x\\n  y"}'
