"""The attacks of `benchmarks/attack.py` on a synthetic store: what SECURITY.md says of them is so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from mayo_data import keys
from mayo_data.store.layout import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def attack() -> Any:
    spec = importlib.util.spec_from_file_location("attack", ROOT / "benchmarks" / "attack.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["attack"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lineage_and_intervals_link_and_ids_do_not(attack: Any, synthetic_export: Path, synthetic_run: Path) -> None:
    store = Store.open(synthetic_run / "store")
    theirs, files = attack.raw(synthetic_export / "fhir")
    ours = attack.stored(store.current())
    secret = keys.load(synthetic_run / "site.key")
    truth = {secret.subject_id("Patient/" + who): who for who in theirs}
    assert set(ours) <= set(truth)
    assert attack.inputs_found(store, files) == len(files)  # the ledger names them by digest
    for links in (attack.by_line(ours, theirs), attack.by_signature(ours, theirs, attack.intervals)):
        assert links
        assert all(truth[who] == other for who, other in links.items())
    assert len(attack.by_line(ours, theirs)) == len(ours)


def test_without_place_columns_a_line_links_nobody(attack: Any, synthetic_export: Path, synthetic_run: Path) -> None:
    theirs, _ = attack.raw(synthetic_export / "fhir")
    ours = attack.stored(Store.open(synthetic_run / "store").current())
    for one in ours.values():
        one.lines.clear()
    assert attack.by_line(ours, theirs) == {}
