from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayo_data.errors import MayoDataError, StoreError
from mayo_data.lineage import ledger

AT = "2024-01-01T00:00:00+00:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger" / "ledger.jsonl"
    book = ledger.Ledger(path)
    for number in range(6):
        book.append("run" if number % 3 == 0 else "step", {"run_id": f"r{number}", "name": "é"}, at=AT)
    return path


def rules(path: Path, **more: list[str]) -> set[str]:
    return {problem.rule for problem in ledger.verify(path, **more)}


def test_a_sound_ledger(path: Path) -> None:
    records = list(ledger.Ledger(path).records())
    assert ledger.verify(path) == []
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["prev"] for record in records[1:]] == [record["digest"] for record in records[:-1]]
    assert ledger.Ledger(path).head() == records[-1]["digest"]
    assert [record["body"]["run_id"] for record in ledger.Ledger(path).records("run")] == ["r0", "r3"]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path / "none")
    assert (list(book.records()), book.head(), ledger.verify(tmp_path / "none")) == ([], ledger.GENESIS, [])


def test_times_are_utc_and_must_have_a_zone(tmp_path: Path) -> None:
    book = ledger.Ledger(tmp_path / "l")
    book.append("run", {}, at="2024-01-01T02:00:00+02:00")
    book.append("run", {})
    first, second = book.records()
    assert first["at"] == "2024-01-01T00:00:00.000000+00:00"
    assert second["at"].endswith("+00:00")
    for wrong in ("2024-01-01T00:00:00", "soon"):
        with pytest.raises(MayoDataError):
            book.append("run", {}, at=wrong)


def test_a_body_that_is_no_json_leaves_no_trace(path: Path) -> None:
    before = path.read_bytes()
    for body in ({"x": object()}, {1: 2}, {"x": 2**70}, {"x": "\ud800"}):
        with pytest.raises(MayoDataError):
            ledger.Ledger(path).append("run", body)  # type: ignore[arg-type]
    assert path.read_bytes() == before


def lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    return lambda content: b"".join(change(content.splitlines(keepends=True)))


def rewrite(content: bytes) -> bytes:
    """A forger who knows the form: changes one record and computes every digest after it anew."""
    records = [json.loads(line) for line in content.splitlines()]
    records[2]["body"]["name"] = "forged"
    for before, record in zip([None, *records], records, strict=False):
        record["prev"] = before["digest"] if before else ledger.GENESIS
        record["digest"] = ledger._digest({key: value for key, value in record.items() if key != "digest"})
    return b"".join(orjson.dumps(record, option=orjson.OPT_SORT_KEYS) + b"\n" for record in records)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: c.replace(b'"r2"', b'"r9"'), "changed"),
        (lambda c: c.replace(b'"kind":"step"', b'"kind":"stop"', 1), "changed"),
        (lambda c: c.replace(b'"seq":3', b'"seq": 3'), "changed"),
        (lambda c: c.replace(b"2024", b"2023", 1), "changed"),
        (lines(lambda ls: [*ls[:2], *ls[3:]]), "sequence"),
        (lines(lambda ls: ls[1:]), "chain"),
        (lines(lambda ls: [ls[0], ls[2], ls[1], *ls[3:]]), "sequence"),
        (lines(lambda ls: [*ls[:3], ls[2], *ls[3:]]), "chain"),
        (lines(lambda ls: [*ls[:3], b"{}\n", *ls[3:]]), "unreadable"),
        (lines(lambda ls: [*ls[:3], b"\n", *ls[3:]]), "unreadable"),
        (lines(lambda ls: [*ls[:3], b"\xff\xfe\n", *ls[4:]]), "unreadable"),
        (lines(lambda ls: ls[:-1]), "cut_off"),
        (lines(lambda ls: ls[:2]), "cut_off"),
        (lambda c: b"", "cut_off"),
        (lambda c: c[:-1], "torn"),
        (lambda c: c[:-9], "torn"),
        (lambda c: c[:-9], "cut_off"),
        (rewrite, "cut_off"),
    ],
)
def test_tampering_is_found(path: Path, change: Callable[[bytes], bytes], rule: str) -> None:
    content = path.read_bytes()
    assert change(content) != content
    path.write_bytes(change(content))
    assert rule in rules(path)


