"""A delta that is killed, and deltas cut at random: in the end, the digest of one run over everything."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hospital import cli, export, key_file, observation, patient, pipeline_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_delta import BASE, FAST, agree, at, deletion, merged, nights, whole
from test_resume import dies

import mayo_data as md
from mayo_data.lineage.ledger import verify
from mayo_data.store.layout import Store
from mayo_data.store.snapshot import Manifest

NIGHT = {
    "a.ndjson": [at(observation(f"o{n}-0", f"p{n}", status="amended"), 5) for n in range(4)],
    "d.ndjson": [deletion("Observation/o5-0", "Patient/p6", day=5)],
}  # fmt: skip
BOUNDARIES = {
    "survey": dies("mayo_data.pipeline.survey", "survey_file", 1, after=True),
    "first merge": dies("mayo_data.pipeline.shards", "merge"),
    "later merge": dies("mayo_data.pipeline.shards", "merge", 3, after=True),
    "within the links": dies("mayo_data.store.write", "link", 3, after=True),
    "memory put together": dies("mayo_data.pipeline.delta", "gathered", after=True),
    "sealed": dies("mayo_data.store.snapshot", "seal", after=True),
    "before the memory": dies("mayo_data.pipeline.delta", "keep"),
    "after the memory": dies("mayo_data.pipeline.delta", "keep", after=True),
    "after the commit": dies("mayo_data.store.layout:Store", "commit", after=True),
}
FEW = ["later merge", "after the memory", "after the commit"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of one night, its PHI zone, and the next night's delta."""
    folder = tmp_path_factory.mktemp("base")
    first, _ = nights(folder, [BASE, NIGHT])
    whole(first, folder / "store")
    return folder


@pytest.fixture(scope="module")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed") / "x"
    shutil.copytree(base, folder)
    return merged(folder / "all" / "01", folder / "store").logical_digest


@pytest.mark.parametrize(
    "boundary", [pytest.param(name, marks=[] if name in FEW else pytest.mark.slow) for name in BOUNDARIES]
)
def test_killed_at_a_boundary(base: Path, undisturbed: str, tmp_path: Path, boundary: str) -> None:
    folder = tmp_path / "x"
    shutil.copytree(base, folder)
    store = Store.open(folder / "store")
    words = ["run", pipeline_file(folder / "n.toml", **FAST), "--input", folder / "all" / "01", "--store", store.root,
             "--delta", "--key-file", key_file(folder), "--workers", "1", "--log", "quiet"]  # fmt: skip
    done = cli(*words, before=BOUNDARIES[boundary])
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert store.snapshots() == (["000001", "000002"] if boundary == "after the commit" else ["000001"])
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert store.snapshots() == ["000001", "000002"]
    manifest = Manifest.read(store.current())
    assert manifest.logical_digest == undisturbed
    assert md.validate(store.root) == []
    assert verify(store.ledger) == []
    assert list((store.root / "staging").iterdir()) == []
    zone = folder / "store.phi"
    assert list((zone / "work").iterdir()) == []
    there = {path.stem for path in (zone / "memory").iterdir()}
    assert there == {*manifest.memory.values(), *Manifest.read(store.snapshot("000001")).memory.values()}


# ── cut at random ─────────────────────────────────────────────────────────────────────────────────


def stay(number: int, end: int) -> dict[str, Any]:
    return {
        "resourceType": "Encounter", "id": f"e{number}", "status": "finished", "class": {"code": "IMP"},
        "subject": {"reference": f"Patient/p{number}"},
        "period": {"start": "2020-05-01T00:00:00Z", "end": f"2020-05-{end:02d}T00:00:00Z"},
    }  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """A night, and a version of a resource that it brings: updated, withdrawn, deleted, or of a stay that is moved."""
    night, person, day = draw(st.integers(0, 2)), draw(st.integers(0, 2)), draw(st.integers(1, 8))
    kind = draw(
        st.sampled_from(["Patient", "Encounter", "Observation", "dated by its stay", "withdrawn", "deleted", "gone"])
    )
    of = f"p{person}"
    match kind:
        case "Patient":
            made = at(patient(of, gender=draw(st.sampled_from(["male", "female"]))), day)
        case "Encounter":
            made = at(stay(person, day + 2), day)
        case "Observation":
            made = at(observation(f"o{person}", of, valueQuantity={"value": day, "unit": "mg/dL"}), day)
        case "dated by its stay":
            made = at(observation(f"s{person}", of, encounter={"reference": f"Encounter/e{person}"}), day)
            del made["effectiveDateTime"]
        case "withdrawn":
            made = at(observation(f"o{person}", of, status="entered-in-error"), day)
        case "deleted":
            made = deletion(f"Observation/o{person}", f"Encounter/e{person}", day=day)
        case _:
            made = deletion(f"Patient/{of}", day=day)
    return night, made


@pytest.mark.slow
@given(st.lists(rows(), min_size=4, max_size=16))
@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
def test_any_cut_of_any_versions_gives_one_digest(found: list[tuple[int, dict[str, Any]]]) -> None:
    people = {"Patient.ndjson": [at(patient(f"p{n}"), 1) for n in range(4)]}
    parts = [people, *({"a.ndjson": [row for night, row in found if night == number]} for number in range(3))]
    with tempfile.TemporaryDirectory() as folder:
        agree(Path(folder), [part for part in parts if any(part.values())], validate="off", store={"shards": 3})


def test_a_real_export_cut_in_two(shared: Path, tmp_path: Path) -> None:
    """Half of the resources come in the second night: encounters after what happened in them, and the other way."""
    import gzip

    source = shared / "data" / "fhir" / "synthea_615"
    if not source.is_dir():
        pytest.skip("no real export here")
    files: list[dict[str, list[bytes]]] = [{}, {}]
    people: set[bytes] = set()
    for name in ("Patient", "Encounter", "Condition", "Immunization"):
        with gzip.open(source / f"{name}.ndjson.gz") as file:
            for number, line in enumerate(file):
                if name == "Patient" and number < 30:
                    people.add(line.partition(b'"id":"')[2].partition(b'"')[0])
                owner = line.partition(b'"Patient/')[2].partition(b'"')[0]
                if number < 30 if name == "Patient" else owner in people:
                    night = 0 if name == "Patient" else number % 2
                    files[night].setdefault(f"{name}.ndjson", []).append(line.rstrip(b"\n"))
    first, second = agree(tmp_path, files, validate="off", store={"shards": 4})
    assert first.subjects == second.subjects == 30
    assert second.events > first.events
    export(tmp_path / "again", files[1])
    assert merged(tmp_path / "again", tmp_path / "nightly", validate="off", store={"shards": 4}).repeated
