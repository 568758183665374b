"""All golden FHIR → OMOP cases of HealthSamurai/fhir2omop, and any that are laid beside them."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import golden
import pytest
from golden import Case, MemoryVocabulary

CASES = list(golden.cases())
DEVIATIONS: dict[str, list[dict[str, str]]] = tomllib.loads(
    Path(__file__).with_name("deviations.toml").read_text(encoding="utf-8")
)


@cache
def known() -> MemoryVocabulary:
    return golden.vocabulary()


@pytest.mark.skipif(not CASES, reason="../shared/suites/fhir2omop_cases is not there")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case(case: Case) -> None:
    found = golden.differences(case, golden.produced(case, known()))
    assert found == [entry["differs"] for entry in DEVIATIONS.get(case.name, [])]


@pytest.mark.skipif(not CASES, reason="../shared/suites/fhir2omop_cases is not there")
def test_deviations_are_few_explained_and_real() -> None:
    names = {case.name for case in CASES}
    assert DEVIATIONS.keys() <= names
    assert len(DEVIATIONS) <= 0.05 * len(CASES)
    assert all("guide" in entry["why"] for entries in DEVIATIONS.values() for entry in entries)


@pytest.mark.skipif(not CASES, reason="../shared/suites/fhir2omop_cases is not there")
def test_the_comparison_sees_what_is_wrong() -> None:
    """A comparison that finds nothing must be able to find something."""
    case = next(one for one in CASES if list(one.expected) == ["person"])
    rows: dict[str, list[dict[str, Any]]] = golden.produced(case, known())
    rows["person"][0]["year_of_birth"] += 1
    assert len(golden.differences(case, rows)) == 1
    assert golden.differences(case, {}) == ["person: a row is missing"]
    rows["person"].append(dict(rows["person"][0]))
    assert "person: a row too many" in golden.differences(case, rows)
