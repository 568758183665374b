"""The rules of the house that no linter knows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mayo_data

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(mayo_data.__file__).parent
LONGEST = 600
REFUSED = re.compile(r"process(or)?|handlers?|managers?|utils?|helpers?|misc|common")
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|\bxox[abpr]-[A-Za-z0-9-]{10,}|^[A-Za-z0-9+/]{43}=$",
    re.MULTILINE,
)
# Homes and work folders of one machine. (Classes of one letter, so that the pattern does not find itself.)
MACHINE = re.compile(r"(?<![\w.*-])/(?:[w]ork|[h]ome/\w+|[U]sers/\w+|[t]mp/v)/")


def tracked() -> list[Path]:
    """Return the files of the repository: those git knows, and those it would take."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is no list of files to go by")
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_the_floor_plan_holds() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed: pip install -e '.[check]'")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not a checkout: the contracts are in pyproject.toml")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_file_can_be_read_in_a_sitting() -> None:
    sizes = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: lines for name, lines in sizes.items() if lines > LONGEST} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {path.stem for path in PACKAGE.rglob("*.py")} | {path.name for path in PACKAGE.rglob("*") if path.is_dir()}
    assert [name for name in names if REFUSED.fullmatch(name)] == []


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_no_secret_and_no_path_of_one_machine_is_tracked() -> None:
    found = []
    for path in tracked():
        body = path.read_bytes()
        if b"\0" in body[:4096]:
            continue
        text = body.decode("utf-8", "replace")
        for rule, pattern in (("secret", SECRETS), ("machine", MACHINE)):
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{rule}: {path.relative_to(ROOT)}:{line}")
    assert found == []


def test_what_is_tracked_is_what_belongs_at_the_top() -> None:
    allowed = {
        "pyproject.toml", "README.md", "mayo_data", "pipelines", "schemas", "tests", "notebooks",
        "benchmarks", "Makefile", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", ".ci", ".github",
        ".gitignore", ".gitattributes", "SECURITY.md", "Dockerfile", ".dockerignore", "requirements.lock",
    }  # fmt: skip
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= allowed


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == mayo_data.__version__
    assert f"## [{mayo_data.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
