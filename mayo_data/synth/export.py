"""Writes an export: FHIR bulk files, OMOP tables as CSV and Parquet, gold spans, manifest."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mayo_data import assets
from mayo_data.errors import ConfigError
from mayo_data.synth import fhir, fhir_ids, fhir_people, notes, omop, people, stories, vocabulary
from mayo_data.synth.facts import Chart, Hospital, Note

FORMATS = ("fhir", "omop-csv", "omop-parquet")
_ROW_GROUP = 250  # patients; fixed, so that the files do not depend on memory or speed
_ARROW = {
    "i": pa.int64(),
    "f": pa.float64(),
    "d": pa.date32(),
    "t": pa.timestamp("us"),
    "s": pa.large_string(),
}


@dataclass(frozen=True)
class SynthReport:
    """What was written.

    Attributes:
        out: The folder.
        patients: How many people.
        resources: FHIR resources by type.
        rows: OMOP rows by table.
        notes: Notes by type.
        spans: Gold PHI spans by category.
    """

    out: Path
    patients: int
    resources: Mapping[str, int]
    rows: Mapping[str, int]
    notes: Mapping[str, int]
    spans: Mapping[str, int]


def charts(seed: int, patients: int) -> Iterator[Chart]:
    """Yield the charts of a seed with their notes written, nothing on disk.

    >>> next(charts(7, 1)).person.number
    0
    """
    sites = people.hospitals(seed)
    for number in range(patients):
        yield _chart(seed, number, sites)


def _chart(seed: int, number: int, sites: list[Hospital]) -> Chart:
    chart = stories.live(people.person(seed, number, sites))
    notes.write(chart)
    return chart


@cache
def columns(table: str) -> dict[str, str]:
    """Return the columns of an OMOP table: name to type letter, as in `schemas/synth/omop.toml`."""
    pairs = (entry.rstrip("!").split(":") for entry in assets.toml("schemas", "synth", "omop.toml")[table]["columns"])
    return dict(pairs)


def generate(
    out: Path,
    *,
    patients: int = 100,
    seed: int = 7,
    formats: Sequence[str] = FORMATS,
    compress: bool = False,
) -> SynthReport:
    """Write a synthetic export: the same seed gives the same bytes, and more patients only add to fewer.

    Gold spans are written always, for whoever measures a scrubber. Byte identity of `.gz` and `.parquet`
    holds for one version of zlib and pyarrow; their content is the same everywhere.

    Args:
        out: Folder to write to; made if absent. Files of an earlier export are replaced.
        patients: How many people, at least 1.
        seed: Any whole number.
        formats: Any of `fhir`, `omop-csv`, `omop-parquet`.
        compress: Write `.ndjson.gz` instead of `.ndjson`.

    Returns:
        Counts of what was written.

    Raises:
        ConfigError: Unknown format, or fewer than one patient.

    >>> import tempfile
    >>> generate(Path(tempfile.mkdtemp()), patients=1, formats=["fhir"]).resources["Patient"]
    1
    """
    unknown = set(formats) - set(FORMATS)
    if unknown or not formats:
        raise ConfigError("unknown export format", hint=f"choose from {', '.join(FORMATS)}")
    if patients < 1:
        raise ConfigError("an export needs at least one patient", hint="give --patients 1 or more")
    sites = people.hospitals(seed)
    typed: Counter[str] = Counter()
    spans: Counter[str] = Counter()
    with ExitStack() as stack:
        bulk = stack.enter_context(_Bulk(out / "fhir", compress)) if "fhir" in formats else None
        tables = [
            stack.enter_context(kind(out / folder))
            for name, kind, folder in (
                ("omop-csv", _Csv, "omop_csv"),
                ("omop-parquet", _Parquet, "omop_parquet"),
            )
            if name in formats
        ]
        gold = stack.enter_context(_Lines(out / "gold", "notes.jsonl"))
        if bulk:
            for resource in fhir_people.directory(seed, sites):
                bulk.add(resource)
        for table in tables:
            for name, row in (*vocabulary.rows(), *omop.directory(sites)):
                table.add(name, row)
            table.flush()
        for number in range(patients):
            chart = _chart(seed, number, sites)
            if bulk:
                for resource in fhir.render(chart):
                    bulk.add(resource)
            if tables:
                rows = list(omop.render(chart))
                for table in tables:
                    for name, row in rows:
                        table.add(name, row)
                    if number % _ROW_GROUP == _ROW_GROUP - 1:
                        table.flush()
            for fact in chart.facts:
                if isinstance(fact, Note):
                    typed[fact.type] += 1
                    spans.update(span.category for span in fact.spans)
                    gold.write(_gold(chart, fact))
    counts = tables[0].counts if tables else Counter()
    resources: Counter[str] = bulk.counts if bulk else Counter()
    report = SynthReport(out, patients, _sorted(resources), _sorted(counts), _sorted(typed), _sorted(spans))
    _manifest(report, seed, formats)
    return report


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _gold(chart: Chart, fact: Note) -> bytes:
    spans = [
        {
            "start": span.start,
            "end": span.end,
            "category": span.category,
            "text": fact.text[span.start : span.end],
        }
        for span in fact.spans
    ]
    resource = f"{fact.home}/{fhir_ids.id_of(chart.person, fact)}"
    line = {
        "id": fhir_ids.id_of(chart.person, fact),
        "subject": chart.person.id,
        "resource": resource,
        "note_id": omop.event_id(chart.person, fact),
        "type": fact.type,
        "style": fact.style,
        "text": fact.text,
        "spans": spans,
    }
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _manifest(report: SynthReport, seed: int, formats: Sequence[str]) -> None:
    output = []
    for path in sorted(report.out.rglob("*")):
        folder = path.relative_to(report.out).parts[0]
        if not path.is_file() or folder not in ("fhir", "omop_csv", "omop_parquet", "gold"):
            continue
        name = path.name.split(".")[0]
        counts = {"fhir": report.resources, "gold": {"notes": sum(report.notes.values())}}.get(folder, report.rows)
        if name in counts:
            output.append(
                {
                    "type": name,
                    "url": path.relative_to(report.out).as_posix(),
                    "count": counts[name],
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
            )
    manifest = {
        "transactionTime": "2025-06-30T02:00:00-05:00",
        "request": f"mayo-data synth --patients {report.patients} --seed {seed}",
        "requiresAccessToken": False,
        "formats": [name for name in FORMATS if name in formats],
        "patients": report.patients,
        "resources": report.resources,
        "rows": report.rows,
        "notes": report.notes,
        "spans": report.spans,
        "output": output,
        "error": [],
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (report.out / "manifest.json").write_text(text, encoding="utf-8", newline="\n")


class _Lines:
    """One file of lines, plain or gzip with no name and no time in its header."""

    def __init__(self, folder: Path, name: str, compress: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stack = ExitStack()
        raw = self._stack.enter_context((folder / name).open("wb"))
        self._file: BinaryIO = raw
        if compress:
            zipped = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
            self._file = self._stack.enter_context(zipped)  # type: ignore[assignment]

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, line: bytes) -> None:
        self._file.write(line)


class _Bulk:
    """FHIR resources, one file a type."""

    def __init__(self, folder: Path, compress: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.ndjson"), *folder.glob("*.ndjson.gz")):
            old.unlink()
        self._folder, self._compress = folder, compress
        self._files: dict[str, _Lines] = {}
        self._stack = ExitStack()
        # msgspec writes a Decimal with the digits it has, so that 1.10 stays 1.10.
        self._encode = msgspec.json.Encoder(decimal_format="number").encode
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> _Bulk:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, resource: dict[str, Any]) -> None:
        """Append a resource to the file of its type."""
        kind = resource["resourceType"]
        if kind not in self._files:
            name = f"{kind}.ndjson{'.gz' if self._compress else ''}"
            self._files[kind] = self._stack.enter_context(_Lines(self._folder, name, self._compress))
        self._files[kind].write(self._encode(resource) + b"\n")
        self.counts[kind] += 1


class _Tables:
    """OMOP rows, one file a table; every table exists, even when it is empty."""

    suffix = ""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.counts: Counter[str] = Counter()
        self._folder = folder
        self._stack = ExitStack()
        for name in assets.toml("schemas", "synth", "omop.toml"):
            self.counts[name] = 0
            self._open(name, folder / f"{name}{self.suffix}")

    def __enter__(self) -> _Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self._stack.close()

    def _open(self, name: str, path: Path) -> None:
        raise NotImplementedError

    def _put(self, name: str, row: dict[str, Any]) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Write out what is held back."""

    def add(self, name: str, row: dict[str, Any]) -> None:
        """Append a row; a column that the table does not have is a bug in a renderer."""
        extra = row.keys() - columns(name).keys()
        assert not extra, f"{name} has no columns {sorted(extra)}"
        self.counts[name] += 1
        self._put(name, row)


