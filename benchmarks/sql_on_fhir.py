"""Runs the official test cases of SQL on FHIR v2, and writes their report.

    python benchmarks/sql_on_fhir.py ../shared/suites/sql-on-fhir-v2/tests test_report.json

The report has the format of `test_report/test-report.schema.json` of the SQL on FHIR project: file of cases to
`{"tests": [{"name": ..., "result": {"passed": true}}]}`. A case passes where columns, values and number of rows are the
expected ones; numbers compare by value, rows in any order.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import mayo_data as md


def run(tests: Path) -> dict[str, Any]:
    """Run every case of every file; return the report."""
    report: dict[str, Any] = {}
    for path in sorted(tests.glob("*.json")):
        suite = load(path)
        results = []
        with tempfile.TemporaryDirectory() as folder:
            fhir = Path(folder) / "resources.ndjson"
            write(fhir, path)
            for case in suite["tests"]:
                wrong = check(case, fhir, Path(folder) / "out.ndjson")
                result: dict[str, Any] = {"passed": wrong is None}
                if wrong is not None:
                    result["error"] = wrong
                results.append({"name": case["title"], "result": result})
        report[path.name] = {"tests": results}
    return report


def load(path: Path) -> dict[str, Any]:
    suite: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    return suite


def write(fhir: Path, path: Path) -> None:
    """Write the resources of a file of cases as ndjson, with the digits that they have there."""
    marked = json.loads(path.read_text(encoding="utf-8"), parse_float=lambda text: f"\0{text}\0")["resources"]
    lines = (json.dumps(resource).replace('"\\u0000', "").replace('\\u0000"', "") for resource in marked)
    fhir.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def check(case: dict[str, Any], fhir: Path, out: Path) -> str | None:
    """Run one case; return what is wrong with it."""
    try:
        table = md.view(case["view"], fhir)
        table.write(out)
    except md.MayoDataError as error:
        return None if case.get("expectError") else f"{type(error).__name__}: {error}"
    if case.get("expectError"):
        return "an error was expected"
    rows = [json.loads(line, parse_float=Decimal) for line in out.read_text(encoding="utf-8").split("\n") if line]
    if "expectColumns" in case and list(table.columns) != case["expectColumns"]:
        return f"columns {list(table.columns)}"
    if "expectCount" in case:
        return None if len(rows) == case["expectCount"] else f"{len(rows)} rows"
    names = set(table.columns)
    if any(set(row) != names for row in case["expect"]):
        return f"columns {sorted(names)}"
    return None if Counter(map(key, rows)) == Counter(map(key, case["expect"])) else f"rows {rows}"


def key(row: Any) -> Any:
    """Return a row as something that compares by value: 5 is 5.0, true is not 1."""
    if isinstance(row, dict):
        return tuple(sorted((name, key(value)) for name, value in row.items()))
    if isinstance(row, list):
        return ("list", *map(key, row))
    if isinstance(row, int | Decimal) and not isinstance(row, bool):
        return ("number", Decimal(row).normalize())
    return (type(row).__name__, row)


def main() -> None:
    report = run(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8")
    results = [(name, test) for name, suite in report.items() for test in suite["tests"]]
    for name, test in results:
        if not test["result"]["passed"]:
            print(f"{name}: {test['name']}: {test['result']['error'][:300]}")
    print(f"{sum(test['result']['passed'] for _, test in results)} of {len(results)} cases pass")


if __name__ == "__main__":
    main()
