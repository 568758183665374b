"""What comes out of the scrub is valid where what went in was: every resource type, every preset."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import mutants
import pyarrow as pa
import pytest

from mayo_data import schema
from mayo_data.conformance import shapes
from mayo_data.conformance.validate import fault
from mayo_data.keys import Secret
from mayo_data.phi import policy
from mayo_data.phi.elements import elements
from mayo_data.phi.identifiers import from_fhir
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.stage import TALLY

SECRET = Secret(bytes(range(32)))
PATIENT = {"resourceType": "Patient", "id": "p1", "birthDate": "1971-03-04"}
EACH = 6  # resources of a type


def about_the_patient(resource: Any, dice: random.Random) -> Any:
    """Most resources get the patient as their subject; the others are about nobody."""
    kind = resource["resourceType"]
    resource["id"] = "p1" if kind == "Patient" else "r1"
    for name in ("subject", "patient", "beneficiary", "individual", "for"):
        element = elements(kind).get(name)
        if element is not None and element.type == "Reference" and dice.random() < 0.7:
            mine = {"reference": "Patient/p1"}
            resource[name] = [mine] if element.repeats else mine
    resource.pop("modifierExtension", None)
    resource.pop("implicitRules", None)
    return resource


@pytest.mark.parametrize("name", ["expert_determination", "safe_harbor", "limited_data_set"])
def test_what_is_valid_stays_valid(tmp_path: Path, name: str) -> None:
    dice = random.Random(name)
    vault = Vault(tmp_path / "vault.sqlite", SECRET)
    vault.add(from_fhir(PATIENT))
    vault.close()
    lines = []
    for kind in sorted(shapes.judged()):
        for _ in range(EACH):
            line = json.dumps(about_the_patient(mutants.resource(kind, dice), dice)).encode()
            assert fault(line) is None
            lines.append(line)
    stage = Scrub(policy.load(name), SECRET, SECRET, tmp_path / "vault.sqlite", "2024-01-01", whole=True)
    rows = [{"source_table": 0, "source_row": number, "body": line} for number, line in enumerate(lines, 1)]
    [batch] = stage(iter([pa.RecordBatch.from_pylist(rows, schema=schema.table("raw"))]))
    found = [row for row in batch.to_pylist() if row["fate"] != TALLY]
    # A modifierExtension inside, or a subject that is somebody's identifier.
    assert {row["fate"] for row in found} <= {None, "scrub/modifier_extension", "scrub/unknown_subject"}
    alive = [row for row in found if row["fate"] is None]
    assert {row["resource_type"] for row in alive} == shapes.judged()
    assert [(row["source_row"], wrong) for row in alive if (wrong := fault(row["body"])) is not None] == []
