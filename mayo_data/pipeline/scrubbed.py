"""A FHIR export in, a de-identified FHIR export out: the same layout, valid, references intact.

    survey ─→ read ─→ validate ─→ scrub ─→ validate ─→ leak audit ─→ write ─→ rename

What the scrub makes is validated again. A resource that would be no valid FHIR is not written: it ends at the arrow
`write`, counted, and the quarantine says where it comes from and what is wrong with it.

File names can carry PHI, so only those that FHIR's Bulk Data names itself (`Patient.ndjson`, `Observation.3.ndjson`)
stay. The place of a line tells as much as a name: each file is written in the order of keyed ids. The output appears
under its name in one rename, once the leak audit has passed all of it.
"""

from __future__ import annotations

import heapq
import mmap
import os
import re
import secrets
import shutil
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import zstandard
from isal import igzip

import mayo_data
from mayo_data import assets, keys
from mayo_data import config as configs
from mayo_data.config import PipelineConfig, ValidateShare
from mayo_data.conformance.validate import SAMPLE, Validate, fault
from mayo_data.engine.local import LocalEngine
from mayo_data.errors import ConfigError, GateError, LeakError, SourceError
from mayo_data.keys import Secret
from mayo_data.phi import policy as policies
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.crashes import MARK, emptied, survived
from mayo_data.pipeline.leaks_in_fhir import Auditor
from mayo_data.pipeline.omop_scrub import scrub_tables
from mayo_data.pipeline.outside import told
from mayo_data.pipeline.place import Place, private
from mayo_data.pipeline.report import ScrubReport, Watcher
from mayo_data.pipeline.survey import survey
from mayo_data.pipeline.tasks import set_aside, without
from mayo_data.pipeline.tasks import source as read
from mayo_data.quality import gates
from mayo_data.sources import fhir
from mayo_data.sources.omop import is_omop, is_server
from mayo_data.stage import TALLY, fate
from mayo_data.types import Step, Verdict

_MIB = 1 << 20
_BULK_NAME = re.compile(r"([A-Z][A-Za-z]+)(?:[._-]\d{1,6})?\.(?:ndjson|jsonl|json)(?:\.(?:gz|zst))?")
_COLUMNS = ("fate", "body", "subject_id", "resource_type", "source_row", "resource_key")
_KEY = 16  # hex digits in front of every line of a part
_OPEN = 256  # parts that are open at once
_STEPS = ("read", "validate", "scrub", "write")
_CHECKS = frozenset(["validate", "write"])  # which only a run that validates has


@dataclass(frozen=True)
class ScrubTask:
    """Read, validate and scrub one split, and search what came out for leaks."""

    split: fhir.Split
    validate: Validate | None
    scrub: Scrub
    longest: int
    folder: Path
    quarantine: Path
    kept: frozenset[str]
    place: Path | None = None
    near: frozenset[int] = frozenset()

    def closely(self, crashed: frozenset[int], near: frozenset[int], place: Path) -> ScrubTask:
        """Return a task that leaves rows alone, and tells at which it is: see `crashes`."""
        split = replace(self.split, file=without(self.split.file, crashed))
        return replace(self, split=split, place=place, near=near)


class ScrubReceipt(msgspec.Struct, frozen=True):
    """What a finished task leaves."""

    name: str
    source_table: int
    rows: dict[str, int]
    fates: dict[str, int]
    tallies: dict[str, int]
    types: dict[str, int]
    leaks: list[tuple[str, str, str]]


