"""A planted leak of every kind stops the commit, and the report says where without saying what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hospital import export, go, observation, patient

from mayo_data.errors import LeakError
from mayo_data.phi.audit import Audit, Strangers
from mayo_data.pipeline import shards
from mayo_data.store.layout import Store
from mayo_data.types import Identifier

PLAIN = {"phi": {"model": "none"}, "validate": "off"}
RECORD = patient(
    name=[{"family": "Quimbleford", "given": ["Ottoline"]}],
    identifier=[
        {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": kind}]},
         "system": f"http://hospital.example.org/{kind}", "value": value}
        for kind, value in [("MR", "8827364511"), ("AN", "700-41-9931")]
    ],
    telecom=[{"system": "phone", "value": "(617) 555-0187"}, {"system": "email", "value": "ottoline.q@mail.test"}],
    address=[{"line": ["4417 Larkspurton Lane"], "city": "Quabbinfield", "state": "MA", "postalCode": "01301"}],
    birthDate="1971-03-25",
)  # fmt: skip
LEAKS = {
    "family name": ("seen with QUIMBLEFORD", "PATIENT"),
    "given name": ("ottoline  is well", "PATIENT"),
    "name turned round": ("Quimbleford, Ottoline", "PATIENT"),
    "name without its accent": ("Öttoliné", "PATIENT"),
    "record number": ("chart 8827364511", "MRN"),
    "record number in groups": ("8827-364-511", "MRN"),
    "account": ("acct 700 41 9931", "ACCOUNT"),
    "phone": ("617.555.0187", "PHONE"),
    "phone with country": ("+1 617 555 0187", "PHONE"),
    "mail": ("<Ottoline.Q@Mail.test>", "EMAIL"),
    "street": ("4417 LARKSPURTON ln", "STREET"),
    "city": ("from quabbinfield", "CITY"),
    "zip": ("zip 01301", "ZIP"),
    "birth date": ("DOB 03/25/1971", "DATE"),
    "birth date, ISO": ("date of birth: 1971-03-25", "DATE"),
    "birth date in words": ("born March 25, 1971", "DATE"),
    "birth date, day first": ("born 25 Mar 1971", "DATE"),
    "birth date with dots": ("born 25.03.1971", "DATE"),
    "birth date in one piece": ("DOB 19710325", "DATE"),
    "birth date, short": ("DOB: 3/25/71", "DATE"),
}
NAMED = {"PATIENT", "EMAIL", "STREET", "CITY"}  # what a code may not hold; the digits of a public code say nothing


def run_with(monkeypatch: pytest.MonkeyPatch, folder: Path, column: str, text: str) -> str:
    """Run with a scrub that lets one text through, in one column of one event; return what the error says."""
    gather = shards.gather

    def leaking(*arguments: Any) -> pa.Table:
        staged = gather(*arguments)
        at = staged.schema.get_field_index(column)
        cells: list[Any] = staged.column(column).to_pylist()
        codes = staged.column("code").to_pylist()
        for row, code in enumerate(codes):
            if code and code.startswith("OBSERVATION//"):
                cells[row] = (
                    [f"A//B//{text}"]
                    if column == "parent_codes"
                    else f"OBSERVATION//SITE//{text}"
                    if column == "code"
                    else text
                )
        return staged.set_column(at, staged.schema.field(at), pa.array(cells, staged.schema.field(at).type))

    monkeypatch.setattr(shards, "gather", leaking)
    other = patient("p2", name=[{"family": "Wrexlinghamer", "given": ["Thaddea"]}])
    rows = {"Patient.ndjson": [RECORD, other], "Observation.ndjson": [observation("o1")]}
    with pytest.raises(LeakError) as caught:
        go(export(folder / "export", rows), folder / "store", **PLAIN)
    assert caught.value.exit_code == 5
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("column", ["text_value", "description", "unit", "status", "code", "parent_codes"])
def test_a_leak_stops_the_commit_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, column: str
) -> None:
    wanted = NAMED if column in ("code", "parent_codes") else {category for _, category in LEAKS.values()}
    text = " | ".join(one for one, category in LEAKS.values() if category in wanted)
    said = run_with(monkeypatch, tmp_path, column, text)
    assert "0.1.0" in said or "1.1.0" in said  # the event: file, line, item
    assert column in said
    assert f"{len(wanted)} identifiers" in said
    for leak, _ in LEAKS.values():
        assert not [word for word in leak.replace("|", " ").split() if len(word) > 6 and word.strip("<>,") in said], (
            leak
        )
    assert Store.open(tmp_path / "store").snapshots() == []
    assert not list((tmp_path / "store" / "staging").iterdir())
    ledger = Store.open(tmp_path / "store").ledger.read_text()
    assert '"no_phi_leak"' in ledger
    assert "uimbleford" not in ledger.lower()


@pytest.mark.parametrize("kind", LEAKS)
def test_each_kind_of_leak_is_found_however_it_is_written(kind: str) -> None:
    text, category = LEAKS[kind]
    known = [
        Identifier("PATIENT", "family", "Quimbleford"), Identifier("PATIENT", "given", "Ottoline"),
        Identifier("MRN", "value", "8827364511"), Identifier("ACCOUNT", "value", "700-41-9931"),
        Identifier("PHONE", "value", "(617) 555-0187"), Identifier("EMAIL", "value", "ottoline.q@mail.test"),
        Identifier("STREET", "value", "4417 Larkspurton Lane"), Identifier("CITY", "value", "Quabbinfield"),
        Identifier("ZIP", "value", "01301"), Identifier("DATE", "birth", "1971-03-25"),
    ]  # fmt: skip
    assert (0, category) in Audit(known).leaks([text])
    assert Audit(known).leaks(["all well"]) == []


def test_the_rare_name_of_another_patient_stops_the_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = run_with(monkeypatch, tmp_path, "text_value", "shares the room with Thaddea WREXLINGHAMER")
    assert "text_value, PERSON" in said
    assert "wrexling" not in said.lower()
    assert Store.open(tmp_path / "store").snapshots() == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Wrexlinghamer, Thaddea", True),
        ("thaddea wrexlinghamer", True),
        ("Thaddea12 Wrexlinghamer7", True),
        ("Wrexlinghamer sign", False),
        ("Thaddea", False),
        ("Jane Smith", False),
        ("Ann Parkinson", False),
        ("Mae Threefold", False),
    ],
)
def test_rare_names_of_others(text: str, found: bool) -> None:
    people = [
        [Identifier("PATIENT", "full", "Thaddea Wrexlinghamer")],
        [Identifier("PATIENT", "given", "Jane"), Identifier("PATIENT", "family", "Smith")],
        [Identifier("PATIENT", "full", "Parkinson, Ann")],
        *([Identifier("PATIENT", "full", "Mae Threefold")] for _ in range(3)),
        [Identifier("STAFF", "full", "Ida Zymborski")],
    ]
    assert Strangers(Strangers.rare(people)).named(text) is found


def test_no_surrogate_is_a_rare_name() -> None:
    from mayo_data import assets

    pool = assets.toml("schemas", "phi", "surrogates", "names.toml")
    people = [[Identifier("PATIENT", "full", f"Zebedia {family}")] for family in pool["family"].split()]
    assert Strangers.rare(people) == {}
