from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.errors import StoreError
from mayo_data.keys import Secret
from mayo_data.phi.identifiers import Record
from mayo_data.phi.vault import Vault
from mayo_data.types import Identifier

SECRET = Secret(bytes(range(32)))
NAME = Identifier("PATIENT", "family", "Zqxfamily")
PHONE = Identifier("PHONE", "value", "617-555-0199")


def patient(ident: str = "1", *identifiers: Identifier, **more: object) -> Record:
    return Record("patient", f"Patient/{ident}", identifiers=identifiers, **more)  # type: ignore[arg-type]


def filled(path: Path, *records: Record) -> Vault:
    vault = Vault(path, SECRET)
    vault.add(records)
    vault.close()
    return Vault(path, SECRET, readonly=True)


def test_what_was_said_once_is_never_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    filled(path, patient("1", NAME, sex="female", birth="1970-01-01")).close()
    vault = filled(path, patient("1", PHONE, death="2020-01-01"))
    person = vault.person("Patient/1")
    assert person is not None
    assert set(person.identifiers) == {NAME, PHONE}
    assert (person.known, person.sex, person.birth, person.death) == (True, "female", "1970-01-01", "2020-01-01")
    assert vault.person("Patient/2") is None
    vault.close()


def test_a_relative_alone_makes_nobody_known(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    vault = filled(path, Record("attached", "Patient/1", identifiers=(NAME,)))
    person = vault.person("Patient/1")
    assert person is not None
    assert not person.known
    vault.close()
    vault = filled(path, patient("1", PHONE))
    person = vault.person("Patient/1")
    assert person is not None
    assert person.known
    assert NAME in person.identifiers
    vault.close()


def test_a_patient_answers_to_every_alias(tmp_path: Path) -> None:
    vault = filled(
        tmp_path / "vault.sqlite",
        patient("1", NAME, aliases=("identifier:urn:mrn|7",)),
        Record("attached", "identifier:urn:mrn|7", identifiers=(PHONE,)),
        Record("attached", "identifier:urn:mrn|8", identifiers=(PHONE,)),
    )
    person = vault.person("identifier:urn:mrn|7")
    assert person is not None
    assert person.ref == "Patient/1"
    assert set(person.identifiers) == {NAME, PHONE}
    assert vault.person("identifier:urn:mrn|8") is None
    vault.close()


def test_medications_and_the_directory(tmp_path: Path) -> None:
    concept = {"coding": [{"code": "1", "system": "x"}]}
    vault = filled(
        tmp_path / "vault.sqlite",
        Record("medication", "Medication/1", concept=concept),
        Record("directory", "Practitioner/1", identifiers=(NAME,)),
    )
    assert vault.medication("Medication/1") == concept
    assert vault.medication("Medication/2") is None
    assert list(vault.directory()) == [NAME]
    vault.close()


def test_the_audit_finds_people_by_their_pseudonym(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    filled(path, patient("1", NAME), patient("2", PHONE)).close()
    vault = Vault(path, SECRET)
    other = Secret(bytes(32))
    assert vault.index(other) == 2
    person = vault.subject(other.subject_id("Patient/2"))
    assert person is not None
    assert person.identifiers == (PHONE,)
    assert vault.subject(SECRET.subject_id("Patient/2")) is None
    vault.close()


@given(st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from("abcd"))), max_size=8), st.integers(0, 8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_merging_does_not_depend_on_how_records_arrive(
    tmp_path: Path, found: list[tuple[int, set[str]]], cut: int
) -> None:
    records = [
        patient(str(ident), *(Identifier("PATIENT", "given", name) for name in sorted(names))) for ident, names in found
    ]
    results = []
    for parts in ([records], [records[:cut], records[cut:]], [records[::-1]]):
        path = tmp_path / "vault.sqlite"
        path.unlink(missing_ok=True)
        for part in parts:
            vault = Vault(path, SECRET)
            vault.add(part)
            vault.close()
        vault = Vault(path, SECRET, readonly=True)
        results.append([vault.person(f"Patient/{ident}") for ident in range(4)])
        vault.close()
    assert results[0] == results[1] == results[2]


def test_the_file_says_nothing_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    filled(
        path,
        patient("zqxident", NAME, PHONE, birth="1971-02-03", aliases=("identifier:urn:mrn|98765432",)),
        Record("directory", "Practitioner/zqxdoctor", identifiers=(NAME,)),
        Record("medication", "Medication/zqxdrug", concept={"text": "zqxconcept"}),
    ).close()
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir()).lower()
    for token in (b"zqx", b"555-0199", b"1971", b"98765432", b"patient/", b"mrn"):
        assert token not in raw
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    filled(path, patient("1", NAME)).close()
    with pytest.raises(StoreError, match="another key"):
        Vault(path, Secret(bytes(32)))


@pytest.mark.parametrize("content", [b"garbage" * 500, b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_vault_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vault.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        Vault(path, SECRET)


def test_a_sealed_value_cannot_be_moved_to_another_person(tmp_path: Path) -> None:
    path = tmp_path / "vault.sqlite"
    filled(path, patient("1", NAME), patient("2", PHONE)).close()
    with sqlite3.connect(path) as db:
        sealed = [row[0] for row in db.execute("select sealed from person order by key")]
        keys = [row[0] for row in db.execute("select key from person order by key")]
        db.execute("update person set sealed = ? where key = ?", (sealed[1], keys[0]))
    db.close()
    vault = Vault(path, SECRET, readonly=True)
    with pytest.raises(StoreError):
        for ident in ("1", "2"):
            vault.person(f"Patient/{ident}")
    vault.close()


@pytest.mark.parametrize("folder", ["a b", "100%20", "a#b", "a?mode=rw", "Müller"])
def test_any_folder_will_do(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    vault = filled(tmp_path / folder / "vault.sqlite", patient("1", NAME))
    assert vault.person("Patient/1") is not None
    vault.close()