def scrub(
    source: Path | str,
    output: Path | str,
    *,
    key_file: Path | str | None = None,
    policy: str = "",
    pipeline: Path | str = "fhir.toml",
    phi_zone: Path | str | None = None,
    workers: int = 0,
    validate: ValidateShare | None = None,
    watcher: Watcher | None = None,
) -> ScrubReport:
    """Write a de-identified copy of a FHIR export: `md.scrub`, and what `mayo-data scrub` calls.

    Args:
        source: Folder, file or URL of the export (PHI zone).
        output: Folder to write to; must not exist, or be empty.
        key_file: File of the site's key; otherwise the environment variable `MAYO_DATA_KEY`.
        policy: Name of a preset or path of a policy; by default that of the pipeline file.
        pipeline: Pipeline file, for all other parameters.
        phi_zone: Folder for quarantine and vault; by default `OUTPUT.phi`. That of a store gives the same pseudonyms.
        workers: Number of processes; 0 for one a core.
        validate: Which resources must be valid FHIR, those that are read and those that are written, in place of what
            the pipeline file says: `all`, `sample`, `off`. The others go to the quarantine.
        watcher: Who is told how far it is.

    Raises:
        ConfigError: The output is there already, or the policy makes no sense.
        SourceError: Nothing to read.
        GateError: A gate stopped the run.
        LeakError: The leak audit found an identifier. Nothing was written.
    """
    config = configs.load(Path(pipeline))
    if policy:
        config = msgspec.structs.replace(config, phi=msgspec.structs.replace(config.phi, policy=policy))
    if validate is not None:
        config = msgspec.structs.replace(config, validate=validate)
    place = Place.of(Path(output), Path(phi_zone) if phi_zone else None)
    if not is_server(source):
        place.apart_from(source)
    secret = keys.load(Path(key_file) if key_file else None)
    if Path(output).exists() and (not Path(output).is_dir() or any(Path(output).iterdir())):
        raise ConfigError("the output is there already", hint="give a folder that does not exist")
    with told(), place.lock(), LocalEngine(workers) as engine:
        if is_omop(source):
            return scrub_tables(config, source, place, secret, engine, watcher or _silent)
        return _Export(config, source, place, secret, watcher or _silent).go(engine)


