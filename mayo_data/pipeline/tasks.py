"""What the engine's processes execute: survey a file, map a split, build a shard.

A finished task writes a receipt, last and all at once; a task that finds its receipt has nothing to do. That is how
a killed run resumes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mayo_data import assets, schema
from mayo_data.config import GatesConfig
from mayo_data.conformance.validate import Validate
from mayo_data.engine.exchange import ExchangeWriter, Parcel, gather
from mayo_data.events.normalize import Normalize
from mayo_data.keys import Secret
from mayo_data.phi import identifiers, units
from mayo_data.phi.audit import Audit
from mayo_data.phi.structured import Scrub
from mayo_data.phi.vault import Vault
from mayo_data.pipeline.place import private
from mayo_data.quality import gates
from mayo_data.sources import fhir
from mayo_data.sources.bundles import Deletion
from mayo_data.stage import TALLY, alive, fate, fates
from mayo_data.store import write
from mayo_data.timeline.build import Shard, build
from mayo_data.timeline.same import same
from mayo_data.types import Json

_AUDITED = ("text_value", "unit", "status", "value_text", "description", "code")
_WITHDRAWN = fate("normalize", "entered_in_error")
_DELETION = fate("read", "deletion")
_CODES = frozenset(["code", "parent_codes"])
NAMES = frozenset(
    ["PATIENT", "RELATIVE", "STAFF", "PERSON", "EMAIL", "USERNAME", "STREET", "CITY", "COUNTY", "HOSPITAL", "ORG"]
)
_NAMELESS_CODE = re.compile(r"//[\d.-]+$|(?:^|//)MASKED//[0-9a-f]{16}$")  # digits, or a keyed token
SHORTEST_NUMBER = 7  # digits below which a measured number says nothing of who
_QUARANTINED_BODY = 1 << 20  # how much of a bad line is kept; file and line lead to the rest


@dataclass(frozen=True)
class SurveyTask:
    """Read one file for the first time."""

    file: fhir.SourceFile
    longest: int
    split_bytes: int
    records: Path  # PHI zone: what the file says of people


@dataclass(frozen=True)
class MapTask:
    """Read, validate, scrub and normalise one split."""

    split: fhir.Split
    validate: Validate | None
    scrub: Scrub
    normalize: Normalize
    rules: GatesConfig
    longest: int
    shards: int
    folder: Path
    quarantine: Path


class MapReceipt(msgspec.Struct, frozen=True):
    """What a finished map task leaves: where its events lie, and what became of every row."""

    name: str
    source_table: int
    parcels: list[Parcel]
    rows: dict[str, int]
    fates: dict[str, int]
    tallies: dict[str, int]
    checks: dict[str, int]
    deletions: int = 0


@dataclass(frozen=True)
class BuildTask:
    """Build one shard."""

    number: int
    shards: int
    exchange: tuple[tuple[Path, tuple[Parcel, ...]], ...]
    draft: Path
    folder: Path
    vault: Path
    vault_secret: Secret
    secret: Secret
    splits: tuple[tuple[str, float], ...]
    deletions: tuple[Path, ...]
    tables: frozenset[int]  # source files of an OMOP export, where there is a FHIR export beside it
    kept: frozenset[str]  # PHI categories that the policy keeps, so that the leak audit does not mind them


class BuildReceipt(msgspec.Struct, frozen=True):
    """What a finished build task leaves: its files, counts, and what the leak audit found."""

    number: int
    rows: dict[str, int]
    checks: dict[str, int]
    leaks: list[tuple[str, str, str]]
    files: list[write.FileReceipt]


def survey_file(task: SurveyTask) -> fhir.Survey:
    """Survey one file; what it says of people goes to a file in the PHI zone, so memory stays flat."""
    with private(task.records) as out:

        def named(resource: Json) -> None:
            for record in identifiers.from_fhir(resource):
                out.write(msgspec.json.encode(record) + b"\n")

        names: set[tuple[str, str]] = set()
        found = fhir.survey(
            task.file, named, longest=task.longest, split_bytes=task.split_bytes,
            texts=lambda region: names.update(identifiers.displays(region)),
        )  # fmt: skip
        for record in identifiers.directory_of(names):
            out.write(msgspec.json.encode(record) + b"\n")
        return found


def map_split(task: MapTask) -> MapReceipt:
    """Take one split from lines to staged events, ordered by shard."""
    receipt = task.folder / f"{task.split.name}.json"
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=MapReceipt)
    rows: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    tallies: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    deletions: list[dict[str, int | None]] = []
    raw = _counted(fhir.read(task.split, longest=task.longest), "read", rows)
    checked = _counted(task.validate(raw), "validate", rows) if task.validate else raw
    scrubbed = _counted(task.scrub(checked), "scrub", rows)
    staged = task.normalize(scrubbed)
    path = task.folder / f"{task.split.name}.arrow"
    quarantine = task.quarantine / f"{task.split.name}.ndjson"
    writer = ExchangeWriter(path, schema.table("staged"), "subject_id", task.shards)
    try:
        with private(quarantine) as rejected:
            for batch in staged:
                ended += fates(batch)
                live = alive(batch)
                if live.num_rows < batch.num_rows:
                    set_aside(batch, task.split.file.path.name, rejected, tallies)
                if live.num_rows:
                    rows["normalize"] += live.column("source_item").to_numpy().tolist().count(0)
                    rows["events"] += live.num_rows
                    checks += gates.events(live, task.rules)
                    writer.write(live)
                withdrawn = batch.filter(pc.equal(batch.column("fate"), _WITHDRAWN))
                if withdrawn.num_rows:  # ends the earlier versions of the resource, wherever they are
                    writer.write(withdrawn)
                ordered = batch.filter(pc.equal(batch.column("fate"), _DELETION))
                deletions += [_deletion(body, task.scrub.secret) for body in ordered.column("body").to_pylist()]
        parcels = writer.close()
    except BaseException:
        writer.abandon()
        raise
    if quarantine.stat().st_size == 0:
        quarantine.unlink()
    if deletions:
        left = pa.Table.from_pylist(deletions, schema=schema.table("deletions"))
        _arrow(left, deletions_of(task.folder, task.split.name))
    done = MapReceipt(
        task.split.name, task.split.file.source_table, parcels, dict(rows), dict(ended), dict(tallies), dict(checks),
        len(deletions),
    )  # fmt: skip
    write.write_bytes(msgspec.json.encode(done), receipt)
    return done


def deletions_of(folder: Path, name: str) -> Path:
    """Return the file in which a map task leaves what the source has deleted."""
    return folder / f"{name}-deleted.arrow"


def _deletion(body: bytes, secret: Secret) -> dict[str, int | None]:
    """An order to delete, under the keys that the events carry."""
    order = msgspec.json.decode(body, type=Deletion)
    subject = secret.subject_id(order.reference) if order.reference.startswith("Patient/") else None
    key = secret.integer("resource", order.reference)
    return {"resource_key": key, "subject_id": subject, "version": order.version}


def build_shard(task: BuildTask) -> BuildReceipt:
    """Build one shard: versions settled, events sorted, every string audited for leaks, files written."""
    receipt = task.folder / f"shard-{task.number:04d}.json"
    if receipt.exists():
        return msgspec.json.decode(receipt.read_bytes(), type=BuildReceipt)
    staged = gather(task.exchange, task.number, schema.table("staged"))
    shard = build(staged, pa.concat_tables([_table(path) for path in task.deletions]) if task.deletions else None)
    leaks = _audit(staged, task)
    files = [] if leaks else _write(shard, task)
    subjects = sorted(set(shard.events.column("subject_id").to_pylist()))
    _arrow(shard.codes, task.folder / f"codes-{task.number:04d}.arrow")
    _arrow(_splits(subjects, task), task.folder / f"splits-{task.number:04d}.arrow")
    rows = {
        "staged": staged.column("fate").null_count, "resources_in": shard.resources_in, "superseded": shard.superseded,
        "deleted": shard.deleted,
        "resources": shard.resources.num_rows, "events": shard.events.num_rows, "subjects": len(subjects),
    }  # fmt: skip
    checks = gates.shard(shard.events, task.number, task.shards)
    done = BuildReceipt(task.number, rows, dict(checks), leaks, files)
    write.write_bytes(msgspec.json.encode(done), receipt)
    return done


def _write(shard: Shard, task: BuildTask) -> list[write.FileReceipt]:
    """Write the files of a shard into the draft: only what the leak audit has passed."""
    name = f"{task.number:04d}.parquet"
    return [
        write.write_table(shard.events, task.draft / "data" / name, schema_name="events"),
        write.write_table(
            shard.resources, task.draft / "lineage" / "resources" / name, schema_name="resources", root=task.draft
        ),
        write.write_table(
            shard.decisions, task.draft / "lineage" / "decisions" / name, schema_name="decisions", root=task.draft
        ),
        write.write_table(
            same(shard.events, task.tables) if task.tables else schema.table("same_facts").empty_table(),
            task.draft / "lineage" / "same_facts" / name,
            schema_name="same_facts",
            root=task.draft,
        ),
    ]


def _counted(batches: Iterator[pa.RecordBatch], name: str, rows: Counter[str]) -> Iterator[pa.RecordBatch]:
    """Count, between two stages, the rows that are alive (and for read, all of them)."""
    for batch in batches:
        if name == "read":
            rows["read_in"] += batch.num_rows
        rows[name] += int(batch.column("fate").null_count)
        yield batch


def set_aside(batch: pa.RecordBatch, file: str, rejected: BinaryIO, tallies: Counter[str]) -> None:
    """Add up the tallies of a batch, and write its bad rows to the quarantine: file, line, reason, body."""
    names = ("source_row", "fate", "fate_path", "body")
    columns = {name: batch.column(name).to_pylist() for name in names}
    file = os.fsencode(file).decode("utf-8", "backslashreplace")  # a file name can be any bytes
    for row, ending in enumerate(columns["fate"]):
        if ending is None:
            continue
        body = columns["body"][row]
        if ending == TALLY:
            tallies.update(orjson.loads(body))
        elif is_quarantined(ending):
            arrow, reason = ending.split("/", 1)
            kept = (body or b"")[:_QUARANTINED_BODY].decode("utf-8", "backslashreplace")
            rejected.write(
                orjson.dumps(
                    {
                        "file": file, "line": columns["source_row"][row], "arrow": arrow, "reason": reason,
                        "path": columns["fate_path"][row], "body": kept,
                    },
                    option=orjson.OPT_APPEND_NEWLINE,
                )
            )  # fmt: skip


def is_quarantined(ending: str) -> bool:
    """Return whether rows of a fate are kept in the quarantine."""
    arrow, reason = ending.split("/", 1)
    return bool(assets.toml("schemas", "reasons.toml")[arrow][reason]["quarantine"])


def _audit(staged: pa.Table, task: BuildTask) -> list[tuple[str, str, str]]:
    """Search every output string of every subject for that subject's identifiers: (event id, column, category)."""
    vault = Vault(task.vault, task.vault_secret, readonly=True)
    texts: dict[int, list[tuple[str, str]]] = {}
    for column in _AUDITED:
        pairs = staged.select(["subject_id", column]).group_by(["subject_id", column]).aggregate([])
        for subject_id, text in zip(pairs["subject_id"].to_pylist(), pairs[column].to_pylist(), strict=True):
            if text is not None and not _is_public(column, text):
                texts.setdefault(subject_id, []).append((column, text))
    lists = staged.column("parent_codes").combine_chunks()
    owners = staged.column("subject_id").combine_chunks().take(pc.list_parent_indices(lists))
    for subject_id, text in sorted(set(zip(owners.to_pylist(), pc.list_flatten(lists).to_pylist(), strict=True))):
        if not _is_public("code", text):
            texts.setdefault(subject_id, []).append(("parent_codes", text))
    found = []
    try:
        for subject_id in sorted(texts):
            person = vault.subject(subject_id)
            if person is None:
                continue
            strings = texts[subject_id]
            hidden = [one for one in person.identifiers if one.category not in task.kept]
            for index, category in Audit(hidden).leaks(text for _, text in strings):
                column, text = strings[index]
                if column in _CODES and category not in NAMES:
                    continue  # the digits of a public code may well be somebody's ZIP
                found.append((_event_id(staged, subject_id, column, text), column, category))
    finally:
        vault.close()
    return found


