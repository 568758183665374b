from __future__ import annotations

import json
from pathlib import Path

import pytest

from mayo_data.errors import ConfigError, KeyMissingError
from mayo_data.lineage import anchors, ledger
from mayo_data.lineage.ledger import Ledger


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger.jsonl")
    for number in range(4):
        made.append("run", {"run_id": f"r{number}"})
    return made


def forge(book: Ledger, target: Path, record: int) -> None:
    """Replace one record and make all digests after it anew: what whoever owns the disk can do."""
    forged = Ledger(target)
    for number, one in enumerate(book.records(), 1):
        body = {"run_id": "forged"} if number == record else one["body"]
        forged.append(one["kind"], body, at=one["at"])


@pytest.mark.parametrize("record", [1, 3, 4])
def test_a_record_replaced_with_all_digests_made_anew_is_found_by_an_anchor(
    book: Ledger, tmp_path: Path, record: int
) -> None:
    anchors.anchor(book, tmp_path / "anchor.json")
    forge(book, tmp_path / "forged.jsonl", record)
    digests, problems = anchors.check([tmp_path / "anchor.json"])
    assert problems == []
    assert ledger.verify(book.path, anchors=digests) == []
    assert ledger.verify(tmp_path / "forged.jsonl") == []
    assert [one.rule for one in ledger.verify(tmp_path / "forged.jsonl", anchors=digests)] == ["anchor"]


def test_an_anchor_stays_good_while_the_ledger_grows(book: Ledger, tmp_path: Path) -> None:
    made = anchors.anchor(book, tmp_path / "a.json")
    assert (made.seq, made.digest) == (4, book.head())
    book.append("run", {"run_id": "later"})
    digests, _ = anchors.check([tmp_path / "a.json"])
    assert ledger.verify(book.path, anchors=digests) == []


def test_a_signature_says_who_wrote_the_anchor(book: Ledger, tmp_path: Path) -> None:
    public = anchors.generate(tmp_path / "site.key")
    other = anchors.generate(tmp_path / "other.key")
    assert (tmp_path / "site.key").stat().st_mode & 0o777 == 0o600
    anchors.anchor(book, tmp_path / "a.json", key=tmp_path / "site.key")
    assert anchors.check([tmp_path / "a.json"], public_key=public)[1] == []
    assert [one.rule for one in anchors.check([tmp_path / "a.json"], public_key=other)[1]] == ["signature"]


@pytest.mark.parametrize("field", ["seq", "digest", "at", "signature"])
def test_a_changed_field_breaks_the_signature(book: Ledger, tmp_path: Path, field: str) -> None:
    public = anchors.generate(tmp_path / "site.key")
    anchors.anchor(book, tmp_path / "a.json", key=tmp_path / "site.key")
    body = json.loads((tmp_path / "a.json").read_text())
    body[field] = body[field] + 1 if field == "seq" else "00" + body[field][2:]
    (tmp_path / "a.json").write_text(json.dumps(body))
    assert [one.rule for one in anchors.check([tmp_path / "a.json"], public_key=public)[1]] == ["signature"]


def test_an_unsigned_anchor_fails_where_a_key_is_asked_for(book: Ledger, tmp_path: Path) -> None:
    public = anchors.generate(tmp_path / "site.key")
    anchors.anchor(book, tmp_path / "a.json")
    assert [one.rule for one in anchors.check([tmp_path / "a.json"], public_key=public)[1]] == ["signature"]


def test_nothing_is_overwritten(book: Ledger, tmp_path: Path) -> None:
    anchors.generate(tmp_path / "site.key")
    anchors.anchor(book, tmp_path / "a.json")
    with pytest.raises(KeyMissingError, match="exists"):
        anchors.generate(tmp_path / "site.key")
    with pytest.raises(ConfigError, match="exists"):
        anchors.anchor(book, tmp_path / "a.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"seq":"1","digest":"a","at":"b","format":1}', b"\xff"])
def test_what_is_no_anchor_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConfigError, match="anchor"):
        anchors.check([tmp_path / "a.json"])


def test_what_is_no_key_is_refused(book: Ledger, tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_text("none")
    with pytest.raises(KeyMissingError, match="signing key"):
        anchors.anchor(book, tmp_path / "a.json", key=tmp_path / "bad.key")
    with pytest.raises(KeyMissingError, match="public key"):
        anchors.check([], public_key=tmp_path / "bad.key")
