"""Small exports for the tests of this folder, and ways to run the library over them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds

import mayo_data as md
from mayo_data import config, keys
from mayo_data.keys import Secret
from mayo_data.pipeline import RunReport, run
from mayo_data.pipeline.place import Place

Json = dict[str, Any]

KEY = bytes(range(32))
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
UPDATED = "2021-01-01T00:00:00Z"


def patient(ident: str = "p1", **more: Any) -> Json:
    return {
        "resourceType": "Patient",
        "id": ident,
        "name": [{"family": "Quimbleford", "given": ["Ottoline"]}],
        "gender": "female",
        "birthDate": "1971-03-04",
        **more,
    }


def observation(ident: str, of: str = "p1", **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": ident,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "2160-0", "display": "Creatinine"}]},
        "subject": {"reference": f"Patient/{of}"},
        "effectiveDateTime": "2020-05-06T07:08:09Z",
        "valueQuantity": {"value": 1, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        **more,
    }


def note(ident: str, text: str | bytes, kind: str = "text/plain", of: str = "p1", **more: Any) -> Json:
    raw = text.encode() if isinstance(text, str) else text
    return {
        "resourceType": "DocumentReference",
        "id": ident,
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": "11506-3", "display": "Progress note"}]},
        "subject": {"reference": f"Patient/{of}"},
        "date": "2020-05-06T07:08:09Z",
        "content": [{"attachment": {"contentType": kind, "data": base64.b64encode(raw).decode()}}],
        **more,
    }


def lines(*rows: Json | bytes) -> bytes:
    """Return rows as ndjson; bytes are taken as they are."""
    return b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows)


def export(folder: Path, files: Mapping[str, bytes | Iterable[Json | bytes]]) -> Path:
    """Write an export: file name to content, or to the rows of an ndjson file."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else lines(*content))
    return folder


def pipeline(**sections: Mapping[str, Any] | str) -> config.PipelineConfig:
    """Return a pipeline with a fixed day of reference."""
    import msgspec

    body = {"name": "test", **sections}
    body["phi"] = {"as_of": "2024-01-01", **sections.get("phi", {})}
    return msgspec.convert(body, config.PipelineConfig)


def pipeline_file(path: Path, **sections: Mapping[str, Any] | str) -> Path:
    """Write the same as a file, for the command line."""
    sections = {**sections, "phi": {"as_of": "2024-01-01", **sections.get("phi", {})}}
    single = {"name": "test", **{name: value for name, value in sections.items() if isinstance(value, str)}}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in single.items())
    for name, values in sections.items():
        if isinstance(values, str):
            continue
        text += f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    path.write_text(text)
    return path


def key_file(folder: Path, key: bytes = KEY) -> Path:
    path = folder / "site.key"
    path.write_bytes(base64.b64encode(key))
    return path


def go(source: Path, store: Path, /, *, strict: bool = False, workers: int = 1, **sections: Any) -> RunReport:
    """Run in this process."""
    return run(pipeline(**sections), source, store, Secret(KEY), workers=workers, strict=strict)


def events(store: Path) -> list[Json]:
    """All events of the current snapshot, with their event id."""
    found: pa.Table = ds.dataset(md.open(store).path / "data", format="parquet").to_table()
    rows: list[Json] = found.to_pylist()
    for row in rows:
        row["event_id"] = f"{row['source_table']}.{row['source_row']}.{row['source_item']}"
    return rows


def codes_of(store: Path) -> list[str]:
    return sorted(row["code"] for row in events(store))


def quarantined(store: Path) -> list[Json]:
    """All quarantined rows of all runs of a store."""
    folder = Place.of(store, None).phi_zone / "quarantine"
    return [orjson.loads(line) for path in sorted(folder.rglob("*.ndjson")) for line in path.read_bytes().splitlines()]


def reasons(store: Path) -> list[tuple[str, int, str]]:
    return [(row["file"], row["line"], f"{row['arrow']}/{row['reason']}") for row in quarantined(store)]


def balanced(report: RunReport) -> None:
    """At every arrow, rows in = rows out + rows dropped, and each arrow takes what the one before it gave."""
    from mayo_data.lineage import steps

    validated = ["validate"] if report.steps[1].name == "validate" else []  # unless it is off
    assert [step.name for step in report.steps] == ["read", *validated, "scrub", "normalize", "shuffle", "build"]
    assert steps.check(report.steps) == []
    assert all(step.balanced for step in report.steps)


def cli(
    *arguments: str | Path, before: str = "", cwd: Path | None = None, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `mayo-data` in a process of its own.

    Args:
        arguments: The command line.
        before: Python that runs first: what a test breaks on purpose. Needs `--workers 1`.
        cwd: Folder to run in.
        timeout: Seconds.
        env: Further environment variables.
    """
    command = command_line(*arguments, before=before)
    environment = {name: value for name, value in os.environ.items() if name != keys.ENVIRONMENT} | env
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=timeout, env=environment, check=False
    )


def peak(folder: Path, *arguments: str | Path, timeout: float = 300) -> int:
    """Run `mayo-data`, which succeeds, and return the peak of its memory, KiB.

    Args:
        folder: Where the figure is left.
        arguments: The command line.
        timeout: Seconds.
    """
    after = (
        # VmHWM begins anew with the program; ru_maxrss begins with what the parent process had.
        "import atexit, pathlib\n"
        f"atexit.register(lambda: pathlib.Path({str(folder / 'peak')!r}).write_text("
        "pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]))"
    )
    command = command_line(*arguments, before=after)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return int((folder / "peak").read_text())


def command_line(*arguments: str | Path, before: str = "") -> Sequence[str]:
    words = [str(argument) for argument in arguments]
    if not before:
        return [sys.executable, "-m", "mayo_data", *words]
    script = f"{before}\nimport sys\nfrom mayo_data.cli import main\nsys.argv[1:] = {words!r}\nmain()\n"
    return [sys.executable, "-c", script]