def _is_public(column: str, text: str) -> bool:
    """Numeric and masked codes, known units, numbers too short or too exact to name anybody; the rest is searched."""
    if column == "code":
        return _NAMELESS_CODE.search(text) is not None
    if column == "value_text":
        return "." in text or len(text) < SHORTEST_NUMBER
    return column == "unit" and units.is_public(text)


def _event_id(staged: pa.Table, subject_id: int, column: str, text: str) -> str:
    own = staged.filter(pc.equal(staged["subject_id"], subject_id))
    if column == "parent_codes":
        row = next(row for row in own.to_pylist() if text in (row[column] or ()))
    else:
        row = own.filter(pc.equal(own[column], text)).slice(0, 1).to_pylist()[0]
    return f"{row['source_table']}.{row['source_row']}.{row['source_item']}"


def _splits(subjects: Sequence[int], task: BuildTask) -> pa.Table:
    """Assign subjects to splits by keyed hash: stable when others are added."""
    names = []
    for subject in subjects:
        share = task.secret.fraction("split", str(subject))
        for name, size in task.splits:  # noqa: B007 - the name that the loop stops at is used
            if share < size:
                break
            share -= size
        names.append(name)
    return pa.table({"subject_id": list(subjects), "split": names}, schema=schema.table("subject_splits"))


def _arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)


def _table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
