from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mayo_data as md

TASK = """
name = "again"
index = {codes = ["ENCOUNTER//ACT//IMP"], at = "end"}
outcome = {codes = ["ENCOUNTER//ACT//IMP"], window = "WINDOW"}
censoring = {until = "none"}
"""


def go(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mayo_data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_labels_are_made(ward: Path, tmp_path: Path) -> None:
    (tmp_path / "again.toml").write_text(TASK.replace("WINDOW", "45d"), encoding="utf-8")
    out = tmp_path / "labels.parquet"
    done = go("label", ward, tmp_path / "again.toml", "--out", out)
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(out)
    assert rows.equals(md.label(ward, tmp_path / "again.toml").table)
    assert f"{sum(rows.column('boolean_value').to_pylist())}" in done.stdout


@pytest.mark.parametrize(("window", "out"), [("-1d", "labels.parquet"), ("45d", "labels.csv")])
def test_a_leak_and_a_wrong_name_are_errors_of_configuration(ward: Path, tmp_path: Path, window: str, out: str) -> None:
    (tmp_path / "again.toml").write_text(TASK.replace("WINDOW", window), encoding="utf-8")
    done = go("label", ward, tmp_path / "again.toml", "--out", tmp_path / out)
    assert done.returncode == 2
    assert not (tmp_path / out).exists()


def test_a_context_is_shown_and_recorded(clinic: Path, tmp_path: Path) -> None:
    out = tmp_path / "context.parquet"
    done = go("context", clinic, 4, "--at", "2020-01-06", "--consumer", "shell", "--out", out)
    assert done.returncode == 0, done.stderr
    seen = md.open(clinic).context(4, "2020-01-06", consumer="test")
    assert pq.read_table(out).equals(seen.events)
    assert "L-" in done.stdout
    assert go("context", clinic, 999, "--at", "2020-01-06", "--consumer", "shell").returncode == 3
    assert go("context", clinic, 4, "--at", "noon", "--consumer", "shell").returncode == 2
