"""A nightly delta: merged, it is what a run over everything would have given; run twice, it changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hospital import KEY, codes_of, events, export, note, observation, patient, pipeline

import mayo_data as md
from mayo_data.errors import ConfigError, SourceError, StoreError
from mayo_data.keys import Secret
from mayo_data.lineage import steps as accounts
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.pipeline import RunReport, run
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest

Json = dict[str, Any]
CREATININE = "OBSERVATION//LOINC//2160-0"
FAST = {"phi": {"model": "none"}, "store": {"shards": 5}}


def at(resource: Json, day: int) -> Json:
    return {**resource, "meta": {"lastUpdated": f"2020-01-{day:02d}T00:00:00Z"}}


def deletion(*urls: str, day: int | None = None) -> Json:
    meta = {"meta": {"lastUpdated": f"2020-01-{day:02d}T00:00:00Z"}} if day else {}
    entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
    return {"resourceType": "Bundle", **meta, "type": "transaction", "entry": entries}


def merged(source: Path | Sequence[Path], store: Path, /, *, workers: int = 1, **sections: Any) -> RunReport:
    report = run(pipeline(**{**FAST, **sections}), source, store, Secret(KEY), workers=workers, delta=True)
    assert accounts.check(report.steps) == []
    assert md.validate(store) == []
    return report


def whole(source: Path | Sequence[Path], store: Path, /, **sections: Any) -> RunReport:
    return run(pipeline(**{**FAST, **sections}), source, store, Secret(KEY), workers=1)


def nights(folder: Path, parts: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write an export a night; `folder/all` holds all of them, in order."""
    for number, files in enumerate(parts):
        export(folder / "all" / f"{number:02d}", files)
    return [folder / "all" / f"{number:02d}" for number in range(len(parts))]


def agree(folder: Path, parts: Sequence[Mapping[str, Any]], **sections: Any) -> list[RunReport]:
    """Run one night after the other, and all at once into another store: the same digest."""
    inputs = nights(folder, parts)
    reports = [merged(source, folder / "nightly", **sections) for source in inputs]
    shutil.copytree(folder / "nightly.phi", folder / "rebuilt.phi")  # what is known of people is the same
    rebuilt = whole(folder / "all", folder / "rebuilt", **sections)
    assert Manifest.read(Store.open(folder / "nightly").current()).logical_digest == rebuilt.logical_digest
    assert verify(Store.open(folder / "nightly").ledger) == []
    assert catalogued(folder / "nightly") == catalogued(folder / "rebuilt")
    return reports


