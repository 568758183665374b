"""The stage: every row leaves, refused rows without their body, and no value in what is said of them."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import mutants
import pyarrow as pa
import pytest

from mayo_data import schema
from mayo_data.conformance import shapes
from mayo_data.conformance.acceptor import Acceptor
from mayo_data.conformance.validate import SAMPLE, Validate, fault

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GOOD = b'{"resourceType":"Patient","id":"a","birthDate":"1970-01-01"}'
BAD = b'{"resourceType":"Patient","id":"a","birthDate":"Jane Doe"}'


def checked(
    bodies: list[bytes | None], share: Any = "all", fates: list[str | None] | None = None
) -> list[dict[str, Any]]:
    rows = [
        {"source_table": 0, "source_row": number, "body": body, "fate": fates[number - 1] if fates else None}
        for number, body in enumerate(bodies, 1)
    ]
    batches = list(Validate(share)(iter([pa.RecordBatch.from_pylist(rows, schema=schema.table("raw"))])))
    assert all(batch.schema == schema.table("checked") for batch in batches)
    return [row for batch in batches for row in batch.to_pylist()]


def test_a_row_that_is_no_fhir_ends() -> None:
    good, bad, dead, junk = checked([GOOD, BAD, None, b"{"], fates=[None, None, "read/line_too_long", None])
    assert (good["fate"], good["fate_path"], good["body"]) == (None, None, GOOD)
    assert (bad["fate"], bad["fate_path"], bad["body"]) == ("validate/not_fhir", "Patient.birthDate: value_error", None)
    assert (dead["fate"], junk["fate"], junk["body"]) == ("read/line_too_long", None, b"{")


def test_a_sample_is_the_first_of_fifty() -> None:
    ended = [row["source_row"] for row in checked([BAD] * (2 * SAMPLE + 1), "sample") if row["fate"]]
    assert ended == [1, SAMPLE + 1, 2 * SAMPLE + 1]
    assert Validate("sample").fingerprint != Validate().fingerprint


def test_what_is_wrong_is_said_without_a_value() -> None:
    """A token in every string, and in new keys: none comes out in what is said of a resource that is refused."""
    dice = random.Random(5)
    refused = 0

    def marked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: inner if key == "resourceType" else marked(inner) for key, inner in value.items()} | {"Zqx": 1}
        if isinstance(value, list):
            return [marked(inner) for inner in value]
        return f"Zqx{value}" if dice.random() < 0.9 else value

    for kind in sorted(shapes.judged()):
        found = fault(json.dumps(marked(mutants.resource(kind, dice))).encode())
        assert found is not None
        assert "zqx" not in found.lower()
        assert found.startswith(kind)
        refused += 1
    assert refused > 100


def test_the_library_is_loaded_only_when_something_is_refused() -> None:
    code = (
        "import sys\nfrom mayo_data.conformance.validate import fault\n"
        f"assert fault({GOOD!r}) is None\nassert not any(name.split('.')[0] in ('fhir', 'pydantic') for name in sys.modules)\n"
        f"assert fault({BAD!r})\nassert 'fhir.resources' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name",
    ["synthea_notes_79", "mimic_iv_demo", pytest.param("synthea_615", marks=pytest.mark.slow)],
)
def test_real_exports_are_accepted_at_once(name: str) -> None:
    folder = SHARED / "data" / "fhir" / name
    if not folder.is_dir():
        pytest.skip("../shared is not here: this machine has no real exports")
    acceptor = Acceptor()
    for path in sorted(folder.rglob("*.ndjson.gz")):
        with gzip.open(path, "rb") as lines:
            assert [number for number, line in enumerate(lines, 1) if not acceptor.accepts(line)] == [], path.name


def test_of_the_us_core_examples_one_is_wrong() -> None:
    folder = SHARED / "suites" / "us_core_examples"
    if not folder.is_dir():
        pytest.skip("../shared is not here: this machine has no examples")
    found = {path.name: fault(path.read_bytes()) for path in folder.rglob("*.json")}
    assert len(found) > 200
    # Its narrative is a status without a text (Narrative.div is 1..1).
    wrong = {"diagnosticreport-cbc.json": "DiagnosticReport.text.div: model_field_validation.missing"}
    assert {name: said for name, said in found.items() if said} == wrong