def test_a_lost_or_broken_note_is_found(path: Path) -> None:
    note = path.with_name(path.name + ".head")
    for content in (b"", b"[]", b'{"seq":6,"digest":"00"}', None):
        note.unlink() if content is None else note.write_bytes(content)
        assert rules(path) == {"cut_off"}
        with pytest.raises(StoreError, match="missing at the end"):
            ledger.Ledger(path).append("run", {})


def test_an_anchor_finds_even_a_forger_who_keeps_the_note_right(path: Path) -> None:
    anchor = ledger.Ledger(path).head()
    ledger.Ledger(path).append("run", {})
    assert ledger.verify(path, anchors=[anchor]) == []
    path.write_bytes(rewrite(path.read_bytes()))
    last = json.loads(path.read_bytes().splitlines()[-1])
    path.with_name(path.name + ".head").write_text(f'{{"digest":"{last["digest"]}","seq":{last["seq"]}}}\n')
    assert rules(path) == set()
    assert rules(path, anchors=[anchor]) == {"anchor"}


def test_problems_name_lines_and_no_content(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"r2"', b'"SECRET"'))
    problems = ledger.verify(path)
    assert [(problem.line, problem.rule) for problem in problems] == [(3, "changed")]
    assert "SECRET" not in str(problems)


def test_records_stop_at_a_broken_line_with_an_error_of_ours(path: Path) -> None:
    path.write_bytes(lines(lambda ls: [ls[0], b"SECRET\n", *ls[2:]])(path.read_bytes()))
    with pytest.raises(StoreError, match="line 2") as caught:
        list(ledger.Ledger(path).records())
    assert "SECRET" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_found(path: Path, data: st.DataObject) -> None:
    sound = path.read_bytes()
    at = data.draw(st.integers(0, len(sound) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = bytearray(sound)
    flipped[at] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        assert ledger.verify(path)
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_torn_line_of_a_crash_is_healed_and_noted(path: Path, cut: int) -> None:
    ledger.Ledger(path).append("run", {"run_id": "lost" * 40})
    content = path.read_bytes()
    note = path.with_name(path.name + ".head")
    sixth = json.loads(content.splitlines()[5])
    note.write_text(f'{{"digest":"{sixth["digest"]}","seq":6}}\n')  # as it stood before the crash
    path.write_bytes(content[:-cut])
    assert rules(path) == {"torn"}
    assert ledger.Ledger(path).head() == sixth["digest"]
    assert len(list(ledger.Ledger(path).records())) == 6
    ledger.Ledger(path).append("run", {"run_id": "next"})
    assert [record["kind"] for record in ledger.Ledger(path).records()][6:] == ["healed", "run"]
    assert ledger.verify(path) == []


def test_a_crash_before_the_note_is_no_damage(path: Path) -> None:
    note = path.with_name(path.name + ".head")
    before = note.read_bytes()
    ledger.Ledger(path).append("run", {})
    note.write_bytes(before)
    assert ledger.verify(path) == []
    ledger.Ledger(path).append("run", {})
    assert ledger.verify(path) == []


def test_settling_finishes_a_note_that_a_crash_left_half_done(path: Path) -> None:
    note = path.with_name(path.name + ".head")
    before = note.read_bytes()
    ledger.Ledger(path).append("run", {})
    after, content = note.read_bytes(), path.read_bytes()
    note.write_bytes(before)
    half = note.with_name(note.name + ".writing")
    half.write_bytes(after[:7])
    ledger.Ledger(path).settle()
    assert (note.read_bytes(), path.read_bytes()) == (after, content)
    assert not half.exists()


def test_settling_no_ledger_writes_nothing(tmp_path: Path) -> None:
    ledger.Ledger(tmp_path / "l").settle()
    assert list(tmp_path.iterdir()) == []


def test_the_very_first_record_may_crash(tmp_path: Path) -> None:
    path = tmp_path / "l"
    path.write_bytes(b'{"at":"20')
    ledger.Ledger(path).append("run", {})
    assert [record["kind"] for record in ledger.Ledger(path).records()] == ["healed", "run"]
    assert ledger.verify(path) == []


def test_nothing_is_appended_to_a_damaged_end(path: Path) -> None:
    sound = path.read_bytes()
    for content in (sound + b"{}\n", sound.replace(b"r5", b"r6"), lines(lambda ls: ls[:-1])(sound), b""):
        path.write_bytes(content)
        with pytest.raises(StoreError):
            ledger.Ledger(path).append("run", {})
        assert path.read_bytes() == content


def test_a_record_longer_than_a_block(path: Path) -> None:
    ledger.Ledger(path).append("run", {"text": "x" * 300_000})
    ledger.Ledger(path).append("run", {})
    assert ledger.verify(path) == []


WRITER = """
import sys
from pathlib import Path
from mayo_data.lineage.ledger import Ledger
book = Ledger(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    book.append("step", {"writer": sys.argv[3], "number": number, "text": "x" * 5000})
    print(number, flush=True)
"""


def test_several_writers_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "l"
    call = [sys.executable, "-c", WRITER, str(path), "25"]
    writers = [subprocess.Popen([*call, name], stdout=subprocess.DEVNULL) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    bodies = [record["body"] for record in ledger.Ledger(path).records()]
    assert ledger.verify(path) == []
    for name in "abc":
        assert [body["number"] for body in bodies if body["writer"] == name] == list(range(25))


def test_killed_while_appending_no_acknowledged_record_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "l"
    acknowledged = 0
    for turn in range(4):
        call = [sys.executable, "-c", WRITER, str(path), "100000", str(turn)]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.02 + 0.013 * turn)
            child.kill()
            acknowledged += 1 + len(child.stdout.readlines())
        assert rules(path) <= {"torn"}
    ledger.Ledger(path).append("run", {})
    assert ledger.verify(path) == []
    assert len(list(ledger.Ledger(path).records("step"))) >= acknowledged


def test_who_waits_while_a_ledger_is_replaced_appends_to_the_new_one(tmp_path: Path) -> None:
    here, there = ledger.Ledger(tmp_path / "here.jsonl"), ledger.Ledger(tmp_path / "there.jsonl")
    here.append("run", {"n": 0})
    there.path.write_bytes(here.path.read_bytes())
    for number in (1, 2):
        there.append("run", {"n": number})
    with here._turn():
        waiting = threading.Thread(target=here.append, args=("run", {"n": 3}))
        waiting.start()
        while waiting.native_id is None or not _waits(here.path):
            time.sleep(0.001)
        there.path.replace(here.path)
    waiting.join()
    assert [record["body"]["n"] for record in here.records()] == [0, 1, 2, 3]
    assert ledger.verify(here.path) == []


def _waits(path: Path) -> bool:
    """Whether somebody has opened the file a second time, to wait for its lock."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc to see who waits")
    return sum(one.exists() and one.samefile(path) for one in folder.iterdir()) > 1


def test_a_ledger_that_went_on_elsewhere_is_followed(tmp_path: Path) -> None:
    here, there = ledger.Ledger(tmp_path / "here.jsonl"), ledger.Ledger(tmp_path / "there.jsonl")
    here.append("run", {"n": 0})
    there.path.write_bytes(here.path.read_bytes())
    there.append("run", {"n": 1})
    here.append("read", {"n": 2})
    assert here.adopt(there.path.read_bytes()) == 1
    here.append("read", {"n": 3})
    assert [record["body"]["n"] for record in here.records()] == [0, 1, 2, 3]
    assert ledger.verify(here.path) == []
    with pytest.raises(StoreError, match="damaged"):
        here.adopt(b"{}\n")
    assert ledger.verify(here.path) == []
