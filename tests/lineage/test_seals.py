"""Every bit counts: one that is flipped, anywhere, is found by `mayo-data verify`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Served

import mayo_data as md
from mayo_data.lineage.ledger import Ledger
from mayo_data.store.layout import Store


def flip(path: Path, bit: int) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[(bit // 8) % len(content)] ^= 1 << (bit % 8)
    path.write_bytes(bytes(content))


def sealed(served: Served) -> list[Path]:
    """Every file that is sealed: ledger and its note, kept inputs, snapshots with manifests, the model."""
    opened = Store.open(served.store)
    files = [*opened.ledger.parent.rglob("*"), *(opened.root / "snapshots").rglob("*"), *served.model.rglob("*")]
    return sorted(path for path in files if path.is_file())


def test_an_untouched_store_is_intact(served: Served) -> None:
    assert md.verify(served.store, model=served.model) == []


def test_any_bit_of_any_file_is_found(served: Served) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def found(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sealed(served)))
        bit = data.draw(st.integers(0, path.stat().st_size * 8 - 1))
        before, mode = path.read_bytes(), path.stat().st_mode
        try:
            flip(path, bit)
            assert md.verify(served.store, model=served.model), f"bit {bit} of {path.name}"
        finally:
            path.write_bytes(before)
            path.chmod(mode)

    found()
    assert md.verify(served.store, model=served.model) == []


@pytest.mark.parametrize("which", ["ledger.jsonl", "ledger.jsonl.head", "manifest.json", "0000.parquet", "weights.bin"])
def test_the_command_says_so_with_exit_code_4(served: Served, which: str) -> None:
    path = next(path for path in sealed(served) if path.name == which)
    flip(path, path.stat().st_size * 4)
    command = [sys.executable, "-m", "mayo_data", "verify", str(served.store), "--model", str(served.model)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 4, done.stderr
    assert "seals are broken" in done.stderr


def test_files_that_come_or_go_are_found(served: Served) -> None:
    snapshot = Store.open(served.store).current()
    (snapshot / "data" / "9999.parquet").write_bytes(b"more")
    assert [one.rule for one in md.verify(served.store)] == ["not_listed"]
    (snapshot / "data" / "9999.parquet").unlink()
    (snapshot / "metadata" / "codes.parquet").unlink()
    assert [(one.place, one.rule) for one in md.verify(served.store)] == [("metadata/codes.parquet", "missing")]


def test_a_snapshot_that_comes_or_goes_is_found(served: Served, tmp_path: Path) -> None:
    snapshot = Store.open(served.store).current()
    snapshot.rename(tmp_path / "away")
    assert [one.rule for one in md.verify(served.store)] == ["missing"]
    (tmp_path / "away").rename(snapshot.with_name("000002"))
    assert {one.rule for one in md.verify(served.store)} == {"missing", "unknown"}


def test_a_snapshot_that_was_pruned_is_not_missed(served: Served) -> None:
    md.withdraw(served.store, served.subject, "asked", key_file=served.store.parent / "site.key")
    md.prune(served.store, 1)
    assert Store.open(served.store).snapshots() == ["000002"]
    assert md.verify(served.store) == []


def test_a_forged_ledger_is_found_by_an_anchor(served: Served, tmp_path: Path) -> None:
    from mayo_data.lineage import anchors

    book = Store.open(served.store).ledger
    public = anchors.generate(tmp_path / "anchor.key")
    anchors.anchor(Ledger(book), tmp_path / "anchor.json", key=tmp_path / "anchor.key")
    options = {"anchors": [tmp_path / "anchor.json"], "public_key": public}
    assert md.verify(served.store, **options) == []  # type: ignore[arg-type]
    records = list(Ledger(book).records())
    book.unlink()
    book.with_name(book.name + ".head").unlink()
    for one in records:
        body = {**one["body"], "purpose": "other"} if one["kind"] == "read" else one["body"]
        Ledger(book).append(one["kind"], body, at=one["at"])
    assert md.verify(served.store) == []
    assert [one.rule for one in md.verify(served.store, **options)] == ["anchor"]  # type: ignore[arg-type]


def test_a_model_that_nobody_trained_is_unknown(served: Served, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "something.bin").write_bytes(b"1")
    with pytest.raises(md.StoreError, match="no training"):
        md.verify(served.store, model=tmp_path / "other")


def test_a_missing_file_of_a_model_is_found(served: Served) -> None:
    (served.model / "config.json").unlink()
    assert [(one.what, one.rule) for one in md.verify(served.store, model=served.model)] == [
        (served.training, "missing")
    ]
