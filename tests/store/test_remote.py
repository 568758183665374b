"""Stores in object stores, against real servers on loopback: moto's for S3, Azurite for Azure."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import servers

import mayo_data as md
from mayo_data import keys
from mayo_data.dataset.elsewhere import fetch
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.store import buckets, remote
from mayo_data.store.remote import publish
from mayo_data.store.snapshot import Manifest


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    boto3 = pytest.importorskip("boto3")
    with servers.s3(tmp_path_factory.mktemp("s3")) as endpoint:
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="stores")
        yield f"s3://stores/{{}}?endpoint={endpoint}"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    blob = pytest.importorskip("azure.storage.blob")
    with servers.azure(tmp_path_factory.mktemp("azure")) as endpoint:
        credential = {"account_name": servers.AZURE_ACCOUNT, "account_key": servers.AZURE_KEY}
        blob.ContainerClient(f"{endpoint}/{servers.AZURE_ACCOUNT}", "stores", credential=credential).create_container()
        yield f"abfss://stores@{servers.AZURE_ACCOUNT}.dfs.core.windows.net/{{}}?endpoint={endpoint}"


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    made: str = request.getfixturevalue(request.param)
    return made.format(request.node.name.replace("[", "-").replace("]", ""))


@pytest.fixture
def store(synthetic_run: Path, tmp_path: Path) -> Path:
    for name in ("store", "store.phi"):
        shutil.copytree(synthetic_run / name, tmp_path / name)
    return tmp_path / "store"


def digests(store: Path) -> list[str]:
    opened = md.snapshots(store)
    return [one.logical_digest for one in opened]


def test_what_was_published_is_what_is_fetched(url: str, store: Path, tmp_path: Path) -> None:
    assert publish(store, url) == ["000001"]
    assert publish(store, url) == []
    copy = fetch(url, tmp_path / "copy")
    assert md.validate(copy) == []
    assert digests(copy) == digests(store)
    assert verify(copy / "ledger" / "ledger.jsonl") == []
    assert md.connect(copy).execute("SELECT count(*) FROM event").fetchall()[0][0] > 0
    assert not list(copy.rglob("*.writing"))
    assert fetch(url, tmp_path / "copy") == copy


def test_a_new_snapshot_sends_only_what_is_new(
    url: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, url)
    copy = fetch(url, tmp_path / "copy")
    sent: list[str] = []
    kind = type(buckets.bucket(url))
    put = kind.put
    monkeypatch.setattr(kind, "put", lambda self, name, source: (sent.append(name), put(self, name, source))[1])
    again(store)
    assert publish(store, url) == ["000002"]
    files = {file.sha256 for file in Manifest.read(store / "snapshots" / "000001").files}
    assert sent
    assert not {name.rpartition("/")[2] for name in sent} & files
    assert len(sent) < len(Manifest.read(store / "snapshots" / "000002").files)
    fetch(url, copy)
    assert [one.name for one in md.snapshots(copy)] == ["000001", "000002"]
    assert md.validate(copy) == []


def again(store: Path) -> None:
    """Commit another snapshot: one subject fewer, so that one shard is new."""
    md.withdraw(store, int(md.open(store).subjects()[0]), reason="test")


def test_of_two_writers_one_is_refused(url: str, store: Path, tmp_path: Path) -> None:
    publish(store, url)
    other = fetch(url, tmp_path / "other")
    again(store)
    Ledger(other / "ledger" / "ledger.jsonl").append("note", {"of": "another machine"})
    assert publish(store, url) == ["000002"]
    with pytest.raises(StoreError, match="another writer was there"):
        publish(other, url)
    fetch(url, other)  # catches up, and keeps what it has noted itself
    assert verify(other / "ledger" / "ledger.jsonl") == []
    assert [record["kind"] for record in Ledger(other / "ledger" / "ledger.jsonl").records()][-1] == "note"
    assert publish(other, url) == []
    assert [record["kind"] for record in Ledger(fetch(url, store) / "ledger" / "ledger.jsonl").records()][-1] == "note"


def test_two_that_commit_at_once_do_not_both_win(url: str) -> None:
    bucket = buckets.bucket(url)
    won: list[int] = []
    start = threading.Barrier(8)

    def commit(number: int) -> None:
        one = buckets.bucket(url)
        start.wait()
        if one.create("snapshots/000001.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert bucket.read("snapshots/000001.json") == b"%d" % won[0]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_publication_that_dies_shows_nothing_half(
    url: str, store: Path, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(buckets.bucket(url))
    put, count = kind.put, 0

    def dies(self: Any, name: str, source: Path) -> None:
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        put(self, name, source)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "put", dies)
        with pytest.raises(KeyboardInterrupt):
            publish(store, url)
    with pytest.raises(StoreError, match="no such snapshot"):
        fetch(url, tmp_path / "copy")
    assert publish(store, url) == ["000001"]
    assert digests(fetch(url, tmp_path / "copy")) == digests(store)


def test_what_is_pruned_goes_there_too(url: str, store: Path, tmp_path: Path) -> None:
    again(store)
    publish(store, url)
    bucket = buckets.bucket(url)
    before = bucket.names("objects/")
    md.prune(store, 1)
    publish(store, url)
    assert bucket.names("snapshots/") == ["snapshots/000002.json"]
    assert set(bucket.names("objects/")) <= set(before)
    held = {file.sha256 for file in Manifest.read(store / "snapshots" / "000002").files}
    assert {name.rpartition("/")[2] for name in bucket.names("objects/")} == held
    assert md.validate(fetch(url, tmp_path / "copy")) == []


def test_a_file_that_was_changed_there_is_found(url: str, store: Path, tmp_path: Path) -> None:
    publish(store, url)
    bucket = buckets.bucket(url)
    name = next(name for name in bucket.names("objects/"))
    bucket.replace(name, b"something else")
    with pytest.raises(StoreError, match="not the one that was published"):
        fetch(url, tmp_path / "copy")


def test_a_manifest_cannot_write_outside(url: str, store: Path, tmp_path: Path) -> None:
    publish(store, url)
    bucket = buckets.bucket(url)
    sealed = bucket.read("snapshots/000001.json") or b""
    bucket.replace("snapshots/000001.json", sealed.replace(b'"data/0000.parquet"', b'"../../../evil.parquet"'))
    with pytest.raises(StoreError, match="outside of its snapshot"):
        fetch(url, tmp_path / "copy")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "wrong", ["ftp://x/y", "s3://", "abfss://account.dfs.core.windows.net/x", "s3://u:p@bucket/x", "s3://b/x?odd=1"]
)
def test_a_wrong_url_is_told(store: Path, wrong: str) -> None:
    with pytest.raises(ConfigError):
        publish(store, wrong)


def test_no_store_there(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at this URL"):
        fetch(url, tmp_path / "copy")


def test_a_store_of_another_key_is_refused(url: str, store: Path, tmp_path: Path) -> None:
    publish(store, url)
    other = tmp_path / "other"
    shutil.copytree(store, other)
    about = other / "store.json"
    about.chmod(0o644)
    about.write_text(about.read_text().replace('"key_id": "', '"key_id": "f'))
    with pytest.raises(StoreError, match="another key"):
        publish(other, url)


@pytest.mark.slow
def test_the_commands(url: str, store: Path, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        command = [sys.executable, "-m", "mayo_data", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "000001" in said("publish", str(store), url)
    assert "nothing new" in said("publish", str(store), url)
    assert str(tmp_path / "copy") in said("fetch", url, str(tmp_path / "copy"))
    assert md.validate(tmp_path / "copy") == []


def test_a_run_publishes_what_it_has_committed(url: str, synthetic_export: Path, tmp_path: Path) -> None:
    key = tmp_path / "site.key"
    keys.generate(key)
    command = [
        sys.executable, "-m", "mayo_data", "run", "fhir.toml", "--input", str(synthetic_export / "fhir"), "--store",
        str(tmp_path / "made"), "--key-file", str(key), "--log", "quiet", "--workers", "1", "--publish", url,
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, text=True, check=True)
    assert digests(fetch(url, tmp_path / "copy")) == digests(tmp_path / "made")


def test_the_cache_is_named_by_the_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAYO_DATA_CACHE", str(tmp_path))
    assert remote.cached("s3://a/b").parent == tmp_path
    assert remote.cached("s3://a/b") != remote.cached("s3://a/c")


# ── a hostile object store ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    ["../evil.parquet", "/evil.parquet", "data/../../evil.parquet", "./evil.parquet", "data//evil.parquet", "manifest.json",
     "..\\\\evil.parquet", "evil\\u0000.parquet", "..", ".", "", "data/evil/"],
)  # fmt: skip
def test_no_manifest_names_a_file_elsewhere(tmp_path: Path, synthetic_store: Path, path: str) -> None:
    sealed = (synthetic_store / "snapshots" / "000001" / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(sealed.replace(b'"data/0000.parquet"', f'"{path}"'.encode()))
    with pytest.raises(StoreError, match="outside of its snapshot"):
        Manifest.read(tmp_path)


def test_a_name_of_a_snapshot_leads_nowhere_else(url: str, store: Path, tmp_path: Path) -> None:
    publish(store, url)
    bucket = buckets.bucket(url)
    sealed = bucket.read("snapshots/000001.json") or b""
    for name in ("..", ".", "../../../evil", "999999x", "~", "000002.json/..", "99999999999999999999999999999"):
        with suppress(StoreError):  # Azure refuses some of these itself
            bucket.replace(f"snapshots/{name}.json", sealed)
    assert len(bucket.names("snapshots/")) > 3
    (tmp_path / "copy").mkdir()
    copy = fetch(url, tmp_path / "copy")
    assert [one.name for one in md.snapshots(copy)] == ["000001"]
    assert md.validate(copy) == []
    with pytest.raises(StoreError, match="no such snapshot"):
        fetch(url, tmp_path / "copy", snapshot="..")
    assert not list(tmp_path.rglob("evil*"))
    bucket.delete("snapshots/000001.json")
    with pytest.raises(StoreError, match="no such snapshot"):
        fetch(url, tmp_path / "other")
    assert (tmp_path / "other" / "store.json").exists()


@pytest.mark.parametrize("about", [b"{", b"[]", b"{}", b'{"key_id": 5}', b'{"key_id": "a\\nb"}', b"[" * 100_000])
def test_a_damaged_store_there_is_told(url: str, tmp_path: Path, about: bytes) -> None:
    buckets.bucket(url).replace("store.json", about)
    with pytest.raises(StoreError, match=r"store\.json at this URL is damaged"):
        fetch(url, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
