"""A person's verdicts on a sample of notes: reproducible, resumable, private, and honest about what they say."""

from __future__ import annotations

import json
import shutil
import stat
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import mayo_data as md
from mayo_data.cli.audit import locate, printable
from mayo_data.cli.commands import app
from mayo_data.errors import ConfigError, StoreError
from mayo_data.lineage.ledger import Ledger, verify
from mayo_data.quality import intervals
from mayo_data.report.audit import Leak, allocate
from mayo_data.store.layout import Store


@pytest.fixture
def store(synthetic_store: Path, tmp_path: Path) -> Path:
    shutil.copytree(synthetic_store, tmp_path / "store")
    return tmp_path / "store"


def test_the_same_seed_draws_the_same_notes(store: Path) -> None:
    first = [note.event_id for note in md.audit(store, notes=15, seed=5).notes]
    assert first == [note.event_id for note in md.audit(store, notes=15, seed=5).notes]
    assert first != [note.event_id for note in md.audit(store, notes=15, seed=6).notes]
    assert len(first) == len(set(first))


def test_every_type_of_note_is_read(store: Path) -> None:
    sample = md.audit(store, notes=15, seed=5)
    drawn = Counter(note.code for note in sample.notes)
    assert set(drawn) == set(sample.strata)
    assert all(drawn[code] >= min(2, many) for code, many in sample.strata.items())


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 500), min_size=1, max_size=9), st.integers(1, 900)
)
def test_a_sample_is_never_more_than_there_is(strata: dict[str, int], notes: int) -> None:
    drawn = allocate(strata, notes)
    assert set(drawn) == set(strata)
    assert all(min(2, many) <= drawn[code] <= many for code, many in strata.items())
    least = sum(min(2, many) for many in strata.values())
    assert min(notes, sum(strata.values())) <= sum(drawn.values()) <= max(notes, least) + len(strata)


def test_the_reading_goes_on_where_it_stopped(store: Path) -> None:
    sample = md.audit(store, notes=10, seed=1)
    notes = list(sample.pending())
    sample.record(notes[0].event_id, "clean")
    sample.record(notes[1].event_id, "unsure")
    sample.record(notes[1].event_id, "leak", [Leak("PATIENT", 0, 2), Leak("DATE")])  # a second verdict replaces
    with sample.path.open("ab") as file:
        file.write(b'{"event_id": "torn')  # killed while it wrote
    again = md.audit(store, notes=10, seed=1)
    assert [note.event_id for note in again.pending()] == [note.event_id for note in notes[2:]]
    found = again.estimate()
    assert (found["notes"], found["leaks"], found["unsure"]) == (2, 2, 0)
    again.record(notes[2].event_id, "clean")
    assert md.audit(store, notes=10, seed=1).read == 3