def catalogued(store: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the catalog counts, row by row, and what it is made of."""
    asked = {
        "code": "FROM code", "subject": "FROM subject", "macro": "FROM macro",
        "tables": "SELECT table_name, comment FROM duckdb_tables() ORDER BY ALL",
        "views": "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
        "columns": "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() ORDER BY ALL",
        "macros": "SELECT function_name, macro_definition, comment FROM duckdb_functions() WHERE NOT internal ORDER BY ALL",
    }  # fmt: skip
    with md.connect(store) as db:
        return {name: db.execute(query).fetchall() for name, query in asked.items()}


BASE = {
    "Patient.ndjson": [at(patient(f"p{n}", name=[{"family": f"Quimble{n}"}]), 1) for n in range(8)],
    "Observation.ndjson": [at(observation(f"o{n}-{row}", f"p{n}"), 1) for n in range(8) for row in range(4)],
}


def test_a_delta_updates_adds_and_deletes(tmp_path: Path) -> None:
    night = {
        "Observation.ndjson": [
            at(observation("o1-0", "p1", valueQuantity={"value": 7.5, "unit": "mg/dL"}), 5),
            at(observation("o1-9", "p1"), 5),
            at(observation("o2-0", "p2", status="entered-in-error"), 5),
        ],
        "deleted.ndjson": [deletion("Observation/o3-0", "Patient/p4", day=5)],
        "Patient.ndjson": [at(patient("p9"), 5)],
    }
    first, second = agree(tmp_path, [BASE, night])
    assert (first.mode, second.mode) == ("full", "delta")
    found = [row for row in events(tmp_path / "nightly") if row["code"] == CREATININE]
    assert len(found) == 32 + 1 - 1 - 1 - 4
    assert [row["value_text"] for row in found if row["source_table"] > 1] == ["7.5", "1"]
    assert second.subjects == 8  # p4 is gone, p9 is new
    assert {step.name: step.dropped for step in second.steps}["build"] == {"superseded": 2, "deleted": 6}
    # The lineage of what was there already leads to the run that read it; that of the delta to its own.
    base, delta = (record["body"] for record in Ledger(Store.open(tmp_path / "nightly").ledger).records("run"))
    for row in found:
        made = md.trace(tmp_path / "nightly", row["event_id"])
        assert made["run"]["body"]["run_id"] == (base if row["source_table"] < 2 else delta)["run_id"]
        assert made["source"]["run_id"] == made["run"]["body"]["run_id"]
    said = md.completeness(tmp_path / "nightly")
    assert [source["source_table"] for source in said["sources"]] == [0, 1, 2, 3, 4]
    assert all(source["arrived"] for source in said["sources"])


@pytest.mark.slow
def test_the_catalog_after_a_delta_is_that_of_a_rebuild(tmp_path: Path) -> None:
    """Of whom the delta does not speak, it is taken over: also where the words for sex or race are others now."""
    race = {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"}

    def person(name: str, gender: str, word: str, day: int, **more: Any) -> Json:
        coding = {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3", "display": word}
        said = {**race, "extension": [{"url": "ombCategory", "valueCoding": coding}]}
        return at(patient(name, gender=gender, extension=[said], **more), day)

    base = {**BASE, "Patient.ndjson": [person(f"p{n}", "female", "White", 1) for n in range(8)]}
    dies = {"a.ndjson": [person("p3", "male", "White", 5, deceasedDateTime="2024-05-05")]}
    renamed = {"a.ndjson": [person("p1", "female", "Caucasian", 6), at(observation("o2-0", "p2", status="amended"), 6)]}
    gone = {"d.ndjson": [deletion("Patient/p5", "Observation/o6-0", "Observation/o6-1", day=7)]}
    agree(tmp_path, [base, dies, renamed, gone])
    with md.connect(tmp_path / "nightly") as db:
        assert db.sql("SELECT count(*), count(DISTINCT race), sum(n_events) FROM subject").fetchall()[0][:2] == (7, 1)
        assert db.sql("SELECT count(*) FROM subject WHERE deceased AND sex = 'male'").fetchall() == [(1,)]


def test_a_catalog_that_cannot_be_read_is_made_from_the_events(tmp_path: Path) -> None:
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [at(observation("o1-9", "p1"), 5)]}])
    store = tmp_path / "store"
    catalog = whole(base, store).snapshot / "catalog.duckdb"  # type: ignore[operator]
    catalog.chmod(0o600)
    catalog.write_bytes(b"no catalog")
    merged(night, store)
    with md.connect(store) as db:
        assert db.sql("SELECT sum(n_events) FROM subject").fetchall() == db.sql("SELECT count(*) FROM event").fetchall()


def test_the_same_delta_again_changes_nothing(tmp_path: Path) -> None:
    base, night, later = nights(
        tmp_path,
        [BASE, {"a.ndjson": [at(observation("o1-0", "p1", status="amended"), 5)], "d.ndjson": [deletion("Observation/o2-1", day=4)]},
         {"a.ndjson": [at(observation("o5-0", "p5", status="amended"), 6)]}],
    )  # fmt: skip
    store = tmp_path / "store"
    whole(base, store)
    assert not merged(night, store).repeated
    ledger = Store.open(store).ledger.read_bytes()
    again = merged(night, store)
    assert again.repeated
    assert Store.open(store).snapshots() == ["000001", "000002"]
    assert Store.open(store).ledger.read_bytes() == ledger
    third = merged(later, store)
    old = merged(night, store)  # an older one once more: nothing in it is new
    assert (old.repeated, old.logical_digest) == (True, third.logical_digest)
    assert Store.open(store).snapshots() == ["000001", "000002", "000003"]
    assert [record["body"]["snapshot"] for record in Ledger(Store.open(store).ledger).records("unchanged")] == [
        "000003"
    ]
    assert list((store / "staging").iterdir()) == []


def test_only_touched_shards_are_written(tmp_path: Path) -> None:
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [at(observation("o1-0", "p1", status="amended"), 5)]}])
    store = Store.open(whole(base, tmp_path / "store").snapshot.parents[1])  # type: ignore[union-attr]
    before = {path.name: path.stat() for path in (store.current() / "data").iterdir()}
    report = merged(night, tmp_path / "store")
    assert report.rewritten == 1
    after = {path.name: path.stat() for path in (store.current() / "data").iterdir()}
    assert sum(after[name].st_ino != before[name].st_ino for name in before) == 1
    assert set(before) == set(after)


def test_a_note_alone_still_knows_the_patient(tmp_path: Path) -> None:
    text = "Mrs. Quimbleford came with Ottoline Quimbleford's letter."
    base, night = nights(tmp_path, [{"Patient.ndjson": [patient()]}, {"n.ndjson": [note("n1", text)]}])
    whole(base, tmp_path / "store")
    merged(night, tmp_path / "store")
    [said] = [row["text_value"] for row in events(tmp_path / "store") if row["code"].startswith("NOTE//")]
    assert "Quimbleford" not in said
    assert "Ottoline" not in said
    assert "letter" in said


def test_references_lead_to_what_the_base_brought(tmp_path: Path) -> None:
    stay = {
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "IMP"},
        "subject": {"reference": "Patient/p1"}, "period": {"start": "2020-05-01T00:00:00Z", "end": "2020-05-04T00:00:00Z"},
    }  # fmt: skip
    drug = {
        "resourceType": "Medication", "id": "m1",
        "code": {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "860975"}]},
    }  # fmt: skip
    order = {
        "resourceType": "MedicationRequest", "id": "r1", "status": "active", "intent": "order",
        "medicationReference": {"reference": "Medication/m1"}, "subject": {"reference": "Patient/p1"},
        "authoredOn": "2020-05-02",
    }  # fmt: skip
    undated = observation("o1", "p1", encounter={"reference": "Encounter/e1"})
    del undated["effectiveDateTime"]
    nobody = observation("o2", "p1", encounter={"reference": "Encounter/e1"})
    del nobody["subject"]  # only its encounter says whose it is
    moved = {**at(stay, 9), "period": {**stay["period"], "end": "2020-05-09T00:00:00Z"}}
    agree(
        tmp_path,
        [{"a.ndjson": [patient(), at(stay, 1), drug]}, {"a.ndjson": [order, undated, nobody]}, {"a.ndjson": [moved]}],
        validate="off",
    )
    assert any(code.endswith("RXNORM//860975") for code in codes_of(tmp_path / "nightly"))
    found = events(tmp_path / "nightly")
    [dated] = [row for row in found if row["time_precision"] == "encounter"]
    [end] = [row["end_time"] for row in found if row["code"].startswith("ENCOUNTER")]
    assert dated["time"] == end  # that of the newer version
    assert len([row for row in found if row["code"] == CREATININE]) == 2


def test_a_delta_into_an_empty_store_is_a_full_run(tmp_path: Path) -> None:
    [base] = nights(tmp_path, [BASE])
    report = merged(base, tmp_path / "store")
    assert (report.mode, report.repeated) == ("full", False)
    assert merged(base, tmp_path / "store").repeated


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"phi": {"policy": "limited_data_set", "model": "none"}}, "PHI policy"),
        ({"phi": {"as_of": "2031-01-01", "model": "none"}}, "as_of"),
        ({"phi": {"model": "default"}}, "phi.model"),
        ({"phi": {"join": ["urn:mpi"], "model": "none"}}, "phi.join"),
        ({"store": {"splits": {"train": 0.5, "held_out": 0.5}}}, "store.splits"),
    ],
)
def test_a_delta_under_other_rules_is_refused(tmp_path: Path, other: Any, said: str) -> None:
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [observation("new", "p1")]}])
    whole(base, tmp_path / "store")
    with pytest.raises(ConfigError, match=said) as refused:
        merged(night, tmp_path / "store", **other)
    assert "without --delta" in refused.value.hint
    assert Store.open(tmp_path / "store").snapshots() == ["000001"]


def test_a_delta_after_safe_harbor_is_refused(tmp_path: Path) -> None:
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [observation("new", "p1")]}])
    harbor = {"phi": {"policy": "safe_harbor", "model": "none"}}
    whole(base, tmp_path / "store", **harbor)
    with pytest.raises(ConfigError, match="random"):
        merged(night, tmp_path / "store", **harbor)
    assert not (tmp_path / "store.phi" / "memory").exists()


def test_a_night_without_changes_changes_nothing(tmp_path: Path) -> None:
    manifest = b'{"transactionTime": "2024-01-01T00:00:00Z", "request": "x", "output": [], "deleted": [], "error": []}'
    base, nothing, empty = nights(tmp_path, [BASE, {"manifest.json": manifest}, {"a.ndjson": []}])
    whole(base, tmp_path / "store")
    for source in (nothing, empty):
        assert merged(source, tmp_path / "store").repeated
        assert Store.open(tmp_path / "store").snapshots() == ["000001"]
    with pytest.raises(SourceError):
        whole(nothing, tmp_path / "other")


def test_a_delta_under_another_detector_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.phi import structured, text

    base, night = nights(tmp_path, [BASE, {"a.ndjson": [observation("new", "p1")]}])
    whole(base, tmp_path / "store")
    monkeypatch.setattr(text, "_VERSION", "another")
    monkeypatch.setattr(structured._Scrubber, "_kept", None)
    with pytest.raises(ConfigError, match="detector"):
        merged(night, tmp_path / "store")
    monkeypatch.setattr(structured._Scrubber, "_kept", None)


def test_a_delta_under_another_version_or_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [observation("new", "p1")]}])
    whole(base, tmp_path / "store")
    with pytest.raises(StoreError, match="another generation"):
        run(pipeline(**FAST), night, tmp_path / "store", Secret(bytes(32)), workers=1, delta=True)
    monkeypatch.setattr(md, "__version__", "99.0.0")
    with pytest.raises(ConfigError, match="version of mayo_data"):
        merged(night, tmp_path / "store")


def test_without_its_phi_zone_a_delta_is_refused(tmp_path: Path) -> None:
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [observation("new", "p1")]}])
    whole(base, tmp_path / "store")
    memory = tmp_path / "store.phi" / "memory"
    memory.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="memory of snapshot 000001"):
        merged(night, tmp_path / "store")
    (tmp_path / "elsewhere").rename(memory)
    (tmp_path / "store.phi" / "vault.sqlite").unlink()
    with pytest.raises(StoreError, match="8 subjects of snapshot 000001 are not in the vault"):
        merged(night, tmp_path / "store")


def test_two_subjects_who_are_one_person_need_a_full_run(tmp_path: Path) -> None:
    linked = at(patient("p1", link=[{"other": {"reference": "Patient/p2"}, "type": "seealso"}]), 5)
    base, night = nights(tmp_path, [BASE, {"a.ndjson": [linked]}])
    whole(base, tmp_path / "store")
    with pytest.raises(StoreError, match="1 subjects of snapshot 000001 are not in the vault"):
        merged(night, tmp_path / "store")
    assert whole(tmp_path / "all", tmp_path / "store").subjects == 7


def test_a_name_that_the_delta_tells_is_searched_in_what_is_there(tmp_path: Path) -> None:
    from mayo_data.errors import LeakError

    relative = {
        "resourceType": "RelatedPerson", "id": "r1", "patient": {"reference": "Patient/p1"},
        "name": [{"family": "Zwingelstein", "given": ["Ottokar"]}],
    }  # fmt: skip
    base, night = nights(
        tmp_path,
        [{"a.ndjson": [patient(), observation("o1", note=[{"text": "her friend zwingelstein was seen"}])]}, {"a.ndjson": [relative]}],
    )  # fmt: skip
    whole(base, tmp_path / "store")
    with pytest.raises(LeakError):
        merged(night, tmp_path / "store")
    assert Store.open(tmp_path / "store").snapshots() == ["000001"]
    whole(tmp_path / "all", tmp_path / "store")
    assert not any("wingelstein" in (row["text_value"] or "") for row in events(tmp_path / "store"))
