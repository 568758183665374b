"""The attacks of `benchmarks/attack.py` on synthetic stores and copies: what SECURITY.md says of them is so."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hospital import cli, export, go, observation, patient, pipeline_file

import mayo_data as md
from mayo_data import keys
from mayo_data.pipeline.scrubbed import scrub
from mayo_data.store.layout import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def attack() -> Iterator[Any]:
    """The modules of the attacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import attack
        import attack_copies
        import attack_order
        import attack_sides

        names = {"copies": attack_copies, "order": attack_order, "sides": attack_sides}
        yield SimpleNamespace(**vars(attack), **names)
        for name in ("attack", "attack_copies", "attack_order", "attack_sides"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module", params=["fhir", "omop"])
def made(
    request: pytest.FixtureRequest,
    synthetic_export: Path,
    synthetic_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """An export, its store and its de-identified copy."""
    folder, key = tmp_path_factory.mktemp(request.param), synthetic_run / "site.key"
    source, store = synthetic_export / "fhir", synthetic_run / "store"
    if request.param == "omop":
        source, store = synthetic_export / "omop_csv", folder / "store"
        toml = pipeline_file(folder / "omop.toml", source={"format": "omop"})
        done = cli("run", toml, "--input", source, "--store", store, "--key-file", key, "--workers", "1")
        assert done.returncode == 0, done.stderr
    scrub(source, folder / "copy", key_file=key, workers=1)
    return SimpleNamespace(source=source, store=Store.open(store), copy=folder / "copy", key=key, secret=keys.load(key))


@pytest.mark.slow
def test_what_links_everybody_and_what_links_nobody(attack: Any, made: SimpleNamespace) -> None:
    snapshot = made.store.current()
    theirs, files = attack.raw(made.source, snapshot)
    ours = attack.stored(snapshot)
    truth = {made.secret.subject_id(who): who for who in theirs}
    assert set(ours) <= set(truth)
    assert attack.inputs_found(made.store, files) > 10  # the ledger names them by digest

    def right(links: dict[Any, Any]) -> float:
        return sum(truth.get(who) == other for who, other in links.items()) / len(ours)

    assert right(attack.by_line(ours, theirs)) == 1
    assert right(attack.by_signature(ours, theirs, attack.intervals)) > 0.5
    for one in ours.values():
        one.lines.clear()
    assert attack.by_line(ours, theirs) == {}  # without the places, no place leads home
    few = 8 / len(ours)  # by chance it is one
    assert right(attack.by_order(ours, theirs)) < few
    for name, order in attack.order.orders(snapshot).items():
        assert right(attack.order.first_to_first(order, theirs)) < few, name
    assert len(attack.order.by_size(attack.order.sizes(snapshot), theirs)) == len(ours)  # links some: it is content


@pytest.mark.slow
def test_numbers_and_places_lie_in_no_order_of_the_export(attack: Any, made: SimpleNamespace) -> None:
    snapshot = made.store.current()
    theirs, files = attack.raw(made.source, snapshot)
    truth = {made.secret.subject_id(who): who for who in theirs}
    found = attack.order.ranks(snapshot, attack.stored(snapshot), theirs, truth)
    assert len(found) == 5
    for name, pairs in found.items():
        count = len(pairs)
        assert count >= 5, name
        spread = math.sqrt((2 * count + 5) / (18 * count * (count - 1)))  # of Kendall's tau by chance, halved
        assert abs(attack.order.agreement(pairs) - 0.5) < 5 * spread + 0.02, name
    assert attack.order.agreement([(one, one * 3) for one in range(40)]) == 1  # and it would find an order
    assert attack.order.upward(snapshot) == 1  # facts of one moment do stand as they stood: SECURITY.md says so
    assert attack.order.touched(snapshot, files) == 0


def test_a_copy_lies_in_no_order_of_the_export(attack: Any, made: SimpleNamespace) -> None:
    theirs, _ = attack.raw(made.source, made.store.current())
    truth = {made.secret.subject_id(who): who for who in theirs}

    def right(copy: Path, by: int | None) -> float:
        links = attack.copies._voted(copy, made.source, theirs, by)
        return sum(truth.get(who) == other for who, other in links.items()) / len(truth)

    assert right(made.copy, None) < 0.8
    assert right(made.copy, 1) < 0.8


def test_two_snapshots_tell_who_was_there_that_night(attack: Any, tmp_path: Path) -> None:
    people = [patient(f"p{number}") for number in range(20)]
    facts = [observation(f"o{number}", f"p{number}") for number in range(20)]
    go(export(tmp_path / "one", {"Patient.ndjson": people, "Observation.ndjson": facts}), tmp_path / "store")
    night = [observation(f"n{number}", f"p{number}") for number in (3, 7)]
    go(export(tmp_path / "two", {"Observation.ndjson": night}), tmp_path / "store", source={"mode": "delta"})
    store = Store.open(tmp_path / "store")
    assert attack.order.nights(store) == {"between snapshots 000001 and 000002": (2, 20)}


def test_the_command_prints_a_line_an_attack(made: SimpleNamespace) -> None:
    words = [sys.executable, str(ROOT / "benchmarks" / "attack.py"), str(made.source), str(made.store.root)]
    done = subprocess.run(
        [*words, "--key-file", str(made.key), "--copy", str(made.copy)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" of all\n") == 15
    assert "copy: place of a line in its file" in done.stdout


def test_a_plain_dataset_names_no_line(synthetic_run: Path, tmp_path: Path) -> None:
    """What SECURITY.md tells a site to give away that needs no lineage."""
    for name in ("store", "store.phi"):
        shutil.copytree(synthetic_run / name, tmp_path / name)
    out = md.open(tmp_path / "store").meds(tmp_path / "out")
    files = list(out.rglob("*.parquet"))
    columns = {name for path in files for name in pq.read_schema(path).names}
    assert "subject_id" in columns
    assert not [name for name in columns if "source" in name or "scrub" in name]
    assert not (out / "lineage").exists()
    assert md.validate(out) == []