def test_verdicts_are_private_and_hold_no_text(store: Path) -> None:
    sample = md.audit(store, notes=6, seed=2)
    note = next(sample.pending())
    sample.record(note.event_id, "leak", [Leak("STAFF", 1, 5)])
    assert stat.S_IMODE(sample.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(sample.path.parent.stat().st_mode) == 0o700
    assert not sample.path.resolve().is_relative_to(store.resolve())
    assert note.text[:20] not in sample.path.read_text()


def test_the_estimate_weighs_the_types(store: Path) -> None:
    sample = md.audit(store, notes=20, seed=4)
    leaky = sample.notes[3]
    for note in sample.notes:
        sample.record(note.event_id, *(("leak", [Leak("MRN")]) if note is leaky else ("clean", [])))
    found = sample.estimate()
    read = Counter(note.code for note in sample.notes)
    weight = 1000 * sample.strata[leaky.code] / sum(sample.strata.values()) / read[leaky.code]
    assert found["leaks_per_1000_notes"] == pytest.approx(weight, abs=1e-3)
    low, high = found["leaks_per_1000_notes_interval"]
    assert low < weight < high
    assert found["leaking_notes_share_interval"] == pytest.approx(intervals.binomial(1, len(sample.notes)), abs=1e-5)
    assert found["categories"] == {"MRN": 1}


def test_the_ledger_gets_counts_alone(store: Path) -> None:
    sample = md.audit(store, notes=5, seed=9)
    for note in sample.notes:
        sample.record(note.event_id, "clean")
    sample.commit()
    ledger = Store.open(store).ledger
    body = next(Ledger(ledger).records("audit"))["body"]
    assert body["leaks"] == 0
    assert body["leaks_per_1000_notes_interval"][1] > 0
    assert not any(note.event_id in json.dumps(body) for note in sample.notes)
    assert verify(ledger) == []


@pytest.mark.parametrize(
    ("verdict", "leaks"),
    [("leak", []), ("clean", [Leak("MRN")]), ("maybe", []), ("leak", [Leak("NOTHING")]), ("leak", [Leak("MRN", 5, 5)]),
     ("leak", [Leak("MRN", 0, 10**9)]), ("leak", [Leak("MRN", 3)]), ("leak", [Leak("MRN", -1, 2)])],
)  # fmt: skip
def test_a_verdict_that_makes_no_sense_is_refused(store: Path, verdict, leaks) -> None:
    sample = md.audit(store, notes=4)
    with pytest.raises(ConfigError):
        sample.record(sample.notes[0].event_id, verdict, leaks)
    assert sample.read == 0
    assert not sample.path.exists()


def test_errors(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not of the sample"):
        md.audit(store).record("99.99.99", "clean")
    with pytest.raises(ConfigError, match="no note was judged"):
        md.audit(store).estimate()
    with pytest.raises(ConfigError, match="inside the store"):
        md.audit(store, phi_zone=store / "zone")
    sample = md.audit(store, notes=3)
    sample.path.parent.mkdir(parents=True)
    sample.path.write_bytes(b'{"event_id": "1.1.1", "verdict": "clean", "leaks": []}\n')
    with pytest.raises(StoreError, match="line 1 of the verdicts"):
        md.audit(store, notes=3)


def test_verdicts_from_a_file(store: Path, tmp_path: Path) -> None:
    run = CliRunner()
    listed = run.invoke(app, ["audit", str(store), "--notes", "8", "--ids"])
    ids = [line.split("\t")[0] for line in listed.stdout.splitlines()]
    assert len(ids) >= 8
    file = tmp_path / "verdicts.jsonl"
    lines = [{"event_id": name, "verdict": "clean"} for name in ids[1:]]
    lines.append({"event_id": ids[0], "verdict": "leak", "leaks": [{"category": "PHONE", "start": 0, "end": 3}]})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run.invoke(app, ["audit", str(store), "--notes", "8", "--verdicts", str(file), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["leaks"] == 1
    assert len(list(Ledger(Store.open(store).ledger).records("audit"))) == 1
    file.write_text('{"event_id": "1.2.3", "verdict": "clean"}\n')
    with pytest.raises(ConfigError, match="line 1"):
        run.invoke(app, ["audit", str(store), "--notes", "8", "--verdicts", str(file)], catch_exceptions=False)


def test_a_person_at_a_terminal(store: Path) -> None:
    sample = md.audit(store, notes=3, seed=8)
    text = sample.notes[1].text
    words = next(line for line in text.split("\n") if line.strip() and text.count(line.strip()) == 1).strip()
    typed = ["c", "x", "l", words, "NOT ONE", words, "patient", "", "q"]
    done = CliRunner().invoke(app, ["audit", str(store), "--notes", "3", "--seed", "8"], input="\n".join(typed) + "\n")
    assert done.exit_code == 0, done.output
    again = md.audit(store, notes=3, seed=8)
    assert again.read == 2
    assert again.estimate()["categories"] == {"PATIENT": 1}
    assert list(Ledger(Store.open(store).ledger).records("audit")) == []  # the sample is not read to its end


def test_a_notebook_shows_a_note_as_text(store: Path) -> None:
    from mayo_data.report.audit import Note

    assert "<script>" not in Note("1.1.1", "NOTE//<script>", "<script>alert(1)</script>")._repr_html_()


def test_words_are_found_where_they_stand_once() -> None:
    assert locate("Ann saw Bob. Ann left.", "Bob") == (8, 11)
    assert locate("Ann saw Bob. Ann left.", "Ann") is None
    assert locate("Ann saw Bob. Ann left.", "13-16") == (13, 16)
    assert locate("Ann", "2-9") is None
    assert locate("room 13-16", "13-16") == (5, 10)


@given(st.text())
def test_a_note_cannot_steer_the_terminal(text: str) -> None:
    shown = printable("\x1b]0;x\x07" + text)
    assert len(shown) == len(text) + 6
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert "\x9b" not in shown


def test_a_terminal_that_goes_away_keeps_what_was_said(store: Path) -> None:
    for typed in ("c\n", "c\nl\n"):  # the second time it goes in the middle of a leak
        done = CliRunner().invoke(app, ["audit", str(store), "--notes", "3", "--seed", "9"], input=typed)
        assert done.exit_code == 0, done.output
    assert md.audit(store, notes=3, seed=9).read == 2
