"""Withdrawal and erasure on stores that were really built: what is gone must be gone from every file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mayo_data as md
from mayo_data import keys
from mayo_data.lineage.ledger import Ledger
from mayo_data.phi.vault import Vault
from mayo_data.store.digest import logical_digest
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest

SUBJECT_COLUMNS = ("subject_id",)


@dataclass(frozen=True)
class Site:
    """A store with its key, and the export it was made of."""

    folder: Path
    export: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def key(self) -> Path:
        return self.folder / "site.key"

    @property
    def opened(self) -> Store:
        return Store.open(self.store)

    def subjects(self) -> list[int]:
        return md.open(self.store).subjects()

    def run(self, source: Path, **more: object) -> md.RunReport:
        return md.run("fhir.toml", source, self.store, key_file=self.key, workers=1, **more)  # type: ignore[arg-type]

    def withdraw(self, subject: int) -> object:
        return md.withdraw(self.store, subject, "consent withdrawn", key_file=self.key)

    def erase(self, subject: int) -> object:
        return md.erase(self.store, subject, "asked to be forgotten", key_file=self.key)


@pytest.fixture
def site(synthetic_run: Path, synthetic_export: Path, tmp_path: Path) -> Site:
    shutil.copytree(synthetic_run, tmp_path / "site")
    return Site(tmp_path / "site", synthetic_export / "fhir")


def tables(folder: Path) -> Iterator[tuple[Path, pa.Table]]:
    for path in sorted(folder.rglob("*.parquet")):
        yield path, pq.read_table(path)


def rows_of(folder: Path, subject: int) -> list[str]:
    """Names of the Parquet files that hold a row of a subject."""
    found = []
    for path, table in tables(folder):
        for name in set(SUBJECT_COLUMNS) & set(table.column_names):
            if subject in table.column(name).to_pylist():
                found.append(path.name)
    return found


def without(export: Path, out: Path, site: Site, subject: int) -> Path:
    """The export without the resources of a subject, in the same lines: a line that is no resource stands for each."""
    path = site.opened.current()
    resources = pa.concat_tables(pq.read_table(one) for one in sorted((path / "lineage" / "resources").iterdir()))
    sources = pq.read_table(path / "lineage" / "sources.parquet").to_pylist()
    secret = keys.load(site.key)
    mine = {(one["source_table"], one["source_row"]) for one in resources.to_pylist() if one["subject_id"] == subject}
    import hashlib

    numbers = {one["sha256"]: one["source_table"] for one in sources}
    out.mkdir()
    patient = None
    for file in sorted(export.iterdir()):
        table = numbers.get(hashlib.sha256(file.read_bytes()).hexdigest())
        lines = file.read_bytes().splitlines()
        if file.name.startswith("Patient"):
            for number, line in enumerate(lines, 1):
                if (table, number) in mine:
                    patient = orjson.loads(line)["id"]
        (out / file.name).write_bytes(b"\n".join(lines) + b"\n")
    assert patient is not None
    assert secret.subject_id(f"Patient/{patient}") == subject
    for file in out.iterdir():
        kept = [b"{}" if patient.encode() in line else line for line in file.read_bytes().splitlines()]
        file.write_bytes(b"\n".join(kept) + b"\n")
    return out


def test_a_withdrawal_leaves_what_a_build_without_the_subject_gives(site: Site, tmp_path: Path) -> None:
    subject = site.subjects()[2]
    export = without(site.export, tmp_path / "less", site, subject)
    done = site.withdraw(subject)
    assert (done.snapshot, done.snapshots_blocked) == ("000002", ("000001",))  # type: ignore[attr-defined]
    fresh = md.run("fhir.toml", export, tmp_path / "fresh", key_file=site.key, workers=1)
    made, wanted = Manifest.read(site.opened.current()), Manifest.read(fresh.snapshot)
    assert {
        name: made.tables[name].digest for name in ("events", "codes", "subject_splits", "resources", "decisions")
    } == {name: wanted.tables[name].digest for name in ("events", "codes", "subject_splits", "resources", "decisions")}
    assert made.logical_digest == wanted.logical_digest


def test_only_the_touched_shard_is_written(site: Site) -> None:
    subject = site.subjects()[0]
    site.withdraw(subject)
    one, two = (Manifest.read(site.opened.snapshot(name)) for name in ("000001", "000002"))
    before = {file.path: file.sha256 for file in one.files}
    changed = {file.path for file in two.files if before.get(file.path) != file.sha256}
    shard = f"{subject % len(list((site.opened.current() / 'data').iterdir())):04d}.parquet"
    assert {path for path in changed if path.startswith("data/")} == {f"data/{shard}"}
    assert all(path.endswith(f"/{shard}") for path in changed if path.count("/") > 1)
    assert md.validate(site.store) == []
    assert md.verify(site.store) == []


def test_the_tables_add_up_to_their_digests(site: Site) -> None:
    """The digests of the new manifest are sums less what went: they must be those of the files."""
    site.withdraw(site.subjects()[1])
    path = site.opened.current()
    manifest = Manifest.read(path)
    for name, part in (("events", "data"), ("resources", "lineage/resources"), ("decisions", "lineage/decisions")):
        assert manifest.tables[name].digest == logical_digest(sorted((path / part).iterdir()))


def test_later_runs_leave_the_subject_out_and_count_it(site: Site, tmp_path: Path) -> None:
    subject = site.subjects()[3]
    whole = Manifest.read(site.opened.current()).logical_digest
    resources = sum(
        table.column("subject_id").to_pylist().count(subject)
        for _, table in tables(site.opened.current() / "lineage" / "resources")
    )
    site.withdraw(subject)
    after = Manifest.read(site.opened.current()).logical_digest
    assert site.run(site.export).repeated
    delta = tmp_path / "night"
    delta.mkdir()
    for name in ("Observation.ndjson", "Patient.ndjson"):
        (delta / name).write_bytes((site.export / name).read_bytes() + b"\n{}\n")
    report = site.run(delta, delta=True)
    assert next(step for step in report.steps if step.name == "build").dropped["withdrawn"] > 0
    assert all(step.balanced for step in report.steps)
    again = tmp_path / "again"
    shutil.copytree(site.export, again)
    (again / "Patient.ndjson").write_bytes((site.export / "Patient.ndjson").read_bytes() + b"\n{}\n")
    report = site.run(again)
    build = next(step for step in report.steps if step.name == "build")
    assert build.dropped["withdrawn"] == resources
    assert all(step.balanced for step in report.steps)
    assert report.logical_digest == after != whole
    for name in site.opened.snapshots()[1:]:
        assert rows_of(site.opened.snapshot(name), subject) == []


def test_old_snapshots_are_blocked(site: Site) -> None:
    subject = site.subjects()[0]
    site.withdraw(subject)
    with pytest.raises(md.StoreError, match="withdrawn"):
        md.open(site.store, "000001").reader(consumer="trial")
    with pytest.raises(md.StoreError, match="withdrawn"):
        md.rollback(site.store, "1")
    assert subject not in md.open(site.store).reader(consumer="trial").subjects


def test_models_that_read_the_subject_are_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w")
    reader = md.open(site.store).reader("train", consumer="trial")
    other = md.open(site.store).reader("held_out", consumer="trial") if "held_out" in set(
        md.open(site.store).splits()["split"]
    ) else None  # fmt: skip
    trained = md.training_run(site.store, name="m", reads=[reader.lineage_id], files=[tmp_path / "weights"], config={})
    if other is not None:
        md.training_run(site.store, name="o", reads=[other.lineage_id], files=[tmp_path / "weights"], config={})
    done = site.withdraw(int(reader.subjects[0]))
    assert done.models == (trained.training_id,)  # type: ignore[attr-defined]
    record = next(Ledger(site.opened.ledger).records("withdrawal"))["body"]
    assert (record["models"], record["snapshots_blocked"]) == ([trained.training_id], ["000001"])


def test_withdrawing_twice_says_the_same_and_writes_nothing_new(site: Site) -> None:
    subject = site.subjects()[0]
    site.withdraw(subject)
    site.withdraw(subject)
    assert site.opened.snapshots() == ["000001", "000002"]
    assert len(list(Ledger(site.opened.ledger).records("withdrawal"))) == 1


def test_a_kill_after_the_tombstone_is_finished_by_the_same_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = site.subjects()[0]

    def killed(self: Store, draft: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            site.withdraw(subject)
    with pytest.raises(md.StoreError, match="withdrawn"):
        md.open(site.store).reader(consumer="trial")
    site.withdraw(subject)
    assert rows_of(site.opened.current(), subject) == []
    assert md.verify(site.store) == []


@pytest.mark.parametrize("reason", ["", "   ", "x" * 500])
def test_a_reason_is_needed(site: Site, reason: str) -> None:
    with pytest.raises(md.ConfigError, match="reason"):
        md.withdraw(site.store, site.subjects()[0], reason)


def test_who_is_not_there_cannot_withdraw(site: Site) -> None:
    with pytest.raises(md.StoreError, match="no snapshot holds"):
        site.withdraw(12345)
    assert site.opened.snapshots() == ["000001"]


@pytest.mark.parametrize("number", [-1, 2**63, 2**70])
def test_what_is_no_id_of_a_store_is_in_none(site: Site, number: int) -> None:
    for door in (md.withdraw, md.erase):
        with pytest.raises(md.StoreError, match="no snapshot holds"):
            door(site.store, number, "asked", key_file=site.key)
    with pytest.raises(md.ConfigError, match="whole number"):
        md.withdraw(site.store, "7", "asked", key_file=site.key)  # type: ignore[arg-type]


def test_an_id_of_a_frame_is_as_good_as_any(site: Site) -> None:
    import numpy as np

    subject = np.int64(site.subjects()[0])
    assert md.withdraw(site.store, subject, "asked", key_file=site.key).subject_id == subject
    assert md.erase(site.store, subject, "asked", key_file=site.key).subject_id == subject
    assert [one["body"]["subject_id"] for one in Ledger(site.opened.ledger).records("erasure")] == [int(subject)]


def test_a_trace_gives_no_event_of_whoever_withdrew(site: Site) -> None:
    subject = site.subjects()[0]
    event = md.connect(site.store).sql(f"select event_id from event where subject_id = {subject} limit 1").fetchall()
    site.withdraw(subject)
    with pytest.raises(md.StoreError, match="withdrawn"):
        md.trace(site.store, event[0][0], snapshot="000001")
    assert md.trace(site.store, subject)["records"][0]["kind"] == "withdrawal"


def test_a_withdrawal_that_cannot_say_which_models_are_meant_is_none(site: Site, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w")
    reader = md.open(site.store).reader(consumer="trial")
    md.training_run(site.store, name="m", reads=[reader.lineage_id], files=[tmp_path / "weights"], config={})
    for file in (site.opened.current() / "data").iterdir():
        file.chmod(0o644)
        file.write_bytes(b"no Parquet")
    with pytest.raises(md.StoreError):
        site.withdraw(site.subjects()[0])
    assert not list(Ledger(site.opened.ledger).records("withdrawal"))


def test_everybody_can_withdraw(site: Site) -> None:
    for subject in site.subjects():
        site.withdraw(subject)
    assert md.connect(site.store).sql("select count(*) from event").fetchall() == [(0,)]
    assert md.verify(site.store) == []


def test_an_erasure_reaches_every_file(site: Site, tmp_path: Path) -> None:
    delta = tmp_path / "night"
    delta.mkdir()
    (delta / "Observation.ndjson").write_bytes((site.export / "Observation.ndjson").read_bytes() + b"\n{}\n")
    site.run(delta, delta=True)
    subject, *others = site.subjects()
    phi = site.folder / "store.phi"
    counts = {one: events_of(site, one) for one in others}
    held = site.opened.snapshots()
    assert len(held) == 2
    done = site.erase(subject)
    assert set(done.snapshots) == set(held)  # type: ignore[attr-defined]
    for folder in (site.opened.root, phi / "memory"):
        assert rows_of(folder, subject) == []
    assert not list(phi.glob("work/*"))
    vault = Vault(phi / "vault.sqlite", keys.load(site.key))
    try:
        assert vault.subject(subject) is None
        assert all(vault.subject(one) is not None for one in others)
    finally:
        vault.close()
    assert {one: events_of(site, one) for one in others} == counts
    assert md.validate(site.store) == []
    assert md.verify(site.store) == []
    for name in held:
        assert subject not in md.open(site.store, name).subjects()
    record = next(Ledger(site.opened.ledger).records("erasure"))["body"]
    assert record["snapshots"]["000001"]["after"] == Manifest.read(site.opened.snapshot("000001")).sha256
    assert record["snapshots"]["000001"]["rows"]["events"] > 0


def events_of(site: Site, subject: int) -> int:
    return sum(
        table.column("subject_id").to_pylist().count(subject) for _, table in tables(site.opened.current() / "data")
    )


def test_snapshots_that_shared_files_share_them_still(site: Site, tmp_path: Path) -> None:
    subject = site.subjects()[0]
    md.withdraw(site.store, site.subjects()[1], "other", key_file=site.key)
    first, second = (site.opened.snapshot(name) for name in site.opened.snapshots())
    shared = {one.name for one in (first / "data").iterdir() if one.samefile(second / "data" / one.name)}
    site.erase(subject)
    first, second = (site.opened.snapshot(name) for name in site.opened.snapshots())
    assert shared
    assert {one.name for one in (first / "data").iterdir() if one.samefile(second / "data" / one.name)} == shared


def test_after_an_erasure_runs_and_deltas_go_on(site: Site, tmp_path: Path) -> None:
    subject = site.subjects()[0]
    site.erase(subject)
    delta = tmp_path / "night"
    delta.mkdir()
    (delta / "Observation.ndjson").write_bytes((site.export / "Observation.ndjson").read_bytes() + b"\n{}\n")
    report = site.run(delta, delta=True)  # without a Patient the vault no longer knows whose these are
    assert next(step for step in report.steps if step.name == "scrub").dropped["unknown_subject"] > 0
    again = tmp_path / "again"
    shutil.copytree(site.export, again)
    (again / "Patient.ndjson").write_bytes((site.export / "Patient.ndjson").read_bytes() + b"\n{}\n")
    report = site.run(again)
    assert next(step for step in report.steps if step.name == "build").dropped["withdrawn"] > 0
    assert rows_of(site.opened.root, subject) == []
    assert rows_of(site.folder / "store.phi" / "memory", subject) == []
    vault = Vault(site.folder / "store.phi" / "vault.sqlite", keys.load(site.key))
    try:
        assert vault.subject(subject) is None
    finally:
        vault.close()


def test_an_erasure_that_was_killed_is_seen_and_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from mayo_data.store import without as cutting

    subject = site.subjects()[0]

    def killed(store: Store, name: str, draft: Path) -> None:
        (store.root / "snapshots" / name).rename(store.root / "snapshots" / f".{name}.erased")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cutting, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            site.erase(subject)
    assert {one.rule for one in md.verify(site.store)} == {"missing"}
    site.erase(subject)
    assert rows_of(site.opened.root, subject) == []
    assert md.verify(site.store) == []


def test_what_was_erased_everywhere_is_blocked_no_more(site: Site) -> None:
    subject = site.subjects()[0]
    site.withdraw(subject)
    site.erase(subject)
    assert subject not in md.open(site.store, "000001").reader(consumer="trial").subjects


def test_a_run_does_not_make_a_changed_manifest_good(site: Site) -> None:
    path = site.opened.current() / "manifest.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"created_at": "2', b'"created_at": "3'))
    assert [one.rule for one in md.verify(site.store)] == ["changed"]
    assert site.run(site.export).repeated
    assert [one.rule for one in md.verify(site.store)] == ["changed"]


def test_a_run_first_finishes_an_erasure_that_was_killed(site: Site) -> None:
    current = site.opened.current()
    current.rename(current.with_name(f".{current.name}.erased"))
    assert site.run(site.export).repeated
    assert site.opened.snapshots() == ["000001"]
    assert md.verify(site.store) == []


def test_random_ids_are_known_again_through_the_vault(synthetic_export: Path, tmp_path: Path) -> None:
    key = tmp_path / "site.key"
    secret = keys.generate(key)
    pipeline = tmp_path / "safe.toml"
    pipeline.write_text('name = "safe"\n[phi]\npolicy = "safe_harbor"\nmodel = "none"\n')
    source = tmp_path / "export"
    source.mkdir()
    for name in ("Patient", "Observation", "Encounter"):
        shutil.copy(synthetic_export / "fhir" / f"{name}.ndjson", source)
    store = tmp_path / "store"
    md.run(pipeline, source, store, key_file=key, workers=1)
    subject = md.open(store).subjects()[0]
    with pytest.raises(md.KeyMissingError):
        md.withdraw(store, subject, "asked")
    md.withdraw(store, subject, "asked", key_file=key)
    before = len(md.open(store).subjects())
    (source / "Patient.ndjson").write_bytes((source / "Patient.ndjson").read_bytes() + b"\n{}\n")
    report = md.run(pipeline, source, store, key_file=key, workers=1)
    assert not report.repeated
    assert report.subjects == before
    assert next(step for step in report.steps if step.name == "build").dropped["withdrawn"] > 0
    assert secret.key_id


def test_the_ledger_and_the_store_hold_no_name_of_the_source(site: Site) -> None:
    subject = site.subjects()[0]
    ids = [orjson.loads(line)["id"] for line in (site.export / "Patient.ndjson").read_bytes().splitlines()]
    site.withdraw(subject)
    site.erase(subject)
    text = site.opened.ledger.read_text()
    assert not [one for one in ids if re.search(rf"\b{re.escape(one)}\b", text)]