class _Csv(_Tables):
    suffix = ".csv"

    def _open(self, name: str, path: Path) -> None:
        if not hasattr(self, "_writers"):
            self._writers: dict[str, Any] = {}
        raw = self._stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        self._writers[name] = csv.writer(raw, lineterminator="\n")
        self._writers[name].writerow(columns(name))

    def _put(self, name: str, row: dict[str, Any]) -> None:
        self._writers[name].writerow([_plain(row.get(column)) for column in columns(name)])


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return value.isoformat() if isinstance(value, date) else str(value)


class _Parquet(_Tables):
    suffix = ".parquet"

    def _open(self, name: str, path: Path) -> None:
        if not hasattr(self, "_writers"):
            self._writers: dict[str, pq.ParquetWriter] = {}
            self._held: dict[str, list[dict[str, Any]]] = {}
            self._schemas: dict[str, pa.Schema] = {}
        required = {
            entry.split(":")[0]
            for entry in assets.toml("schemas", "synth", "omop.toml")[name]["columns"]
            if entry.endswith("!")
        }
        fields = [pa.field(column, _ARROW[kind], column not in required) for column, kind in columns(name).items()]
        self._schemas[name] = pa.schema(fields)
        self._writers[name] = self._stack.enter_context(pq.ParquetWriter(path, self._schemas[name], compression="zstd"))
        self._held[name] = []

    def _put(self, name: str, row: dict[str, Any]) -> None:
        self._held[name].append(row)

    def flush(self) -> None:
        """Write the rows held back as one row group a table."""
        for name, held in self._held.items():
            if held:
                self._writers[name].write_table(pa.Table.from_pylist(held, schema=self._schemas[name]))
                held.clear()


__all__ = ["FORMATS", "SynthReport", "charts", "columns", "generate"]
