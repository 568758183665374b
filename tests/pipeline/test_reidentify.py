"""The crosswalk: off unless a site turns it on, sealed, and told only after the ledger knows who asked and why."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mayo_data as md
from mayo_data import keys
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi.vault import Vault
from mayo_data.store.layout import Store

WHY = {"reason": "call the patient back", "by": "officer-7"}


@pytest.fixture(scope="module")
def site(synthetic_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    keys.generate(folder / "site.key")
    source = folder / "export"
    source.mkdir()
    for name in ("Patient", "Observation", "Encounter"):
        shutil.copy(synthetic_export / "fhir" / f"{name}.ndjson", source)
    (folder / "on.toml").write_text('name = "on"\n[phi]\nmodel = "none"\ncrosswalk = true\n')
    md.run(folder / "on.toml", source, folder / "store", key_file=folder / "site.key", workers=1)
    return folder


def resources(store: Path) -> list[dict[str, object]]:
    folder = Store.open(store).current() / "lineage" / "resources"
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.iterdir())).to_pylist()


def test_every_keyed_id_leads_back_to_its_own_resource(site: Path) -> None:
    store = site / "store"
    sources = pq.read_table(Store.open(store).current() / "lineage" / "sources.parquet").to_pylist()
    import hashlib

    files = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in (site / "export").iterdir()}
    paths = {one["source_table"]: files[one["sha256"]].read_bytes().splitlines() for one in sources}
    vault = Vault(site / "store.phi" / "vault.sqlite", keys.load(site / "site.key"))
    try:
        for one in resources(store):
            body = orjson.loads(paths[one["source_table"]][one["source_row"] - 1])  # type: ignore[operator]
            assert vault.identify(one["resource_key"]) == f"{body['resourceType']}/{body['id']}"  # type: ignore[arg-type]
    finally:
        vault.close()


def test_a_subject_and_a_resource_are_told_and_recorded_first(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key = site / "store", site / "site.key"
    patient = next(one for one in resources(store) if one["resource_type"] == "Patient")
    found = md.reidentify(store, subject=patient["subject_id"], key_file=key, **WHY)  # type: ignore[arg-type]
    again = md.reidentify(store, resource=patient["resource_key"], key_file=key, **WHY)  # type: ignore[arg-type]
    assert found.source == again.source
    ids = {orjson.loads(line)["id"] for line in (site / "export" / "Patient.ndjson").read_bytes().splitlines()}
    assert found.source.removeprefix("Patient/") in ids
    assert found.source not in repr(found)
    records = [one["body"] for one in Ledger(Store.open(store).ledger).records("reidentification")]
    assert records[-2:] == [
        {**WHY, "subject_id": patient["subject_id"]}, {**WHY, "resource": patient["resource_key"]}
    ]  # fmt: skip

    def full(self: Ledger, kind: str, body: object) -> str:
        raise md.StoreError("the disk is full")

    asked: list[int] = []
    monkeypatch.setattr(Ledger, "append", full)
    monkeypatch.setattr(Vault, "subject", lambda self, subject: asked.append(subject))
    with pytest.raises(md.StoreError, match="disk is full"):
        md.reidentify(store, subject=patient["subject_id"], key_file=key, **WHY)  # type: ignore[arg-type]
    assert not asked


def test_the_vault_alone_says_nothing(site: Path) -> None:
    text = (site / "store.phi" / "vault.sqlite").read_bytes()
    for line in (site / "export" / "Patient.ndjson").read_bytes().splitlines():
        assert orjson.loads(line)["id"].encode() not in text


def test_another_key_opens_nothing(site: Path, tmp_path: Path) -> None:
    keys.generate(tmp_path / "other.key")
    before = len(list(Ledger(Store.open(site / "store").ledger).records()))
    with pytest.raises(md.StoreError, match="not the key"):
        md.reidentify(site / "store", subject=1, key_file=tmp_path / "other.key", **WHY)
    assert len(list(Ledger(Store.open(site / "store").ledger).records())) == before


def test_an_unknown_id_is_an_error_that_is_recorded_too(site: Path) -> None:
    with pytest.raises(md.StoreError, match="does not know"):
        md.reidentify(site / "store", resource=5, key_file=site / "site.key", **WHY)
    assert list(Ledger(Store.open(site / "store").ledger).records("reidentification"))[-1]["body"]["resource"] == 5


@pytest.mark.parametrize("more", [{"reason": " "}, {"by": ""}])
def test_who_and_why_must_be_said(site: Path, more: dict[str, str]) -> None:
    with pytest.raises(md.ConfigError):
        md.reidentify(site / "store", resource=5, key_file=site / "site.key", **{**WHY, **more})
    with pytest.raises(md.ConfigError, match="one thing"):
        md.reidentify(site / "store", key_file=site / "site.key", **WHY)


def test_off_by_default(synthetic_run: Path, tmp_path: Path) -> None:
    shutil.copytree(synthetic_run, tmp_path / "site")
    store, key = tmp_path / "site" / "store", tmp_path / "site" / "site.key"
    with pytest.raises(md.ConfigError, match="no crosswalk"):
        md.reidentify(store, subject=md.open(store).subjects()[0], key_file=key, **WHY)


def test_an_erasure_takes_the_crosswalk_of_the_subject_along(site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "copy")
    store, key = tmp_path / "copy" / "store", tmp_path / "copy" / "site.key"
    gone, kept = (next(one for one in resources(store) if one["subject_id"] == subject)
                  for subject in md.open(store).subjects()[:2])  # fmt: skip
    md.erase(store, gone["subject_id"], "asked", key_file=key)  # type: ignore[arg-type]
    with pytest.raises(md.StoreError, match="does not know"):
        md.reidentify(store, resource=gone["resource_key"], key_file=key, **WHY)  # type: ignore[arg-type]
    assert md.reidentify(store, resource=kept["resource_key"], key_file=key, **WHY).source  # type: ignore[arg-type]
