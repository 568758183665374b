from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayo_data.errors import ConfigError, SourceError
from mayo_data.sources import fhir, location, manifest, omop

PATIENT = b'{"resourceType":"Patient","id":"p1"}\n'


def put(folder: Path, name: str, content: bytes = PATIENT) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ── folders ───────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_read_is_counted_by_ending_and_never_by_name(tmp_path: Path) -> None:
    for name in ("a.ndjson", "b.csv", "c.CSV", "README", "d.quimbleford", ".hidden.ndjson", "deep/e.ndjson.zip"):
        put(tmp_path, name)
    found = fhir.discover(tmp_path)
    assert found.endings == {"csv": 2, "ndjson": 1, "none": 1, "other": 1, "zip": 1}
    assert "d.quimbleford" in found.unread
    assert len(found.files) == 1


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/secret.ndjson")
    put(tmp_path, "in/a.ndjson")
    for target in (outside, outside.parent):
        link = tmp_path / "in" / "b.ndjson"
        link.symlink_to(target)
        with pytest.raises(SourceError, match="a link leads out of the input folder") as caught:
            fhir.discover(tmp_path / "in")
        assert "secret" not in str(caught.value)
        link.unlink()


def test_a_link_out_of_a_folder_of_tables_is_refused(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/secret.csv", b"person_id\n1\n")
    put(tmp_path, "in/person.csv", b"person_id\n1\n")
    put(tmp_path, "in/measurement/part.csv", b"measurement_id\n1\n")
    for link, target in (
        ("note.csv", outside), ("note", outside.parent), ("measurement/a.csv", outside), ("x.csv", Path("/etc/passwd")),
    ):  # fmt: skip
        place = tmp_path / "in" / link
        place.symlink_to(target)
        with pytest.raises(SourceError, match="a link leads out of the input folder") as caught:
            omop.discover(tmp_path / "in", ("person", "measurement", "note"))
        assert "secret" not in str(caught.value)
        place.unlink()
    (tmp_path / "in" / "note.csv").symlink_to("person.csv")
    (tmp_path / "in" / "visit.csv").symlink_to("nothing")
    assert len(omop.discover(tmp_path / "in", ("person", "measurement", "note")).parts) == 3


def test_links_inside_and_to_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(folder, "sub/a.ndjson")
    (folder / "b.ndjson").symlink_to(folder / "sub" / "a.ndjson")
    (folder / "c.ndjson").symlink_to(folder / "nothing")
    (folder / "loop.ndjson").symlink_to(folder / "loop.ndjson")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "pipe.ndjson")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "s.ndjson"))
        found = fhir.discover(folder)
    assert [file.path.name for file in found.files] == ["b.ndjson", "a.ndjson"]
    assert len(found.unread) == 5
    (tmp_path / "way").symlink_to(folder)  # the input itself may be a link
    assert len(fhir.discover(tmp_path / "way").files) == 2


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    path = put(tmp_path, "a b.ndjson")
    assert [file.path for file in fhir.discover(path.as_uri()).files] == [path]


def test_a_file_that_cannot_be_read_is_said_without_its_name(tmp_path: Path) -> None:
    path = put(tmp_path, "Quimbleford.ndjson")
    [file] = fhir.discover(tmp_path).files
    path.unlink()
    with pytest.raises(SourceError, match="file 0 cannot be read: it is not there") as caught:
        fhir.survey(file, lambda resource: None, longest=1 << 20)
    assert caught.value.__cause__ is None


