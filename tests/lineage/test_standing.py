from __future__ import annotations

from pathlib import Path

import pytest

from mayo_data.errors import StoreError
from mayo_data.lineage.ledger import Ledger
from mayo_data.lineage.standing import Standing, standing


def ledger(folder: Path) -> Ledger:
    return Ledger(folder / "ledger.jsonl")


def test_what_is_added_is_seen(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    assert standing(book.path) == Standing({}, frozenset(), frozenset())
    book.append("snapshot", {"snapshot": "000001", "manifest_sha256": "aa"})
    assert standing(book.path).manifests == {"000001": "aa"}
    book.append("snapshot", {"snapshot": "000002", "manifest_sha256": "bb"})
    book.append("withdrawal", {"subject_id": 7, "snapshots_blocked": ["000001"]})
    assert standing(book.path) == Standing({"000001": "aa", "000002": "bb"}, frozenset({7}), frozenset({"000001"}))
    change = {"before": "bb", "after": "cc", "rows": {}}
    book.append("erasure", {"subject_id": 8, "snapshots": {"000002": change}})
    assert standing(book.path) == Standing({"000001": "aa", "000002": "cc"}, frozenset({7, 8}), frozenset({"000001"}))


def test_only_what_was_added_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import orjson

    book = ledger(tmp_path)
    for number in range(5):
        book.append("snapshot", {"snapshot": f"{number:06d}", "manifest_sha256": "aa"})
    standing(book.path)
    parsed: list[bytes] = []
    real = orjson.loads
    monkeypatch.setattr("mayo_data.lineage.standing.orjson.loads", lambda line: parsed.append(line) or real(line))
    book.append("read", {"lineage_id": "L-1"})
    book.append("withdrawal", {"subject_id": 7})
    parsed.clear()
    assert standing(book.path).withdrawn == {7}
    assert len(parsed) == 1


def test_another_ledger_in_its_place_is_read_anew(tmp_path: Path) -> None:
    one, two = ledger(tmp_path / "one"), ledger(tmp_path / "two")
    one.append("withdrawal", {"subject_id": 1})
    two.append("withdrawal", {"subject_id": 2})
    assert standing(one.path).withdrawn == {1}
    two.path.replace(one.path)
    assert standing(one.path).withdrawn == {2}
    one.path.unlink()
    assert standing(one.path).withdrawn == frozenset()


def test_a_line_that_is_being_written_is_not_seen_yet(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.append("withdrawal", {"subject_id": 1})
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + whole[:-20])
    assert standing(book.path).withdrawn == {1}


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"withdrawal"}',
        b'{"kind":"withdrawal","body":{"subject_id":"x"}}',
        b'{"kind":"snapshot"',
        b'["kind":"erasure"]',
    ],
)
def test_a_damaged_line_is_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "ledger.jsonl").write_bytes(line + b"\n")
    with pytest.raises(StoreError, match="damaged"):
        standing(tmp_path / "ledger.jsonl")


def test_a_text_that_looks_like_a_kind_is_none(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    book.append("note", {"text": '"kind":"withdrawal"', "more": {"kind": "withdrawal", "subject_id": 5}})
    assert standing(book.path).withdrawn == frozenset()