class _Export:
    def __init__(self, config: PipelineConfig, source: Path | str, place: Place, secret: Secret, tell: Watcher) -> None:
        self.config = config
        self.source = source
        self.place = place
        self.site_secret = secret
        self.tell = tell
        self.began = time.monotonic()
        self.verdicts: list[Verdict] = []

    def go(self, engine: LocalEngine) -> ScrubReport:
        export = fhir.discover(self.source, self.site_secret.turn)
        self.policy = policies.load(self.config.phi.policy, admit=self.config.phi.admit, model=self.config.phi.model)
        self.as_of = self.config.phi.as_of or f"{datetime.now(UTC).year}-12-31"
        surveys = survey(export.files, engine, self.config, self.place, self.site_secret, self.tell)
        self.run_id = keys.fingerprint(
            "scrub", mayo_data.__version__, self.policy.fingerprint, self.site_secret.key_id, self.as_of,
            *(found.sha256 for found in surveys),
        )  # fmt: skip
        work = self.place.work(self.run_id)
        emptied(work)
        draft = self.place.store.with_name(f".{self.place.store.name}.{self.run_id}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        try:
            return self._written(surveys, work, draft, engine)
        finally:
            shutil.rmtree(work, ignore_errors=True)
            shutil.rmtree(draft, ignore_errors=True)

    def _written(self, surveys: Sequence[fhir.Survey], work: Path, draft: Path, engine: LocalEngine) -> ScrubReport:
        receipts = self._scrub(surveys, work, engine)
        steps = _steps(receipts, checked=self.config.validate != "off")
        broken = sum(found.broken for found in surveys)
        rows = steps[0].rows_in
        self._judge(gates.source_verdicts(len(surveys), broken, rows), SourceError)
        self._judge(gates.resource_verdicts(steps, self.config.gates))
        leaks = [leak for receipt in receipts for leak in receipt.leaks]
        self.verdicts.append(gates.leak_verdict(len(leaks)))
        if leaks:
            where = ", ".join(f"{row} ({path}, {category})" for row, path, category in leaks[:5])
            raise LeakError(
                f"{len(leaks)} identifiers of a subject in that subject's output: {where}. Nothing was written",
                hint="file.line leads to the source; sources.tsv in the PHI zone names the file",
            )
        tallies = _summed(receipt.tallies for receipt in receipts)
        listed = self._files(surveys, receipts, work, draft)
        self.place.sweep()
        report = ScrubReport(
            self.place.store, self.run_id, tuple(steps),
            {name[4:]: n for name, n in sorted(tallies.items()) if name.startswith("phi/")},
            {name: n for name, n in sorted(tallies.items()) if not name.startswith(("phi/", "system/"))},
            tuple(self.verdicts), dict(sorted(_summed(receipt.types for receipt in receipts).items())),
            sum(found.file.size for found in surveys), time.monotonic() - self.began, self.place.phi_zone,
        )  # fmt: skip
        self._tell(draft, listed, report)
        if self.place.store.exists():
            self.place.store.rmdir()  # an empty one; a rename onto it would fail
        os.replace(draft, self.place.store)
        return report

    def _scrub(self, surveys: Sequence[fhir.Survey], work: Path, engine: LocalEngine) -> list[ScrubReceipt]:
        keyed = self.policy.ids == "keyed"
        secret = self.site_secret if keyed else Secret(secrets.token_bytes(32))
        vault = Vault(self.place.vault, self.site_secret)
        try:
            vault.index(secret)
        finally:
            vault.close()
        who = (self.policy, secret, self.site_secret, self.place.vault, self.as_of)
        stage = Scrub(*who, whole=True, seconds=self.config.phi.seconds)
        validate = Validate(self.config.validate) if self.config.validate != "off" else None
        quarantine = self.place.quarantine(self.run_id)
        shutil.rmtree(quarantine, ignore_errors=True)
        quarantine.mkdir(parents=True, mode=0o700)
        kept = frozenset(({"DATE"} if self.policy.dates == "keep" else set())
                         | ({"ZIP"} if self.policy.zip_method == "keep" else set()))  # fmt: skip
        splits = sorted((split for found in surveys for split in found.splits), key=lambda split: -split.weight)
        limit = self.config.source.max_line_mib * _MIB
        tasks = [ScrubTask(split, validate, stage, limit, work, quarantine, kept) for split in splits]
        self.tell("map", done=0, total=len(tasks))
        receipts = []
        for done, receipt in enumerate(engine.map(scrub_split, tasks), 1):
            receipts.append(receipt)
            self.tell("map", done=done, total=len(tasks))
        return sorted(receipts, key=lambda receipt: receipt.name)

    def _files(
        self, surveys: Sequence[fhir.Survey], receipts: Sequence[ScrubReceipt], work: Path, draft: Path
    ) -> list[dict[str, Any]]:
        """Put the parts of each file together under a name that tells nothing; return them as a manifest lists them."""
        listed, names = [], []
        taken: Counter[str] = Counter()
        for found in surveys:
            mine = [receipt for receipt in receipts if receipt.source_table == found.file.source_table]
            types = _summed(receipt.types for receipt in mine)
            name = _name(found.file, found.splits[0].form.kind, types, taken)
            parts = [work / f"{receipt.name}.ndjson" for receipt in mine]
            form = found.splits[0].form.kind if found.file.kind == "json" else "lines"
            if types or form != "resource":  # a document without its one resource would be no JSON
                _assemble(parts, draft / name, form, found.file.compression)
            names.append((found.file.source_table, found.sha256, name, found.file.path.name))
            if types:
                kind = next(iter(types)) if len(types) == 1 else None
                listed.append({**({"type": kind} if kind else {}), "url": name, "count": sum(types.values())})
        with private(self.place.quarantine(self.run_id) / "sources.tsv") as out:
            for row in (("source_table", "sha256", "output", "file"), *names):
                out.write(("\t".join(" ".join(str(cell).split()) for cell in row) + "\n").encode("utf-8", "replace"))
        return listed

    def _tell(self, draft: Path, listed: list[dict[str, Any]], report: ScrubReport) -> None:
        """Write the manifest of a Bulk Data export, and the loss report: counts and names only."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        said = {
            "policy": self.policy.name, "policy_fingerprint": self.policy.fingerprint, "legal": self.policy.legal,
            "key_id": self.site_secret.key_id, "code_version": mayo_data.__version__, "run_id": self.run_id,
            "validate": self.config.validate,
        }  # fmt: skip
        manifest = {
            "transactionTime": now, "request": "urn:mayo-data:scrub", "requiresAccessToken": False,
            "output": listed, "deleted": [], "error": [], "extension": said,
        }  # fmt: skip
        loss = {
            **said, "steps": [asdict(step) for step in report.steps], "phi": report.phi, "notes": report.notes,
            "resources": report.resources, "gates": [asdict(verdict) for verdict in report.verdicts],
        }  # fmt: skip
        for name, body in (("manifest.json", manifest), ("loss.json", loss)):
            (draft / name).write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def _judge(self, found: Sequence[Verdict], error: type[SourceError | GateError] = GateError) -> None:
        self.verdicts += found
        stopped = [verdict for verdict in found if not verdict.passed and verdict.action == "stop"]
        if stopped:
            said = "; ".join(f"{verdict.gate} {verdict.check}: {verdict.observed}" for verdict in stopped)
            raise error(f"gate stopped the run: {said}", hint="see the quarantine in the PHI zone")


def scrub_split(task: ScrubTask) -> ScrubReceipt:
    """Take one split from lines to de-identified lines, and search them for what may not be there."""
    return survived(_scrub, task, task.folder / f"{task.split.name}{MARK}")


def _scrub(task: ScrubTask) -> ScrubReceipt:
    rows: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    tallies: Counter[str] = Counter()
    types: Counter[str] = Counter()
    leaks: list[tuple[str, str, str]] = []
    auditor = Auditor(task.scrub.vault, task.scrub.vault_secret, task.kept)
    stream = _counted(read(task), "read", rows)
    if task.validate is not None:
        stream = _counted(task.validate(stream), "validate", rows)
    quarantine = task.quarantine / f"{task.split.name}.ndjson"
    as_read, order = task.folder / f"{task.split.name}.read", array("q")
    try:
        with private(as_read) as out, private(quarantine) as rejected:
            stream = _counted(task.scrub(stream), "scrub", rows)
            if task.validate is not None:
                stream = _counted(_valid(stream, task.validate.share), "write", rows)
            for batch in stream:
                columns = [batch.column(name).to_pylist() for name in _COLUMNS]
                for fate, body, subject, kind, number, key in zip(*columns, strict=True):
                    if fate is not None:
                        if fate != TALLY:
                            ended[fate] += 1
                        continue
                    types[kind] += 1
                    if subject is not None:
                        row = f"{task.split.file.source_table}.{number}"
                        leaks += [(row, path, category) for path, category in auditor.leaks(subject, body)]
                    out.write(b"%016x" % key + body + b"\n")
                    order.extend((key, _KEY + len(body) + 1))
                set_aside(batch, task.split.file.path.name, rejected, tallies)
        _by_key(as_read, order, task.folder / f"{task.split.name}.ndjson")
    finally:
        auditor.close()
    if quarantine.stat().st_size == 0:
        quarantine.unlink()
    return ScrubReceipt(
        task.split.name, task.split.file.source_table, dict(rows), dict(ended), dict(tallies), dict(types), leaks
    )


def _valid(batches: Iterator[pa.RecordBatch], share: str) -> Iterator[pa.RecordBatch]:
    """Give the fate `write/not_fhir` to what would be written and is no valid FHIR; its source leads to it."""
    for batch in batches:
        columns = (batch.column(name).to_pylist() for name in ("fate", "body", "source_row"))
        wrong = {
            row: found
            for row, (ended, body, number) in enumerate(zip(*columns, strict=True))
            if ended is None and (share == "all" or number % SAMPLE == 1) and (found := fault(body)) is not None
        }
        for name, values in (("fate", dict.fromkeys(wrong, fate("write", "not_fhir"))), ("fate_path", wrong)):
            if wrong:
                at = batch.schema.get_field_index(name)
                said = [values.get(row, old) for row, old in enumerate(batch.column(name).to_pylist())]
                batch = batch.set_column(at, batch.schema.field(name), pa.array(said, pa.string()))
        yield batch


def _counted(batches: Iterator[pa.RecordBatch], name: str, rows: Counter[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if name == "read":
            rows["read_in"] += batch.num_rows
        rows[name] += int(batch.column("fate").null_count)
        yield batch


def _steps(receipts: Sequence[ScrubReceipt], *, checked: bool) -> list[Step]:
    rows = _summed(receipt.rows for receipt in receipts)
    ended = _summed(receipt.fates for receipt in receipts)
    steps, came = [], "read_in"
    for name in _STEPS:
        if name in _CHECKS and not checked:
            continue
        dropped = {fate.split("/", 1)[1]: n for fate, n in sorted(ended.items()) if fate.startswith(name + "/")}
        steps.append(Step(name, rows[came], rows[name], dropped))
        came = name
    return steps


def _name(file: fhir.SourceFile, form: str, types: Counter[str], taken: Counter[str]) -> str:
    """A name that tells nothing but the type: that of a Bulk Data file stays, any other becomes a number."""
    match = _BULK_NAME.fullmatch(file.path.name)
    packed = f".{file.compression}" if file.compression else ""
    if match and match[1] in assets.toml("schemas", "fhir", "resource_types.toml")["types"]:
        name = file.path.name
    else:
        stem = "bundle" if form == "bundle" else "resource" if form == "resource" else "file"
        name = f"{stem}-{file.source_table:06d}.{file.kind}{packed}"
    taken[name] += 1
    if taken[name] > 1:  # two folders with a file of the same name
        name = f"folder-{taken[name]:04d}/{name}"
    return name


def _assemble(parts: Sequence[Path], target: Path, form: str, compression: str) -> None:
    """Write one file of the export from the lines of its parts."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as raw:
        if compression == "gz":
            with igzip.IGzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed:  # type: ignore[no-untyped-call]
                _lines(parts, packed, form)  # type: ignore[arg-type]  # writes bytes, as a file does
        elif compression == "zst":
            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
                _lines(parts, stream, form)
        else:
            _lines(parts, raw, form)


def _lines(parts: Sequence[Path], out: BinaryIO, form: str) -> None:
    held = bytearray(b'{"resourceType":"Bundle","type":"collection"' if form == "bundle" else b"")
    first = True
    with ExitStack() as stack:
        for line in _merged(parts, stack):
            if form == "bundle":
                held += (b',"entry":[' if first else b",") + b'\n{"resource":' + line[_KEY:-1] + b"}"
            else:
                held += line[_KEY:]
            first = False
            if len(held) >= _MIB:
                out.write(bytes(held))
                held.clear()
    if form == "bundle":
        held += b"}\n" if first else b"\n]}\n"
    out.write(bytes(held))


def _by_key(lines: Path, order: Sequence[int], target: Path) -> None:
    """Put the lines of a split in the order of their keys; those under one key stay in theirs: the last is the newest.

    Args:
        lines: The lines as they were read; removed.
        order: Key and length of each, one after the other.
        target: Where to.
    """
    keys_of, sizes = (np.array(order[part::2], np.int64) for part in (0, 1))
    ends = np.cumsum(sizes)
    with lines.open("rb") as file, private(target) as out:
        if len(ends):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                for at in np.argsort(keys_of, kind="stable").tolist():
                    out.write(content[ends[at] - sizes[at] : ends[at]])
    lines.unlink()


def _merged(parts: Sequence[Path], stack: ExitStack) -> Iterator[bytes]:
    """Yield the lines of sorted parts in the order of all of them; of equal keys, the earlier part comes first."""
    while len(parts) > _OPEN:
        groups = [parts[at : at + _OPEN] for at in range(0, len(parts), _OPEN)]
        parts = [group[0].with_suffix(".merged" + group[0].suffix) for group in groups]
        for group, target in zip(groups, parts, strict=True):
            with private(target) as out, ExitStack() as inner:
                out.writelines(_merged(group, inner))
    opened = [stack.enter_context(part.open("rb")) for part in parts]
    yield from heapq.merge(*opened, key=lambda line: line[:_KEY])


def _summed(counters: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in counters:
        total.update(counts)
    return total


def _silent(event: str, **fields: Any) -> None:
    """Watch nothing."""
