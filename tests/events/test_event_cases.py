"""Every folder in cases/ is an example and a test: in.json becomes out.json, README.md says why.

UPDATE_CASES=1 writes out.json anew; read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mayo_data import assets, events
from mayo_data.events import values

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())
LINEAGE = {"source_table", "source_row", "resource_type", "resource_key", "subject_id", "scrub_ref"}


def shown(row: dict[str, Any]) -> dict[str, Any]:
    seen = {key: value for key, value in row.items() if key not in LINEAGE}
    for key in ("time", "end_time", "available_time"):
        if key in seen:
            seen[key] = seen[key].isoformat()
    if "encounter_id" in seen:
        seen["encounter_id"] = f"{seen['encounter_id']:x}"
    if "numeric_value" in seen:
        seen["numeric_value"] = float(f"{seen['numeric_value']:.6g}")
    return seen


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path, scrubbed: Any, staged: Any) -> None:
    rows = staged(scrubbed([(case / "in.json").read_bytes()]))
    found = [shown(row) for row in rows]
    if os.environ.get("UPDATE_CASES"):
        lines = ",\n".join(" " + json.dumps(row, ensure_ascii=False) for row in found)
        (case / "out.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    assert found == json.loads((case / "out.json").read_text(encoding="utf-8"))
    assert (case / "README.md").read_text(encoding="utf-8").strip()
    assert {"source_table", "source_row", "resource_type", "resource_key", "subject_id"} <= set(rows[0])


def test_every_resource_type_has_a_case() -> None:
    types = {json.loads((case / "in.json").read_bytes())["resourceType"] for case in CASES}
    assert set(events.paths()) <= types


def test_every_choice_type_of_an_observation_has_a_case() -> None:
    panel = json.loads((Path(__file__).parent / "cases" / "observation_values" / "in.json").read_bytes())
    shown_types = {key for one in panel["component"] for key in one if key.startswith("value")}
    assert {path for path in events.paths()["Observation"] if path.startswith("value")} == shown_types
    assert shown_types <= {f"value{kind}" for kind in values.READERS}


def test_every_kind_is_documented_and_no_other() -> None:
    spec = assets.toml("schemas", "fhir", "events.toml")

    def kinds(group: dict[str, Any]) -> set[str]:
        found = {group["kind"], *group.get("codes", {}), *group.get("values", {})}
        suffixes = {rule["suffix"] for rule in group.get("negated", [])}
        for below in group.get("each", []):
            found |= kinds(below)
        assert suffixes <= set(documented["suffix"])
        return found

    documented = assets.toml("schemas", "fhir", "kinds.toml")
    assert {kind for group in spec.values() for kind in kinds(group)} == set(documented["kind"])
    assert all(documented["kind"].values())
    in_cases = {
        row["code"].split("//")[0]
        for case in CASES
        for row in json.loads((case / "out.json").read_text(encoding="utf-8"))
        if "code" in row
    }
    written = set(documented["written"])
    assert written <= in_cases
    bases = {kind: kind for kind in documented["kind"]} | {
        kind + suffix: kind for kind in documented["kind"] for suffix in documented["suffix"]
    }
    assert in_cases - written <= set(bases)