# ── URLs ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://e.org/a.ndjson", "of a kind that is not read"),
        ("hdfs://node/a", "of a kind that is not read"),
        ("s3://", "names no bucket"),
        ("abfss://account.dfs.core.windows.net/x", "names no bucket"),
        ("s3://key:secret@bucket/x", "holds credentials"),
        ("s3://key@bucket/x", "holds credentials"),
        ("abfss://box:secret@account.dfs.core.windows.net/x", "holds credentials"),
        ("s3://bucket/x?acces_key=1", "unknown option"),
        ("s3://bucket/x?endpoint=ftp://e.org", "endpoint"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        fhir.discover(url)
    assert "secret" not in str(caught.value)


def test_every_kind_of_store_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    for root in (
        "s3://bucket?endpoint=http://127.0.0.1:9&anonymous=true",
        "gs://bucket?endpoint=http://127.0.0.1:9&anonymous=true",
        "abfss://box@account.dfs.core.windows.net",
        "abfss://box@account.dfs.core.windows.net?endpoint=http://127.0.0.1:9",
    ):
        location.file_system.cache_clear()
        assert location.file_system(root).type_name in ("s3", "gcs", "abfs")


def test_a_store_that_does_not_answer_is_said() -> None:
    location.file_system.cache_clear()
    with pytest.raises(SourceError, match="the input cannot be listed") as caught:
        fhir.discover("s3://quimbleford/x?endpoint=http://127.0.0.1:9&anonymous=true")
    assert "quimbleford" not in str(caught.value)


# ── manifests ─────────────────────────────────────────────────────────────────────────────────────


def manifested(folder: Path, *outputs: Any, **more: Any) -> Path:
    body = {"transactionTime": "2024-01-01T00:00:00Z", "request": "https://e.org/$export", "requiresAccessToken": False,
            "output": list(outputs), **more}  # fmt: skip
    return put(folder, "manifest.json", json.dumps(body).encode())


@pytest.mark.parametrize(
    "url",
    ["https://e.org/bulk/1/Patient.ndjson", "https://e.org/Patient.ndjson?sig=a%2Fb", "Patient.ndjson", "./Patient.ndjson",
     "s3://bucket/x/Patient.ndjson"],
)  # fmt: skip
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_manifest_finds_its_files_inside_its_folder(tmp_path: Path, url: str, packed: str) -> None:
    put(tmp_path, f"night/Patient.ndjson{packed}")
    put(tmp_path, "a.ndjson")
    manifested(tmp_path / "night", {"type": "Patient", "url": url, "count": 7}, deleted=None, error=[])
    found = fhir.discover(tmp_path)
    assert found.counts == {1: 7}
    assert found.unread == ()


@pytest.mark.parametrize(
    "url",
    ["../outside/Patient.ndjson", "/etc/passwd", "file:///etc/passwd", "a/../../Patient.ndjson", "https://e.org/bulk/..",
     "https://e.org/%2e%2e", "..\\Patient.ndjson", "C:\\Patient.ndjson", "%2e%2e/Patient.ndjson", "a%00.ndjson", "https://e.org/",
     "", "http://[bad"],
)  # fmt: skip
def test_a_manifest_leads_nowhere_else(tmp_path: Path, url: str) -> None:
    put(tmp_path, "outside/Patient.ndjson")
    put(tmp_path, "in/Patient.ndjson")
    for where in ("output", "deleted", "error"):
        manifested(tmp_path / "in", **{where: [{"type": "Patient", "url": url}]}) if where != "output" else manifested(
            tmp_path / "in", {"type": "Patient", "url": url}
        )
        with pytest.raises(SourceError, match=r"manifest.json names a place outside its folder") as caught:
            fhir.discover(tmp_path / "in")
        assert "Patient" not in str(caught.value)


def test_a_file_that_the_manifest_lists_and_nobody_brought(tmp_path: Path) -> None:
    put(tmp_path, "Patient.ndjson")
    files = [{"url": "Patient.ndjson"}, {"url": "Observation.ndjson"}]
    manifested(tmp_path, *files, deleted=[{"url": "gone.ndjson"}])
    with pytest.raises(SourceError, match=r"2 of 3 files that manifest.json lists are not in its folder"):
        fhir.discover(tmp_path)
    (tmp_path / "Observation.ndjson").symlink_to("/etc/hostname")
    with pytest.raises(SourceError, match="a link leads out"):
        fhir.discover(tmp_path)


@pytest.mark.parametrize(
    "raw",
    [b"{", b"\xff", b'{"output": 5}', b'{"output": [{}]}', b'{"output": [5]}', b'{"output": [], "deleted": {}}',
     b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b'{"output": [{"url": "a", "count": 1e400}]}', b'{"output": NaN}'],
)  # fmt: skip
def test_a_manifest_that_cannot_be_read_is_said(tmp_path: Path, raw: bytes) -> None:
    put(tmp_path, "Patient.ndjson")
    put(tmp_path, "manifest.json", raw)
    with pytest.raises(SourceError, match=r"manifest.json cannot be read"):
        fhir.discover(tmp_path)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"5", b'{"files": []}'])
def test_another_manifest_is_another_file(tmp_path: Path, raw: bytes) -> None:
    put(tmp_path, "Patient.ndjson")
    put(tmp_path, "manifest.json", raw)
    assert fhir.discover(tmp_path).unread == ("manifest.json",)


@given(st.text(max_size=30))
def test_no_url_leaves_the_folder(url: str) -> None:
    listed = manifest.Manifest([manifest.Listed(url)])
    try:
        found = manifest.match(listed, ("in",), Anywhere())
    except SourceError:
        return
    assert found == {}


class Anywhere(dict[tuple[str, ...], object]):
    """A folder in which every file is, and none outside."""

    def __contains__(self, parts: object) -> bool:
        assert isinstance(parts, tuple)
        assert parts[0] == "in"
        assert len(parts) > 1
        assert not any(part in ("..", ".", "") or set(part) & set("/\\\0") for part in parts)
        return True
