"""The nightly job that ships: its pipeline file, units of systemd, cron line and DAG say the same and can be read."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer.main

from mayo_data import assets, config
from mayo_data.cli.commands import app

FOLDER = assets.path("pipelines", "nightly")


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit by systemd's rules: sections, keys that may stand more than once, comments."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in (FOLDER / name).read_text().splitlines():
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        if head := re.fullmatch(r"\[([A-Za-z]+)\]", line):
            section = head[1]
            found[section] = {}
            continue
        key, equals, value = line.partition("=")
        assert equals, line
        assert re.fullmatch(r"[A-Za-z]+", key), line
        assert section, line
        found[section].setdefault(key, []).append(value)
    return found


def options(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def known() -> set[str]:
    command = typer.main.get_command(app).commands["run"]
    return {name for one in command.params for name in one.opts}


def test_the_pipeline_file_is_one() -> None:
    found = config.load(FOLDER / "nightly.toml")
    assert found.source.mode == "delta"
    assert found.phi.as_of, "a delta needs the day of its base"
    assert len((FOLDER / "nightly.toml").read_text().splitlines()) <= 40


def test_the_service_runs_what_there_is() -> None:
    found = unit("mayo-data-nightly.service")
    assert list(found) == ["Unit", "Service", "Install"]
    (line,) = found["Service"]["ExecStart"]
    words = shlex.split(line)
    assert words[1:3] == ["mayo-data", "run"]
    assert options(words) <= known()
    assert found["Service"]["Type"] == ["oneshot"]
    assert found["Service"]["UMask"] == ["0077"]
    assert found["Service"]["LimitCORE"] == ["0"]
    timer = unit("mayo-data-nightly.timer")
    assert timer["Timer"]["Persistent"] == ["true"]
    assert len(timer["Timer"]["OnCalendar"]) == 1


def test_systemd_takes_the_units() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    files = [str(FOLDER / f"mayo-data-nightly.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr
    calendar = unit("mayo-data-nightly.timer")["Timer"]["OnCalendar"][0]
    assert subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, check=False).returncode == 0


def test_the_cron_line_is_one() -> None:
    lines = [line for line in (FOLDER / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    settings = [line for line in lines if re.fullmatch(r"[A-Z]+=\S+", line)]
    (job,) = [line for line in lines if line not in settings]
    *when, command = job.split(None, 5)
    assert len(when) == 5
    for field, (low, high) in zip(when, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True):
        assert field == "*" or low <= int(field) <= high
    assert "%" not in command, "cron makes a line break of it"
    assert options(shlex.split(command)) <= known()
    assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0


def test_the_dag_can_be_read() -> None:
    path = FOLDER / "airflow_dag.py"
    tree = ast.parse(path.read_text())
    texts = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    for text in texts.values():
        assert subprocess.run(["bash", "-n", "-c", text], check=False).returncode == 0
    assert options(shlex.split(texts["RUN"])) <= known()
    commands = typer.main.get_command(app).commands
    for name in re.findall(r"mayo-data ([a-z-]+)", texts["RUN"] + texts["REPORT"]):
        assert name in commands
    if importlib.util.find_spec("airflow") is None:
        pytest.skip("Airflow is not installed: the DAG is parsed, not imported")
    spec = importlib.util.spec_from_file_location("airflow_dag", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [task.task_id for task in module.dag.topological_sort()] == ["run", "report"]


def test_nothing_of_a_key_is_in_the_files() -> None:
    for path in Path(FOLDER).iterdir():
        assert "MAYO_DATA_KEY=" not in path.read_text()
