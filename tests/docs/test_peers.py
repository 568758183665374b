"""`make bench` measures everybody it names, says who is not there, and the README shows its table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


@pytest.fixture
def peers(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("peers")


def test_the_readme_shows_a_row_for_every_peer(peers: ModuleType) -> None:
    place = peers.PLACE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert place, "README.md has no place for the table"
    shown = re.findall(r"^\| ([^|]+) \| ([^|]+?)(?: [\d.]+)? \|", place[0], re.MULTILINE)[1:]
    assert shown == [(what, name) for what, (_, names) in peers.CONTESTS.items() for name in names]
    assert re.search(r"\d{4}-\d\d-\d\d, \d+ cores", place[0]), "machine and date"


def test_who_fails_or_is_missing_is_a_row_that_keeps_its_words_to_itself(peers: ModuleType) -> None:
    contests = sys.modules["contests"]

    def fails() -> None:
        raise ValueError("Jane Roe")

    def ends() -> None:
        sys.exit("Jane Roe")

    sides = [
        contests.Side("quick", "1", lambda: contests.Took(1.0, 2.0, 7)),
        contests.Side("slow", "1", lambda: contests.Took(3.0, 8.0, 7)),
        contests.Side("broken", "1", fails),
        contests.Side("ended", "1", ends),
        contests.Side("absent", "", contests.missing("pip install absent")),
    ]
    contest = contests.Contest("something", "resources", 1000, "in memory", sides[0], tuple(sides[1:]))
    rows = list(peers.measured(contest, 3))
    assert [peers.words(row) for row in rows] == [
        ("something", "slow 1", "500", "125", "resources/s", "4.0", "4.0 × faster", "1.0", "3.0"),
        ("something", "broken 1", "500", "failed", "resources/s", "", "", "1.0", ""),
        ("something", "ended 1", "500", "failed", "resources/s", "", "", "1.0", ""),
        ("something", "absent", "500", "not installed", "resources/s", "", "", "1.0", ""),
    ]
    report = {"rows": rows, "runs": 3}
    assert "absent, not installed: pip install absent." in peers.notes(report)
    assert "Jane" not in json.dumps(rows) + "".join(peers.notes(report))
    turned = contests.Contest("something", "resources", 1000, "in memory", sides[1], (sides[0], sides[2]))
    slower, _ = peers.measured(turned, 1)
    assert peers.words(slower)[5:7] == ("0.25", "4.0 × slower")
    lost = contests.Contest("something", "resources", 1000, "in memory", sides[2], (sides[0],))
    assert [peers.words(row)[2:5] for row in peers.measured(lost, 1)] == [("failed", "500", "resources/s")]


def test_what_cannot_be_prepared_is_a_row(
    peers: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(asked: object) -> None:
        import no_such_package_is_there  # noqa: F401

    monkeypatch.setattr(peers, "CONTESTS", {"something": (without, ("one", "two"))})
    rows = list(peers.all_rows(None, 1))
    assert [peers.words(row)[:4] for row in rows] == [
        ("something", "one", "", "not installed"),
        ("something", "two", "", "not installed"),
    ]
    assert rows[0]["peer"]["absent"] == "not installed: pip install no_such_package_is_there"


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json_and_markdown(peers: ModuleType, tmp_path: Path) -> None:
    out, page = tmp_path / "bench.json", tmp_path / "page.md"
    page.write_text("before\n<!-- peers -->\n<!-- /peers -->\nafter\n")
    command = [sys.executable, FOLDER / "peers.py", "--patients", "3", "--persons", "5", "--lines", "5", "--runs", "1"]
    done = subprocess.run(
        [*command, "--json", out, "--readme", page], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    named = [(what, name) for what, (_, names) in peers.CONTESTS.items() for name in names]
    assert [(row["what"], row["peer"]["name"]) for row in report["rows"]] == named
    for row in report["rows"]:
        assert row["ours"]["processor"] > 0, row["what"]
        if row["peer"]["name"] in ("Pathling", "meds_etl C++", "meds_etl Polars"):
            assert row["peer"]["absent"].startswith("not installed: python -m venv")
        else:
            assert row["ratio"] > 0
    limits = [row for row in report["rows"] if row["what"] == "whole run, FHIR to store"]
    assert len({row["peer"]["wrote"] for row in limits}) == 1, "all of them read every line"
    assert report["machine"]["cores"] > 0
    assert report["export"]["bytes"] > 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- peers -->\n")
    assert text.endswith("<!-- /peers -->\nafter\n")
    assert text.count("\n|") == len(named) + 2
    assert "whole run, FHIR to store" in done.stdout
