"""The built wheel works far from the checkout: it carries its schemas and pipelines, and its tests' main job runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(folder)], check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("mayo_data-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def python(unpacked: Path, code: str, cwd: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_carries_every_data_file(unpacked: Path) -> None:
    for kind in ("schemas", "pipelines"):
        here = {path.relative_to(ROOT / kind) for path in (ROOT / kind).rglob("*") if path.is_file()}
        there = {path.relative_to(unpacked) for path in (unpacked / "mayo_data" / f"_{kind}").rglob("*")}
        assert {Path("mayo_data") / f"_{kind}" / path for path in here} <= there
    assert (unpacked / "mayo_data" / "py.typed").exists()


def test_the_main_job_runs_from_it(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib, mayo_data as md\n"
        "from mayo_data import assets, keys\n"
        "from mayo_data.synth import generate\n"
        "assert '_schemas' in str(assets.path('schemas', 'tables')), assets.path('schemas', 'tables')\n"
        "here = pathlib.Path('.')\n"
        "generate(here / 'export', patients=2, formats=('fhir',))\n"
        "keys.generate(here / 'key')\n"
        "report = md.run('fhir.toml', 'export/fhir', 'store', key_file='key', workers=1)\n"
        "print(report.subjects, md.connect('store').sql('select count(*) from subject').fetchall())\n"
    )
    assert python(unpacked, code, tmp_path).split()[0] == "2"
