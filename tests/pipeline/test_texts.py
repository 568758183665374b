"""`mayo-data detect` and `evaluate`, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mayo_data.errors import SourceError
from mayo_data.phi.detector import Detector
from mayo_data.pipeline.texts import detect_file, read_texts

TEXTS = [
    {"id": "a", "text": "Zorblat Quixin was seen by Dr. Okafor on 3/4/2021.", "known": {"name": "Zorblat Quixin"}},
    {"id": 7, "text": "zorblat quixin, no cue at all"},
    {"id": "c", "text": ""},
    {"text": "Call 212-555-0143 \ud800 now"},
]


def command(*words: object) -> subprocess.CompletedProcess[str]:
    code = "from mayo_data.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in TEXTS) + "\n\n")
    return path


def answers(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_line_gets_its_spans_in_order(source: Path, tmp_path: Path, workers: int) -> None:
    done = detect_file(source, tmp_path / "out.jsonl", model=None, workers=workers)
    found = answers(tmp_path / "out.jsonl")
    assert [entry["id"] for entry in found] == ["a", 7, "c", 4]
    spans = [
        [TEXTS[at]["text"][span["start"] : span["end"]] for span in entry["spans"]]  # type: ignore[index, attr-defined]
        for at, entry in enumerate(found)
    ]
    assert spans == [["Zorblat Quixin", "Okafor", "3/4/2021"], [], [], ["212-555-0143"]]
    assert set(found[0]["spans"][0]) == {"start", "end", "category", "score", "recognizer"}  # type: ignore[index]
    assert (done.texts, sum(done.spans.values())) == (4, 4)


def test_many_texts_keep_their_order_over_processes(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"id": n, "text": "Dr. Okafor " * (n % 7)}) + "\n" for n in range(1_000)))
    detect_file(path, tmp_path / "out.jsonl", model=None, workers=2)
    found = answers(tmp_path / "out.jsonl")
    assert [(entry["id"], len(entry["spans"])) for entry in found] == [(n, n % 7) for n in range(1_000)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("secret {", "line 2 is not JSON"),
        ('{"id": "secret"}', "line 2 has no text"),
        ('["secret"]', "line 2 has no text"),
        ('{"text": "x", "known": "secret"}', "line 2: known is no object"),
        ('{"text": "x", "known": {"name": 1.5}}', "line 2: "),
        ("[" * 100_000, "line 2 is not JSON"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": 1, "text": "fine"}\n' + line + "\n")
    with pytest.raises(SourceError) as caught:
        detect_file(path, tmp_path / "out.jsonl", model=None)
    assert says in str(caught.value)
    assert "secret" not in f"{caught.value}{caught.value.hint}"
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"]


def test_the_command_writes_spans_and_no_text(source: Path, tmp_path: Path) -> None:
    done = command("detect", source, tmp_path / "out.jsonl", "--model", "none", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert [len(entry["spans"]) for entry in answers(tmp_path / "out.jsonl")] == [3, 0, 0, 1]  # type: ignore[arg-type]
    for output in (done.stdout, done.stderr, (tmp_path / "out.jsonl").read_text()):
        assert "Zorblat" not in output


def test_explain_shows_who_found_what(source: Path) -> None:
    done = command("detect", source, "--explain", "--model", "none")
    assert done.returncode == 0, done.stderr
    for wanted in ("Zorblat Quixin", "known", "patterns.name.title", "patterns.date.numeric", "0.90"):
        assert wanted in done.stdout


def test_a_missing_file_is_exit_code_3_and_no_output_one_too(tmp_path: Path, source: Path) -> None:
    assert command("detect", tmp_path / "none.jsonl", tmp_path / "out.jsonl", "--model", "none").returncode == 3
    assert command("detect", source, "--model", "none").returncode == 2


def test_evaluate_prints_writes_and_keeps_the_misses_in_the_phi_zone(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text(
        "Seen by Dr. [[STAFF:Okafor]], then [[PERSON:zzyzx]] came in [[YEAR:2019]]."
    )
    report, misses = tmp_path / "report.json", tmp_path / "misses.jsonl"
    done = command(
        "evaluate", tmp_path / "corpus", "--format", "inline", "--model", "none", "--report", report, "--misses", misses
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert (figures["spans"], figures["covered"], figures["documents_with_a_leak"]) == (2, 0.5, 1)
    assert [miss["text"] for miss in answers(misses)] == ["zzyzx"]
    assert misses.stat().st_mode & 0o777 == 0o600
    for output in (done.stdout, done.stderr, report.read_text()):
        assert "zzyzx" not in output
    assert command("evaluate", tmp_path / "corpus", "--format", "xml").returncode == 2


def test_reading_is_lazy(source: Path) -> None:
    first = next(read_texts(source))
    assert first[0] == "a"
    assert Detector(model=None).detect([first[1]], [first[2]])[0][0].recognizer == "known"
