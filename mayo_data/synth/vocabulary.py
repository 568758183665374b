"""The small OMOP vocabulary of the generator: every concept that a row may name, and what maps to what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from mayo_data.synth.codes import VOCABULARIES, Code, book, site_id

Row = tuple[str, dict[str, Any]]

_UNITS = {
    "%": (8554, "percent"),
    "mg/dL": (8840, "milligram per deciliter"),
    "mmol/L": (8753, "millimole per liter"),
    "mm[Hg]": (8876, "millimeter mercury column"),
    "kg": (9529, "kilogram"),
    "cm": (8582, "centimeter"),
    "/min": (8541, "per minute"),
    "Cel": (586323, "degree Celsius"),
    "g/dL": (8713, "gram per deciliter"),
    "kg/m2": (9531, "kilogram per square meter"),
    "U/L": (8645, "unit per liter"),
    "10*3/uL": (8848, "thousand per microliter"),
    "pg/mL": (8845, "picogram per milliliter"),
    "mg/g": (8723, "milligram per gram"),
    "mg": (8576, "milligram"),
    "mL": (8587, "milliliter"),
    "wk": (8511, "week"),
    "mg/L": (8751, "milligram per liter"),
}
_PLAIN = [  # id, name, domain, vocabulary, class, code
    (0, "No matching concept", "Metadata", "None", "Undefined", "No matching concept"),
    (8507, "MALE", "Gender", "Gender", "Gender", "M"),
    (8532, "FEMALE", "Gender", "Gender", "Gender", "F"),
    (8527, "White", "Race", "Race", "Race", "5"),
    (8516, "Black or African American", "Race", "Race", "Race", "3"),
    (8515, "Asian", "Race", "Race", "Race", "2"),
    (8657, "American Indian or Alaska Native", "Race", "Race", "Race", "1"),
    (8557, "Native Hawaiian or Other Pacific Islander", "Race", "Race", "Race", "4"),
    (38003563, "Hispanic or Latino", "Ethnicity", "Ethnicity", "Ethnicity", "Hispanic"),
    (38003564, "Not Hispanic or Latino", "Ethnicity", "Ethnicity", "Ethnicity", "Not Hispanic"),
    (9201, "Inpatient Visit", "Visit", "Visit", "Visit", "IP"),
    (9202, "Outpatient Visit", "Visit", "Visit", "Visit", "OP"),
    (9203, "Emergency Room Visit", "Visit", "Visit", "Visit", "ER"),
    (5083, "Telehealth", "Visit", "CMS Place of Service", "Visit", "02"),
    (8717, "Inpatient Hospital", "Visit", "CMS Place of Service", "Visit", "21"),
    (8863, "Skilled Nursing Facility", "Visit", "CMS Place of Service", "Visit", "31"),
    (8870, "Emergency Room - Hospital", "Visit", "CMS Place of Service", "Visit", "23"),
    (38004519, "Home Health Agency", "Visit", "Medicare Specialty", "Provider", "A4"),
    (32817, "EHR", "Type Concept", "Type Concept", "Type Concept", "OMOP4976890"),
    (32838, "EHR prescription", "Type Concept", "Type Concept", "Type Concept", "OMOP4976911"),
    (32818, "EHR administration record", "Type Concept", "Type Concept", "Type Concept", "OMOP4976891"),
    (32825, "EHR dispensing record", "Type Concept", "Type Concept", "Type Concept", "OMOP4976898"),
    (32831, "EHR note", "Type Concept", "Type Concept", "Type Concept", "OMOP4976904"),
    (32840, "EHR problem list", "Type Concept", "Type Concept", "Type Concept", "OMOP4976913"),
    (32856, "Lab", "Type Concept", "Type Concept", "Type Concept", "OMOP4976929"),
    (32810, "Claim", "Type Concept", "Type Concept", "Type Concept", "OMOP4976883"),
    (32865, "Patient self-report", "Type Concept", "Type Concept", "Type Concept", "OMOP4976938"),
    (4132161, "Oral", "Route", "SNOMED", "Qualifier Value", "26643006"),
    (4171047, "Intravenous", "Route", "SNOMED", "Qualifier Value", "47625008"),
    (4142048, "Subcutaneous", "Route", "SNOMED", "Qualifier Value", "34206005"),
    (40486069, "Respiratory tract", "Route", "SNOMED", "Qualifier Value", "447694001"),
    (32678, "UTF-8 (UCS Transformation Format 8-bit)", "Note", "Note Type", "Encoding", "OMOP4822222"),
    (4180186, "English language", "Language", "SNOMED", "Qualifier Value", "297487008"),
    (44818668, "US dollar", "Currency", "Currency", "Currency", "USD"),
    (1147306, "specimen.specimen_id", "Metadata", "CDM", "Field", "CDM473"),
    (
        2_000_000_001,
        "History of family member diseases Narrative",
        "Observation",
        "LOINC",
        "Clinical Observation",
        "10157-6",
    ),
]
_CLASSES = {
    "Condition": "Disorder",
    "Drug": "Clinical Drug",
    "Procedure": "Procedure",
    "Measurement": "Lab Test",
    "Observation": "Clinical Observation",
    "Device": "Physical Object",
    "Specimen": "Specimen",
}
_FROM, _UNTIL = date(1970, 1, 1), date(2099, 12, 31)


def unit_id(unit: str) -> int:
    """Return the concept id of a UCUM unit.

    >>> unit_id("mg/dL")
    8840
    """
    known = _UNITS.get(unit)
    return known[0] if known else site_id("UCUM", unit)


def _codes() -> Iterator[Code]:
    for entries in book().values():
        for item in entries.values():
            yield item
            if item.billed:
                yield item.billed


def rows() -> Iterator[Row]:
    """Yield concept, vocabulary, concept_relationship and cdm_source; the same for every export."""
    seen: dict[int, None] = {}
    for number, name, domain, vocabulary, kind, code in _PLAIN:
        seen[number] = None
        yield "concept", _concept(number, name, domain, vocabulary, kind, code, "S" if number else None)
    units = dict.fromkeys(item.unit for item in _codes() if item.unit)
    for unit in units:
        name = _UNITS[unit][1] if unit in _UNITS else unit
        seen[unit_id(unit)] = None
        yield "concept", _concept(unit_id(unit), name, "Unit", "UCUM", "Unit", unit, "S")
    for item in _codes():
        if not item.omop or item.omop in seen:
            continue
        seen[item.omop] = None
        standard = None if item.vocabulary == "ICD10CM" else "S"
        kind = _CLASSES.get(item.domain, "Undefined")
        yield (
            "concept",
            _concept(item.omop, item.name, item.domain, item.vocabulary, kind, item.code, standard),
        )
        yield from _maps(item, standard)
    for vocabulary, label in [(name, name) for name in VOCABULARIES.values()] + [
        ("None", "OMOP"),
        ("Gender", "OMOP Gender"),
        ("Race", "Race"),
        ("Ethnicity", "Ethnicity"),
        ("Visit", "OMOP Visit"),
        ("Type Concept", "OMOP Type Concept"),
        ("CMS Place of Service", "CMS Place of Service"),
        ("Medicare Specialty", "Medicare Specialty"),
        ("Note Type", "OMOP Note Type"),
        ("Currency", "ISO 4217"),
        ("CDM", "OMOP CDM"),
    ]:
        yield (
            "vocabulary",
            {
                "vocabulary_id": vocabulary,
                "vocabulary_name": label,
                "vocabulary_reference": "synthetic subset",
                "vocabulary_version": "synth 1",
                "vocabulary_concept_id": 0,
            },
        )
    yield (
        "cdm_source",
        {
            "cdm_source_name": "Synthetic export of mayo-data",
            "cdm_source_abbreviation": "synth",
            "cdm_holder": "nobody: invented people",
            "source_release_date": date(2025, 6, 30),
            "cdm_release_date": date(2025, 6, 30),
            "cdm_version": "v5.4",
            "cdm_version_concept_id": 756265,
            "vocabulary_version": "synth 1",
        },
    )


def _maps(item: Code, standard: str | None) -> Iterator[Row]:
    target = item.omop
    if standard is None:
        target = book()["condition"][item.key].omop
    for one, two, relation in ((item.omop, target, "Maps to"), (target, item.omop, "Mapped from")):
        yield (
            "concept_relationship",
            {
                "concept_id_1": one,
                "concept_id_2": two,
                "relationship_id": relation,
                "valid_start_date": _FROM,
                "valid_end_date": _UNTIL,
            },
        )


def _concept(
    number: int, name: str, domain: str, vocabulary: str, kind: str, code: str, standard: str | None
) -> dict[str, Any]:
    return {
        "concept_id": number,
        "concept_name": name[:255],
        "domain_id": domain,
        "vocabulary_id": vocabulary,
        "concept_class_id": kind,
        "standard_concept": standard,
        "concept_code": code,
        "valid_start_date": _FROM,
        "valid_end_date": _UNTIL,
    }
