"""All cases of the official test suite of SQL on FHIR v2, and the report of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT.parent / "shared" / "suites" / "sql-on-fhir-v2" / "tests"
FILES = sorted(path.name for path in SUITE.glob("*.json"))


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    path = ROOT / "benchmarks" / "sql_on_fhir.py"
    if not path.exists():
        pytest.skip("not a checkout: the runner of the suite is in benchmarks/")
    spec = importlib.util.spec_from_file_location("sql_on_fhir", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", FILES or ["absent"])
def test_every_case_of_a_file_passes(name: str, runner: ModuleType, tmp_path: Path) -> None:
    if not FILES:
        pytest.skip("../shared/suites/sql-on-fhir-v2 is not here")
    runner.write(tmp_path / "resources.ndjson", SUITE / name)
    cases = runner.load(SUITE / name)["tests"]
    assert cases
    wrong = {
        case["title"]: runner.check(case, tmp_path / "resources.ndjson", tmp_path / "out.ndjson") for case in cases
    }
    assert {title: what for title, what in wrong.items() if what is not None} == {}


def suite(folder: Path, **case: Any) -> Path:
    """Write a suite of one case."""
    tests = folder / "tests"
    tests.mkdir()
    resources = [{"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "b"}]
    view = {"resource": "Patient", "select": [{"column": [{"name": "id", "path": "id"}]}]}
    body = {"title": "t", "resources": resources, "tests": [{"title": "one", "view": view, **case}]}
    (tests / "t.json").write_text(json.dumps(body))
    return tests


# What test_report/test-report.schema.json of the SQL on FHIR project demands.
REPORT = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "required": ["tests"],
        "properties": {
            "tests": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "result"],
                    "properties": {
                        "name": {"type": "string"},
                        "result": {
                            "type": "object",
                            "required": ["passed"],
                            "properties": {"passed": {"type": "boolean"}},
                        },
                    },
                },
            }
        },
    },
}


@pytest.mark.parametrize(
    ("case", "passed"),
    [
        ({"expect": [{"id": "b"}, {"id": "a"}]}, True),
        ({"expect": [{"id": "a"}]}, False),
        ({"expect": [{"id": "a"}, {"id": "a"}]}, False),
        ({"expect": [{"id": "a", "other": None}, {"id": "b", "other": None}]}, False),
        ({"expectCount": 2}, True),
        ({"expectCount": 3}, False),
        ({"expectError": True}, False),
        ({"expectColumns": ["ID"], "expectCount": 2}, False),
    ],
)
def test_the_report_says_what_passes(case: dict[str, Any], passed: bool, runner: ModuleType, tmp_path: Path) -> None:
    report = runner.run(suite(tmp_path, **case))
    jsonschema.Draft202012Validator(REPORT).validate(report)
    assert [test["result"]["passed"] for test in report["t.json"]["tests"]] == [passed]


def test_values_compare_by_value_and_type(runner: ModuleType) -> None:
    same = runner.key
    assert same({"x": 5}) == same({"x": json.loads("5.00", parse_float=__import__("decimal").Decimal)})
    assert same({"x": True}) != same({"x": 1})
    assert same({"x": "5"}) != same({"x": 5})
    assert same({"x": None}) != same({"x": []})
