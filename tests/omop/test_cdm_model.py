"""The CDM as data: our file against the field lists of OHDSI, the mapping against our file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from mayo_data import assets
from mayo_data.omop import events, scrubbed
from mayo_data.omop.model import concepts, mapping, tables

KINDS = {"integer": {"key", "id", "concept", "int"}, "float": {"float"}, "date": {"date"}, "datetime": {"datetime"}}
# The list of 5.3 gives an extra or misspelt name that 5.4 corrects.
RENAMED = {name: old for table in tables().values() for name, old in table.renamed.items()}


def fields(shared: Path, version: str) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    path = shared / "suites" / "omop_cdm" / f"OMOP_CDMv{version}_Field_Level.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = row["cdmFieldName"].strip('"').casefold()
            found.setdefault(row["cdmTableName"].casefold(), {})[name] = row
    return found


@pytest.mark.parametrize("version", ["5.3", "5.4"])
def test_every_field_of_the_standard_is_known_with_type_and_key(version: str, shared: Path) -> None:
    for name, listed in fields(shared, version).items():
        table = tables()[name]
        for field, row in listed.items():
            ours = table.fields[table.renamed.get(field, field)]
            kind = row["cdmDatatype"].casefold()
            assert ours.kind in KINDS.get(kind, {"text"}), (name, field)
            assert ours.needed == (row["isRequired"] == "Yes") or version == "5.3", (name, field)
            if row["isPrimaryKey"] == "Yes" and kind == "integer":
                assert table.key == field
            target = row["fkTableName"].casefold()
            if row["isForeignKey"] == "Yes" and target not in (
                "concept",
                "domain",
                "vocabulary",
                "concept_class",
                "relationship",
            ):
                assert ours.target == target, (name, field)


def test_nothing_is_known_that_no_version_has(shared: Path) -> None:
    both = [fields(shared, version) for version in ("5.3", "5.4")]
    for table in tables().values():
        listed = set().union(*(version.get(table.name, {}) for version in both))
        assert set(table.fields) <= listed, table.name


def test_every_text_says_what_the_scrub_does_to_it() -> None:
    categories = {f"drop {name}" for name in assets.toml("schemas", "phi", "categories.toml")}
    known = {"code", "word", "label", "text", "zip3", "state", "time", "keep", "birth", "", *categories}
    for table in tables().values():
        for field in table.fields.values():
            assert field.action in known, (table.name, field.name)
            if field.kind == "text":
                assert field.action, (table.name, field.name)


def test_the_mapping_names_only_what_is_there() -> None:
    def named(spec: dict[str, Any]) -> set[str]:
        found = {spec[key] for key in ("number", "type") if key in spec} | set(spec.get("text", ()))
        return found | {name for inner in spec.get("each", ()) for name in named(inner)}

    for name, spec in mapping().items():
        fields = tables()[name].fields
        assert named(spec) <= set(fields), name
        for prefix in [spec.get("time"), spec.get("end")]:
            assert prefix is None or {f"{prefix}_date", f"{prefix}_datetime"} & set(fields), (name, prefix)
        for inner in (spec, *spec.get("each", ())):
            if "concept" in inner:
                assert f"{inner['concept']}_concept_id" in fields, (name, inner["concept"])


def test_every_table_of_subjects_but_one_becomes_events() -> None:
    assert {name for name, table in tables().items() if table.of == "subject"} - set(mapping()) == {"episode_event"}


@pytest.mark.parametrize("name", sorted(mapping()))
def test_a_field_that_is_dropped_is_in_no_query_that_leaves(name: str) -> None:
    table = tables()[name]
    dropped = {field.name for field in table.fields.values() if field.action.startswith("drop ")}
    compiled = events.Compiled(table, set(table.fields), "shift")
    query = compiled.rows(events.Relations("loaded"))
    assert [field for field in dropped if f't."{field}"' in query] == []
    out = scrubbed.Scrubbed(table, set(table.fields), "shift").out("live", [], "00")
    assert [field for field in dropped if f'r."{field}"' in out] == []


def test_the_fixed_concepts_are_codes_of_known_systems() -> None:
    short = {entry["name"] for entry in assets.toml("schemas", "fhir", "code_systems.toml")["system"]}
    for number, (code, meaning) in concepts()["fixed"].items():
        assert int(number) > 0
        assert meaning
        if "//" in code:
            assert code.partition("//")[0] in short
