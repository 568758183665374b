"""The leak audit of a shard: every kind of identifier in every column is found, and in the event that it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayo_data import schema
from mayo_data.keys import Secret
from mayo_data.phi.audit import Audit
from mayo_data.phi.identifiers import Record
from mayo_data.phi.vault import Vault
from mayo_data.pipeline import leaks
from mayo_data.types import Identifier

KEY = Secret(bytes(range(32)))
KNOWN = (
    Identifier("PATIENT", "given", "May"), Identifier("PATIENT", "family", "Young"),
    Identifier("RELATIVE", "full", "José Muñoz"), Identifier("STAFF", "full", "Ottoline Quimbleford"),
    Identifier("SSN", "value", "123-45-6789"), Identifier("PHONE", "value", "+1 (212) 555-0143"),
    Identifier("MRN", "value", "0048812"), Identifier("LICENSE", "value", "S99962177"),
    Identifier("EMAIL", "value", "may.y@mail.test"), Identifier("STREET", "value", "1200 Larkspur Way"),
    Identifier("CITY", "value", "Ashburnham"), Identifier("HOSPITAL", "value", "Saint Elsewhere Clinic"),
    Identifier("ZIP", "value", "55901-1234"), Identifier("HEALTHPLAN", "value", "1EG4-TE5-MK73"),
    Identifier("DEVICE", "value", "A0099118822"), Identifier("ACCOUNT", "value", "700-41-99"),
    Identifier("DATE", "birth", "1956-03-04"),
)  # fmt: skip
PLANTED = [
    ("MAY YOUNG", "PATIENT"), ("Young, May", "PATIENT"), ("munoz", "RELATIVE"), ("Dr. Quimbleford", "STAFF"),
    ("123 45 6789", "SSN"), ("212.555.0143", "PHONE"), ("no. 00048812", "MRN"), ("mrn48812", "MRN"),
    ("S999-62177", "LICENSE"), ("<May.Y@mail.test>", "EMAIL"), ("1200 LARKSPUR", "STREET"), ("Ashburnham", "CITY"),
    ("saint elsewhere clinic", "HOSPITAL"), ("55901", "ZIP"), ("1EG4TE5MK73", "HEALTHPLAN"),
    ("a0099118822", "DEVICE"), ("acct 7004199", "ACCOUNT"), ("DOB: 3/4/56", "DATE"),
]  # fmt: skip
WORDS = (
    "May",
    "Young",
    "1200",
    "Larkspur",
    "212",
    "555",
    "0143",
    "48812",
    ",",
    ".",
    "-",
    "born",
    "3/4/56",
    "of",
    "1",
    "EG4",
)
OTHERS = [
    Record("patient", f"Patient/{n}", (), (Identifier("PATIENT", "family", f"Other{chr(97 + n)}son"),))
    for n in range(9)
]
TEXT_COLUMNS = ("text_value", "unit", "status", "description")
MINE = KEY.subject_id("Patient/mine")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    made = Vault(tmp_path_factory.mktemp("vault") / "vault.db", KEY)
    made.add([Record("patient", "Patient/mine", (), KNOWN), *OTHERS])
    made.index(KEY)
    yield made
    made.close()


def staged(*rows: dict[str, Any]) -> pa.Table:
    """Events of a shard: what a row does not say is empty."""
    plain = {"source_table": 3, "source_item": 0, "scrub_ref": 0, "code": "OBSERVATION//LOINC//718-7", "resource_type": "x",
             "resource_key": 1}  # fmt: skip
    filled = [{"source_row": place, **plain, **row} for place, row in enumerate(rows, 1)]
    return pa.Table.from_pylist(filled, schema=schema.table("staged"))


def others(**columns: Any) -> list[dict[str, Any]]:
    return [{"subject_id": KEY.subject_id(record.ref), **columns} for record in OTHERS]


@pytest.mark.parametrize("column", TEXT_COLUMNS)
@pytest.mark.parametrize(("text", "category"), PLANTED)
def test_a_planted_identifier_is_found_where_it_stands(vault: Vault, column: str, text: str, category: str) -> None:
    table = staged(*others(**{column: text}), {"subject_id": MINE, column: text}, {"subject_id": MINE, column: "well"})
    assert leaks.search(table, vault) == [("3.10.0", column, category)]


@pytest.mark.parametrize("column", ["code", "parent_codes"])
@pytest.mark.parametrize(("text", "category"), [one for one in PLANTED if one[1] in leaks.NAMES])
def test_a_name_in_a_code_is_found(vault: Vault, column: str, text: str, category: str) -> None:
    code = f"CONDITION//SITE//{text}"
    table = staged({"subject_id": MINE}, {"subject_id": MINE, column: [code] if column == "parent_codes" else code})
    assert leaks.search(table, vault) == [("3.2.0", column, category)]


def test_a_number_of_the_record_is_found_among_measured_numbers(vault: Vault) -> None:
    table = staged({"subject_id": MINE, "value_text": "7004199"}, {"subject_id": MINE, "value_text": "70.04199"})
    assert leaks.search(table, vault) == [("3.1.0", "value_text", "ACCOUNT")]


def test_the_digits_of_a_public_code_are_nobodys_number(vault: Vault) -> None:
    table = staged(
        {"subject_id": MINE, "code": "OBSERVATION//LOINC//55901-1"}, {"subject_id": MINE, "code": "A//B//55901 x"}
    )
    assert leaks.search(table, vault) == []


def test_what_the_policy_keeps_is_no_leak(vault: Vault) -> None:
    table = staged({"subject_id": MINE, "text_value": "55901"})
    assert leaks.search(table, vault, {"ZIP"}) == []


def test_a_subject_whom_nobody_knows_and_a_shard_without_a_word_are_clean(vault: Vault) -> None:
    assert leaks.search(staged({"subject_id": 5, "text_value": "May Young"}), vault) == []
    assert leaks.search(staged(), vault) == []
    assert leaks.search(staged({"subject_id": MINE}), vault) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from(TEXT_COLUMNS),
            st.one_of(
                st.sampled_from([text for text, _ in PLANTED]),
                st.sampled_from(["Otherason", "OTHERBSON seen", "0.5 mg", "born 1956", "12 of 55", "g/dL", "a@b.c"]),
                st.lists(st.sampled_from(WORDS)).map(" ".join),
                st.text(max_size=12),
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_set_wise_and_one_by_one_find_the_same(vault: Vault, said: list[tuple[int, str, str]]) -> None:
    """The oracle asks each subject's own audit about each string."""
    people = [MINE, *(KEY.subject_id(record.ref) for record in OTHERS)]
    records = [KNOWN, *(record.identifiers for record in OTHERS)]
    rows = [{"subject_id": people[who], column: text} for who, column, text in said]
    wanted = {
        (column, text, people[who], category)
        for who, column, text in said
        if not leaks.is_public(column, text)
        for _, category in Audit(records[who]).leaks([text])
    }
    found = leaks.search(staged(*rows), vault)
    by_row = {f"3.{place}.0": row for place, row in enumerate(rows, 1)}
    assert {
        (column, by_row[event][column], by_row[event]["subject_id"], category) for event, column, category in found
    } == wanted
    assert len(found) == len(wanted)


def test_the_vault_of_another_shard_is_no_matter(tmp_path: Path) -> None:
    empty = Vault(tmp_path / "vault.db", KEY)
    assert leaks.search(staged({"subject_id": MINE, "text_value": "May Young"}), empty) == []
    empty.close()
