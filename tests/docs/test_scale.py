"""`benchmarks/scale.py` copies people, not rows, and fits what it says it fits."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
_REFERENCE = re.compile(r'"reference"\s*:\s*"([A-Za-z]+/[A-Za-z0-9.-]+)"')


@pytest.fixture
def scale(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("scale")


def names(folder: Path, copy: str) -> tuple[set[str], set[str], set[str]]:
    """Resources of a copy, what they refer to, and identifiers of patients."""
    own, named, numbers = set(), set(), set()
    for path in folder.glob(f"*.{copy}.ndjson.gz"):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            body: Any = json.loads(line)
            own.add(f"{body['resourceType']}/{body['id']}")
            named.update(_REFERENCE.findall(line))
            if body["resourceType"] == "Patient":
                numbers |= {one["value"] for one in body.get("identifier", [])}
    return own, named, numbers


def test_every_copy_holds_other_people(scale: ModuleType, synthetic_export: Path, tmp_path: Path) -> None:
    files = sorted((synthetic_export / "fhir").glob("*.ndjson*"))
    raw, packed, resources = scale.copy(files, 0, tmp_path)
    again = scale.copy(files, 7, tmp_path)
    assert again[2] == resources
    assert 1 <= again[0] / raw < 1.1
    assert packed == sum(path.stat().st_size for path in tmp_path.glob("*.000.*"))
    (own, named, numbers), (others, theirs, others_numbers) = names(tmp_path, "000"), names(tmp_path, "007")
    assert len(own) == len(others) == resources
    assert own.isdisjoint(others)
    assert numbers.isdisjoint(others_numbers)
    assert len(named & own) == len(theirs & others)  # who was referred to is, in its copy
    assert named & own
    assert theirs.isdisjoint(own)


def test_a_line_and_a_power_are_found(scale: ModuleType) -> None:
    sizes = [
        scale.Size(
            times, times * 1000, times, times, times * 10, times, 3.0 * times**1.2, 5.0 + 2 * times, 7.0, 1, 1, 1
        )
        for times in (1, 2, 4, 8, 16)
    ]
    assert scale.exponent(sizes, "wall") == pytest.approx(1.2)
    assert scale.exponent(sizes, "memory") == pytest.approx(0)
    assert scale.line(sizes, "processor") == pytest.approx((0.2, 5.0))


@pytest.mark.slow
def test_the_command_measures_and_writes_json(scale: ModuleType, synthetic_export: Path, tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "scale.py", synthetic_export / "fhir", "--times", "1", "2", "--workers", "1"]
    subprocess.run([*command, "--json", tmp_path / "scale.json"], check=True, capture_output=True)
    found = json.loads((tmp_path / "scale.json").read_text())
    once, twice = found["sizes"]
    assert twice["subjects"] == 2 * once["subjects"] > 0
    assert twice["events"] == 2 * once["events"] > 0
    assert once["memory"] > 50
    assert found["model"]["events"]["a_patient"] == pytest.approx(once["events"] / once["subjects"])
