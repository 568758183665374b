"""Exports in object stores, against real servers on loopback: moto's for S3, Azurite for Azure."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import servers
from pyarrow import fs

from mayo_data.errors import SourceError
from mayo_data.sources import blocks, fhir, location

MIB = 1 << 20
PATIENT = b'{"resourceType":"Patient","id":"p1"}\n'
LINES = b"".join(b'{"resourceType":"Observation","id":"o%d","note":"%s"}\n' % (n, b"x" * 90) for n in range(3000))
BUNDLE = (
    b'{"resourceType":"Bundle","entry":[' + b",".join(b'{"resource":' + PATIENT[:-1] + b"}" for _ in range(50)) + b"]}"
)
FILES = {"Patient.ndjson": PATIENT, "deep/1.Observation.ndjson": LINES, "deep/2.Observation.ndjson.gz": gzip.compress(LINES),
         "b.json": BUNDLE, "notes.csv": b"x"}  # fmt: skip


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a bucket with the files, and the query that leads to it."""
    with servers.s3(tmp_path_factory.mktemp("s3")) as endpoint:
        system = fs.S3FileSystem(
            endpoint_override=endpoint.removeprefix("http://"), scheme="http", region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        fill(system, "exports")
        yield f"s3://exports/night?endpoint={endpoint}"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.azure(tmp_path_factory.mktemp("azure")) as endpoint:
        authority = endpoint.removeprefix("http://")
        system = fs.AzureFileSystem(
            servers.AZURE_ACCOUNT, account_key=servers.AZURE_KEY, blob_storage_authority=authority,
            blob_storage_scheme="http", dfs_storage_authority=authority, dfs_storage_scheme="http",
        )  # fmt: skip
        fill(system, "exports")
        yield f"abfss://exports@{servers.AZURE_ACCOUNT}.dfs.core.windows.net/night?endpoint={endpoint}"


def fill(system: fs.FileSystem, bucket: str) -> None:
    system.create_dir(bucket)
    for name, content in FILES.items():
        with system.open_output_stream(f"{bucket}/night/{name}", compression=None) as out:
            out.write(content)
    with system.open_output_stream(f"{bucket}/other/x.ndjson") as out:
        out.write(PATIENT)


@pytest.fixture(params=["s3", "azure"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def below(url: str, name: str) -> str:
    place, _, query = url.partition("?")
    return f"{place}/{name}?{query}" if name else url


def rows(source: Any, split_bytes: int = 32 * MIB) -> list[tuple[Any, ...]]:
    found = []
    for file in fhir.discover(source).files:
        surveyed = fhir.survey(file, lambda resource: None, longest=MIB, split_bytes=split_bytes)
        for split in surveyed.splits:
            for batch in fhir.read(split, longest=MIB):
                table = pa.Table.from_batches([batch])
                found += list(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))
        found.append((file.source_table, surveyed.sha256, file.size, file.format))
    return found


@pytest.mark.parametrize("block", [blocks.BLOCK, 10_000])
def test_what_lies_there_is_what_lay_here(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(blocks, "BLOCK", block)
    there, here = fhir.discover(url), fhir.discover(tmp_path)
    assert there.unread == here.unread == ("notes.csv",)
    assert [file.path.name for file in there.files] == [file.path.name for file in here.files]
    assert rows(url, split_bytes=50_000) == rows(tmp_path)
    [large] = [file for file in there.files if file.path.name == "1.Observation.ndjson"]
    splits = fhir.survey(large, lambda resource: None, longest=MIB, split_bytes=50_000).splits
    assert (len(splits) > 3) == (block == 10_000)  # cut where a block ends


def test_one_file_and_what_is_not_there(url: str) -> None:
    [file] = fhir.discover(below(url, "deep/2.Observation.ndjson.gz")).files
    assert (file.format, file.size) == ("ndjson.gz", len(FILES["deep/2.Observation.ndjson.gz"]))
    with pytest.raises(SourceError, match="the input does not exist"):
        fhir.discover(below(url, "quimbleford"))
    with pytest.raises(SourceError) as caught:
        fhir.discover(url.replace("exports", "nobucket", 1))
    assert "nobucket" not in str(caught.value)


def test_a_file_that_goes_away_is_said_without_its_name(url: str) -> None:
    [file] = fhir.discover(below(url, "Patient.ndjson")).files
    assert isinstance(file.path, location.RemotePath)
    gone = fhir.SourceFile(location.RemotePath(file.path.root, file.path.path + "x"), 3, "ndjson", "", 9)
    with pytest.raises(SourceError, match="file 3 cannot be read") as caught:
        fhir.survey(gone, lambda resource: None, longest=MIB)
    assert "Patient" not in str(caught.value)


def test_the_endpoint_may_stand_in_the_environment(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, _, query = s3.partition("?endpoint=")
    location.file_system.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", query)
    assert len(fhir.discover(place).files) == 4
    location.file_system.cache_clear()


def test_no_key_no_entry(azure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    location.file_system.cache_clear()
    monkeypatch.setenv("AZURE_STORAGE_KEY", "bm90IHRoZSBrZXk=")
    with pytest.raises(SourceError, match="the input cannot be listed: permission denied"):
        fhir.discover(azure)
    location.file_system.cache_clear()


@pytest.mark.slow
def test_a_run_over_a_bucket_is_the_run_over_the_folder(url: str, synthetic_export: Path, tmp_path: Path) -> None:
    from mayo_data import keys
    from mayo_data.pipeline import run_file

    keys.generate(tmp_path / "site.key")
    place, _, query = url.partition("?")
    above = place.rpartition("/")[0]
    system = location.file_system(f"{above}?{query}")
    bucket = "exports"
    for path in sorted((synthetic_export / "fhir").rglob("*.*")):
        if path.is_file():
            name = path.relative_to(synthetic_export / "fhir").as_posix()
            with system.open_output_stream(f"{bucket}/synthetic/{name}", compression=None) as out:
                out.write(path.read_bytes())
    zone = {"key_file": tmp_path / "site.key"}
    there = run_file("fhir.toml", f"{above}/synthetic?{query}", tmp_path / "there", workers=1, **zone)
    here = run_file("fhir.toml", synthetic_export / "fhir", tmp_path / "here", workers=1, **zone)
    assert (there.logical_digest, there.run_id, there.events) == (here.logical_digest, here.run_id, here.events)
    # Other processes connect on their own.
    together = run_file("fhir.toml", f"{above}/synthetic?{query}", tmp_path / "together", workers=2, **zone)
    assert (together.run_id, together.events) == (here.run_id, here.events)
